//! The admin socket: one request and one reply for each connection, on the supervisor's thread.
//!
//! The kernel lets in root, the service's user and the members of its group (mode 0660), and each client is
//! checked again, because a folder's mode may have been changed. A bounded number of
//! requests is answered at one time, each with a limit for its arrival and for reading its reply, so that a
//! client that hangs keeps out no other for long. Further clients wait in the kernel's queue.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::admin::limits::{
    ADMIN_DESCRIPTORS_IN_MESSAGE, ADMIN_HAND_OVER_DEADLINE, ADMIN_REPLY_DEADLINE,
    ADMIN_REQUEST_BYTES_MAX, ADMIN_REQUEST_DEADLINE, ADMIN_REQUESTS_MAX,
};
use crate::control::{Command, CommandReply, Request};
use crate::measure::ReachedBound;
use crate::sys;
use crate::worker::limits::ACCEPT_PAUSE;

/// A request of a client, with the way back to it.
pub(crate) struct AdminRequest {
    /// What it asks for.
    pub command: Command,
    /// The client.
    pub caller: Caller,
    /// Takes the answer. A client may be gone by then.
    pub answer: oneshot::Sender<Answer>,
}

/// A reply, and the file descriptors that follow it.
#[derive(Default)]
pub(crate) struct Answer {
    /// The reply.
    pub reply: CommandReply,
    /// Listeners for another process, as many as `reply` names.
    pub descriptors: Vec<OwnedFd>,
}

impl From<CommandReply> for Answer {
    fn from(reply: CommandReply) -> Self {
        Self {
            reply,
            ..Self::default()
        }
    }
}

/// The process at the other end of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its number.
    pub pid: Option<u32>,
    /// Its connection; no two connections have the same number.
    pub connection: u64,
}

impl Caller {
    fn new(credentials: UCred, connection: u64) -> Self {
        let pid = credentials.pid();
        Self {
            uid: credentials.uid(),
            pid: pid.and_then(|pid| u32::try_from(pid).ok()),
            connection,
        }
    }

    /// Whether it is root or has the user of this process, so that it needs no permission of this process.
    pub(crate) fn is_trusted(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "uid {}, process {pid}", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// Opens the socket at `path`, in place of one that no process serves any more. It belongs to `owner`, a user and a
/// group, if there is one.
///
/// # Errors
/// Why it cannot be opened, as the end of a sentence.
pub(crate) fn open(path: &Path, owner: Option<(u32, u32)>) -> Result<StdListener, String> {
    let is_socket = |path: &Path| {
        let found = fs::symlink_metadata(path);
        found.map(|found| found.file_type().is_socket())
    };
    if let Ok(false) = is_socket(path) {
        return Err(why(&io::ErrorKind::AddrInUse.into()));
    }
    if is_socket(path).is_ok() {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(
                "another gateway serves this socket; stop it, or give each gateway its own `admin`"
                    .to_owned(),
            ),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|error| why(&error))?;
            }
            Err(error) => return Err(why(&error)),
        }
    }
    // The socket appears at its path with its mode, so that no other user connects in between.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    if is_socket(beside).is_ok_and(|is_socket| is_socket) {
        let _ = fs::remove_file(beside);
    }
    let opened = StdListener::bind(beside).and_then(|listener| {
        listener.set_nonblocking(true)?;
        restrict(beside, owner)?;
        fs::rename(beside, path)?;
        Ok(listener)
    });
    opened.map_err(|error| why(&error))
}

