//! Faults of this machine and of this gateway.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Program, Site, free_port, wardgate};

use super::there::World;
use super::{Fault, Stopped, deny, examine, overwrite, report};
use crate::lab::{A, B};

const HERE: &str = "this_gateway";

/// A site with this identity whose target nobody has. Faults of the machine are reported before the target.
fn site(identity: &Leaf) -> Site {
    let listen = format!("127.0.0.1:{}", free_port());
    Site::with_identity(identity).originate(listen, "127.0.0.1:1", &[format!("dns:{B}")])
}

fn of_kind(world: &World, kind: Kind) -> Site {
    site(&world.pki.odd(A, kind))
}

fn with_key_mode(world: &World, mode: u32) -> Site {
    let leaf = world.pki.leaf(A);
    fs::set_permissions(&leaf.key, fs::Permissions::from_mode(mode)).expect("the file is ours");
    site(&leaf)
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "a mistyped key in the configuration",
            "configuration",
            HERE,
            "did you mean",
            |world| examine(&site(&world.pki.leaf(A)).set("lisen", "\"x\""), &[]),
        ),
        Fault::new(
            "a configuration that is no TOML",
            "configuration",
            HERE,
            "wardgate.toml:1",
            |world| {
                let stopped = Stopped::new(&site(&world.pki.leaf(A)));
                overwrite(&stopped.file(), "[gateway\n");
                let program = Program::new(wardgate());
                report(&program.args(stopped.arguments(&[])).run())
            },
        ),
        Fault::new(
            "the user of the service cannot read the key",
            "files",
            HERE,
            "chmod g+r",
            |world| examine(&with_key_mode(world, 0o600), &["--user", "nobody"]),
        ),
        Fault::new(
            "every user can read the key",
            "files",
            HERE,
            "open to every user",
            |world| examine(&with_key_mode(world, 0o644), &[]),
        ),
        Fault::new(
            "the file of the other site's CA is missing",
            "files",
            HERE,
            "the ca.pem of the other site",
            |world| {
                let mut leaf = world.pki.leaf(A);
                leaf.trust = world.pki.path("nosuch.pem");
                examine(&site(&leaf), &[])
            },
        ),
        Fault::new(
            "the key of another certificate",
            "certificate",
            HERE,
            "name the key that the certificate was issued for",
            |world| {
                let mut leaf = world.pki.leaf(A);
                leaf.key = world.pki.leaf("other.example").key;
                examine(&site(&leaf), &[])
            },
        ),
        Fault::new(
            "the own certificate has expired",
            "certificate",
            HERE,
            "wardgate pki renew",
            |world| examine(&of_kind(world, Kind::Expired), &[]),
        ),
        Fault::new(
            "the own certificate is not valid yet, or the clock is wrong",
            "certificate",
            HERE,
            "clock",
            |world| examine(&of_kind(world, Kind::NotYetValid), &[]),
        ),
        Fault::new(
            "the revocation list has expired",
            "trust",
            HERE,
            "fetch the current one",
            |world| {
                let site = site(&world.pki.leaf(A));
                examine(&site.crl(&world.pki.expired_crl()), &[])
            },
        ),
        Fault::new(
            "another program has the port of the listener",
            "listener",
            HERE,
            "in use by process",
            |world| {
                let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
                let listen = taken.local_addr().expect("it is bound").to_string();
                let site = site(&world.pki.leaf(A)).set("listen", format!("\"{listen}\""));
                examine(&site, &[])
            },
        ),
        Fault::new(
            "the listener has an address that this machine does not have",
            "listener",
            HERE,
            "no such address",
            |world| {
                let site = site(&world.pki.leaf(A)).set("listen", "\"203.0.113.7:11112\"");
                examine(&site, &[])
            },
        ),
        Fault::new(
            "a seccomp profile forbids io_uring",
            "io_uring",
            HERE,
            "allow io_uring_setup",
            |world| {
                deny(
                    "io_uring_setup=EPERM",
                    &Stopped::new(&site(&world.pki.leaf(A))),
                )
            },
        ),
        Fault::new(
            "the limit of open files is too low",
            "descriptors",
            HERE,
            "LimitNOFILE",
            |world| deny("files=100", &Stopped::new(&site(&world.pki.leaf(A)))),
        ),
        Fault::new(
            "the gateway does not run",
            "gateway",
            HERE,
            "systemctl start wardgate",
            |world| examine(&world.good_site(), &["good"]),
        ),
        Fault::new(
            "the route is drained",
            "listener",
            HERE,
            "--undo",
            World::examine_drained_route,
        ),
        Fault::new(
            "the route by which images come back cannot be opened",
            "return",
            HERE,
            "wardgate doctor back",
            |world| {
                let mut broken = world.pki.leaf("gw.back.example");
                broken.key = world.pki.path("nosuch.key");
                let listen = || format!("127.0.0.1:{}", free_port());
                let site = world
                    .originate("dicom", world.dead)
                    .name("out")
                    .set("return", "\"back\"")
                    .terminate(listen(), "127.0.0.1:1", &[format!("dns:{B}")])
                    .name("back")
                    .route_identity(&broken);
                examine(&site, &["out"])
            },
        ),
        Fault::new(
            "the name of the target is unknown",
            "name",
            HERE,
            "/etc/hosts",
            |world| {
                let site = site(&world.pki.leaf(A)).targets(&["gw.region.invalid:2762"]);
                examine(&site, &[])
            },
        ),
    ]
}
