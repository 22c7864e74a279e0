//! Feeds a recording to the observer, split in many ways.

use gateway::strictness::Strictness;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use gateway::dicom::{
    Association, AssociationRole, AssociationRules, AssociationSummary, AssociationVerdict, Ending,
};
use gateway::hl7::{self, Conversation};

use crate::tap::Recording;

/// A recording is split at each of this number of bytes of each direction.
const PLACES: usize = 2048;
/// The number of random splits.
const RANDOM: u64 = 200;
/// The seed of the random splits.
const SEED: u64 = 0x5eed_0fa5_50c1_a000;
/// Recordings up to this length are also fed byte by byte.
const OCTETWISE_MAX: usize = 100_000;

type Parts<'a> = Vec<(AssociationRole, &'a [u8])>;

/// Checks that every split of a recording gives the same summary of an association, and returns it.
pub(super) fn assert_same_however_it_is_cut(recording: &Recording) -> AssociationSummary {
    let ended = *recording.ended.first().expect("it has ended");
    same_of_all_cuts(recording, |parts, how| association(parts, ended, how))
}

/// The same for an HL7 conversation.
pub(super) fn assert_same_conversation_however_it_is_cut(
    recording: &Recording,
) -> hl7::ConversationSummary {
    same_of_all_cuts(recording, conversation)
}

fn same_of_all_cuts<R: Debug + PartialEq>(
    recording: &Recording,
    play: impl Fn(&Parts, &str) -> R,
) -> R {
    let runs = runs(recording);
    let runs: Parts = runs.iter().map(|(by, run)| (*by, &**run)).collect();
    let whole = play(&runs, "whole");
    let assert_same = |parts: &Parts, how: &str| assert_eq!(play(parts, how), whole, "{how}");
    let recorded = recording.parts.iter();
    let recorded = recorded.map(|(by, part)| (*by, &**part)).collect();
    assert_same(&recorded, "as it was recorded");
    for by in [AssociationRole::Requestor, AssociationRole::Acceptor] {
        for place in 1..recording.of(by).len().min(PLACES) {
            assert_same(&in_two(&runs, by, place), &format!("{by} at {place}"));
        }
    }
    for number in 0..RANDOM {
        let seed = SEED ^ number;
        assert_same(&at_random(&runs, seed), &format!("seed {seed:#x}"));
    }
    if runs.iter().map(|(_, run)| run.len()).sum::<usize>() < OCTETWISE_MAX {
        assert_same(&pieces(&runs, |_| 1), "byte by byte");
    }
    whole
}

/// The bytes that one side sent before the other one did.
fn runs(recording: &Recording) -> Vec<(AssociationRole, Vec<u8>)> {
    let mut runs: Vec<(AssociationRole, Vec<u8>)> = Vec::new();
    for (by, bytes) in &recording.parts {
        match runs.last_mut() {
            Some((last, run)) if last == by => run.extend(bytes),
            _ => runs.push((*by, bytes.clone())),
        }
    }
    runs
}

/// Split at one position of one direction.
fn in_two<'a>(runs: &Parts<'a>, by: AssociationRole, mut place: usize) -> Parts<'a> {
    let mut parts = Vec::new();
    for (from, run) in runs {
        if *from == by && (1..run.len()).contains(&place) {
            let (before, behind) = run.split_at(place);
            parts.extend([(by, before), (by, behind)]);
            place = 0;
            continue;
        }
        if *from == by {
            place = place.saturating_sub(run.len());
        }
        parts.push((*from, *run));
    }
    parts
}

/// Split at many positions, mostly close together or mostly far apart.
fn at_random<'a>(runs: &Parts<'a>, seed: u64) -> Parts<'a> {
    let mut state = seed;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).expect("64 bits") % below
    };
    let length_max = [3, 20, 500, 5_000, 50_000][next(5)];
    pieces(runs, |_| 1 + next(length_max))
}

fn pieces<'a>(runs: &Parts<'a>, mut length: impl FnMut(&[u8]) -> usize) -> Parts<'a> {
    let mut parts = Vec::new();
    for (by, mut run) in runs.iter().copied() {
        while !run.is_empty() {
            let (piece, rest) = run.split_at(length(run).min(run.len()));
            parts.push((by, piece));
            run = rest;
        }
    }
    parts
}

// Strict, so that bytes that cannot be followed end the association.
fn association(parts: &Parts, ended: AssociationRole, how: &str) -> AssociationSummary {
    let now = Instant::now();
    let mut association = Association::new(
        Strictness::Strict,
        Arc::new(AssociationRules::default()),
        now,
    );
    for (by, bytes) in parts {
        let verdict = association.observe(*by, bytes, now);
        assert_eq!(
            verdict,
            AssociationVerdict::Pass,
            "{how}: {by}: {association:?}"
        );
    }
    association.finish(Ending::Closed { by: ended }, now)
}

fn conversation(parts: &Parts, how: &str) -> hl7::ConversationSummary {
    let now = Instant::now();
    let mut conversation = Conversation::new(Strictness::Strict);
    for (by, bytes) in parts {
        let role = match by {
            AssociationRole::Requestor => hl7::MllpRole::Sender,
            AssociationRole::Acceptor => hl7::MllpRole::Receiver,
        };
        let verdict = conversation.observe(role, bytes, now);
        assert_eq!(verdict, hl7::MllpVerdict::Pass, "{how}: {by}");
    }
    conversation.finish(now)
}
