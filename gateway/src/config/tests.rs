//! Whole configurations: wrong ones with their messages, good ones with their resolved values.

mod balance;
mod connect;
mod dicom;
mod mutations;
mod peers;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// The CPUs of the configurations in `tests/data/config`, on every machine.
const CPUS: [usize; 5] = [0, 1, 2, 3, 6];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/config")
}

fn parse_here(text: &str, file: &str) -> Result<Config, Vec<Problem>> {
    let file = Path::new(file);
    let place = FileContext {
        file,
        cpus: &CPUS,
        credentials: None,
    };
    parse_at(text, &place).config
}

/// The messages for `text`, one per line.
fn messages(text: &str, file: &str) -> String {
    let problems = parse_here(text, file).err().unwrap_or_default();
    let lines = problems
        .iter()
        .map(|problem| format!("{}\n", problem.display(Path::new(file))));
    lines.collect()
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// Set `WARDGATE_BLESS=1` to write the current messages, then read the difference.
#[test]
fn wrong_configurations_give_the_expected_messages() {
    let bless = std::env::var_os("WARDGATE_BLESS").is_some();
    let cases = toml_files(&data());
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    let mut differences = String::new();
    for case in cases {
        let name = case
            .file_name()
            .expect("it is a file")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&case).expect("it is text");
        let found = messages(&text, &name);
        assert!(!found.is_empty(), "{name} is accepted");
        let expected_path = case.with_extension("expected");
        if bless {
            fs::write(&expected_path, &found).expect("the folder can be written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            differences += &format!("{name}\nexpected:\n{expected}found:\n{found}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn good(name: &str) -> Config {
    let path = data().join("good").join(name);
    let text = fs::read_to_string(path).expect("it is in the repository");
    parse_good(&text, &format!("/etc/wardgate/{name}"))
}

fn parse_good(text: &str, file: &str) -> Config {
    parse_here(text, file).unwrap_or_else(|_| panic!("refused:\n{}", messages(text, file)))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("it is an address")
}

fn files(tls: &RouteTls) -> (&Path, &Path, &Path, Vec<&Path>) {
    let IdentityFiles {
        certificate,
        key,
        trust,
    } = &*tls.identity;
    let TrustFiles { trust, crl } = trust.as_deref().expect("it has trust");
    let crl = crl.iter().map(|crl| crl.value.as_path()).collect();
    (&certificate.value, &key.value, &trust.value, crl)
}

#[test]
fn every_good_configuration_is_accepted() {
    let cases = toml_files(&data().join("good"));
    assert!(cases.len() >= 3);
    for case in cases {
        let text = fs::read_to_string(&case).expect("it is text");
        parse_good(&text, "wardgate.toml");
    }
}

#[test]
fn the_documented_example_is_resolved_as_documented() {
    let config = good("design.toml");
    assert_eq!(config.file, Path::new("/etc/wardgate/design.toml"));
    assert_eq!(config.gateway.cores, CPUS);
    assert_eq!(
        config.gateway.admin.as_deref(),
        Some(Path::new("/run/wardgate/admin.sock"))
    );
    assert_eq!(config.gateway.metrics, Some(address("127.0.0.1:9464")));
    assert_eq!(config.gateway.log, LogFormat::Text);
    let [out, back] = &config.routes[..] else {
        panic!("two routes");
    };
    assert_eq!(
        (out.name.as_str(), out.mode, out.protocol),
        ("pacs-to-region", Mode::Originate, Protocol::Dicom)
    );
    assert_eq!(out.listen, address("10.20.0.5:11112"));
    let target = Target {
        host: Host::Name("gw.region.example".to_owned()),
        port: 2762,
        expected: Some([PeerName::Dns("gw.region.example".to_owned())].into()),
        connections: None,
    };
    assert_eq!(out.targets, [target]);
    assert_eq!(out.timeouts, Timeouts::default());
    let tls = out.tls.as_ref().expect("it speaks TLS");
    assert_eq!(
        tls.peers[0].identities,
        [PeerName::Dns("gw.region.example".to_owned())]
    );
    assert_eq!(
        (tls.policy, tls.key_exchange),
        (Policy::Hscn, KeyExchange::HybridPreferred)
    );
    let folder = Path::new("/etc/wardgate/pki");
    let [certificate, key, trust] =
        ["site.pem", "site.key", "trust.pem"].map(|name| folder.join(name));
    let crl = folder.join("trust.crl");
    assert_eq!(files(tls), (&*certificate, &*key, &*trust, vec![&*crl]));
    assert_eq!(back.mode, Mode::Terminate);
    assert_eq!(back.targets[0].host, Host::Ip([10, 20, 0, 9].into()));
    let tls = back.tls.as_ref().expect("it speaks TLS");
    assert_eq!(tls.identity.certificate.value, folder.join("region.pem"));
    // The route's identity replaces the whole identity of the site, including its CRL.
    assert!(tls.peers[0].trust.crl.is_empty());
}

#[test]
fn an_address_of_a_list_belongs_to_the_file_in_the_same_place() {
    let config = good("peers.toml");
    let [fetch] = &config.crl_fetches[..] else {
        panic!("one address: {:?}", config.crl_fetches);
    };
    assert_eq!(fetch.peer.name.as_deref(), Some("a"));
    assert_eq!(fetch.file.value, Path::new("/etc/wardgate/pki/a-ca.crl"));
    assert_eq!(
        fetch.url.value.as_str(),
        "http://crl.a.example:8080/a-ca.crl"
    );
}

#[test]
fn a_minimal_configuration_takes_the_defaults() {
    let config = good("minimal.toml");
    assert_eq!(config.gateway.cores, CPUS);
    assert!(!config.gateway.cores_listed);
    assert_eq!(config.gateway.busy_poll, None);
    assert_eq!(config.gateway.cipher, CipherSetting::Auto);
    assert_eq!(
        (config.gateway.admin.as_ref(), config.gateway.metrics),
        (None, None)
    );
    assert_eq!(config.gateway.web, None);
    assert_eq!(config.gateway.log, LogFormat::Text);
    let [route] = &config.routes[..] else {
        panic!("one route");
    };
    assert_eq!(route.line, 6);
    assert_eq!(route.timeouts, Timeouts::default());
    let tls = route.tls.as_ref().expect("it speaks TLS");
    assert_eq!(
        tls.identity.key.value,
        Path::new("/etc/wardgate/pki/site.key")
    );
    assert_eq!(tls.identity.key.line, 3);
}

#[test]
fn every_key_is_read_in_its_uncommon_forms() {
    let config = good("everything.toml");
    assert_eq!(config.gateway.cores, [0, 2, 6]);
    assert!(config.gateway.cores_listed);
    let busy_poll = Some(Duration::from_micros(1500));
    assert_eq!(config.gateway.busy_poll, busy_poll);
    assert_eq!(config.gateway.cipher, CipherSetting::Ring);
    assert_eq!(
        config.gateway.admin.as_deref(),
        Some(Path::new("/etc/wardgate/admin.sock"))
    );
    assert_eq!(config.gateway.metrics, Some(address("[::1]:9464")));
    let token = config
        .gateway
        .web
        .as_ref()
        .and_then(|web| web.token.as_ref());
    let token = token.map(|token| token.value.as_path());
    assert_eq!(token, Some(Path::new("/etc/wardgate/web.token")));
    assert_eq!(config.gateway.log, LogFormat::Json);
    let [mllp, any, native] = &config.routes[..] else {
        panic!("three routes");
    };
    assert_eq!(mllp.listen, address("[fd00::10]:2575"));
    let targets: Vec<_> = mllp.targets.iter().map(ToString::to_string).collect();
    assert_eq!(
        targets,
        [
            "[fd00::9]:2575",
            "engine.hospital.example:2575",
            "10.20.0.9:2575"
        ]
    );
    let tls = mllp.tls.as_ref().expect("it speaks TLS");
    let peers: Vec<_> = tls.peers[0]
        .identities
        .iter()
        .map(ToString::to_string)
        .collect();
    let digest = "sha256:aa5d27bc5d6b5ea9a2a1ef7e3f7d3f57a0f8b9ad3b6d1b0dd53a6c7f2a3e4b5c";
    assert_eq!(
        peers,
        [
            "dns:gw.region.example",
            "uri:spiffe://region.example/gateway",
            digest
        ]
    );
    assert_eq!(
        (tls.policy, tls.key_exchange),
        (Policy::DicomB12, KeyExchange::HybridRequired)
    );
    assert!(Arc::ptr_eq(
        &tls.identity,
        &any.tls.as_ref().expect("it speaks TLS").identity
    ));
    assert_eq!(
        any.tls.as_ref().map(|tls| tls.policy),
        Some(Policy::HscnTls13)
    );
    assert!(native.tls.is_none());
    assert_eq!(native.mode, Mode::Passthrough);
    let interface = any.interface.as_ref().map(InterfaceName::as_str);
    assert_eq!((interface, &mllp.interface), (Some("wan0.12"), &None));
}

#[test]
fn a_routes_timeouts_override_the_sites_key_by_key() {
    let config = good("everything.toml");
    let [mllp, any, native] = &config.routes[..] else {
        panic!("three routes");
    };
    let site = Timeouts {
        connect: Duration::from_millis(250),
        drain: Duration::from_secs(3600),
        drain_delay: Duration::from_secs(3),
        keepalive: Keepalive {
            idle: Duration::from_secs(90),
            probes: 3,
            ..Timeouts::default().keepalive
        },
        ..Timeouts::default()
    };
    // Neither the route nor the site sets the idle time.
    let idle = Some(limits::PASSTHROUGH_IDLE);
    let expected = Timeouts {
        idle,
        ..site.clone()
    };
    assert_eq!(native.timeouts, expected);
    let connections = [mllp, any, native].map(|route| route.connections);
    assert_eq!(connections, [Some(200), None, None]);
    let idle = Some(Duration::from_secs(3600));
    assert_eq!(
        any.timeouts,
        Timeouts {
            idle,
            ..site.clone()
        }
    );
    let expected = Timeouts {
        handshake: Duration::from_secs(10),
        user: Duration::from_secs(300),
        stall: Some(Duration::from_secs(8 * 3600)),
        keepalive: Keepalive {
            interval: Duration::from_secs(5),
            probes: 4,
            ..site.keepalive.clone()
        },
        // The same as for every MLLP route without this key.
        first_byte: None,
        ..site
    };
    assert_eq!(mllp.timeouts, expected);
}

#[test]
fn words_are_shown_as_they_are_configured() {
    let words = [Mode::Originate, Mode::Terminate, Mode::Passthrough].map(|mode| mode.to_string());
    assert_eq!(words, ["originate", "terminate", "passthrough"]);
    let words =
        [Protocol::Dicom, Protocol::Mllp, Protocol::Tcp].map(|protocol| protocol.to_string());
    assert_eq!(words, ["dicom", "mllp", "tcp"]);
    let words =
        [Policy::Hscn, Policy::HscnTls13, Policy::DicomB12].map(|policy| policy.to_string());
    assert_eq!(words, ["hscn", "hscn-tls13", "dicom-b12"]);
}

#[test]
fn a_file_of_another_format_gives_a_bounded_number_of_problems() {
    let text = "lorem = ipsum dolor sit amet\n".repeat(10_000);
    let problems = parse_here(&text, "wardgate.toml").expect_err("it is no configuration");
    assert_eq!(problems.len(), limits::CONFIG_PROBLEMS_MAX + 1);
    let last = problems.last().expect("there are some");
    assert_eq!(last.text, "and 9800 more problems; fix these first");
}

#[test]
fn more_routes_than_the_limit_are_refused() {
    use crate::config::limits::ROUTES_MAX;
    let mut text = String::new();
    for number in 0..=ROUTES_MAX {
        text += &format!(
            "[[route]]\nname = \"r{number}\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\n\
             listen = \"10.0.0.1:{}\"\ntargets = [\"10.0.0.2:1\"]\n",
            number + 1
        );
    }
    let found = messages(&text, "wardgate.toml");
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("more than 1024 routes"), "{found}");
    let fewer = text.rsplit_once("[[route]]").expect("there are routes").0;
    assert_eq!(parse_good(fewer, "wardgate.toml").routes.len(), ROUTES_MAX);
}

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc/wardgate.toml");
    fs::read_to_string(path).expect("it is in the repository")
}

/// The reference with every commented key active.
fn reference_in_full() -> String {
    let is_key = |rest: &str| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let lines = reference();
    let lines = lines.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if is_key(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_names_every_key_and_only_true_defaults() {
    let text = reference_in_full();
    for schema in schema::ALL.iter().filter(|schema| !schema.keys.is_empty()) {
        for key in schema.keys {
            let found = text.contains(&format!("{} = ", key.name))
                || text.contains(&format!("{}]", key.name));
            assert!(
                found,
                "{} {} is not in the reference",
                schema.header, key.name
            );
        }
    }
    let as_is = parse_good(&reference(), "wardgate.toml");
    let in_full = parse_good(&text, "wardgate.toml");
    assert_eq!(as_is.gateway.cores, in_full.gateway.cores);
    assert_eq!(as_is.gateway.log, in_full.gateway.log);
    assert_eq!(as_is.gateway.busy_poll, in_full.gateway.busy_poll);
    assert_eq!(as_is.gateway.cipher, in_full.gateway.cipher);
    let [as_is, in_full] = [&as_is.routes[0], &in_full.routes[0]];
    assert_eq!(as_is.timeouts, Timeouts::default());
    assert_eq!(in_full.timeouts, Timeouts::default());
    assert_eq!(
        (as_is.observe, in_full.observe),
        (Observe::Lenient, Observe::Lenient)
    );
    let enforce = |route: &RouteConfig| route.dicom.as_ref().map(|dicom| dicom.enforce);
    assert_eq!((enforce(as_is), enforce(in_full)), (Some(true), Some(true)));
    assert_eq!((&as_is.health, &in_full.health), (&None, &None));
    let tls = |route: &RouteConfig| route.tls.as_ref().map(|tls| (tls.policy, tls.key_exchange));
    assert_eq!(tls(as_is), tls(in_full));
}

#[test]
fn every_key_of_a_table_stands_in_that_table_of_the_reference() {
    let text = reference_in_full();
    let mut header = "";
    let mut written = std::collections::HashSet::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            header = line;
        } else if let Some((key, _)) = line.split_once(" = ") {
            written.insert((header, key));
        }
    }
    let tables = [
        &schema::GATEWAY,
        &schema::IDENTITY,
        &schema::PEER,
        &schema::TIMEOUTS,
        &schema::ROUTE_IDENTITY,
        &schema::ROUTE_TIMEOUTS,
        &schema::ROUTE_AE,
        &schema::ROUTE_HEALTH,
    ];
    for schema in tables {
        for key in schema.keys {
            assert!(
                written.contains(&(schema.header, key.name)),
                "{} {}",
                schema.header,
                key.name
            );
        }
    }
}

#[test]
fn routes_share_an_address_where_each_has_its_interface() {
    let text = fs::read_to_string(data().join("good/minimal.toml")).expect("it is text");
    let (site, route) = text.split_at(text.find("[[route]]").expect("it has one"));
    let listen = route
        .lines()
        .find(|line| line.starts_with("listen"))
        .expect("a listener");
    // One of them listens on every address, which an originate route may do only on one interface.
    let with = |name: &str, address: &str, interface: &str| {
        let name_line = route
            .lines()
            .find(|line| line.starts_with("name"))
            .expect("a name");
        let route = route.replace(name_line, &format!("name = \"{name}\""));
        let lines = format!("listen = \"{address}\"\ninterface = \"{interface}\"");
        route.replace(listen, &lines)
    };
    let a = with("a", "0.0.0.0:11112", "lan0");
    let b = with("b", "10.20.0.5:11112", "lan1");
    let config = parse_good(&format!("{site}{a}\n{b}"), "wardgate.toml");
    assert_eq!(config.routes.len(), 2);
    let same = with("b", "10.20.0.5:11112", "lan0");
    let found = messages(&format!("{site}{a}\n{same}"), "wardgate.toml");
    assert!(found.contains("overlap"), "{found}");
}

#[test]
fn a_credential_is_a_file_in_the_folder_of_the_service() {
    let text = fs::read_to_string(data().join("credential-wrong.toml")).expect("the file is there");
    let text = text
        .replace("\"credential:\"", "\"site.pem\"")
        .replace("../", "");
    let place = FileContext {
        file: Path::new("/etc/wardgate/wardgate.toml"),
        cpus: &CPUS,
        credentials: Some(Path::new("/run/credentials/wardgate.service")),
    };
    let config = parse_at(&text, &place)
        .config
        .expect("a good configuration");
    let tls = config.routes[0].tls.as_ref().expect("the route has TLS");
    let identity = &tls.identity;
    let trust = &tls.peers[0].trust.trust;
    let files = [&identity.certificate, &identity.key, trust];
    let expected = [
        "/etc/wardgate/site.pem",
        "/run/credentials/wardgate.service/site.key",
        "/run/credentials/wardgate.service/trust.pem",
    ];
    assert_eq!(
        files.map(|file| file.value.as_path()),
        expected.map(Path::new)
    );
}

#[test]
fn networks_that_no_client_of_the_listener_has_are_reported() {
    let site = fs::read_to_string(data().join("good/minimal.toml")).expect("it is text");
    let remarks = |listen: &str, from: &str| {
        let text = format!(
            "{site}[[route]]\nname = \"r\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\n\
             listen = \"{listen}\"\ntargets = [\"10.20.0.9:1\"]\nfrom = [{from}]\n"
        );
        let config = parse_good(&text, "wardgate.toml");
        config.routes.last().expect("the route").remarks()
    };
    let found = remarks("[2001:db8::5]:7", "\"10.20.0.0/16\"");
    assert!(
        found.len() == 1 && found[0].contains("every connection is reset"),
        "{found:?}"
    );
    let found = remarks("10.20.0.5:7", "\"10.20.0.0/16\", \"fd00::/8\"");
    assert!(
        found.len() == 1 && found[0].contains("this network has no effect"),
        "{found:?}"
    );
    // Such a listener accepts both.
    assert_eq!(remarks("[::]:7", "\"10.20.0.0/16\", \"fd00::/8\""), [""; 0]);
}
