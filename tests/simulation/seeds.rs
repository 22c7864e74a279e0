//! From a seed to a scenario, and runs over many seeds.

use std::time::{Duration, Instant};

use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{Mode, Observe, Protocol, RecordLayer, Target, Timeouts};
use rustix::io::Errno;

use crate::app::{ApplicationReport, End, Order, Script};
use crate::chain::{Disturbance, Report, Scenario};
use crate::oracle::{is_whole, judge};
use crate::payload::OPENING_MAX;
use crate::random::Random;
use crate::site::{by_address, by_name};
use crate::socket::{HALF_SILENT_NAME, HALF_SLOW_NAME, REFUSING_PORT, SILENT_PORT, UNKNOWN_NAME};
use crate::wire::Nature;
use crate::world::{Fault, Faults};

/// Chains whose middle is TLS.
pub(crate) const TLS: [&[Mode]; 2] = [
    &[Mode::Originate, Mode::Terminate],
    &[Mode::Originate, Mode::Passthrough, Mode::Terminate],
];

/// Chains that pass bytes through as they are.
pub(crate) const PASSTHROUGH: [&[Mode]; 2] = [
    &[Mode::Passthrough],
    &[Mode::Passthrough, Mode::Passthrough],
];

/// The ways in which connections end permanently.
pub(crate) const FATAL: [Errno; 6] = [
    Errno::CONNRESET,
    Errno::PIPE,
    Errno::MFILE,
    Errno::NOBUFS,
    Errno::IO,
    Errno::TIMEDOUT,
];

impl Scenario {
    /// Without faults: applications that send and end cleanly, over fast wires.
    pub(crate) fn calm(seed: u64, modes: &[Mode], protocol: Protocol) -> Self {
        let nature = Nature {
            capacity: 64 << 10,
            transfer_max: 64 << 10,
            latency_max: Duration::from_millis(3),
            pause: (Duration::ZERO, Duration::from_millis(1)),
            keeps_data_behind_reset: true,
            altered: None,
        };
        Self {
            seed,
            modes: modes.to_vec(),
            protocol,
            observe: Observe::Lenient,
            bad_targets: Vec::new(),
            by_name: None,
            last_target: None,
            timeouts: Timeouts::default(),
            buffers: 2,
            pipes: 2,
            layers: vec![RecordLayer::InPlace; modes.len()],
            key_records: KEY_RECORDS_MAX,
            natures: vec![nature; modes.len() + 1],
            scripts: [Script::default(), Script::default()],
            faults: Faults::default(),
            disturbances: Vec::new(),
            drain_at: None,
            stop_at: None,
            end_at: None,
            flaw: None,
        }
    }

    /// The scenario of this seed.
    pub(crate) fn random(seed: u64, chains: &[&[Mode]]) -> Self {
        let mut random = Random::new(seed);
        let modes = random.pick(chains);
        let protocol = random.pick(&[Protocol::Tcp, Protocol::Mllp, Protocol::Dicom]);
        let mut scenario = Self::calm(seed, modes, protocol);
        if protocol == Protocol::Dicom {
            scenario.observe = random.pick(&[Observe::Off, Observe::Lenient, Observe::Strict]);
        }
        scenario.buffers = random.pick(&[0, 1, 2]);
        scenario.pipes = random.pick(&[0, 1, 2, 2]);
        let layer = |_| {
            random.pick(&[
                RecordLayer::InPlace,
                RecordLayer::InPlace,
                RecordLayer::Rustls,
            ])
        };
        scenario.layers = modes.iter().map(layer).collect();
        scenario.key_records = random.pick(&[KEY_RECORDS_MAX, 1, 7]);
        scenario.by_name = name(&mut random);
        scenario.bad_targets = bad_targets(&mut random);
        scenario.natures = modes
            .iter()
            .chain(&modes[..1])
            .map(|_| nature(&mut random))
            .collect();
        let narrowest = |nature: &Nature| nature.transfer_max.min(nature.capacity);
        let narrowest = scenario.natures.iter().map(narrowest).min();
        // Gateways run on Linux, where bytes that arrived before a reset can be read.
        let last = scenario.natures.len() - 1;
        for between in &mut scenario.natures[1..last] {
            between.keeps_data_behind_reset = true;
        }
        // So that no stream takes more than some hundred operations.
        let amount_max = 200 * narrowest.expect("there are wires") as u64;
        scenario.scripts = scripts(&mut random, amount_max);
        if protocol == Protocol::Dicom {
            converse(&mut scenario.scripts);
        }
        scenario.faults.passing_per_mille = random.pick(&[0, 0, 20, 200]);
        scenario.go_wrong(&mut random);
        scenario
    }

