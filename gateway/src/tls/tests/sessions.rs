//! Two gateways of ours whose handshake is done, one at each end.

use super::authority::Authority;
use super::{Gateway, PEER, target};
use crate::buffers::Buffer;
use crate::config::PeerName;
use crate::tls::Cipher;
use crate::tls::session::{HandedOver, HandshakeStep, Session};

/// Client and server in the middle of their handshake: the client is done, and the server has not seen
/// its last flight.
pub(in crate::tls) struct Almost {
    pub(in crate::tls) client: Session,
    pub(in crate::tls) server: Session,
    pub(in crate::tls) last_flight: Vec<u8>,
}

impl Almost {
    pub(in crate::tls) fn begin() -> Self {
        let authority = Authority::new("Site CA");
        let us = Gateway::under(&authority);
        let mut peer =
            Gateway::under(&authority).with_peers(vec![PeerName::Dns("us.example".into())]);
        peer.own = authority.issue(&[PEER]);
        let (client, _) = us.connector().start(&target()).expect("a beginning");
        let (server, _) = peer.acceptor().start().expect("a beginning");
        let (mut client, mut server) = (Session::from(client), Session::from(server));
        let hello = run(&mut client, &[]).0;
        let answer = run(&mut server, &hello).0;
        let (last_flight, left) = run(&mut client, &answer);
        assert!(left.is_empty());
        Self {
            client,
            server,
            last_flight,
        }
    }

    /// Both done: the client first.
    pub(in crate::tls) fn end(mut self) -> (Session, Session) {
        run(&mut self.server, &self.last_flight);
        (self.client, self.server)
    }
}

/// Takes a handshake as far as `received` goes: what is to be sent, and what was not consumed.
pub(in crate::tls) fn run(session: &mut Session, received: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut incoming = Buffer::with_room(received.len() + 1);
    incoming.append(received);
    let mut outgoing = Vec::new();
    while session
        .advance(&mut incoming, &mut outgoing)
        .expect("good peers")
        == HandshakeStep::Progress
    {}
    (outgoing, incoming.filled().to_vec())
}

/// Hands a session over that must not stay with rustls: our layer, and early payload.
pub(in crate::tls) fn hand_over(
    session: Session,
    tail: &[u8],
    cipher: Cipher,
    key_records: u64,
) -> (crate::tls::post_handshake::InPlace, Vec<u8>) {
    match session.hand_over(tail, cipher, key_records) {
        Ok(HandedOver::InPlace(in_place, early)) => (*in_place, early),
        Ok(HandedOver::Kept(_)) => panic!("rustls kept it"),
        Err(error) => panic!("{error}"),
    }
}
