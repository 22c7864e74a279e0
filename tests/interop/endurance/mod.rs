//! An operator changes two gateways under load, and no transfer fails: reloads (half of them invalid), new
//! certificates and revocation lists, upgrades, a drain and its undo.
//!
//! ```text
//! storescu, movescu, steady.py, streams -> A ===> B -> storescp, dcmqrscp, receiver.py, streams
//!                               movescu <- A <=== B <- dcmqrscp: the return route
//! ```
//!
//! The same run with other numbers is `cargo xtask endurance --reload`.
//!
//! An earlier process closes an MLLP connection cleanly between two messages. The sender connects again; that is
//! no failure. If a message is on its way at that moment, the sender sees the end of the connection instead of
//! an acknowledgement and repeats the message, which must not have reached the receiver then.
//!
//! Memory and descriptors are compared between moments at which the load and the age of a process are the same:
//!
//! - descriptors at rest: the last process after the load has as many as the first one before it
//!   ([`DESCRIPTORS_MORE`]);
//! - memory under load at the age of the warm-up: the last process needs no more than the first one;
//! - memory under load at the end: the last process needs no more than at the age of the warm-up, although half
//!   of all reloads and rotations lie between ([`MEMORY_MORE`] for both).

mod changes;
mod load;
mod report;
mod sites;
mod transfers;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{DEADLINE, Pki, until};

use changes::{Changes, Kind, schedule};
use load::Load;
use report::{Made, Report, Resources};
use sites::{Links, Member, Role};

const NEEDS: [Need; 5] = [
    Need::Program("dcmqrscp"),
    Need::Program("movescu"),
    Need::Program("storescu"),
    Need::Program("storescp"),
    Need::Python,
];

/// Descriptors at rest that the last process may have more than the first one.
const DESCRIPTORS_MORE: usize = 2;
/// Bytes that a process may need more than the one it is compared with. The load is not the same at every moment.
const MEMORY_MORE: u64 = 8 << 20;

/// How much is changed, and in which time.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Of both gateways together; every second one is invalid.
    reloads: u32,
    /// Of both gateways together: a certificate with its key, or a revocation list.
    rotations: u32,
    /// Of each gateway.
    upgrades: u32,
    /// Between the first change and the last one.
    time: Duration,
    /// The age of a process under load at which its memory is compared.
    warm_up: Duration,
    upgrade_by: Kind,
}

impl Plan {
    const SHORT: Self = Self {
        reloads: 20,
        rotations: 10,
        upgrades: 3,
        time: Duration::from_secs(25),
        warm_up: Duration::from_secs(4),
        upgrade_by: Kind::Upgrade,
    };

    /// The numbers of `WARDGATE_ENDURANCE` ("reloads,rotations,upgrades,seconds"), or else the short plan.
    fn from_environment() -> Self {
        let Ok(text) = std::env::var("WARDGATE_ENDURANCE") else {
            return Self::SHORT;
        };
        let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        let Ok([reloads, rotations, upgrades, seconds]) = numbers.as_deref() else {
            panic!("WARDGATE_ENDURANCE is \"reloads,rotations,upgrades,seconds\", not {text:?}");
        };
        Self {
            reloads: *reloads,
            rotations: *rotations,
            upgrades: *upgrades,
            time: Duration::from_secs((*seconds).into()),
            warm_up: Duration::from_secs((seconds / 10).max(4).into()),
            upgrade_by: Kind::Upgrade,
        }
    }
}

#[test]
fn reloads_rotations_upgrades_and_a_drain_under_load_fail_no_transfer() {
    if !tier::ready("interop", &NEEDS) {
        return;
    }
    let report = run(&Plan::from_environment());
    println!("{report}");
    let failures = report.failures();
    assert!(failures.is_empty(), "{report}\n{}", failures.join("\n"));
}