/// Lets the owner and the group of a socket connect to it, and changes the owner if one is given.
///
/// Root does this in a folder in which the owner may write, who could put a link or another file there: what was opened
/// must be a socket, and that and nothing else is changed.
fn restrict(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let opened = format!("/proc/self/fd/{}", socket.as_raw_fd());
    fs::set_permissions(opened, fs::Permissions::from_mode(0o660))?;
    if let Some((user, group)) = owner {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        chownat(&socket, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "its folder does not exist; create the folder, owned by the user that wardgate runs as"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "the user that wardgate runs as has no write permission for its folder".to_owned()
        }
        io::ErrorKind::AddrInUse => {
            "this path is taken by a file that is no socket; choose another path".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Answers requests until `handed_over` is true: another process answers on the same socket then. The
/// supervisor receives the requests by `requests`.
pub(crate) async fn serve_requests(
    listener: StdListener,
    requests: mpsc::Sender<AdminRequest>,
    mut handed_over: watch::Receiver<bool>,
) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(ADMIN_REQUESTS_MAX));
    let mut connection = 0_u64;
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let next = async {
            // LIMIT: ADMIN_REQUESTS_MAX. The semaphore is never closed.
            if places.available_permits() == 0 {
                ReachedBound::AdminRequests.note();
            }
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            _ = handed_over.wait_for(|is_over| *is_over) => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let requests = requests.clone();
                connection = connection.wrapping_add(1);
                tasks.spawn_local(async move {
                    // A client that is gone gets no answer, and no other code needs its error.
                    let _ = answer(stream, requests, connection).await;
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn answer(
    stream: UnixStream,
    requests: mpsc::Sender<AdminRequest>,
    connection: u64,
) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let may_ask = may_ask(&stream, &credentials);
    let caller = Caller::new(credentials, connection);
    let mut stream = BufReader::new(stream);
    let mut deadline = ADMIN_REQUEST_DEADLINE;
    loop {
        let line = timeout(deadline, line(&mut stream)).await??;
        let command = match line.map(|line| Request::read(&line)) {
            Some(Ok(command)) => command,
            Some(Err(problem)) => {
                return send(&mut stream, &Answer::from(CommandReply::refused([problem]))).await;
            }
            None => return Ok(()),
        };
        if !may_ask {
            let why = format!(
                "uid {} is neither root nor the user of this gateway, and not in its group",
                caller.uid
            );
            return send(&mut stream, &Answer::from(CommandReply::refused([why]))).await;
        }
        let is_hand_over = command == Command::HandOver;
        let (answer, answered) = oneshot::channel();
        let request = AdminRequest {
            command,
            caller,
            answer,
        };
        let sent = requests.send(request).await;
        let answer = match sent {
            Ok(()) => answered.await.unwrap_or_else(|_| ending()),
            Err(_) => ending(),
        };
        send(&mut stream, &answer).await?;
        // The process that takes the listeners over reports on the same connection when it serves.
        if !(is_hand_over && answer.reply.ok) {
            return Ok(());
        }
        deadline = ADMIN_HAND_OVER_DEADLINE;
    }
}

// Root, the user of this process, and the members of its group.
fn may_ask(stream: &UnixStream, credentials: &UCred) -> bool {
    let (own, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let is_member = || {
        let groups = sys::peer_groups(stream).unwrap_or_default();
        credentials.gid() == group || groups.contains(&group)
    };
    credentials.uid() == 0 || credentials.uid() == own || is_member()
}

fn ending() -> Answer {
    CommandReply::refused(["the gateway is stopping".to_owned()]).into()
}

// One line without its end; `None` at the end of the stream.
async fn line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    // LIMIT: ADMIN_REQUEST_BYTES_MAX; the rest of a longer line is not read, and what was read is not understood.
    let mut bounded = stream.take(ADMIN_REQUEST_BYTES_MAX);
    bounded.read_until(b'\n', &mut bytes).await?;
    if bounded.limit() == 0 {
        ReachedBound::AdminRequestBytes.note();
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

async fn send(stream: &mut BufReader<UnixStream>, answer: &Answer) -> io::Result<()> {
    let write = async {
        let stream = stream.get_mut();
        stream.write_all(answer.reply.to_line().as_bytes()).await?;
        for some in answer.descriptors.chunks(ADMIN_DESCRIPTORS_IN_MESSAGE) {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            let pass = || send_descriptors(stream.as_fd(), &some);
            stream.async_io(Interest::WRITABLE, pass).await?;
        }
        Ok(())
    };
    timeout(ADMIN_REPLY_DEADLINE, write).await?
}

// One byte carries the file descriptors (unix(7), SCM_RIGHTS).
fn send_descriptors(socket: BorrowedFd<'_>, some: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ADMIN_DESCRIPTORS_IN_MESSAGE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(some));
    let flags = SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, flags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_gets_an_owner_and_a_mode_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("there is room");
        let (secret, link) = (dir.path().join("secret"), dir.path().join("admin.sock"));
        fs::write(&secret, "of root").expect("the folder is ours");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
        std::os::unix::fs::symlink(&secret, &link).expect("the folder is ours");
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        for path in [&link, &secret] {
            restrict(path, Some(own)).expect_err("it is no socket");
            let mode = fs::metadata(&secret).expect("it is there").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
        let path = dir.path().join("other.sock");
        let _socket = open(&path, Some(own)).expect("the folder is ours");
        let mode = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o660);
    }

    #[test]
    fn listeners_are_handed_over_to_root_and_the_own_user_only() {
        let own = rustix::process::geteuid().as_raw();
        let caller = |uid| Caller {
            uid,
            pid: None,
            connection: 1,
        };
        assert!(caller(0).is_trusted());
        assert!(caller(own).is_trusted());
        assert!(!caller(own + 1).is_trusted());
        assert!(!caller(65_534).is_trusted());
    }
}
