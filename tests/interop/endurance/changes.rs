//! What an operator changes while the load goes on, one change after the other.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use wardgate_tests::stream::connect;
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Outcome, Pki};

use super::Plan;
use super::sites::{Links, Member, Role, replace};
use crate::peers::loopback;

/// The kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Reload,
    WrongReload,
    RotateCertificate,
    RotateList,
    Upgrade,
    DrainAndUndo,
    /// Only in the test of this test.
    Kill,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::WrongReload => "reload, invalid",
            Self::RotateCertificate => "new certificate and key",
            Self::RotateList => "new revocation list",
            Self::Upgrade => "upgrade",
            Self::DrainAndUndo => "drain and undo",
            Self::Kill => "kill and start",
        }
    }
}

/// A change of one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) role: Role,
    /// The number among the changes of this kind.
    pub(super) number: u32,
}

/// The changes of a plan in their order: all upgrades in the first half, so that the last processes see half
/// of the reloads and rotations.
pub(super) fn schedule(plan: &Plan) -> Vec<Change> {
    let of = |kinds: [Kind; 2], count: u32| {
        (0..count).map(move |number| Change {
            kind: kinds[usize::from(number % 2 == 1)],
            role: role(number / 2),
            number: number / 2,
        })
    };
    let mut reloads = of([Kind::Reload, Kind::WrongReload], plan.reloads);
    let mut rotations = of([Kind::RotateCertificate, Kind::RotateList], plan.rotations);
    let total = plan.reloads + plan.rotations;
    let mut changes = Vec::new();
    for at in 0..total {
        let is_rotation = (at + 1) * plan.rotations / total > at * plan.rotations / total;
        changes.extend(match is_rotation {
            true => rotations.next(),
            false => reloads.next(),
        });
    }
    let drain = Change {
        kind: Kind::DrainAndUndo,
        role: Role::A,
        number: 0,
    };
    changes.insert(changes.len() * 3 / 4, drain);
    let half = changes.len() / 2;
    let upgrades = usize::try_from(2 * plan.upgrades).expect("a few");
    // From the last to the first, so that earlier places stay valid.
    for at in (0..upgrades).rev() {
        let number = u32::try_from(at).expect("a few");
        let upgrade = Change {
            kind: plan.upgrade_by,
            role: role(number),
            number,
        };
        changes.insert((at + 1) * half / upgrades, upgrade);
    }
    changes
}

fn role(number: u32) -> Role {
    match number % 2 {
        0 => Role::A,
        _ => Role::B,
    }
}

/// What the changes need.
pub(super) struct Changes<'a> {
    pub(super) pki: &'a Pki,
    pub(super) links: &'a Links,
    /// A listener on a port that a wrong configuration asks for.
    pub(super) taken: TcpListener,
}

impl Changes<'_> {
    /// Makes a change, and waits until it is in use.
    pub(super) fn carry_out(&self, change: Change, member: &mut Member) -> Result<(), String> {
        match change.kind {
            Kind::Reload => self.reload(member, change.number + 1),
            Kind::WrongReload => self.reload_wrong(member, change.number),
            Kind::RotateCertificate => self.rotate_certificate(member),
            Kind::RotateList => self.rotate_list(member, change.number),
            Kind::Upgrade => upgrade(member),
            Kind::DrainAndUndo => self.drain_and_undo(member),
            Kind::Kill => {
                member.restart(self.links);
                Ok(())
            }
        }
    }

    fn reload(&self, member: &Member, variant: u32) -> Result<(), String> {
        let gateway = &member.gateway;
        gateway.write_config(&member.site(self.links, variant));
        success(gateway.command(&["reload"]).run(), "is in use")
    }

    fn reload_wrong(&self, member: &Member, variant: u32) -> Result<(), String> {
        let gateway = &member.gateway;
        let good = std::fs::read(gateway.config()).expect("our file");
        member.write_wrong_config(self.links, &self.taken, variant);
        let outcome = gateway.command(&["reload"]).run();
        std::fs::write(gateway.config(), good).expect("our file");
        let is_refused = outcome.status.is_some_and(|status| !status.success());
        match is_refused && outcome.text().contains("nothing was changed") {
            true => Ok(()),
            false => Err(format!("not refused as it should be: {outcome}")),
        }
    }

    fn rotate_certificate(&self, member: &Member) -> Result<(), String> {
        let next = self.pki.leaf(member.role.host());
        // As the gateway at the other end: its name is the one that the route expects.
        let client = self.pki.leaf(other(member.role).host());
        let before = rotations(member);
        replace(&next.certificate, &member.identity.certificate);
        replace(&next.key, &member.identity.key);
        within_deadline("the new certificate is not in use", || {
            rotations(member) > before
        })?;
        within_deadline("the new certificate is not presented", || {
            let socket = connect(([127, 0, 0, 1], member.wan).into());
            let mut peer = TlsPeer::client(&client, member.role.host(), TLS13, socket);
            let shaken = peer.handshake();
            shaken.is_ok() && peer.has_presented(&member.identity.certificate)
        })
    }

    fn rotate_list(&self, member: &Member, number: u32) -> Result<(), String> {
        let name = format!("{}-{number}.crl", member.role.host());
        let list = self.pki.large_crl(&name, number + 1);
        let before = rotations(member);
        replace(&list, &member.crl);
        within_deadline("the new list is not in use", || rotations(member) > before)
    }

    fn drain_and_undo(&self, member: &Member) -> Result<(), String> {
        let gateway = &member.gateway;
        let port = self.links.spare.entry;
        let drain = gateway.command(&["drain", "spare"]).run();
        success(drain, "accepts no new connections")?;
        within_deadline("the drained route does not refuse", || !accepts(port))?;
        thread::sleep(Duration::from_millis(300));
        let undo = gateway.command(&["drain", "--undo", "spare"]).run();
        success(undo, "accepts on")?;
        match accepts(port) {
            true => Ok(()),
            false => Err("the route does not accept after the undo".to_owned()),
        }
    }
}

fn upgrade(member: &mut Member) -> Result<(), String> {
    let gateway = &member.gateway;
    let before = gateway.serving().id();
    success(gateway.command(&["upgrade"]).run(), "serves now")?;
    let now = gateway.serving();
    member.processes.push(now);
    match now.id() == before {
        true => Err(format!("process {before} still serves")),
        false => Ok(()),
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::A => Role::B,
        Role::B => Role::A,
    }
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(loopback(port)).is_ok()
}

// A new process counts anew.
fn rotations(member: &Member) -> f64 {
    member
        .gateway
        .metric("wardgate_file_rotations_total{result=\"good\"}")
}

fn success(outcome: Outcome, text: &str) -> Result<(), String> {
    match outcome.succeeded() && outcome.text().contains(text) {
        true => Ok(()),
        false => Err(outcome.to_string()),
    }
}

fn within_deadline(what: &str, mut is_done: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !is_done() {
        if start.elapsed() > DEADLINE {
            return Err(format!("waited {DEADLINE:?}: {what}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
