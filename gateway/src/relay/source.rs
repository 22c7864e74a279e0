//! The address of the client: read from a PROXY header or from the other gateway, and passed on.
//!
//! `client.address` in the log and all limits use the address of the TCP connection, which cannot be forged. The
//! named address is logged as `forwarded_for`, checked by `from` (PROXY header) or `carried_from` (other gateway), and shown
//! to the target.

use std::cell::RefCell;
use std::net::IpAddr;

use super::engine::Engine;
use super::limiter::LimiterPlace;
use super::open::{OpenError, ReceiveState};
use super::stats::NamedClient;
use super::task::ConnectionTask;
use crate::audit::{Close, CloseReason, ClosedBy, Deadline};
use crate::config::IpNetwork;
use crate::handshake::send_alert;
use crate::metrics::ClientStage;
use crate::proxy::limits::HEADER_WAIT;
use crate::proxy::{self, Ends, Header, ParsedHeader, TlsFacts};
use crate::route::Transport;
use crate::stream_kind::StreamKind;
use crate::tls::PeerVerification;
use crate::uring::{Network, Socket, SocketExt, sleep, until};

impl<V: Network> ConnectionTask<'_, V> {
    /// Reads the PROXY header of a connection, on a route that requires one. Not a byte behind it is read.
    pub(super) async fn read_proxy_header(&mut self, socket: &V::Socket) -> Result<(), Close> {
        let place = self.place(match self.route.transport {
            Transport::Originate(_) => ClientStage::FirstMessage,
            Transport::Terminate(_) => ClientStage::Handshake,
            Transport::Passthrough => ClientStage::Passthrough,
        });
        let time = async {
            tokio::select! {
                // LIMIT: HEADER_WAIT.
                () = sleep(HEADER_WAIT) => CloseReason::Illegal(format!(
                    "sent no whole PROXY header within {} s; turn the PROXY protocol on at the proxy, or remove \
                     accept_proxy",
                    HEADER_WAIT.as_secs()
                )),
                reason = self.handle.stopped() => reason,
                reason = place.ended() => reason,
            }
        };
        let header = match until(read_header(socket), time, || socket.abort()).await {
            (Ok(header), None) => header,
            (Err(reason), None) => {
                socket.abort();
                let by = self.client_side();
                return Err(Close { by, reason });
            }
            (_, Some(reason)) => {
                let by = ClosedBy::Gateway;
                return Err(Close { by, reason });
            }
        };
        drop(place);
        let checked = self.take_proxy_header(header);
        checked.inspect_err(|_| socket.abort())
    }

    fn take_proxy_header(&mut self, header: Header) -> Result<(), Close> {
        let from = self.route.config.from.as_deref();
        let reason = match header {
            Header::Named(ends) => {
                self.name_client(ends);
                match is_in(from, ends.source.ip()) {
                    true => return Ok(()),
                    false => CloseReason::SourceNotAllowed,
                }
            }
            // A proxy that is listed may check our health.
            Header::Local => {
                self.stats.client = NamedClient::Itself;
                return Ok(());
            }
            Header::Unnamed if from.is_none() => return Ok(()),
            Header::Unnamed => CloseReason::Illegal(
                "the PROXY header names no address, so `from` cannot allow it; let the proxy send the address, or \
                 remove `from`"
                    .to_owned(),
            ),
        };
        let by = ClosedBy::Gateway;
        Err(Close { by, reason })
    }

    /// Reads the header by which the other gateway names its client, on a terminate route that requires one,
    /// and returns the payload behind it.
    pub(super) async fn read_carried_source(
        &mut self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
        received: &mut ReceiveState,
        verification: &PeerVerification,
        place: &LimiterPlace<'_>,
    ) -> Result<Vec<u8>, Close> {
        // The other gateway sends the header at the end of its handshake.
        let limit = self.route.config.timeouts.handshake;
        let time = async {
            tokio::select! {
                () = sleep(limit) => CloseReason::Deadline(Deadline::Handshake),
                reason = self.handle.stopped() => reason,
                reason = place.ended() => reason,
            }
        };
        let mut bytes = Vec::new();
        let read = async {
            loop {
                match proxy::parse_binary(&bytes) {
                    Ok(ParsedHeader::Header(header, length)) => return Ok(Ok((header, length))),
                    Ok(ParsedHeader::More(_)) => {}
                    Err(error) => return Ok(Err(Some(error))),
                }
                if !received.first(tls, engine, &self.core.pool).await? {
                    return Ok(Err(None));
                }
                received.move_payload(&mut bytes);
                place.hold_bytes(bytes.capacity());
            }
        };
        let outcome = match until(read, time, || tls.abort()).await {
            (outcome, None) => outcome,
            (_, Some(reason)) => {
                let by = ClosedBy::Gateway;
                return Err(Close { by, reason });
            }
        };
        let reason = match outcome {
            Ok(Ok((header, length))) => match self.take_carried(header) {
                Ok(()) => return Ok(bytes.split_off(length)),
                Err(reason) => {
                    tls.abort();
                    let by = ClosedBy::Gateway;
                    return Err(Close { by, reason });
                }
            },
            Err(OpenError::Records(error)) => {
                let alert = engine.borrow_mut().final_alert();
                send_alert(tls, alert).await;
                self.wrong_record(&error, verification)
            }
            Ok(Err(None)) | Err(OpenError::Truncated | OpenError::Socket(_)) => {
                tls.abort();
                match bytes.is_empty() {
                    true => CloseReason::Empty,
                    false => {
                        CloseReason::Illegal("ended within the address of its client".to_owned())
                    }
                }
            }
            Ok(Err(Some(error))) => {
                tls.abort();
                CloseReason::Illegal(format!(
                    "the other gateway agreed to carry_source and sent {error}; compare the versions of both \
                     gateways"
                ))
            }
        };
        let by = ClosedBy::TlsPeer;
        Err(Close { by, reason })
    }

    fn name_client(&mut self, ends: Ends) {
        self.stats.client = NamedClient::Named(ends);
        self.handle.client.set(Some(ends.source));
    }

    fn take_carried(&mut self, header: Header) -> Result<(), CloseReason> {
        let named = match header {
            Header::Named(ends) => ends,
            // The probes of the other gateway.
            Header::Local => {
                self.stats.client = NamedClient::Itself;
                return Ok(());
            }
            // No gateway sends this: it would evade `carried_from`.
            Header::Unnamed if self.route.config.source.carried_from.is_some() => {
                return Err(CloseReason::CarriedNotAllowed);
            }
            Header::Unnamed => {
                self.stats.client = NamedClient::Itself;
                return Ok(());
            }
        };
        self.name_client(named);
        let allowed = self.route.config.source.carried_from.as_deref();
        match is_in(allowed, named.source.ip()) {
            true => Ok(()),
            false => Err(CloseReason::CarriedNotAllowed),
        }
    }

    /// Sends the header by which this gateway names its client to the other one, on an originate route that
    /// carries addresses: the first record after the handshake.
    pub(super) fn send_carried_source(
        &self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
    ) -> Result<(), CloseReason> {
        if !self.route.config.carries_source() {
            return Ok(());
        }
        let header = match self.stats.client {
            NamedClient::Itself => proxy::local(),
            _ => proxy::between(self.ends()),
        };
        let sealed = engine.borrow_mut().seal_alone(&header, &self.core.pool);
        let sealed = sealed.map_err(|error| CloseReason::Internal(error.to_string()))?;
        // The socket is new, so its buffer has room for one small record.
        let sent = tls.send_now(&sealed);
        sent.map_err(|error| CloseReason::Reset(error.to_string()))
    }

    /// Sends the PROXY header to a connected target, on a route that sends one: before all other bytes.
    pub(super) fn send_proxy_header(&self, target: &V::Socket) -> Result<(), Close> {
        if !self.route.config.source.sends_proxy {
            return Ok(());
        }
        let (peer, tls) = (self.stats.peer.as_ref(), self.stats.tls.as_ref());
        // As the specification writes it: "TLSv1.3".
        let versions = tls.map(|tls| format!("TLSv{}", tls.version));
        let facts = peer.zip(tls).zip(versions.as_deref());
        let facts = facts.map(|((peer, tls), version)| TlsFacts {
            version,
            identity: &peer.identity,
            suite: tls.suite,
        });
        let id = match self.stats.tunnel {
            Some(tunnel) => tunnel.to_string(),
            None => self.handle.id.to_string(),
        };
        let header = proxy::described(self.ends(), &id, facts.as_ref());
        let sent = target.send_now(&header);
        sent.map_err(|error| Close {
            by: ClosedBy::Target,
            reason: CloseReason::Reset(format!("before the PROXY header was sent: {error}")),
        })
    }

    /// The address from which targets are connected to, if it is not the gateway's own.
    pub(super) fn transparent_source(&self) -> Option<IpAddr> {
        if !self.route.config.source.is_transparent {
            return None;
        }
        let client = match self.stats.client {
            // A probe of the other gateway or of the proxy is no client.
            NamedClient::Itself => return None,
            NamedClient::Named(ends) => ends.source.ip(),
            NamedClient::Unnamed => self.source.ip(),
        };
        // A client on the other gateway's own machine has no address that the target could answer.
        (!client.is_loopback()).then_some(client)
    }

    // The ends of the client's connection: as named, or those of the TCP connection.
    fn ends(&self) -> Ends {
        match self.stats.client {
            NamedClient::Named(ends) => Ends::new(ends.source, ends.destination),
            NamedClient::Unnamed | NamedClient::Itself => {
                Ends::new(self.source, self.local.unwrap_or(self.route.config.listen))
            }
        }
    }

    fn client_side(&self) -> ClosedBy {
        match self.route.transport {
            Transport::Originate(_) => ClosedBy::PlainSide,
            Transport::Terminate(_) => ClosedBy::TlsPeer,
            Transport::Passthrough => ClosedBy::Source,
        }
    }
}

