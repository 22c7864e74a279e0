//! Two routes of one gateway in this process, one originating to the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use gateway::supervisor;
use wardgate_tests::stream::{accept, bounded};
use wardgate_tests::{DEADLINE, Pki, Site, free_port, until};

/// The routes of a gateway that runs as long as this process.
pub(crate) struct RoutePair {
    entry: SocketAddr,
    exit: TcpListener,
    _pki: Pki,
}

impl RoutePair {
    pub(crate) fn start() -> Self {
        let pki = Pki::new();
        let exit = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let to = exit.local_addr().expect("it is bound");
        let [entry, wan] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        // A route may not accept its own site as its peer.
        let far = pki.leaf("gw.far.example");
        let identity = format!(
            "{{ certificate = {:?}, key = {:?}, trust = {:?} }}",
            far.certificate, far.key, far.trust
        );
        let site = Site::new(&pki, "gw.example")
            .originate(entry, wan, &["dns:gw.far.example"])
            .protocol("tcp")
            .terminate(wan, to, &["dns:gw.example"])
            .protocol("tcp")
            .set("identity", identity);
        let file = pki.path("wardgate.toml");
        site.write(&file);
        thread::spawn(move || supervisor::run(&file, None));
        Self {
            entry,
            exit,
            _pki: pki,
        }
    }

    /// A connection through both routes: the client's end and the server's end.
    pub(crate) fn join(&self) -> (TcpStream, TcpStream) {
        let client = until("the gateway does not listen", DEADLINE, || {
            TcpStream::connect(self.entry).ok()
        });
        (bounded(client), accept(&self.exit))
    }
}

/// A message and its echo, by turns.
pub(crate) fn exchange(client: &mut TcpStream, server: &mut TcpStream, count: usize) {
    let mut message = [7; 200];
    for _ in 0..count {
        client.write_all(&message).expect("it is connected");
        server.read_exact(&mut message).expect("it comes");
        server.write_all(&message).expect("it is connected");
        client.read_exact(&mut message).expect("it comes back");
    }
}
