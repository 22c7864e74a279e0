//! Starts the installed program for `wardgate upgrade`, on behalf of a gateway that may start none.
//!
//! The sandbox of a running gateway allows no thread to start a program, and a program that it started would inherit the
//! sandbox. So the gateway starts a launcher before it enters the sandbox: a process of the same program without any
//! file, key or socket of the gateway. It knows one act, which is to start `wardgate run` with the arguments that it got
//! at its own start, and it ends with the gateway. A gateway that was taken over can ask it only for that.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::main_thread;
use crate::supervisor::limits::{LAUNCH_WITHIN, LAUNCHER_LINE_BYTES_MAX};
use crate::sys;

/// The first argument of the launcher's process, which no user writes.
pub(crate) const LAUNCHER: &str = "launcher";

/// Starts a program.
const START: u8 = b's';
/// Kills the program that was started.
const KILL: u8 = b'k';

/// The gateway's end of a launcher.
pub(super) struct Launcher {
    program: PathBuf,
    // `None` if it could not be started, with the reason.
    socket: Result<UnixStream, String>,
    received: Vec<u8>,
    ended: Option<ExitStatus>,
}

impl Launcher {
    /// Starts a launcher of `program`, which the new gateway is: it runs the configuration `file` and takes over the
    /// listeners at the admin socket `admin`.
    pub(super) fn start(program: PathBuf, file: &Path, admin: Option<&Path>) -> Self {
        let started = match admin {
            Some(admin) => spawn(&program, file, admin).map_err(|error| {
                format!("the launcher {} did not start: {error}", program.display())
            }),
            None => Err("this gateway has no admin socket".to_owned()),
        };
        Self {
            program,
            socket: started,
            received: Vec::new(),
            ended: None,
        }
    }

    /// Starts the program.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn launch(&mut self) -> Result<(), String> {
        self.ended = None;
        let socket = self.socket.as_mut().map_err(|why| why.clone())?;
        let asked = socket
            .write_all(&[START])
            .and_then(|()| socket.set_nonblocking(false))
            .and_then(|()| socket.set_read_timeout(Some(LAUNCH_WITHIN)));
        let answered = asked.and_then(|()| {
            loop {
                let line = self.line()?.ok_or(io::ErrorKind::TimedOut)?;
                // An earlier program, which was killed, may end now.
                if !line.starts_with("ended ") {
                    return Ok(line);
                }
            }
        });
        if let Ok(socket) = &self.socket {
            let _ = socket.set_nonblocking(true);
        }
        let program = self.program.display();
        match answered {
            Ok(line) if line == "started" => Ok(()),
            Ok(why) => Err(format!("{program} cannot be started: {why}")),
            Err(error) => Err(format!(
                "the launcher of {program} does not answer ({error}); restart the service"
            )),
        }
    }

    /// How the program has ended, if it has.
    pub(super) fn try_ended(&mut self) -> Option<ExitStatus> {
        while self.ended.is_none() {
            let line = self.line().ok()??;
            let raw = line.strip_prefix("ended ")?.parse().ok()?;
            self.ended = Some(ExitStatus::from_raw(raw));
        }
        self.ended
    }

    /// Kills the program.
    pub(super) fn kill(&mut self) {
        if let Ok(socket) = &mut self.socket {
            // Without a launcher, the program has to end by itself: its hand-over fails.
            let _ = socket.write_all(&[KILL]);
        }
    }

    // The next line; `None` if there is none now.
    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.received.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            // LIMIT: LAUNCHER_LINE_BYTES_MAX.
            if self.received.len() > LAUNCHER_LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Ok(socket) = &mut self.socket else {
                return Ok(None);
            };
            let mut bytes = [0; 256];
            match socket.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self
                    .received
                    .extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn spawn(program: &Path, file: &Path, admin: &Path) -> io::Result<UnixStream> {
    let (own, other) = UnixStream::pair()?;
    own.set_nonblocking(true)?;
    own.set_write_timeout(Some(LAUNCH_WITHIN))?;
    let mut child = Command::new(program);
    child.arg(LAUNCHER).arg(file).arg(admin);
    // These name this process to the service manager's library.
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        child.env_remove(name);
    }
    child.stdin(OwnedFd::from(other)).stdout(Stdio::null());
    // It ends with this process, and is not waited for.
    child.spawn().map(|_| own)
}

/// The process of a launcher. `arguments` are the configuration and the admin socket. Ends with the gateway that started
/// it, and before that by no signal but SIGKILL: a service manager signals all processes of a service.
///
/// # Errors
/// The arguments are wrong, or signals cannot be handled.
pub(crate) fn run_launcher(arguments: &[OsString]) -> io::Result<()> {
    let [file, admin] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    sys::close_descriptors();
    let (runtime, _ignored) = main_thread()?;
    let _inside = runtime.enter();
    let _handled = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command
        .args(["run", "--config"])
        .arg(file)
        .arg("--take-over")
        .arg(admin);
    command.stdin(Stdio::null());
    let mut socket = UnixStream::from(rustix::io::dup(io::stdin())?);
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    let mut child: Option<Child> = None;
    loop {
        let mut request = [0];
        match socket.read(&mut request) {
            Ok(0) => return Ok(()),
            Ok(_) if request == [START] => {
                let answer = match command.spawn() {
                    Ok(started) => {
                        child = Some(started);
                        "started\n".to_owned()
                    }
                    Err(error) => format!("{error}\n"),
                };
                socket.write_all(answer.as_bytes())?;
            }
            Ok(_) if request == [KILL] => {
                // It may have ended.
                let _ = child.as_mut().map(Child::kill);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if let Some(status) = child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
        {
            child = None;
            socket.write_all(format!("ended {}\n", status.into_raw()).as_bytes())?;
        }
        // Without a child, there is nothing to look at.
        socket.set_read_timeout(child.as_ref().map(|_| LOOK_EVERY))?;
    }
}

/// How often a launcher looks whether its program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
