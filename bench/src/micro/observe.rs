//! The observers: an object of a DICOM association in PDUs of two sizes, and HL7 messages.
//!
//! As on a route, the bytes come as payloads of records, 16 KiB each, split anywhere in a PDU, and the
//! results are counted for the metrics.

use gateway::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gateway::dicom::{AssociationRules, PduType};
use gateway::observe::{Direction, Observer};

use super::{Case, Turn};
use crate::load::dicom::pdu::{self, Command, Control, Proposal, write};

/// The bytes of one operation, as in the cases of records.
const RECORD: usize = 16 << 10;
/// Records of one turn.
const RECORDS: usize = 64;
/// The bytes of a message with its acknowledgement, and the number of pairs in a turn.
const MESSAGE: usize = 200;
const MESSAGES: usize = 1000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("observe-16k", || Store::begin(16 << 10)),
        case("observe-128k", || Store::begin(128 << 10)),
        Case {
            name: "observe-hl7",
            operations: MESSAGES as u32,
            octets: MESSAGE,
            begin: || Ok(Box::new(Talk::begin())),
        },
    ]
}

fn case(name: &'static str, begin: fn() -> anyhow::Result<Box<dyn Turn>>) -> Case {
    Case {
        name,
        operations: RECORDS as u32,
        octets: RECORD,
        begin,
    }
}

/// An association in which an endless object is stored.
struct Store {
    observer: Observer,
    // Complete PDUs of the object, repeated.
    object: Vec<u8>,
}

impl Store {
    fn begin(pdu_octets: usize) -> anyhow::Result<Box<dyn Turn>> {
        let sop_class = "1.2.840.10008.5.1.4.1.1.2";
        let proposal = Proposal {
            sop_class: sop_class.to_owned(),
            pdu_max: 0,
            outstanding: 1,
        };
        let (rules, counts) = (Arc::new(AssociationRules::default()), Some(Arc::default()));
        let mut observer = Observer::of_dicom(Strictness::Strict, rules, counts, Instant::now());
        for (direction, kind) in [
            (Direction::ToTarget, PduType::AssociateRq),
            (Direction::ToClient, PduType::AssociateAc),
        ] {
            let mut association = Vec::new();
            write(&mut association, kind, &proposal.body(kind))?;
            observe(&mut observer, direction, &association)?;
        }
        let command = Command::Store {
            message: 1,
            sop_class: sop_class.to_owned(),
            instance: "2.25.1".to_owned(),
        };
        let mut bytes = Vec::new();
        let command = command.bytes();
        let control = Control {
            command: true,
            last: true,
        };
        pdu::lay(&mut bytes, control, command.len(), |room| {
            room.copy_from_slice(&command);
        })?;
        observe(&mut observer, Direction::ToTarget, &bytes)?;
        let control = Control {
            command: false,
            last: false,
        };
        pdu::lay(&mut bytes, control, pdu_octets - HEADS, |_| {})?;
        let object = bytes.repeat(RECORDS * RECORD / pdu_octets);
        Ok(Box::new(Self { observer, object }))
    }
}

/// The bytes of the headers of a PDU and a presentation data value before the fragment.
const HEADS: usize = 12;

fn observe(observer: &mut Observer, direction: Direction, bytes: &[u8]) -> anyhow::Result<()> {
    let seen = observer.observe(direction, bytes, Instant::now());
    seen.context("the observer forbids what is legal")
}

impl Turn for Store {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        for record in self.object.chunks(RECORD) {
            let seen = self.observer.observe(Direction::ToTarget, record, start);
            assert!(seen.is_ok());
        }
        start.elapsed()
    }
}

/// Messages and their acknowledgements alternate.
struct Talk {
    observer: Observer,
    message: Vec<u8>,
    acknowledgement: Vec<u8>,
}

impl Talk {
    fn begin() -> Self {
        let acknowledgement = frame("MSH|^~\\&|B|B|A|A|20260101||ACK^A01|1|P|2.5\rMSA|AA|1\r");
        let head = "MSH|^~\\&|A|A|B|B|20260101||ADT^A01|1|P|2.5\rPID|1||";
        let rest = MESSAGE - acknowledgement.len() - frame(head).len();
        Self {
            observer: Observer::of_mllp(Strictness::Strict, Some(Arc::default())),
            message: frame(&format!("{head}{}", "x".repeat(rest))),
            acknowledgement,
        }
    }
}

/// A frame of MLLP.
fn frame(text: &str) -> Vec<u8> {
    [b"\x0b", text.as_bytes(), b"\x1c\r"].concat()
}

impl Turn for Talk {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..MESSAGES {
            let asked = self
                .observer
                .observe(Direction::ToTarget, &self.message, start);
            let answered = self
                .observer
                .observe(Direction::ToClient, &self.acknowledgement, start);
            assert_eq!((asked, answered), (Ok(()), Ok(())));
        }
        start.elapsed()
    }
}
