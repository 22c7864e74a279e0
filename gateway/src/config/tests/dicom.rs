//! The meaning of the keys for DICOM, `observe` and `health`.

use super::*;
use crate::dicom::{AeTitle, DimseCommand};

fn title(text: &str) -> AeTitle {
    text.parse().expect("a title")
}

fn route(name: &str) -> RouteConfig {
    let config = good("dicom.toml");
    let mut routes = config.routes.iter();
    let route = routes.find(|route| route.name == name);
    RouteConfig::clone(route.expect("it is in the file"))
}

fn dicom(name: &str) -> Dicom {
    route(name).dicom.expect("it carries DICOM")
}

fn dns(name: &str) -> PeerName {
    PeerName::Dns(name.to_owned())
}

fn shown(targets: &[Target]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

const NO_RULES: Dicom = Dicom {
    called: None,
    calling: None,
    bound: Vec::new(),
    commands: None,
    enforce: true,
    associations_max: None,
    associations_per_peer: None,
    by_title: Vec::new(),
    returns: None,
};

#[test]
fn lists_of_titles_and_commands_are_read_without_the_spaces_around() {
    let dicom = dicom("to-region");
    let called = ["ARCHIVE", "ARCHIVE2", "MY PACS"].map(title);
    assert_eq!(dicom.called.as_deref(), Some(&called[..]));
    assert_eq!(dicom.calling, Some(vec![title("CT_A")]));
    let commands = vec![
        DimseCommand::CEcho,
        DimseCommand::CStore,
        DimseCommand::CMove,
    ];
    assert_eq!(dicom.commands, Some(commands));
    assert!(!dicom.enforce);
    assert_eq!(dicom.associations_max, Some(40));
    assert_eq!(dicom.returns.as_deref(), Some("from-regions"));
}

#[test]
fn a_peer_may_not_use_the_associations_of_all_others() {
    let plain = |peers: usize, lines: &str| {
        let text = fs::read_to_string(data().join("good/dicom.toml")).expect("it is text");
        let peers = (0..peers).map(|number| format!("\"dns:gw{number}.example\""));
        let peers = peers.collect::<Vec<_>>().join(", ");
        let lines = format!("peers = [{peers}]\n{lines}");
        let text = text.replace("peers = [\"dns:gw.a.example\"]\nhealth = \"off\"", &lines);
        let route = Arc::clone(&parse_good(&text, "wardgate.toml").routes[2]);
        assert_eq!(route.name, "plain");
        route.associations_per_peer()
    };
    let cases = [
        (1, "", None),
        (3, "", None),
        (1, "associations = 5", Some(5)),
        (2, "associations = 5", Some(4)),
        (3, "associations = 5", Some(3)),
        (4, "associations = 5", Some(3)),
        (300, "associations = 40", Some(20)),
        (2, "associations = 1", Some(1)),
        (2, "associations = 2", Some(1)),
        (2, "associations_per_peer = 7", Some(7)),
        (2, "associations = 40\nassociations_per_peer = 40", Some(40)),
    ];
    for (peers, lines, expected) in cases {
        assert_eq!(plain(peers, lines), expected, "{peers} peers, {lines}");
    }
    // The peers of an originate route are servers; none of them opens associations there.
    assert_eq!(dicom("to-region").associations_max, Some(40));
    assert_eq!(route("to-region").associations_per_peer(), None);
}

#[test]
fn bound_titles_keep_the_order_of_the_file() {
    let digest = "sha256:aa5d27bc5d6b5ea9a2a1ef7e3f7d3f57a0f8b9ad3b6d1b0dd53a6c7f2a3e4b5c";
    let digest = peer::peer(digest).expect("a digest");
    let b = vec![dns("gw.b.example"), digest];
    let bound = [
        (title("MR B"), b),
        (title("CT_A"), vec![dns("gw.a.example")]),
    ];
    assert_eq!(dicom("from-regions").bound, bound);
}

#[test]
fn titles_choose_targets_beside_the_routes_own_or_without_any() {
    let region = route("to-region");
    assert_eq!(shown(&region.targets), ["gw.region.example:2762"]);
    let [own] = &dicom("to-region").by_title[..] else {
        panic!("one table");
    };
    assert_eq!(own.called, [title("MY PACS")]);
    assert_eq!(shown(&own.targets), ["gw.region.example:2763"]);
    assert!(route("from-regions").targets.is_empty());
    let [archive, ris] = &dicom("from-regions").by_title[..] else {
        panic!("two tables");
    };
    assert_eq!(archive.called, [title("ARCHIVE"), title("archive")]);
    assert_eq!(shown(&archive.targets), ["10.20.0.9:104", "10.20.0.10:104"]);
    assert_eq!(ris.called, [title("RIS")]);
}

#[test]
fn a_route_without_rules_allows_everything_and_reads_it() {
    let plain = route("plain");
    assert_eq!(plain.dicom, Some(NO_RULES));
    assert_eq!(plain.observe, Observe::Lenient);
    assert_eq!(plain.health, None);
}

#[test]
fn only_routes_that_see_plaintext_dicom_have_dicom_rules() {
    assert_eq!(route("messages").dicom, None);
    assert_eq!(route("messages").observe, Observe::Strict);
    assert_eq!(route("native-tls").dicom, None);
    assert_eq!(route("native-tls").observe, Observe::Off);
    let any = good("everything.toml");
    let tcp = any
        .routes
        .iter()
        .find(|route| route.protocol == Protocol::Tcp);
    let tcp = tcp.expect("there is one");
    assert_eq!((tcp.observe, &tcp.dicom), (Observe::Off, &None));
}

#[test]
fn return_is_kept_with_observe_off() {
    assert_eq!(route("unseen").observe, Observe::Off);
    assert_eq!(dicom("unseen").returns.as_deref(), Some("plain"));
}

#[test]
fn a_keyword_is_a_probe_with_defaults() {
    let health = HealthCheck {
        probe: Probe::Tls,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 3,
        slow_start: None,
        calling: title("WARDGATE"),
        called: None,
    };
    assert_eq!(route("to-region").health, Some(health.clone()));
    let echo = HealthCheck {
        probe: Probe::CEcho,
        ..health
    };
    assert_eq!(route("unseen").health, Some(echo));
}

#[test]
fn a_table_of_health_overrides_key_by_key_and_a_probe_ends_before_the_next() {
    let health = route("from-regions").health.expect("a probe");
    let seconds = Duration::from_secs;
    assert_eq!(health.probe, Probe::CEcho);
    assert_eq!((health.interval, health.timeout), (seconds(2), seconds(2)));
    assert_eq!((health.rise, health.fall), (2, 100));
    assert_eq!(
        (health.calling, health.called),
        (title("WARDGATE"), Some(title("RIS")))
    );
    let messages = route("messages").health.expect("a probe");
    assert_eq!(messages.probe, Probe::Mllp);
    assert_eq!(messages.timeout, seconds(10));
    let native = route("native-tls").health.expect("a probe");
    assert_eq!(native.probe, Probe::Connect);
    assert_eq!(
        (native.interval, native.timeout),
        (seconds(3600), seconds(60))
    );
}

#[test]
fn words_of_observing_are_shown_as_they_are_configured() {
    let words = [Observe::Off, Observe::Lenient, Observe::Strict].map(|one| one.to_string());
    assert_eq!(words, ["off", "lenient", "strict"]);
}

#[test]
fn the_reference_of_health_shows_true_defaults() {
    let in_full = parse_good(&reference_in_full(), "wardgate.toml");
    let mut shown = in_full.routes[1].health.clone().expect("a probe");
    // This default depends on the other keys of the route; the reference shows the last resort.
    assert_eq!(shown.called.take(), Some(title("ANY-SCP")));
    assert_eq!(Some(shown), route("unseen").health);
}

/// The warnings about the route `plain` with these lines.
fn remarks(lines: &str) -> Vec<String> {
    let text = fs::read_to_string(data().join("good/dicom.toml")).expect("it is text");
    let text = text.replace("health = \"off\"", lines);
    let config = parse_good(&text, "wardgate.toml");
    config.routes[2].remarks()
}

#[test]
fn a_route_without_rules_gives_no_warning() {
    assert_eq!(remarks(""), [""; 0]);
    assert_eq!(remarks("rules = \"report\""), [""; 0]);
    let strict = "observe = \"strict\"\ncommands = [\"C-ECHO\", \"C-STORE\"]";
    assert_eq!(remarks(strict), [""; 0]);
    // A list of commands that is enforced makes the observer strict.
    assert_eq!(remarks("commands = [\"C-ECHO\"]"), [""; 0]);
}

#[test]
fn a_command_with_answers_in_separate_associations_warns_without_return() {
    let allowing = |commands: &str, more: &str| {
        remarks(&format!(
            "observe = \"strict\"\ncommands = [{commands}]\n{more}"
        ))
    };
    for (command, what) in [
        ("C-MOVE", "the images of a C-MOVE come"),
        ("N-ACTION", "the answer of storage commitment"),
    ] {
        let quoted = format!("\"{command}\"");
        let [remark] = &allowing(&quoted, "")[..] else {
            panic!("one remark for {command}");
        };
        assert!(remark.starts_with("route \"plain\": "), "{remark}");
        assert!(remark.contains(what), "{remark}");
        assert!(remark.contains("write return = "), "{remark}");
        assert_eq!(allowing(&quoted, "return = \"to-region\""), [""; 0]);
    }
}

#[test]
fn c_get_without_c_store_gives_a_warning() {
    let remarks = remarks("observe = \"strict\"\ncommands = [\"C-GET\"]");
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].contains("C-GET but not C-STORE"), "{remarks:?}");
}

