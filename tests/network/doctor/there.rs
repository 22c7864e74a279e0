//! Faults of the other gateway and of the applications, opposite one real gateway on loopback.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use serde_json::Value;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Background, Gateway, Pki, Program, Site, copy_wardgate, free_port};

use super::servers::{ServerKind, start};
use super::{Fault, examine, report, steps};
use crate::lab::{A, B};

/// The certificates, the gateway of site B with a route for each fault, and a running site A.
pub(super) struct World {
    pub(super) pki: Pki,
    /// The terminate route whose archive is not running.
    pub(super) dead: SocketAddr,
    /// Whose HL7 receiver does not answer.
    silent: SocketAddr,
    /// Whose HL7 receiver acknowledges.
    good: SocketAddr,
    /// That lists another peer than site A.
    unlisted: SocketAddr,
    /// With a revocation list that names the certificate of `REVOKED`.
    revoked: SocketAddr,
    /// Whose certificate is of a CA that site A does not trust.
    foreign: SocketAddr,
    /// Whose certificate has another name than site A lists.
    renamed: SocketAddr,
    /// That trusts another CA than that of `UNTRUSTED`.
    untrusting: SocketAddr,
    _b: Mutex<Gateway>,
    a: Mutex<Gateway>,
    _storescp: Mutex<Background>,
}

const REVOKED: &str = "gw.revoked.example";
const UNTRUSTED: &str = "gw.untrusted.example";
const HEALTH_MLLP: &str = "{ probe = \"mllp\", interval = \"5min\", timeout = \"1s\" }";
const HEALTH_ECHO: &str = "{ probe = \"c-echo\", interval = \"5min\", timeout = \"1s\" }";

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

impl World {
    pub(super) fn new() -> Self {
        let pki = Pki::new();
        let [dead, silent, good, unlisted] = std::array::from_fn(|_| local());
        let [revoked, foreign, renamed, untrusting] = std::array::from_fn(|_| local());
        let [archive, scp] = std::array::from_fn(|_| local());
        let storescp = Program::new("storescp").arg(scp.port().to_string());
        let storescp = Background::listening(&storescp, scp.port());
        let peers = [format!("dns:{A}")];
        let closed = local();
        let untrusting_identity = Leaf {
            trust: pki.other_trust(),
            ..pki.leaf(B)
        };
        let b = Site::new(&pki, B)
            .peer_with_crls(
                "revoked",
                &[format!("dns:{REVOKED}")],
                &pki.trust(),
                &[&pki.crl()],
            )
            .terminate(dead, closed, &peers)
            .terminate(silent, start(ServerKind::Silent), &peers)
            .protocol("mllp")
            .terminate(good, start(ServerKind::Acknowledges), &peers)
            .protocol("mllp")
            .terminate(archive, scp, &peers)
            .terminate(unlisted, closed, &["dns:other.example"])
            .terminate(revoked, closed, &["revoked"])
            .terminate(foreign, closed, &peers)
            .route_identity(&pki.odd(B, Kind::OtherAuthority))
            .terminate(renamed, closed, &peers)
            .route_identity(&pki.leaf("gw.c.example"))
            .terminate(untrusting, closed, &[format!("dns:{UNTRUSTED}")])
            .route_identity(&untrusting_identity)
            .start();
        let a = originate(&pki, good, "mllp")
            .name("good")
            .set("health", HEALTH_MLLP)
            .originate(local(), good, &[format!("dns:{B}")])
            .protocol("mllp")
            .name("drained")
            .originate(local(), archive, &[format!("dns:{B}")])
            .name("archive")
            .set("health", HEALTH_ECHO)
            .start();
        let drained = a.command(&["drain", "drained"]).run();
        drained.expect_success();
        Self {
            pki,
            dead,
            silent,
            good,
            unlisted,
            revoked,
            foreign,
            renamed,
            untrusting,
            _b: Mutex::new(b),
            a: Mutex::new(a),
            _storescp: Mutex::new(storescp),
        }
    }

    /// Site A with one route to `target`.
    pub(super) fn originate(&self, protocol: &str, target: SocketAddr) -> Site {
        originate(&self.pki, target, protocol)
    }

