//! A proxy that records the bytes: between two applications without gateways, or between two gateways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use gateway::dicom::AssociationRole;
use wardgate_tests::{DEADLINE, until};

use crate::peers::loopback;

/// The bytes of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording {
    /// The bytes of each read. An answer comes after the bytes that it answers.
    pub(crate) parts: Vec<(AssociationRole, Vec<u8>)>,
    /// The sides that ended their direction, in this order.
    pub(crate) ended: Vec<AssociationRole>,
}

impl Recording {
    /// All bytes of one side.
    pub(crate) fn of(&self, by: AssociationRole) -> Vec<u8> {
        let parts = self.parts.iter().filter(|(from, _)| *from == by);
        parts.flat_map(|(_, bytes)| bytes).copied().collect()
    }
}

/// A proxy on its own port. It ends with the process.
pub(crate) struct Tap {
    pub(crate) port: u16,
    recordings: Arc<Mutex<Vec<Recording>>>,
}

impl Tap {
    /// Leads to a port on loopback, on which a program may listen later.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let recordings = Arc::default();
        let tap = Self {
            port,
            recordings: Arc::clone(&recordings),
        };
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A target that refuses looks like one that closes at once.
                if let Ok(far) = TcpStream::connect(loopback(target)) {
                    record(&recordings, &near, &far);
                }
            }
        });
        tap
    }

    /// The recorded connections, when this number has ended.
    pub(crate) fn recordings(&self, count: usize) -> Vec<Recording> {
        until(&format!("{count} connections end"), DEADLINE, || {
            let recordings = lock(&self.recordings);
            let ended = recordings.iter().filter(|one| one.ended.len() == 2);
            (ended.count() >= count).then(|| recordings.clone())
        })
    }

    /// All bytes of both directions until now, connection by connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let recordings = lock(&self.recordings);
        let both = |one: &Recording| {
            [
                one.of(AssociationRole::Requestor),
                one.of(AssociationRole::Acceptor),
            ]
            .concat()
        };
        recordings.iter().flat_map(both).collect()
    }
}

fn lock(recordings: &Mutex<Vec<Recording>>) -> MutexGuard<'_, Vec<Recording>> {
    recordings.lock().expect("no holder of this lock panics")
}

// The channel of finished connections.
#[derive(Clone)]
struct Place {
    recordings: Arc<Mutex<Vec<Recording>>>,
    index: usize,
}

impl Place {
    fn note(&self, act: impl FnOnce(&mut Recording)) {
        let mut recordings = lock(&self.recordings);
        act(recordings.get_mut(self.index).expect("none is taken away"));
    }
}

fn record(recordings: &Arc<Mutex<Vec<Recording>>>, near: &TcpStream, far: &TcpStream) {
    let place = {
        let mut all = lock(recordings);
        all.push(Recording::default());
        Place {
            recordings: Arc::clone(recordings),
            index: all.len() - 1,
        }
    };
    for (by, from, to) in [
        (AssociationRole::Requestor, near, far),
        (AssociationRole::Acceptor, far, near),
    ] {
        let from = from.try_clone().expect("there are descriptors");
        let to = to.try_clone().expect("there are descriptors");
        let place = place.clone();
        std::thread::spawn(move || pass(by, from, to, &place));
    }
}

fn pass(by: AssociationRole, mut from: TcpStream, mut to: TcpStream, place: &Place) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default();
        // Recorded before it is forwarded, so that no answer to it is recorded earlier.
        place.note(|recording| recording.parts.push((by, bytes.to_vec())));
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    // Either socket may be closed already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
    place.note(|recording| recording.ended.push(by));
}
