//! Fuzzes DICOM: the request with any bytes, and whole associations at any split.

#[path = "../../gateway/src/dicom/made.rs"]
mod made;
#[cfg(test)]
mod memory;
mod script;

use std::sync::Arc;
use std::time::Instant;

use gateway::dicom::{
    AssociateRq, AssociateRqError, Association, AssociationRole, AssociationRules,
    AssociationSummary, AssociationVerdict, DimseCommand, Ending,
};
use gateway::strictness::Strictness;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use self::script::Script;
use crate::choices::Choices;

/// The maximum allocation per byte of a request: contexts in a growing list, and UIDs that are in no
/// table.
const PER_BYTE: usize = 16;

/// The maximum memory of an observer besides the collected bytes of the current PDU: its counts, each
/// kind bounded.
const WATCHING_MAX: usize = 96 << 10;

/// Any bytes; the first byte selects the right length of the request or the written one.
pub(crate) fn read(input: &[u8]) -> String {
    let Some((choice, input)) = input.split_first() else {
        return String::new();
    };
    let mut octets = input.to_vec();
    let length = u32::try_from(octets.len().saturating_sub(6)).expect("short");
    if let (1, Some(there)) = (choice % 2, octets.get_mut(2..6)) {
        there.copy_from_slice(&length.to_be_bytes());
    }
    // Allocates the data that is made once per process.
    drop(AssociateRq::read(&made_once()));
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let whole = AssociateRq::read(&octets);
    let allocated = region.change().bytes_allocated;
    let bound = 256 + PER_BYTE * octets.len();
    assert!(allocated <= bound, "{allocated} bytes of {bound}");
    judge_prefixes(&octets, &whole);
    match whole {
        Ok(Some((request, _))) => {
            let named = request.contexts.iter().filter(|c| c.sop_class.is_some());
            let user = request.user;
            format!(
                "{} {} {} {}",
                request.contexts.len().min(4),
                named.count().min(3),
                user.implementation.is_some(),
                user.window.is_some()
            )
        }
        Ok(None) => "more".to_owned(),
        Err(no) => without_digits(&format!("{no:?}")),
    }
}

fn made_once() -> Vec<u8> {
    made::request("A", "B", &[(1, "1.2")])
}

// A beginning is refused only if the whole is refused, and then finally.
fn judge_prefixes(octets: &[u8], whole: &Result<Option<(AssociateRq, usize)>, AssociateRqError>) {
    let mut refused = None;
    for end in 0..=octets.len() {
        let read = AssociateRq::read(&octets[..end]);
        if let (Some(before), now) = (refused, &read) {
            assert_eq!(now, &Err(before), "at {end}");
        }
        match (&read, whole) {
            (Ok(None), Ok(Some((_, length)))) => assert!(end < *length, "at {end}"),
            (Ok(None), _) => {}
            (Err(no), Err(last)) => assert_eq!(no, last, "at {end}"),
            (read, whole) => assert_eq!(read, whole, "at {end}"),
        }
        refused = read.err();
    }
}

/// Two directions, whole, in pieces, and joined: the result is the same.
pub(crate) fn watch(input: &[u8]) -> String {
    let mut choices = Choices::new(input);
    let strictness = choices.pick(&[Strictness::Lenient, Strictness::Strict]);
    let rules = Arc::new(rules(&mut choices));
    let length = 1 + choices.below(40);
    let script = script::make(&mut choices);
    let play = |script: &Script| play(script, strictness, &rules);
    drop(play(&script::opening()));
    let whole = play(&script);
    assert_eq!(play(&script::cut(&script, length)), whole, "cut");
    assert_eq!(play(&script::joined(&script)), whole, "joined");
    whole.word()
}