    // More than half of all scenarios have only short transfers and temporary failures.
    fn go_wrong(&mut self, random: &mut Random) {
        let soon = |random: &mut Random| {
            let most = random.pick(&[20, 200, 2000]);
            Duration::from_millis(random.below(most))
        };
        match random.below(19) {
            0 => self.scripts[0].leaves_at = Some(soon(random)),
            1 => self.scripts[1].leaves_at = Some(soon(random)),
            2 => self.scripts[0].leave_behind_some(random),
            3 => self.scripts[1].leave_behind_some(random),
            4 => self.stop_at = Some(soon(random)),
            5 => {
                let how = random.pick(&[Disturbance::Cut, Disturbance::Die]);
                let wire = random.length(self.natures.len()) - 1;
                self.disturbances.push((soon(random), wire, how));
            }
            6 => {
                let cause = random.pick(&FATAL);
                let at = random.below(200);
                let lasts = cause == Errno::NOBUFS || random.chance(500);
                self.faults.at = Some((at, Fault { cause, lasts }));
            }
            7 if self.modes.contains(&Mode::Originate) => {
                let wire = random.length(self.modes.len() - 1);
                let position = random.pick(&[300, 4000, 100_000]);
                let side = random.length(2) - 1;
                self.natures[wire].altered = Some((side, random.below(position)));
            }
            8 => self.drain_at = Some(soon(random)),
            _ => {}
        }
    }

    /// Whether the application on side `side` of the run reads all bytes that arrive on its wire, as long as
    /// it runs: it reads from the beginning, and only the other side ends the connection.
    pub(crate) fn must_take(&self, side: usize, wire: usize) -> bool {
        let reads = self.scripts[side].order != Order::SendThenReceive;
        reads && !self.is_disturbed(wire) && self.faults.at.is_none() && self.stop_at.is_none()
    }

    /// Whether the network does something to a wire.
    pub(crate) fn is_disturbed(&self, wire: usize) -> bool {
        let mut disturbed = self.disturbances.iter().map(|(_, which, _)| *which);
        disturbed.any(|which| which == wire)
    }

    /// Whether there are only temporary faults.
    pub(crate) fn is_calm(&self) -> bool {
        let leaves = |script: &Script| script.leaves_at.is_some() || script.leaves_behind.is_some();
        self.faults.at.is_none()
            && self.disturbances.is_empty()
            && self.stop_at.is_none()
            && self.drain_at.is_none()
            && self.bad_targets.is_empty()
            && self.natures.iter().all(|nature| nature.altered.is_none())
            && !self.scripts.iter().any(leaves)
    }
}

impl Script {
    fn leave_behind_some(&mut self, random: &mut Random) {
        self.leaves_behind = Some(random.below(self.amount + 1));
    }
}

// Each waits for the other's first PDU, so both must read from the beginning; if one waits for the other's
// end, the stream must have a complete first PDU.
fn converse(scripts: &mut [Script; 2]) {
    let waits = scripts.iter().any(|script| script.end != End::Finish);
    for script in scripts {
        script.order = Order::Both;
        script.amount += if waits { OPENING_MAX } else { 0 };
    }
}

fn name(random: &mut Random) -> Option<&'static str> {
    let names = ["next.example", HALF_SILENT_NAME, HALF_SLOW_NAME];
    random.chance(400).then(|| random.pick(&names))
}

fn bad_targets(random: &mut Random) -> Vec<Target> {
    let count = random.pick(&[0, 0, 0, 0, 1, 2]);
    let bad = [
        by_address(REFUSING_PORT),
        by_address(SILENT_PORT),
        by_name(UNKNOWN_NAME, 104),
    ];
    (0..count).map(|_| random.pick(&bad)).collect()
}

