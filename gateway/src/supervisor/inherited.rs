//! Listeners that this process did not open itself: from the service manager, which keeps them while the
//! service restarts, or from the gateway in whose place this process starts.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::SockRef;

use crate::admin::ADMIN_DESCRIPTORS_IN_MESSAGE;
use crate::config::InterfaceName;
use crate::control::{Command, CommandReply, Request};
use crate::supervisor::limits::{HAND_OVER_WITHIN, REPLY_LINE_BYTES_MAX};
use crate::sys;

/// Listeners from another process that nothing has taken yet.
#[derive(Default)]
pub(super) struct Inherited {
    tcp: Vec<TcpListener>,
    admin: Option<UnixListener>,
}

impl Inherited {
    /// The listeners that the service manager passed (sd_listen_fds(3)).
    pub(super) fn from_service_manager() -> Self {
        let mut inherited = Self::default();
        // Without any, or with a number that is none, there are no listeners.
        if let Ok(passed) = sd_notify::listen_fds() {
            inherited.add(sys::adopt(passed));
        }
        inherited
    }

    // Whatever is no listener is closed.
    fn add(&mut self, descriptors: Vec<OwnedFd>) {
        for descriptor in descriptors {
            if !socket_acceptconn(&descriptor).unwrap_or(false) {
                continue;
            }
            match socket_domain(&descriptor) {
                Ok(AddressFamily::INET | AddressFamily::INET6) => {
                    let listener = TcpListener::from(descriptor);
                    // A socket of a socket unit that the service manager also keeps for the service comes twice.
                    let is_known = self.tcp.iter().any(|known| is_same(known, &listener));
                    if !is_known && listener.set_nonblocking(true).is_ok() {
                        self.tcp.push(listener);
                    }
                }
                Ok(AddressFamily::UNIX) => {
                    let listener = UnixListener::from(descriptor);
                    if listener.set_nonblocking(true).is_ok() {
                        self.admin = Some(listener);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the listener of this address and interface, if there is one.
    pub(super) fn take(
        &mut self,
        address: SocketAddr,
        interface: Option<&InterfaceName>,
    ) -> Option<TcpListener> {
        let at = self.position(address, interface)?;
        Some(self.tcp.swap_remove(at))
    }

    /// Whether there is a listener of this address and interface.
    pub(super) fn has(&self, address: SocketAddr, interface: Option<&InterfaceName>) -> bool {
        self.position(address, interface).is_some()
    }

    fn position(&self, address: SocketAddr, interface: Option<&InterfaceName>) -> Option<usize> {
        let wanted = interface.map(|interface| interface.as_str().as_bytes());
        self.tcp.iter().position(|listener| {
            let device = SockRef::from(listener).device().unwrap_or_default();
            listener.local_addr().is_ok_and(|own| own == address) && device.as_deref() == wanted
        })
    }

    /// Takes the admin socket, if it listens at `path`.
    pub(super) fn take_admin(&mut self, path: &Path) -> Option<UnixListener> {
        let own = self.admin.as_ref()?.local_addr().ok()?;
        // The socket was bound beside its path, and renamed.
        let bound = own.as_pathname()?.with_extension("");
        match bound == path {
            true => self.admin.take(),
            false => None,
        }
    }

    /// Listeners that nothing has taken; they are closed with this value.
    pub(super) fn left(&self) -> impl Iterator<Item = &TcpListener> {
        self.tcp.iter()
    }
}

fn is_same(one: &TcpListener, other: &TcpListener) -> bool {
    let at = |listener: &TcpListener| listener.local_addr().ok();
    let device = |listener: &TcpListener| SockRef::from(listener).device().ok();
    at(one) == at(other) && device(one) == device(other)
}

/// The connection to a running gateway in whose place this process starts.
pub(super) struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the gateway at the admin socket `path` for its listeners.
    ///
    /// # Errors
    /// Why it does not hand them over.
    pub(super) fn ask(path: &Path) -> Result<(Self, Inherited), String> {
        let shown = path.display();
        let connect = || -> io::Result<UnixStream> {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(HAND_OVER_WITHIN))?;
            socket.set_write_timeout(Some(HAND_OVER_WITHIN))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error| {
            format!("the running gateway cannot be reached at {shown}, so its place cannot be taken: {error}")
        })?;
        let mut predecessor = Self(socket);
        let reply = predecessor.request(Command::HandOver)?;
        let mut inherited = Inherited::default();
        let descriptors = predecessor.receive(reply.listeners.len());
        inherited.add(descriptors.map_err(|error| {
            format!("the gateway at {shown} did not hand its listeners over: {error}")
        })?);
        Ok((predecessor, inherited))
    }

    /// Notifies the gateway that this process serves now. The gateway then drains and ends.
    ///
    /// # Errors
    /// Why it does not end. This process has the listeners in any case.
    pub(super) fn take_over(mut self) -> Result<(), String> {
        self.request(Command::TakenOver).map(drop)
    }

    fn request(&mut self, command: Command) -> Result<CommandReply, String> {
        let name = command.name();
        let failed = |error: &dyn std::fmt::Display| {
            format!("the running gateway did not carry out the request \"{name}\": {error}")
        };
        let mut line = serde_json::to_string(&Request::new(command)).map_err(|e| failed(&e))?;
        line.push('\n');
        self.0.write_all(line.as_bytes()).map_err(|e| failed(&e))?;
        let text = self.line().map_err(|e| failed(&e))?;
        let reply: CommandReply = serde_json::from_slice(&text).map_err(|e| failed(&e))?;
        match reply.ok {
            true => Ok(reply),
            false => Err(failed(&reply.lines.join("; "))),
        }
    }

    // Byte by byte: a byte beyond the line may carry file descriptors, which a plain read would lose.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0];
        // LIMIT: REPLY_LINE_BYTES_MAX.
        while line.len() < REPLY_LINE_BYTES_MAX {
            self.0.read_exact(&mut byte)?;
            if byte == *b"\n" {
                return Ok(line);
            }
            line.extend_from_slice(&byte);
        }
        Err(io::Error::other("the reply is too long"))
    }

    fn receive(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut received = Vec::new();
        while received.len() < count {
            let before = received.len();
            let mut space = [MaybeUninit::uninit();
                rustix::cmsg_space!(ScmRights(ADMIN_DESCRIPTORS_IN_MESSAGE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let parts = &mut [IoSliceMut::new(&mut byte)];
            recvmsg(self.0.as_fd(), parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    received.extend(descriptors);
                }
            }
            if received.len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(received)
    }
}
