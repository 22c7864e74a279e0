//! The only file that uses rustls's unbuffered API, which rustls 0.24 removes.
//!
//! That API hands its caller one state of the connection at a time. `drive` turns the states into calls of
//! a `StateHandler`. After the handshake `KeySchedule` is the part of the connection that rustls keeps.

use std::sync::Arc;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{
    ClientConfig, CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, ServerConfig,
};

use super::outcomes::SealError;

/// rustls's connection of a client.
pub(super) type ClientConnection = rustls::client::UnbufferedClientConnection;
/// rustls's connection of a server.
pub(super) type ServerConnection = rustls::server::UnbufferedServerConnection;

/// Starts a handshake as a client.
pub(super) fn client(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<ClientConnection, Error> {
    ClientConnection::new(config, name)
}

/// Starts a handshake as a server.
pub(super) fn server(config: Arc<ServerConfig>) -> Result<ServerConnection, Error> {
    ServerConnection::new(config)
}

/// A connection in either role.
pub(super) enum States {
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

impl States {
    /// The result of the negotiation.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Handles the next state. `incoming` is the received data. Returns how many of its bytes were
    /// consumed.
    pub(super) fn process(
        &mut self,
        incoming: &mut [u8],
        handler: &mut impl StateHandler,
    ) -> Result<usize, Error> {
        match self {
            Self::Client(connection) => drive(connection.process_tls_records(incoming), handler),
            Self::Server(connection) => drive(connection.process_tls_records(incoming), handler),
        }
    }

    /// Takes out the keys after the handshake is complete.
    pub(super) fn into_secrets(self) -> Result<(ExtractedSecrets, KeySchedule), Error> {
        Ok(match self {
            Self::Client(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, KeySchedule::Client(Box::new(schedule)))
            }
            Self::Server(connection) => {
                let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
                (secrets, KeySchedule::Server(Box::new(schedule)))
            }
        })
    }
}

/// Receives the states of a connection. A state that it does not handle is skipped and comes again.
pub(super) trait StateHandler {
    /// Handshake messages, key updates and alerts to be sent, as records.
    fn control(&mut self, records: &[u8]);
    /// More must be received before the handshake goes on.
    fn blocked(&mut self) {}
    /// Payload of one record.
    fn payload(&mut self, _bytes: &[u8]) {}
    /// The peer has closed its direction, or both are closed.
    fn closed(&mut self) {}
    /// Payload may be written.
    fn ready<D>(&mut self, _writer: PayloadWriter<'_, D>) {}
}

fn drive<D>(
    status: UnbufferedStatus<'_, '_, D>,
    handler: &mut impl StateHandler,
) -> Result<usize, Error> {
    match status.state? {
        ConnectionState::EncodeTlsData(mut data) => handler.control(&encode(&mut data)),
        // The bytes are sent before anything that is sealed later.
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::BlockedHandshake => handler.blocked(),
        ConnectionState::WriteTraffic(traffic) => handler.ready(PayloadWriter(traffic)),
        ConnectionState::PeerClosed | ConnectionState::Closed => handler.closed(),
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                handler.payload(record?.payload);
            }
        }
        // Early data is disabled in every configuration, and this program knows no further states.
        _ => {
            return Err(Error::General(
                "unexpected state of the TLS connection".into(),
            ));
        }
    }
    Ok(status.discard)
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>) -> Vec<u8> {
    let mut records = Vec::new();
    // The first call only determines the necessary room.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut records) {
        records.resize(size.required_size, 0);
        let written = data.encode(&mut records).unwrap_or(0);
        records.truncate(written);
    }
    records
}

/// Writes records of payload, once the handshake is complete.
pub(super) struct PayloadWriter<'a, D>(WriteTraffic<'a, D>);

impl<D> PayloadWriter<'_, D> {
    /// Seals `plain` into `room` and returns the length of the records.
    pub(super) fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, SealError> {
        Ok(self.0.encrypt(plain, room)?)
    }

    /// Writes close_notify into `room` and returns its length.
    pub(super) fn close_notify(&mut self, room: &mut [u8]) -> Result<usize, SealError> {
        Ok(self.0.queue_close_notify(room)?)
    }
}

impl From<EncryptError> for SealError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(_) => Self::Misused,
            EncryptError::EncryptExhausted => Self::Exhausted,
        }
    }
}

/// rustls's key schedule, which continues when keys are updated.
pub(super) enum KeySchedule {
    /// Of a client.
    Client(Box<KernelConnection<ClientConnectionData>>),
    /// Of a server.
    Server(Box<KernelConnection<ServerConnectionData>>),
}

impl KeySchedule {
    /// Whether this side is the client.
    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    /// The sequence number and the keys to seal with next.
    pub(super) fn next_to_seal(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(schedule) => schedule.update_tx_secret(),
            Self::Server(schedule) => schedule.update_tx_secret(),
        }
    }

    /// The sequence number and the keys to open with next.
    pub(super) fn next_to_open(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(schedule) => schedule.update_rx_secret(),
            Self::Server(schedule) => schedule.update_rx_secret(),
        }
    }
}