    /// Site A with the route "good", which has no fault.
    pub(super) fn good_site(&self) -> Site {
        let site = originate(&self.pki, self.good, "mllp").name("good");
        site.set("health", HEALTH_MLLP)
    }

    fn examine_running(&self, route: &str) -> Value {
        report(&self.doctor(&["--json", route]).run())
    }

    /// `wardgate doctor` for the running site A.
    fn doctor(&self, more: &[&str]) -> Program {
        let a = self.a.lock().expect("no holder panics");
        let file = a.config();
        a.command(&["doctor"]).arg("--config").arg(file).args(more)
    }

    pub(super) fn examine_drained_route(&self) -> Value {
        self.examine_running("drained")
    }

    /// The report about a route without a fault names none, and the probe went through both gateways.
    fn examine_good_route(&self, route: &str, answer: &str) {
        let report = self.examine_running(route);
        let steps = steps(&report);
        let of = |name: &str| steps.iter().find(|step| step["step"] == name);
        for name in [
            "configuration",
            "gateway",
            "io_uring",
            "descriptors",
            "files",
            "certificate",
            "trust",
            "listener",
            "name",
            "source",
            "connect",
            "mtu",
            "tls",
            "identity",
            "acceptance",
            "probe",
        ] {
            let step = of(name).unwrap_or_else(|| panic!("no step {name}: {report:#}"));
            assert_eq!(step["result"], "ok", "{name}: {report:#}");
        }
        let probe = of("probe").expect("it was there");
        assert!(probe["target"].is_null(), "through the listener: {probe:#}");
        assert!(probe["text"].to_string().contains(answer), "{probe:#}");
    }

    /// Routes without a fault: with an HL7 receiver, and with an archive.
    pub(super) fn examine_good_routes(&self) {
        self.examine_good_route("good", "acknowledged the probe message");
        self.examine_good_route("archive", "answered the C-ECHO");
        let text = self.doctor(&["good"]).run().expect_success().text();
        assert!(text.contains("no fault found"), "{text}");
        let other = self.doctor(&["other"]).run();
        let code = other.status.and_then(|status| status.code());
        assert_eq!(code, Some(2), "{other}");
        assert!(other.text().contains("good, drained, archive"), "{other}");
    }

    /// A user who may read neither the keys nor the admin socket finds no fault that is none. `--user root` names a
    /// service that may read the keys.
    pub(super) fn examine_good_route_as_another_user(&self) {
        let (folder, config) = {
            let a = self.a.lock().expect("no holder panics");
            (a.folder().to_owned(), a.config())
        };
        let program = folder.join("wardgate");
        copy_wardgate(&program);
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("it is ours");
        for (user, files) in [(&[][..], "warning"), (&["--user", "root"], "ok")] {
            let doctor = Program::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&program)
                .args(["doctor", "--json", "archive", "--config"])
                .arg(&config)
                .args(user);
            let report = report(&doctor.run());
            let steps = steps(&report);
            let result = |name: &str| {
                let step = steps.iter().find(|step| step["step"] == name);
                step.unwrap_or_else(|| panic!("no step {name}: {report:#}"))["result"].clone()
            };
            for step in &steps {
                assert_ne!(step["result"], "failed", "{step:#}");
            }
            assert_eq!(result("gateway"), "warning", "{report:#}");
            assert_eq!(result("files"), files, "{report:#}");
            for (step, expected) in [
                ("configuration", "ok"),
                ("certificate", "skipped"),
                ("trust", "skipped"),
                ("listener", "ok"),
                ("connect", "ok"),
                ("tls", "skipped"),
            ] {
                assert_eq!(result(step), expected, "{step}: {report:#}");
            }
        }
    }
}

fn originate(pki: &Pki, target: SocketAddr, protocol: &str) -> Site {
    let site = Site::new(pki, A).originate(local(), target, &[format!("dns:{B}")]);
    site.protocol(protocol)
}

/// A site with another identity than site A, to the same target.
fn as_other(identity: &Leaf, target: SocketAddr) -> Value {
    let site = Site::with_identity(identity);
    examine(&site.originate(local(), target, &[format!("dns:{B}")]), &[])
}

/// The report of site A about a server of the test in place of the other gateway.
fn to_server(world: &World, kind: ServerKind) -> Value {
    examine(&world.originate("dicom", start(kind)), &[])
}