#[test]
fn rules_that_only_report_give_a_warning() {
    for rule in ["calling_ae = [\"CT_A\"]", "associations = 2"] {
        assert_eq!(remarks(rule), [""; 0], "{rule}");
        let report = remarks(&format!("{rule}\nrules = \"report\""));
        assert_eq!(report.len(), 1, "{report:?}");
        assert!(report[0].contains("passes, is logged"), "{report:?}");
    }
}

/// The messages about the route `plain` with these lines.
fn refused(lines: &str) -> String {
    let text = fs::read_to_string(data().join("good/dicom.toml")).expect("it is text");
    messages(&text.replace("health = \"off\"", lines), "wardgate.toml")
}

fn titles(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("\"T{number}\"")).collect()
}

#[test]
fn more_titles_than_the_limit_are_refused() {
    use crate::config::limits::AE_TITLES_MAX;
    let (most, more) = (titles(AE_TITLES_MAX), titles(AE_TITLES_MAX + 1));
    let list = |titles: &[String]| format!("called_ae = [{}]", titles.join(", "));
    let bound = |titles: &[String]| {
        let lines = titles.iter();
        let lines = lines.map(|title| format!("{title} = \"dns:gw.a.example\"\n"));
        format!("[route.ae_bind]\n{}", lines.collect::<String>())
    };
    let table = |titles: &[String]| {
        let titles = titles.join(", ");
        format!("[[route.ae]]\ncalled = [{titles}]\ntargets = [\"10.20.0.9:104\"]\n")
    };
    let each = |titles: &[String]| titles.chunks(1).map(table).collect::<String>();
    for good in [list(&most), bound(&most), table(&most), each(&most)] {
        assert_eq!(refused(&good), "");
    }
    let halves = more.split_at(AE_TITLES_MAX / 2);
    let halves = table(halves.0) + &table(halves.1);
    for wrong in [list(&more), bound(&more), table(&more), each(&more), halves] {
        let found = refused(&wrong);
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(found.contains("1024"), "{found}");
    }
}