fn rules(choices: &mut Choices<'_>) -> AssociationRules {
    let lists = [
        None,
        None,
        Some(vec![DimseCommand::CEcho, DimseCommand::CStore]),
    ];
    let commands = lists[choices.below(3)].clone();
    let octet = choices.octet();
    let titles = ["CT_1".parse().expect("a title")];
    AssociationRules {
        commands,
        enforce: octet.is_multiple_of(2),
        calling: (octet / 2).is_multiple_of(2).then(|| titles.to_vec()),
        by_title: (octet / 4).is_multiple_of(8),
        ..AssociationRules::default()
    }
}

/// The headers of PDUs in the bytes of one side, only by their lengths: like a receiver that checks
/// neither order nor contents.
#[derive(Default)]
struct Headers {
    header: Vec<u8>,
    // Bytes until the next header.
    left: u64,
    requests: usize,
}

impl Headers {
    fn pass(&mut self, octets: &[u8]) {
        for octet in octets {
            if self.left > 0 {
                self.left -= 1;
                continue;
            }
            self.header.push(*octet);
            if let [kind, _, a, b, c, d] = self.header[..] {
                self.requests += usize::from(kind == 1);
                self.left = u32::from_be_bytes([a, b, c, d]).into();
                self.header.clear();
            }
        }
    }
}

/// The result of an association.
#[derive(Debug, PartialEq)]
struct Watched {
    record: AssociationSummary,
    phase: String,
    // The states of the requestor and the acceptor, if neither ended it.
    between: Option<[bool; 2]>,
}

fn play(script: &Script, strictness: Strictness, rules: &Arc<AssociationRules>) -> Watched {
    let now = Instant::now();
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let mut association = Association::new(strictness, Arc::clone(rules), now);
    let mut end = None;
    let mut passed = 0;
    let mut forwarded = [Headers::default(), Headers::default()];
    for (by, octets) in script {
        passed += octets.len();
        match (association.observe(*by, octets, now), end) {
            (AssociationVerdict::Pass, None) => {
                let [requestor, acceptor] = &mut forwarded;
                match by {
                    AssociationRole::Requestor => requestor.pass(octets),
                    AssociationRole::Acceptor => acceptor.pass(octets),
                }
            }
            (AssociationVerdict::Pass, Some(_)) => panic!("a verdict was taken back"),
            (AssociationVerdict::End(reason), None) => end = Some(reason),
            (AssociationVerdict::End(reason), Some(before)) => assert_eq!(reason, before),
        }
    }
    let change = region.change();
    // The count is per process; the test runner may release memory of an earlier test at the same time.
    let held = change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated);
    let bound = WATCHING_MAX + 2 * passed;
    assert!(held <= bound, "{held} bytes of {bound}");
    let are_judged = rules.calling.is_some() || rules.by_title || rules.commands.is_some();
    if rules.enforce && are_judged {
        let [requestor, acceptor] = &forwarded;
        assert!(requestor.requests <= 1, "a second request was forwarded");
        assert_eq!(acceptor.requests, 0, "the acceptor's was forwarded");
        assert!(association.is_followed() || end.is_some());
    }
    let between = [AssociationRole::Requestor, AssociationRole::Acceptor]
        .map(|by| association.is_between_pdus(by));
    let followed = association.is_followed() || end.is_some();
    assert!(followed || between == [false; 2]);
    Watched {
        phase: format!("{:?}", association.phase()),
        between: end.is_none().then_some(between),
        record: association.finish(Ending::Stopped, now),
    }
}

impl Watched {
    fn word(&self) -> String {
        let record = &self.record;
        let not_followed = record.not_followed.map(|(_, what)| format!("{what:?}"));
        let ending = match &record.ending {
            Ending::Policy(reason) => format!("{reason:?}"),
            other => other.word().to_owned(),
        };
        let lists = [
            record.commands.len().min(4),
            record.failures.len().min(2),
            record.classes.len().min(3),
            record.destinations.len().min(2),
        ];
        let text = format!("{} {ending} {not_followed:?}", self.phase);
        let (objects, unmatched) = (record.objects().min(2), record.unmatched.min(1));
        format!("{} {lists:?} {objects} {unmatched}", without_digits(&text))
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}