// Receives what belongs to the header, and nothing else.
async fn read_header<S: Socket>(socket: &S) -> Result<Header, CloseReason> {
    let mut bytes = Vec::new();
    loop {
        let more = match proxy::parse(&bytes) {
            Ok(ParsedHeader::Header(header, _)) => return Ok(header),
            Ok(ParsedHeader::More(more)) => more,
            Err(proxy::HeaderError::NoHeader) => {
                let kind = StreamKind::of(&bytes).unwrap_or(StreamKind::Unknown);
                return Err(CloseReason::Illegal(format!(
                    "sent {kind}, not a PROXY header; turn the PROXY protocol on at the proxy, or remove \
                     accept_proxy"
                )));
            }
            Err(error) => return Err(CloseReason::Illegal(format!("sent {error}"))),
        };
        let start = bytes.len();
        let room = start..start.saturating_add(more);
        bytes.resize(room.end, 0);
        let (outcome, back) = socket.read_some(bytes, room).await;
        bytes = back;
        match outcome {
            Ok(count) if count > 0 => bytes.truncate(start.saturating_add(count)),
            _ if start == 0 => return Err(CloseReason::Empty),
            _ => {
                return Err(CloseReason::Illegal(
                    "ended within its PROXY header".to_owned(),
                ));
            }
        }
    }
}

fn is_in(networks: Option<&[IpNetwork]>, address: IpAddr) -> bool {
    networks.is_none_or(|all| all.iter().any(|network| network.contains(address)))
}