fn nature(random: &mut Random) -> Nature {
    let transfer_max = random.pick(&[20, 100, 1460, 16 << 10, 64 << 10, 1 << 20]);
    let pause_max = random.pick(&[0, 1, 3]);
    Nature {
        capacity: random.pick(&[64, 1000, 4096, 64 << 10, 1 << 20]),
        transfer_max,
        latency_max: Duration::from_millis(random.pick(&[0, 1, 5, 40])),
        pause: (Duration::ZERO, Duration::from_millis(pause_max)),
        keeps_data_behind_reset: random.chance(500),
        altered: None,
    }
}

fn scripts(random: &mut Random, amount_max: u64) -> [Script; 2] {
    let mut script = || {
        let most = random.pick(&[1, 60, 5000, 40_000, 40_000, 300_000]);
        let amount = random.below(most.min(amount_max) + 1);
        // So that no application needs more than some hundred turns for its bytes.
        let least = usize::try_from(amount / 300 + 1).expect("amounts fit in memory");
        Script {
            amount,
            chunk_max: least + random.pick(&[1, 100, 4000, 100_000]),
            stays: Duration::from_secs(random.pick(&[0, 0, 0, 60])),
            think_max: Duration::from_millis(random.pick(&[0, 0, 1, 10])),
            ..Script::default()
        }
    };
    let mut scripts = [script(), script()];
    // Which of the two handles one direction first, or waits for the other to end; if both did, they would
    // wait for each other forever.
    let which = random.length(2) - 1;
    match random.below(5) {
        0 => scripts[which].order = Order::SendThenReceive,
        // The other must send first, and in DICOM the connecting side sends first.
        1 => scripts[1].order = Order::ReceiveThenSend,
        2 => scripts[which].end = End::AfterPeer,
        _ => {}
    }
    scripts
}

/// Runs a scenario for each seed and checks it; fails with the seed and the violation.
///
/// `WARDGATE_SEED` replays one seed and prints its events, `WARDGATE_SEEDS` sets the number of seeds.
pub(crate) fn explore(count: u64, scenario: impl Fn(u64) -> Scenario) -> Tally {
    let number = |name| Some(std::env::var(name).ok()?.parse::<u64>().expect("a number"));
    let seeds = match number("WARDGATE_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("WARDGATE_SEEDS").unwrap_or(count),
    };
    let begun = Instant::now();
    let mut tally = Tally::default();
    for seed in seeds {
        let scenario = scenario(seed);
        let report = scenario.run();
        let wrong = judge(&scenario, &report);
        assert!(
            wrong.is_empty(),
            "seed {seed} (WARDGATE_SEED={seed} replays it):\n{}\n{scenario:#?}\n{report:#?}",
            wrong.join("\n"),
        );
        tally.add(&report);
    }
    println!("{tally:?} in {:?}", begun.elapsed());
    tally
}

/// Bytes of an A-ASSOCIATE-RJ or A-ABORT.
const CLOSING_PDU_BYTES: usize = 10;

/// How runs ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Both directions arrived completely.
    pub(crate) whole: u64,
    /// They did not, and the remaining applications saw it.
    pub(crate) broken: u64,
    /// An application received a PDU with the reason.
    pub(crate) with_closing_pdu: u64,
    operations: u64,
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.operations += report.operations;
        let has_closing_pdu =
            |story: &ApplicationReport| story.closing_pdu.len() == CLOSING_PDU_BYTES;
        self.with_closing_pdu +=
            u64::from(has_closing_pdu(&report.a) || report.b.iter().any(has_closing_pdu));
        match is_whole(report) {
            true => self.whole += 1,
            false => self.broken += 1,
        }
    }

    /// A tier with only one of the two results would prove nothing.
    pub(crate) fn expect_both(&self) {
        if std::env::var_os("WARDGATE_SEED").is_none() {
            let runs = self.whole + self.broken;
            assert!(self.whole > runs / 3 && self.broken > runs / 5, "{self:?}");
        }
    }

    /// The same holds for a tier without any PDU with a reason.
    pub(crate) fn expect_closing_pdus(&self) {
        if std::env::var_os("WARDGATE_SEED").is_none() {
            let runs = self.whole + self.broken;
            assert!(self.with_closing_pdu > runs / 50, "{self:?}");
        }
    }
}
