//! The meaning of `[[peer]]` tables, target peers and services, and the warnings about them.

use super::*;
use crate::config::limits::{PEER_TABLES_MAX, PEERS_MAX};

fn config() -> Config {
    good("peers.toml")
}

fn route(config: &Config, name: &str) -> Arc<RouteConfig> {
    let mut routes = config.routes.iter();
    let route = routes.find(|route| route.name == name);
    Arc::clone(route.expect("it is in the file"))
}

fn tls(route: &RouteConfig) -> &RouteTls {
    route.tls.as_ref().expect("it speaks TLS")
}

/// The names of a route's peers with their identities and trust.
fn shown(tls: &RouteTls) -> Vec<String> {
    let show = |peer: &Arc<Peer>| {
        let identities: Vec<_> = peer.identities.iter().map(ToString::to_string).collect();
        let name = peer.name.as_deref().unwrap_or("-");
        let trust = peer.trust.trust.value.display();
        format!("{name}: {} by {trust}", identities.join(" "))
    };
    tls.peers.iter().map(show).collect()
}

/// Each target with the peer that must answer there.
fn expected(targets: &[Target]) -> Vec<String> {
    let show = |target: &Target| {
        let identities = target.expected.iter().flat_map(|all| all.iter());
        let identities: Vec<_> = identities.map(ToString::to_string).collect();
        match &target.expected {
            None => format!("{target}: any"),
            Some(_) => format!("{target}: {}", identities.join(" ")),
        }
    };
    targets.iter().map(show).collect()
}

const A: &str = "a: dns:gw.a.example by /etc/wardgate/pki/a-ca.pem";
const REGION: &str = "Region.2: dns:gw1.region.example dns:gw2.region.example \
    uri:spiffe://region.example/gateway by /etc/wardgate/pki/region-ca.pem";

#[test]
fn a_route_lists_peers_by_name_and_its_own_identities_are_one_peer_more() {
    let config = config();
    assert_eq!(config.peers.len(), 3);
    let from_all = route(&config, "from-all");
    assert_eq!(shown(tls(&from_all)), [A, REGION]);
    let to_all = route(&config, "to-all");
    assert_eq!(
        shown(tls(&to_all)),
        [
            A,
            REGION,
            "b: dns:gw.b.example by /etc/wardgate/pki/region-ca.pem",
            "-: dns:gw.c.example dns:gw.d.example by /etc/wardgate/pki/trust.pem"
        ]
    );
}

#[test]
fn tables_with_the_same_files_share_one_value() {
    let config = config();
    let [a, region, b] = &config.peers[..] else {
        panic!("three peers");
    };
    assert!(Arc::ptr_eq(&region.trust, &b.trust));
    let crl = &a.trust.crl[0];
    assert_eq!(crl.value, Path::new("/etc/wardgate/pki/a-ca.crl"));
    let of_route = |name| Arc::clone(&tls(&route(&config, name)).peers[0]);
    assert!(Arc::ptr_eq(&of_route("to-all"), a));
    assert!(Arc::ptr_eq(&of_route("from-all"), a));
    // No route with this identity lists identities itself.
    assert_eq!(tls(&route(&config, "to-region")).identity.trust, None);
}

#[test]
fn the_one_peer_of_a_route_is_expected_at_all_its_targets() {
    let identities =
        "dns:gw1.region.example dns:gw2.region.example uri:spiffe://region.example/gateway";
    assert_eq!(
        expected(&route(&config(), "to-region").targets),
        [
            format!("gw1.region.example:2762: {identities}"),
            format!("198.51.100.7:2762: {identities}"),
        ]
    );
}

#[test]
fn a_target_expects_the_written_peer_or_the_peer_of_its_host_name() {
    let to_all = route(&config(), "to-all");
    assert_eq!(
        expected(&to_all.targets),
        [
            "198.51.100.7:2762: dns:gw.a.example",
            "gw2.region.example:2762: dns:gw1.region.example dns:gw2.region.example \
             uri:spiffe://region.example/gateway",
            "198.51.100.8:2762: dns:gw.b.example dns:gw1.region.example",
            "gw.c.example:2762: dns:gw.c.example",
        ]
    );
    let dicom = to_all.dicom.as_ref().expect("it carries DICOM");
    assert_eq!(
        expected(&dicom.by_title[0].targets),
        ["198.51.100.9:2762: dns:gw.d.example"]
    );
}

#[test]
fn at_the_one_target_of_a_route_any_identity_that_it_lists_itself_may_answer() {
    let config = config();
    let one_target = route(&config, "to-one-target");
    assert_eq!(expected(&one_target.targets), ["198.51.100.7:2762: any"]);
    assert_eq!(
        one_target.remarks(),
        [
            "route \"to-one-target\": a connection to target \"198.51.100.7:2762\" that is redirected on the \
             network path could reach any identity in peers; if they are not one peer, write { address = \
             \"198.51.100.7:2762\", peer = \"dns:...\" }"
        ]
    );
    // Behind a terminate route, targets prove no identity.
    assert_eq!(
        expected(&route(&config, "from-all").targets),
        ["10.20.0.9:104: any", "10.20.0.10:104: any"]
    );
    assert_eq!(route(&config, "from-all").remarks(), [""; 0]);
}

