//! The archive sees the address of the modality: by transparent connections, and by PROXY headers, with real
//! programs at both ends.
//!
//! ```text
//! near 10.71.1.2, .3          gw-a ======= gw-b          far 10.71.2.2
//! storescu ---------------> 11112 ===> 2762 -(from 10.71.1.2)-> storescp 104
//! storescu, HAProxy 11113 -> 11113 ===> 2763 --- PROXY v2 ---> HAProxy 105 -> storescp 104
//! ```

use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Line, Pki, Program, Site, dicom, until};

use crate::lab::{A, B, ENTRY, Family, Lab, Place, TARGET, WAN};

const NEEDS: [Need; 5] = [
    Need::Namespaces,
    Need::Program("storescu"),
    Need::Program("storescp"),
    Need::Program("haproxy"),
    Need::Program("nft"),
];

/// The modality, and a second address of the same host.
const MODALITY: &str = "10.71.1.2";
const PROXY: &str = "10.71.1.3";

fn haproxy(lab: &Lab, place: Place, folder: &Path, lines: &str) -> Background {
    let file = folder.join(format!("{place:?}.cfg"));
    let text = format!(
        "global\n  maxconn 50\n  log stdout format raw local0 info\ndefaults\n  mode tcp\n  log global\n  \
         timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n  \
         log-format \"client %ci to %b\"\nlisten proxy\n{lines}"
    );
    std::fs::write(&file, text).expect("there is room");
    let program = lab.program(place, "haproxy").args(["-db", "-f"]).arg(&file);
    Background::start(&program)
}

/// Brings the answers of the archive, which are for the modality, to the gateway's sockets: the recipe of the
/// guide.
fn route_answers_to_the_gateway(lab: &Lab) {
    for command in [
        "nft add table inet wardgate",
        "nft add chain inet wardgate answers { type filter hook prerouting priority mangle ; }",
        "nft add rule inet wardgate answers iifname lan-b meta l4proto tcp socket transparent 1 meta mark set 1",
        "ip rule add fwmark 1 lookup 100",
        "ip route add local default dev lo table 100",
    ] {
        let mut words = command.split(' ');
        let name = words.next().expect("a program");
        let program = lab.program(Place::GatewayB, name).args(words);
        program.run().expect_success();
    }
    let via = Family::V4.host(Place::GatewayB, "lan-b");
    let route = ["route", "add", "10.71.1.0/24", "via", via];
    lab.program(Place::Far, "ip")
        .args(route)
        .run()
        .expect_success();
}

fn sites(lab: &Lab, pki: &Pki) -> [Site; 2] {
    let address = |place, link, port| Family::V4.address(place, link, port);
    let target = address(Place::Far, "lan-b", TARGET);
    let behind_proxy = address(Place::Far, "lan-b", TARGET + 1);
    let across = |port| address(Place::GatewayB, "wan", port);
    let a = Site::new(pki, A)
        .originate(
            address(Place::GatewayA, "lan-a", ENTRY),
            across(WAN),
            &[format!("dns:{B}")],
        )
        .set("carry_source", "true")
        .set("from", &*format!("[\"{MODALITY}/32\"]"))
        .originate(
            address(Place::GatewayA, "lan-a", ENTRY + 1),
            across(WAN + 1),
            &[format!("dns:{B}")],
        )
        .set("carry_source", "true")
        .set("accept_proxy", &*format!("[\"{PROXY}/32\"]"))
        .set("from", &*format!("[\"{MODALITY}/32\"]"))
        .netns(lab.namespace(Place::GatewayA));
    let b = Site::new(pki, B)
        .terminate(across(WAN), target, &[format!("dns:{A}")])
        .set("carry_source", "true")
        .set("carried_from", "[\"10.71.1.0/24\"]")
        .set("source", "\"transparent\"")
        .set(
            "health",
            "{ probe = \"c-echo\", interval = \"2s\", timeout = \"1s\" }",
        )
        .terminate(across(WAN + 1), behind_proxy, &[format!("dns:{A}")])
        .set("carry_source", "true")
        .set("send_proxy", "\"v2\"")
        .set(
            "health",
            "{ probe = \"c-echo\", interval = \"2s\", timeout = \"1s\" }",
        )
        .netns(lab.namespace(Place::GatewayB));
    [a, b]
}