/// A test of the test above: it finds the failed transfers when a gateway is killed instead of upgraded.
#[test]
fn killing_a_gateway_under_load_is_noticed_as_failed_transfers() {
    if !tier::ready("interop", &NEEDS) {
        return;
    }
    let report = run(&Plan {
        reloads: 2,
        rotations: 0,
        time: Duration::from_secs(2),
        warm_up: Duration::from_secs(1),
        upgrade_by: Kind::Kill,
        ..Plan::SHORT
    });
    let failed = |name| report.failed(name) > 0;
    for name in ["short streams", "stream, whole run", "spare, whole run"] {
        assert!(failed(name), "{name}\n{report}");
    }
    assert!(!report.failures().is_empty());
}

fn run(plan: &Plan) -> Report {
    let (pki, links) = (Pki::new(), Links::new());
    let mut members = [Role::B, Role::A].map(|role| Member::start(role, &pki, &links));
    let mut resources = [(); 2].map(|()| Resources::default());
    for (member, resources) in members.iter().zip(&mut resources) {
        resources.rest_first = member.gateway.process().descriptors();
    }
    let start = Instant::now();
    let load = Load::start(&links);
    thread::sleep(plan.warm_up);
    for (member, resources) in members.iter().zip(&mut resources) {
        resources.warm_first = member.gateway.process().resident_bytes();
    }
    let made = make_changes(plan, &pki, &links, &mut members, &mut resources);
    for (member, resources) in members.iter().zip(&mut resources) {
        resources.end = member.gateway.serving().resident_bytes();
    }
    let tallies = load.stop();
    let mut report = Report::new(start, made, tallies);
    for (member, resources) in members.into_iter().zip(resources) {
        end(member, resources, &mut report);
    }
    report
}

/// Makes all changes in equal steps of time. The last processes are measured on the way.
fn make_changes(
    plan: &Plan,
    pki: &Pki,
    links: &Links,
    members: &mut [Member; 2],
    resources: &mut [Resources; 2],
) -> Vec<Made> {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let changes = Changes { pki, links, taken };
    let schedule = schedule(plan);
    let step = plan.time / u32::try_from(schedule.len()).expect("a few").max(1);
    let start = Instant::now();
    let mut last_started = [start; 2];
    let mut made = Vec::new();
    for (number, change) in (1..).zip(schedule) {
        let at = members.iter().position(|member| member.role == change.role);
        let at = at.expect("both roles are there");
        let begun = Instant::now();
        let outcome = changes.carry_out(change, &mut members[at]);
        let one = Made {
            change,
            begun,
            took: begun.elapsed(),
            outcome,
        };
        println!("{:7.1} s: {one}", start.elapsed().as_secs_f64());
        made.push(one);
        if matches!(change.kind, Kind::Upgrade | Kind::Kill) {
            last_started[at] = Instant::now();
            resources[at].warm_last = 0;
        }
        thread::sleep((start + step * number).saturating_duration_since(Instant::now()));
        measure_warm(plan, members, resources, last_started);
    }
    while resources.iter().any(|one| one.warm_last == 0) {
        thread::sleep(Duration::from_millis(50));
        measure_warm(plan, members, resources, last_started);
    }
    made
}

fn measure_warm(
    plan: &Plan,
    members: &[Member; 2],
    resources: &mut [Resources; 2],
    last_started: [Instant; 2],
) {
    for ((member, resources), started) in members.iter().zip(resources).zip(last_started) {
        if resources.warm_last == 0 && started.elapsed() >= plan.warm_up {
            resources.warm_last = member.gateway.serving().resident_bytes();
        }
    }
}

/// The load has ended: nothing is left of it, and each process ends.
fn end(member: Member, mut resources: Resources, report: &mut Report) {
    let name = member.role.host();
    let gateway = &member.gateway;
    let last = gateway.serving();
    until("the last connections end", DEADLINE, || {
        let status = gateway.command(&["status", "--json"]).run();
        let status = status.expect_success().text();
        let reply: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        (reply["status"]["connections"] == 0).then_some(())
    });
    resources.rest_last = last.descriptors();
    let (_, earlier) = member.processes.split_last().expect("at least one");
    for process in earlier {
        until("an earlier process ends", DEADLINE, || {
            process.has_ended().then_some(())
        });
    }
    last.signal(rustix::process::Signal::TERM);
    until("the last process ends", DEADLINE, || {
        last.has_ended().then_some(())
    });
    report.add(name, resources, gateway);
}