#[test]
fn a_title_is_restricted_to_all_identities_of_a_peer_or_to_some() {
    let route = route(&config(), "from-all");
    let dicom = route.dicom.as_ref().expect("it carries DICOM");
    let bound = dicom.bound.iter().map(|(title, identities)| {
        let identities: Vec<_> = identities.iter().map(ToString::to_string).collect();
        format!("{title}: {}", identities.join(" "))
    });
    let bound: Vec<_> = bound.collect();
    assert_eq!(
        bound,
        [
            "CT_A: dns:gw.a.example",
            "MR_R: dns:gw1.region.example dns:gw2.region.example uri:spiffe://region.example/gateway",
            "US_R: dns:gw2.region.example \
             sha256:aa5d27bc5d6b5ea9a2a1ef7e3f7d3f57a0f8b9ad3b6d1b0dd53a6c7f2a3e4b5c",
        ]
    );
}

#[test]
fn a_service_is_kept_as_it_is_written() {
    let config = config();
    let service = |name| tls(&route(&config, name)).service.clone();
    let label = |text: &str| Some(ServiceLabel(text.to_owned()));
    assert_eq!(service("to-region"), label("archive"));
    assert_eq!(service("to-all"), label("ARCHIVE_2.x-y"));
    assert_eq!(service("to-one-target"), None);
}

/// A file of terminate routes with these names, peers and further lines.
fn terminate(routes: &[(&str, &str, &str)]) -> String {
    let mut text =
        "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\ntrust = \"ca.pem\"\n\
                    [[peer]]\nname = \"a\"\nidentity = \"dns:gw.a.example\"\ntrust = \"a.pem\"\n\
                    [[peer]]\nname = \"b\"\nidentity = \"dns:gw.b.example\"\ntrust = \"b.pem\"\n"
            .to_owned();
    for (port, (name, peers, lines)) in (1..).zip(routes) {
        text += &format!(
            "[[route]]\nname = \"{name}\"\nmode = \"terminate\"\nprotocol = \"tcp\"\n\
             listen = \"192.0.2.10:{port}\"\ntargets = [\"10.20.0.9:{port}\"]\npeers = {peers}\n\
             {lines}\n"
        );
    }
    text
}

fn remarks(text: &str) -> Vec<String> {
    parse_good(text, "wardgate.toml").remarks()
}

#[test]
fn a_peer_that_no_route_lists_gives_a_warning() {
    let text = terminate(&[("one", "[\"a\"]", "")]);
    assert_eq!(
        remarks(&text),
        ["peer \"b\": no route lists it; write its name in peers of a route, or remove it"]
    );
}

#[test]
fn an_identity_that_a_route_lists_despite_its_table_gives_a_warning() {
    let lists = |peers: &str| {
        remarks(&terminate(&[
            ("one", "[\"a\"]", "service = \"x\""),
            ("two", peers, ""),
        ]))
    };
    let text = "route \"two\": peers lists \"dns:gw.a.example\" itself, so the trust of its identity \
                counts for it, and not that of peer \"a\"; list \"a\" instead";
    assert_eq!(lists("[\"dns:gw.a.example\", \"b\"]"), [text]);
    let nothing: [String; 0] = [];
    assert_eq!(lists("[\"dns:gw.c.example\", \"b\"]"), nothing);
}

#[test]
fn routes_that_a_redirected_connection_could_confuse_give_a_warning() {
    let both = "[\"a\", \"b\"]";
    let remark = |one: &str, other: &str, remedy: &str| {
        format!(
            "route \"{one}\": a connection that is redirected on the network path could reach route \
             \"{other}\" instead, or the other way round: both have the same certificate, mode, \
             protocol and peer; {remedy}, and the same at the other end"
        )
    };
    let none = "write service = \"NAME\" in each of them";
    let same = "write another service in one of them";
    let label = "service = \"archive\"";
    let found = |one: (&str, &str), other: (&str, &str)| {
        remarks(&terminate(&[
            ("one", one.0, one.1),
            ("two", other.0, other.1),
        ]))
    };
    assert_eq!(
        found((both, ""), ("[\"b\"]", "")),
        [remark("two", "one", none)]
    );
    assert_eq!(
        found((both, label), ("[\"b\"]", label)),
        [remark("two", "one", same)]
    );
    let nothing: [String; 0] = [];
    assert_eq!(found((both, label), (both, "service = \"ris\"")), nothing);
    assert_eq!(found((both, label), (both, "")), nothing);
    assert_eq!(found(("[\"a\"]", ""), ("[\"b\"]", "")), nothing);
    let identity = "identity = { certificate = \"o.pem\", key = \"o.key\" }";
    assert_eq!(found((both, ""), (both, identity)), nothing);
}

