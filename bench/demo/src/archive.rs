//! The archive: a DICOM storage SCP that hashes what it receives and keeps nothing.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, bail};
use dicom_ul::association::ServerAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType};
use dicom_ul::{Pdu, ServerAssociationOptions};

use super::dimse::{DataSetHasher, Receipt, SUCCESS, StoreRequest};
use crate::limits;

/// The archive; it runs until the process ends.
pub(super) struct Archive {
    /// Where it listens.
    pub(super) addr: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// What the archive has received so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    /// The objects received, in order of arrival.
    pub(super) receipts: Vec<Receipt>,
    /// Associations that were released cleanly.
    pub(super) released: u64,
    /// Why the other associations failed.
    pub(super) faults: Vec<String>,
}

impl Archive {
    /// Accepts associations on `listener` for `title` in any of the transfer syntaxes.
    pub(super) fn start(
        listener: TcpListener,
        title: &'static str,
        transfer_syntaxes: &[String],
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Received::default()));
        let mut options = ServerAssociationOptions::new()
            .accept_called_ae_title()
            .ae_title(title)
            .promiscuous(true)
            .max_pdu_length(limits::PDU_BYTES)
            .read_timeout(limits::STALL)
            .write_timeout(limits::STALL);
        for syntax in transfer_syntaxes {
            options = options.with_transfer_syntax(syntax.clone());
        }
        let shared = Arc::clone(&received);
        let accept = move || {
            for socket in listener.incoming().flatten() {
                // The sender opens one association at a time; another one would wait in the backlog.
                let outcome = socket.set_nodelay(true).map_err(Into::into);
                let outcome = outcome.and_then(|()| {
                    let association = options.establish(socket).context("cannot associate")?;
                    serve(association, &shared)
                });
                let mut received = lock(&shared);
                match outcome {
                    Ok(()) => received.released += 1,
                    Err(error) => received.faults.push(format!("archive: {error:#}")),
                }
            }
        };
        thread::Builder::new()
            .name("archive".into())
            .spawn(accept)?;
        Ok(Self { addr, received })
    }

    /// What the archive has received so far.
    pub(super) fn received(&self) -> Received {
        lock(&self.received).clone()
    }
}

fn lock(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one association until it is released.
fn serve(
    mut association: ServerAssociation<TcpStream>,
    received: &Mutex<Received>,
) -> anyhow::Result<()> {
    let mut command = Vec::new();
    let mut open: Option<(StoreRequest, DataSetHasher)> = None;
    loop {
        let values = match association.receive()? {
            Pdu::PData { data } => data,
            Pdu::ReleaseRQ if open.is_none() => {
                association.send(&Pdu::ReleaseRP)?;
                return Ok(());
            }
            Pdu::ReleaseRQ => bail!("released in the middle of an object"),
            Pdu::AbortRQ { .. } => bail!("aborted by the sender"),
            _ => bail!("the sender sent a PDU other than P-DATA"),
        };
        for value in &values {
            if value.value_type == PDataValueType::Command {
                open = begin(value, &mut command)?.or(open);
            } else if let Some((request, receipt)) = take(value, &mut open)? {
                // The receipt is recorded before the reply: every object with a reply has a receipt.
                lock(received).receipts.push(receipt);
                let context = value.presentation_context_id;
                association.send(&request.response(context, SUCCESS)?)?;
            }
        }
    }
}

/// Collects the fragments of a command; returns the command when it is complete.
fn begin(
    value: &PDataValue,
    command: &mut Vec<u8>,
) -> anyhow::Result<Option<(StoreRequest, DataSetHasher)>> {
    if command.len() + value.data.len() > limits::PDU_BYTES as usize {
        bail!("a command of more than {} bytes", limits::PDU_BYTES);
    }
    command.extend(&value.data);
    if !value.is_last {
        return Ok(None);
    }
    let request = StoreRequest::parse(command)?;
    command.clear();
    Ok(Some((request, DataSetHasher::new())))
}

/// Hashes a fragment of a data set; returns the receipt after the last one.
fn take(
    value: &PDataValue,
    open: &mut Option<(StoreRequest, DataSetHasher)>,
) -> anyhow::Result<Option<(StoreRequest, Receipt)>> {
    let Some((_, tally)) = open else {
        bail!("a data set without a command");
    };
    tally.add(&value.data);
    if !value.is_last {
        return Ok(None);
    }
    Ok(open.take().map(|(request, tally)| {
        let receipt = tally.receipt(&request.sop_instance);
        (request, receipt)
    }))
}
