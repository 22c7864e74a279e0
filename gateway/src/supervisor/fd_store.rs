//! Keeps the listeners with the service manager (`FileDescriptorStoreMax=` of systemd.service(5)), which passes
//! them to the next process of the service. While none runs, the kernel queues the clients, so a restart refuses
//! none of them. Without a service manager it has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Weak};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::SockRef;

use crate::supervisor::limits::FD_STORE_WITHIN;

/// The listeners that the service manager keeps for this service, by their names.
pub(super) struct FdStore(BTreeMap<String, Weak<TcpListener>>);

impl FdStore {
    /// The service manager may keep these listeners of an earlier process, which this one does not use. It closes
    /// them when this process is the main process of the service and stores its own.
    pub(super) fn new<'a>(unused: impl Iterator<Item = &'a TcpListener>) -> Self {
        Self(
            unused
                .filter_map(name)
                .map(|name| (name, Weak::new()))
                .collect(),
        )
    }

    /// Makes the service manager keep these listeners and no others of this process.
    ///
    /// # Errors
    /// The service manager does not read; what it has got so far is remembered.
    pub(super) fn keep(&mut self, wanted: &BTreeMap<String, Arc<TcpListener>>) -> io::Result<()> {
        let is_wanted = |name: &String, kept: &Weak<TcpListener>| {
            let listener = wanted.get(name);
            listener.is_some_and(|listener| kept.as_ptr() == Arc::as_ptr(listener))
        };
        let differs = |(name, kept): &(&String, &Weak<TcpListener>)| !is_wanted(name, kept);
        let gone = self.0.iter().filter(differs).map(|(name, _)| name.clone());
        let gone: Vec<_> = gone.collect();
        let new = wanted.iter().filter(|(name, _)| {
            let kept = self.0.get(*name);
            kept.is_none_or(|kept| !is_wanted(name, kept))
        });
        let new: Vec<_> = new.collect();
        if gone.is_empty() && new.is_empty() {
            return Ok(());
        }
        let Some(manager) = Manager::connect()? else {
            return Ok(());
        };
        for name in gone {
            manager.forget(&name)?;
            self.0.remove(&name);
        }
        for (name, listener) in new {
            manager.keep(name, listener)?;
            self.0.insert(name.clone(), Arc::downgrade(listener));
        }
        Ok(())
    }
}

/// The name of a listener in the store: its address and interface. A name has no colon.
pub(super) fn name(listener: &TcpListener) -> Option<String> {
    let address = listener.local_addr().ok()?;
    let device = SockRef::from(listener).device().unwrap_or_default();
    let device = device.map(|device| format!("@{}", String::from_utf8_lossy(&device)));
    Some(format!("{address}{}", device.unwrap_or_default()).replace(':', "_"))
}

/// Makes the service manager close all listeners that it kept for this process, which cannot start: clients are
/// refused, and do not wait for a service that may not come.
pub(super) fn forget_passed() {
    let own = std::process::id().to_string();
    if env::var("LISTEN_PID").is_ok_and(|process| process == own) {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        forget(&names.split(':').collect());
    }
}

fn forget(names: &BTreeSet<&str>) {
    // An error means that there is no service manager, so no listener is kept.
    let Ok(Some(manager)) = Manager::connect() else {
        return;
    };
    for name in names {
        if manager.forget(name).is_err() {
            return;
        }
    }
}

/// The socket of the service manager (sd_notify(3)).
struct Manager(UnixDatagram);

impl Manager {
    fn connect() -> io::Result<Option<Self>> {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(None);
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(FD_STORE_WITHIN))?;
        Ok(Some(Self(socket)))
    }

    fn keep(&self, name: &str, listener: &TcpListener) -> io::Result<()> {
        let text = format!("FDSTORE=1\nFDNAME={name}\n");
        let descriptors = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(text.as_bytes())];
        sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={name}\n");
        self.0.send(text.as_bytes()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_listener_has_no_colon() {
        for (address, expected) in [("127.0.0.1:0", "127.0.0.1_"), ("[::1]:0", "[__1]_")] {
            let listener = TcpListener::bind(address).expect("an address of this machine");
            let port = listener.local_addr().expect("it is bound").port();
            assert_eq!(name(&listener), Some(format!("{expected}{port}")));
        }
    }
}