#[test]
fn more_peers_than_the_limits_are_refused() {
    let table = |number: usize, identities: usize| {
        let names = (0..identities).map(|one| format!("\"dns:h{one}.p{number}\""));
        let names: Vec<_> = names.collect();
        format!(
            "[[peer]]\nname = \"p{number}\"\nidentity = [{}]\ntrust = \"ca.pem\"\n",
            names.join(", ")
        )
    };
    let good = terminate(&[("one", "[\"a\", \"b\"]", "")]);
    let tables: String = (0..=PEER_TABLES_MAX)
        .map(|number| table(number, 1))
        .collect();
    let found = messages(&(good + &tables), "wardgate.toml");
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("more than 1024 tables [[peer]]"), "{found}");

    let text = terminate(&[("one", "[\"a\", \"b\", \"p0\", \"p1\"]", "")]);
    let most = text.clone() + &table(0, PEERS_MAX / 2) + &table(1, PEERS_MAX / 2 - 2);
    parse_good(&most, "wardgate.toml");
    let more = text + &table(0, PEERS_MAX / 2) + &table(1, PEERS_MAX / 2 - 1);
    let found = messages(&more, "wardgate.toml");
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(
        found.contains("peers has 1025 identities in all"),
        "{found}"
    );
}

/// The blocks of TOML in a document.
fn examples(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let text = fs::read_to_string(path).expect("it is in the repository");
    let blocks = text.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

/// What an operator is to know of a configuration, and of each of its routes.
fn remarks_of(config: &Config) -> Vec<String> {
    let of_routes = config.routes.iter().flat_map(|route| route.remarks());
    config.remarks().into_iter().chain(of_routes).collect()
}

#[test]
fn the_examples_of_complete_files_are_good_and_leave_nothing_open() {
    let readme = examples("README.md");
    let guide = examples("docs/src/guide/two-sites.md");
    let hub = examples("docs/src/guide/routes.md");
    for text in readme.iter().chain(&guide).chain(&hub) {
        assert_eq!(
            remarks_of(&parse_good(text, "example.toml")),
            [""; 0],
            "{text}"
        );
    }
    assert_eq!([readme.len(), guide.len(), hub.len()], [1, 2, 1]);
}

/// The routes of the two sites are shown without the rest of their files.
#[test]
fn the_example_of_hl7_in_both_directions_is_good() {
    let table = |name: &str| {
        let identity = format!("name = \"{name}\"\nidentity = \"dns:gw.{name}.example\"");
        format!("[[peer]]\n{identity}\ntrust = \"/etc/wardgate/{name}.pem\"\n")
    };
    let identity =
        "[identity]\ncertificate = \"/etc/wardgate/site.pem\"\nkey = \"/etc/wardgate/site.key\"\n";
    let shown = examples("docs/src/guide/hl7.md").concat();
    let text = [identity, &table("region"), &table("hospital-a"), &shown].concat();
    let routes = parse_good(&text, "example.toml").routes;
    assert_eq!(routes.len(), 2, "{text}");
    for route in &routes {
        assert_eq!(route.connect, Connect::Early);
        assert_eq!(route.remarks(), [""; 0], "{text}");
    }
}

/// The rules are shown without the rest of the file, which is the region's.
#[test]
fn the_example_of_rules_is_good_and_remarks_that_it_only_reports() {
    let hub = examples("docs/src/guide/routes.md").concat();
    let rules = examples("docs/src/guide/rules.md").concat();
    let mut routes = hub.split("[[route]]");
    let head = routes.next().expect("a split has a first part");
    let others: String = routes
        .skip(1)
        .map(|route| format!("[[route]]{route}"))
        .collect();
    let config = parse_good(&format!("{head}{rules}{others}"), "example.toml");
    assert_eq!(route(&config, "from-hospitals").remarks().len(), 1);
}

#[test]
fn a_route_that_believes_any_carried_address_gives_a_warning() {
    let text = fs::read_to_string(data().join("good/everything.toml")).expect("it is text");
    let remarks = |text: &str| {
        let config = parse_good(text, "wardgate.toml");
        let mut routes = config.routes.iter();
        let route = routes.find(|route| route.carries_source());
        route.expect("the file has one").remarks()
    };
    let bounded = remarks(&text);
    let line = "carried_from = [\"10.30.0.0/16\"]";
    assert!(text.contains(line));
    let unbounded = remarks(&text.replace(line, ""));
    let added: Vec<_> = unbounded
        .iter()
        .filter(|one| !bounded.contains(one))
        .collect();
    assert_eq!(added.len(), 1, "{unbounded:?}");
    assert!(added[0].contains("write carried_from"), "{added:?}");
}