#[test]
fn c_store_shows_the_archive_the_address_of_the_modality() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let (lab, pki) = (Lab::new(), Pki::new());
    let folder = TempDir::new().expect("there is room");
    let received = folder.path().join("received");
    std::fs::create_dir(&received).expect("there is room");
    let files = dicom::series(folder.path(), "WARDGATE", 2, 64);
    let add = ["addr", "add", &format!("{PROXY}/24"), "dev", "lan-a"].map(str::to_owned);
    lab.program(Place::Near, "ip")
        .args(add)
        .run()
        .expect_success();
    route_answers_to_the_gateway(&lab);
    // storescp writes the address of its client.
    let scp = lab
        .program(Place::Far, "storescp")
        .args(["-v", "-dhl", "+uf", "-od"])
        .arg(&received)
        .args(["-xcr", "echo \"archive: #f from #r\"", "-xs"])
        .arg(TARGET.to_string());
    let scp = Background::start(&scp);
    let mut archive = haproxy(
        &lab,
        Place::Far,
        folder.path(),
        &format!(
            "  bind 10.71.2.2:{} accept-proxy\n  server archive 127.0.0.1:{TARGET}\n",
            TARGET + 1
        ),
    );
    let mut near = haproxy(
        &lab,
        Place::Near,
        folder.path(),
        &format!(
            "  bind {MODALITY}:{}\n  server gateway 10.71.1.1:{} send-proxy-v2 source {PROXY}\n",
            ENTRY + 1,
            ENTRY + 1
        ),
    );
    let [a, b] = sites(&lab, &pki);
    let (b, a) = (b.start(), a.start());
    let up = |line: &Line| line.message().contains("is down");
    let store = |host: &str, port: u16| -> Program {
        lab.program(Place::Near, "storescu")
            .args([host, &port.to_string()])
            .args(&files)
    };
    store("10.71.1.1", ENTRY).run().expect_success();
    until("the archive's log", DEADLINE, || {
        scp.output().contains(MODALITY).then_some(())
    });
    store(MODALITY, ENTRY + 1).run().expect_success();
    archive.wait_for_output(&format!("client {MODALITY} to proxy"));
    near.wait_for_output(&format!("client {MODALITY} to proxy"));
    for gateway in [&a, &b] {
        let lines = until("two lines", DEADLINE, || {
            let mut lines = gateway.lines();
            lines.retain(|line| line.message() == "association" && line.number("objects") == 2);
            (lines.len() == 2).then_some(lines)
        });
        for line in &lines {
            assert!(line.is_from(MODALITY), "{line:?}");
        }
    }
    // The probes of B reach both targets: from its own address, and with the command LOCAL.
    assert!(!b.lines().iter().any(up), "{}", b.output());
    assert_eq!(dicom::objects(&received).len(), 4, "each object came twice");
    // The proxy's address is no client, and the modality is no proxy.
    let mut refused = store("10.71.1.1", ENTRY + 1).args(["-to", "5"]);
    refused = refused.deadline(DEADLINE);
    refused.run().expect_failure();
    let is_it = |line: &Line| line.text("reason").contains("networks of `accept_proxy`");
    a.wait_for_connection_line("refused", DEADLINE, is_it);
    a.stop();
    b.stop();
}

/// The service of the package has no right to do so; here the right is taken from root.
#[test]
fn a_transparent_route_without_the_capability_is_refused_with_the_remedy() {
    if !tier::ready("network", &[Need::Namespaces, Need::Program("setpriv")]) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let file = folder.path().join("wardgate.toml");
    Site::new(&pki, B)
        .terminate("127.0.0.1:0", "127.0.0.1:104", &[format!("dns:{A}")])
        .set(
            "listen",
            &*format!("\"127.0.0.1:{}\"", wardgate_tests::free_port()),
        )
        .set("source", "\"transparent\"")
        .write(&file);
    for (command, code) in [
        (&["run"][..], 78),
        (&["check", "--start"], 78),
        (&["check"], 0),
    ] {
        let without = "-net_raw,-net_admin";
        let program = Program::new("setpriv")
            .args(["--bounding-set", without, "--inh-caps", without])
            .arg(wardgate_tests::wardgate())
            .args(command)
            .arg("--config")
            .arg(&file);
        let outcome = program.run();
        let text = outcome.text();
        assert!(
            text.contains("needs the capability CAP_NET_RAW"),
            "{command:?}: {text}"
        );
        assert!(
            text.contains("route \"terminate-1\""),
            "{command:?}: {text}"
        );
        assert_eq!(outcome.succeeded(), code == 0, "{command:?}: {text}");
    }
}
