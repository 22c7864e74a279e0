//! Name servers of a machine that the C library reaches by an interface.

use std::fs;

use tempfile::TempDir;
use wardgate_tests::stream::{Ending, ending_of};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Pki, Program, Site, until, wardgate};

use crate::pair::{A, B, local};

/// A mount namespace with `$0` as the list of name servers.
const WITH_NAME_SERVERS: [&str; 5] = [
    "--mount",
    "--propagation=private",
    "sh",
    "-euc",
    "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\"",
];

/// Router advertisements bring such addresses (RFC 8106). The C library asks the kernel for the number of the
/// interface, in a thread with a list of system calls.
#[test]
fn a_name_server_with_a_link_local_address_does_not_end_the_gateway() {
    if !tier::ready("direct", &[Need::Root]) {
        return;
    }
    let folder = TempDir::new().expect("there is room");
    let servers = folder.path().join("resolv.conf");
    fs::write(
        &servers,
        "nameserver fe80::1%lo\noptions timeout:1 attempts:1\n",
    )
    .expect("ours");
    let pki = Pki::new();
    let own = pki.leaf(A);
    let entry = local();
    let config = folder.path().join("wardgate.toml");
    Site::with_identity(&own)
        .originate(entry, "gw.nowhere.example:2762", &[format!("dns:{B}")])
        .protocol("tcp")
        .write(&config);
    let program = Program::new("unshare")
        .args(WITH_NAME_SERVERS)
        .arg(&servers)
        .arg(wardgate())
        .args(["run", "--config"])
        .arg(&config);
    let mut gateway = Background::listening(&program, entry.port());
    // The failed look-up ends the connection, perhaps before the connect has returned.
    assert_eq!(ending_of(entry), (0, Ending::Reset));
    until("the look-up fails", DEADLINE, || {
        gateway
            .output()
            .contains("gw.nowhere.example")
            .then_some(())
    });
    // A violation would end the process at that moment.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!gateway.has_ended(), "{}", gateway.output());
}