/// The warnings for a terminate route with these rules and a route whose probe reaches it.
fn probing(health: &str, rules: &str) -> Vec<String> {
    let text = format!(
        r#"
[identity]
certificate = "site.pem"
key = "site.key"
trust = "trust.pem"

[[route]]
name = "near"
mode = "originate"
protocol = "dicom"
listen = "127.0.0.1:11112"
targets = ["127.0.0.1:2762"]
peers = ["dns:gw.a.example"]
health = {{ probe = "c-echo"{health} }}

[[route]]
name = "far"
mode = "terminate"
protocol = "dicom"
listen = "127.0.0.1:2762"
targets = ["127.0.0.1:104"]
peers = ["dns:gw.b.example"]
{rules}
"#
    );
    parse_good(&text, "wardgate.toml").refused_probes()
}

#[test]
fn a_probe_that_a_route_of_the_same_file_rejects_gives_a_warning() {
    let called = "route \"near\": its probe will be rejected by route \"far\": called title \"ANY-SCP\" is not known \
        there; allow it there, or set `called` in [route.health]";
    assert_eq!(probing("", "called_ae = [\"PACS\"]"), [called]);
    assert_eq!(
        probing(", called = \"PACS\"", "called_ae = [\"PACS\"]"),
        [""; 0]
    );
    assert_eq!(
        probing("", "called_ae = [\"PACS\"]\nrules = \"report\""),
        [""; 0]
    );
    assert_eq!(probing("", "called_ae = [\"ANY-SCP\"]"), [""; 0]);
    let calling = "route \"near\": its probe will be rejected by route \"far\": calling title \"WARDGATE\" is not \
        allowed there; allow it there, or set `calling` in [route.health]";
    assert_eq!(probing("", "calling_ae = [\"CT_1\"]"), [calling]);
}

#[test]
fn a_probe_that_calls_a_title_which_its_own_route_refuses_gives_a_warning() {
    let text = fs::read_to_string(data().join("good/minimal.toml")).expect("it is text");
    let with = |lines: &str| {
        let config = parse_good(&format!("{text}\n{lines}"), "wardgate.toml");
        let remarks = config.refused_probes();
        remarks
            .iter()
            .any(|remark| remark.contains("its probe calls \"OTHER\", which is not in called_ae"))
    };
    assert!(with(
        "called_ae = [\"PACS\"]\nhealth = { probe = \"c-echo\", called = \"OTHER\" }"
    ));
    // Without a written title, the probe calls a title that is allowed.
    assert!(!with("called_ae = [\"PACS\"]\nhealth = \"c-echo\""));
    assert!(!with("health = \"c-echo\""));
}
