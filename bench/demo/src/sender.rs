//! The modality: a DICOM storage SCU that sends the study in plaintext to the gateway of its site.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use dicom_ul::association::{ClientAssociation, PDataWriter};
use dicom_ul::{ClientAssociationOptions, Pdu};

use super::dimse::{DataSetHasher, Receipt, StoreRequest};
use super::study::{Object, Series, Study};
use crate::limits;

/// The AE titles of an association.
#[derive(Debug, Clone, Copy)]
pub(super) struct Titles {
    /// AE title of the sender.
    pub(super) calling: &'static str,
    /// AE title of the archive.
    pub(super) called: &'static str,
}

/// The result of one object at the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// The object that was sent.
    pub(super) receipt: Receipt,
    /// The status in the archive's reply.
    pub(super) status: u16,
}

/// Sends every series of the study to `to`, one association each, and counts its bytes in `moved`.
pub(super) fn send(
    study: &Study,
    to: SocketAddr,
    titles: Titles,
    moved: &AtomicU64,
) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    for (number, series) in study.series.iter().enumerate() {
        send_series(series, to, titles, moved, &mut sent)
            .with_context(|| format!("sender: association {}", number + 1))?;
    }
    Ok(sent)
}

fn send_series(
    series: &Series,
    to: SocketAddr,
    titles: Titles,
    moved: &AtomicU64,
    sent: &mut Vec<Sent>,
) -> anyhow::Result<()> {
    let mut association = associate(series, to, titles)?;
    for (number, object) in series.objects.iter().enumerate() {
        // Message IDs must be unique only among open requests, and one is open at a time.
        let message = (number % usize::from(u16::MAX)) as u16 + 1;
        let outcome = store(&mut association, object, message, moved);
        sent.push(outcome.with_context(|| format!("object {}", object.sop_instance))?);
    }
    association.release().context("release")
}

fn associate(
    series: &Series,
    to: SocketAddr,
    titles: Titles,
) -> anyhow::Result<ClientAssociation<TcpStream>> {
    let mut options = ClientAssociationOptions::new()
        .calling_ae_title(titles.calling)
        .called_ae_title(titles.called)
        .max_pdu_length(limits::PDU_BYTES)
        .connection_timeout(limits::STALL)
        .read_timeout(limits::STALL)
        .write_timeout(limits::STALL);
    let mut kinds: Vec<_> = series.objects.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (class, syntax) in kinds {
        options = options.with_presentation_context(class, vec![syntax]);
    }
    let mut association = options.establish(to).context("cannot associate")?;
    association.inner_stream().set_nodelay(true)?;
    Ok(association)
}

fn kind(object: &Object) -> (&str, &str) {
    (&object.sop_class, &object.transfer_syntax)
}

fn store(
    association: &mut ClientAssociation<TcpStream>,
    object: &Object,
    message: u16,
    moved: &AtomicU64,
) -> anyhow::Result<Sent> {
    let mut contexts = association.presentation_contexts().iter();
    let agreed = contexts.find(|context| {
        (
            context.abstract_syntax.as_str(),
            context.transfer_syntax.as_str(),
        ) == kind(object)
    });
    let context = agreed
        .context("the archive did not accept its presentation context")?
        .id;
    let request = StoreRequest {
        sop_class: object.sop_class.clone(),
        sop_instance: object.sop_instance.clone(),
        message,
    };
    association.send(&request.to_pdu(context)?)?;
    let receipt = stream(association, object, context, moved)?;
    Ok(Sent {
        receipt,
        status: answer(association, &request)?,
    })
}

/// Sends a data set and returns its receipt.
fn stream(
    association: &mut ClientAssociation<TcpStream>,
    object: &Object,
    context: u8,
    moved: &AtomicU64,
) -> anyhow::Result<Receipt> {
    let mut through = HashingWriter {
        tally: DataSetHasher::new(),
        writer: association.send_pdata(context),
        moved,
    };
    let streamed = object.stream(&mut through);
    let HashingWriter { tally, writer, .. } = through;
    match streamed {
        Ok(()) => writer.finish()?,
        Err(error) => {
            // Dropping the writer would end the object as if it were complete.
            writer.abandon();
            return Err(error.into());
        }
    }
    Ok(tally.receipt(&object.sop_instance))
}

fn answer(
    association: &mut ClientAssociation<TcpStream>,
    request: &StoreRequest,
) -> anyhow::Result<u16> {
    match association.receive()? {
        Pdu::PData { data } => {
            let value = data.first().context("the reply of the archive is empty")?;
            request.parse_response(&value.data)
        }
        Pdu::AbortRQ { .. } => bail!("the association was aborted"),
        _ => bail!("the archive replied with a PDU other than P-DATA"),
    }
}

/// Hashes and counts the bytes that go into the PDUs.
struct HashingWriter<'a, W: Write> {
    tally: DataSetHasher,
    writer: PDataWriter<W>,
    moved: &'a AtomicU64,
}

impl<W: Write> Write for HashingWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write_all(bytes)?;
        self.tally.add(bytes);
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