/// The report of a terminate route about its own target.
fn own_target(world: &World, protocol: &str, target: SocketAddr, health: &str) -> Value {
    let site = Site::new(&world.pki, B).terminate(local(), target, &[format!("dns:{A}")]);
    examine(&site.protocol(protocol).set("health", health), &[])
}

pub(super) fn faults() -> Vec<Fault> {
    [of_tls(), of_applications()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_tls() -> Vec<Fault> {
    const OTHER: &str = "other_gateway";
    const HERE: &str = "this_gateway";
    vec![
        Fault::new(
            "the other gateway accepts connections and stays silent",
            "tls",
            OTHER,
            "does the server expect TLS at this port?",
            |world| to_server(world, ServerKind::Silent),
        ),
        Fault::new(
            "the other gateway is plaintext DICOM",
            "tls",
            OTHER,
            "the server sent plaintext DICOM, not TLS",
            |world| to_server(world, ServerKind::Answers(b"\x07\0\0\0\0\x04\0\0\0\0")),
        ),
        Fault::new(
            "the other gateway asks for no certificate",
            "tls",
            OTHER,
            "certificate",
            |world| to_server(world, ServerKind::TlsOneSided(world.pki.leaf(B))),
        ),
        Fault::new(
            "the other gateway has TLS 1.2 with AES-128 only",
            "tls",
            OTHER,
            "AES-256-GCM",
            |world| to_server(world, ServerKind::TlsAes128(world.pki.leaf(B))),
        ),
        Fault::new(
            "the certificate of the other gateway has expired",
            "tls",
            OTHER,
            "install a renewed certificate",
            |world| to_server(world, ServerKind::Tls(world.pki.odd(B, Kind::Expired))),
        ),
        Fault::new(
            "the certificate of the other gateway is of an unknown CA",
            "tls",
            OTHER,
            "CA",
            |world| examine(&world.originate("dicom", world.foreign), &[]),
        ),
        Fault::new(
            "the certificate of the other gateway has a name that is not listed",
            "identity",
            HERE,
            "add \\\"dns:gw.c.example\\\"",
            |world| examine(&world.originate("dicom", world.renamed), &[]),
        ),
        Fault::new(
            "the other gateway does not list this site",
            "acceptance",
            OTHER,
            "access_denied",
            |world| examine(&world.originate("dicom", world.unlisted), &[]),
        ),
        Fault::new(
            "the other gateway does not trust the CA of this site",
            "acceptance",
            OTHER,
            "put that CA into its trust",
            |world| as_other(&world.pki.leaf(UNTRUSTED), world.untrusting),
        ),
        Fault::new(
            "the certificate of this site is revoked",
            "acceptance",
            HERE,
            "have a new one issued",
            |world| as_other(&world.pki.odd(REVOKED, Kind::Revoked), world.revoked),
        ),
    ]
}

fn of_applications() -> Vec<Fault> {
    const OURS: &str = "our_lan";
    const THEIRS: &str = "other_lan";
    vec![
        Fault::new(
            "the archive behind the other gateway is not running",
            "probe",
            THEIRS,
            "start the application",
            |world| {
                let site = world.originate("dicom", world.dead);
                examine(&site.set("health", HEALTH_ECHO), &[])
            },
        ),
        Fault::new(
            "the HL7 receiver behind the other gateway does not answer",
            "probe",
            THEIRS,
            "check whether the application there hangs",
            |world| {
                let site = world.originate("mllp", world.silent);
                examine(&site.set("health", HEALTH_MLLP), &[])
            },
        ),
        Fault::new(
            "the own archive is not running",
            "connect",
            OURS,
            "start the application",
            |world| own_target(world, "dicom", local(), HEALTH_ECHO),
        ),
        Fault::new(
            "the own archive rejects the called title",
            "probe",
            OURS,
            "set `called`",
            |world| {
                let archive = start(ServerKind::Answers(b"\x03\0\0\0\0\x04\0\x01\x01\x07"));
                own_target(world, "dicom", archive, HEALTH_ECHO)
            },
        ),
        Fault::new(
            "the own HL7 receiver does not answer",
            "probe",
            OURS,
            "check whether the application there hangs",
            |world| own_target(world, "mllp", start(ServerKind::Silent), HEALTH_MLLP),
        ),
    ]
}
