//! A C-ECHO or an HL7 probe message through a connection of the examined target, as the health probes send it.

use std::io;

use time::OffsetDateTime;

use super::report::{Side, StepFinding};
use super::tls::{ChannelEnd, TargetTls};
use super::wire::Wire;
use crate::cli::limits::{DOCTOR_PROBE_BYTES_MAX, DOCTOR_STEP};
use crate::config::{HealthCheck, Probe};
use crate::dicom::{AeTitle, Echo, EchoStep};
use crate::hl7::{Reply, kind_of, question};
use crate::proxy;
use crate::stream_kind::StreamKind;
use crate::upstream::Titles;

/// A connection that carries a probe.
pub(super) enum ProbeChannel {
    /// Plaintext.
    Plain(Wire),
    /// TLS after the handshake.
    Tls(Box<TargetTls>),
}

impl ProbeChannel {
    fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelEnd> {
        match self {
            Self::Plain(wire) => wire.write_all(bytes).map_err(ChannelEnd::Socket),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>, ChannelEnd> {
        match self {
            Self::Tls(tls) => tls.receive(),
            Self::Plain(wire) => {
                let mut room = vec![0; 4096];
                match wire.read(&mut room).map_err(ChannelEnd::Socket)? {
                    0 => Err(ChannelEnd::Closed),
                    count => {
                        room.truncate(count);
                        Ok(room)
                    }
                }
            }
        }
    }
}

/// Sends the probe of a route and waits for the answer. `application` is the side of the target; `called` is the title
/// of a C-ECHO. `greets` is whether a PROXY header comes first, as in a health probe: it names no client.
pub(super) fn ask(
    channel: &mut ProbeChannel,
    health: &HealthCheck,
    called: AeTitle,
    application: Side,
    greets: bool,
) -> StepFinding {
    if greets && let Err(end) = channel.send(&proxy::local()) {
        let sentence = ended(&end, "the PROXY header");
        return StepFinding::failed_sentence(application, &sentence);
    }
    let answered = match health.probe {
        Probe::CEcho => {
            let calling = health.calling;
            echo(channel, Titles { calling, called })
        }
        Probe::Mllp => mllp(channel),
        Probe::Connect | Probe::Tls => return skipped(),
    };
    match answered {
        Ok(text) => StepFinding::ok(text),
        Err(sentence) => StepFinding::failed_sentence(application, &sentence),
    }
}

/// Whether the configuration sends probes to the application, so that one more is allowed.
pub(super) fn is_of_application(health: &HealthCheck) -> bool {
    matches!(health.probe, Probe::CEcho | Probe::Mllp)
}

/// The step on a route whose `health` allows no probe of the application.
pub(super) fn skipped() -> StepFinding {
    StepFinding::skipped(
        "`health` of this route sends no probe to the application; with health = \"c-echo\" (DICOM) or \"mllp\" (HL7) \
         this step sends one",
    )
}

fn echo(channel: &mut ProbeChannel, titles: Titles) -> Result<String, String> {
    let (mut echo, request) = Echo::begin(titles.calling, titles.called);
    let outcome = converse(channel, &mut echo, request, titles);
    let abort = echo.closing_pdu();
    if !abort.is_empty() {
        // The target may have closed already.
        let _ = channel.send(&abort);
    }
    finish(channel);
    match outcome {
        Err(sentence) if !echo.is_there() => Err(sentence),
        _ => Ok(format!("\"{}\" answered the C-ECHO", titles.called)),
    }
}

fn converse(
    channel: &mut ProbeChannel,
    echo: &mut Echo,
    request: Vec<u8>,
    titles: Titles,
) -> Result<(), String> {
    let mut next = EchoStep::Send(request);
    let (mut first, mut received) = (None, 0_usize);
    loop {
        let came = match next {
            EchoStep::Send(bytes) => {
                let sent = channel.send(&bytes);
                sent.map_err(|end| ended(&end, echo.awaited()))?;
                Vec::new()
            }
            EchoStep::Receive => {
                let came = channel.receive();
                came.map_err(|end| ended(&end, echo.awaited()))?
            }
            EchoStep::Close => return Ok(()),
        };
        received = received.saturating_add(came.len());
        bounded(received)?;
        first = first.or(StreamKind::of(&came));
        next = echo.take(&came).map_err(|why| {
            let sentence = titles.sentence(why, first);
            match sentence.contains("; ") {
                true => sentence,
                false => format!(
                    "{sentence}; start the application there if it does not run: a gateway that cannot reach its target \
                     rejects with \"temporary congestion\", and its log names the target"
                ),
            }
        })?;
    }
}

fn mllp(channel: &mut ProbeChannel) -> Result<String, String> {
    const AWAITED: &str = "an acknowledgement";
    let sent = channel.send(&question(OffsetDateTime::now_utc()));
    sent.map_err(|end| ended(&end, AWAITED))?;
    let mut reply = Reply::default();
    let (mut first, mut received) = (None, 0_usize);
    loop {
        let came = channel.receive().map_err(|end| ended(&end, AWAITED))?;
        received = received.saturating_add(came.len());
        bounded(received)?;
        let kind = *first.get_or_insert_with(|| kind_of(&came));
        let taken = reply.take(&came).map_err(|why| match kind {
            Some(kind) => {
                let remedy = kind.remedy();
                format!("the target answered in {kind}, not HL7 in MLLP frames; {remedy}")
            }
            None => format!("{why}; is HL7 in MLLP frames configured at the application?"),
        });
        if taken? {
            finish(channel);
            return Ok("the application acknowledged the probe message".to_owned());
        }
    }
}

fn finish(channel: &mut ProbeChannel) {
    if let ProbeChannel::Tls(tls) = channel {
        let _ = tls.close_notify();
    }
}

fn bounded(received: usize) -> Result<(), String> {
    // LIMIT: DOCTOR_PROBE_BYTES_MAX.
    match received > DOCTOR_PROBE_BYTES_MAX {
        true => Err(format!(
            "the target sent more than {DOCTOR_PROBE_BYTES_MAX} bytes without an answer; another program listens there"
        )),
        false => Ok(()),
    }
}

fn ended(end: &ChannelEnd, awaited: &str) -> String {
    match end {
        ChannelEnd::Socket(error) if error.kind() == io::ErrorKind::TimedOut => format!(
            "{awaited} did not arrive within {} s; check whether the application there hangs, and whether another program \
             listens there",
            DOCTOR_STEP.as_secs()
        ),
        ChannelEnd::Closed | ChannelEnd::Truncated => format!(
            "the connection was closed before {awaited} arrived; start the application there, and check that its port is \
             plaintext: a gateway whose target is unreachable closes the connection too, and its log names the target"
        ),
        ChannelEnd::Socket(error) => format!(
            "the connection broke before {awaited} arrived: {error}; start the application there: a gateway whose target \
             is unreachable resets the connection too, and its log names the target"
        ),
        ChannelEnd::Tls(error) => format!(
            "TLS failed before {awaited} arrived: {error}; the log of the other gateway has the reason"
        ),
    }
}
