//! One table after another: what stays of a route, and what is new.

use std::path::Path;
use std::sync::Arc;

use super::{Change, Route, RouteDraft, RoutePhase, RouteTable, Transport, diff};
use crate::config::{self, Config, PeerName};
use crate::tls::{ChainCertificate, PeerInfo};

const CORES: usize = 2;

/// Routes by their names, listen ports and further lines.
fn config(routes: &[(&str, u16, &str)]) -> Config {
    let identity =
        "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\ntrust = \"ca.pem\"\n";
    let each = routes.iter().map(|(name, port, lines)| {
        format!(
            "[[route]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\nmode = \"terminate\"\nprotocol = \"dicom\"\n\
             peers = [\"dns:a.example\"]\n{lines}\n"
        )
    });
    let text = identity.to_owned() + &each.collect::<String>();
    config::parse(&text, Path::new("wardgate.toml")).expect("good routes")
}

/// Drafts of these routes. Their transport is not looked at.
fn drafts(config: &Config, material: u8) -> Vec<RouteDraft> {
    let each = config.routes.iter().map(|route| RouteDraft {
        config: Arc::clone(route),
        transport: Transport::Passthrough,
        material: [material; 32],
    });
    each.collect()
}

fn first(config: &Config) -> RouteTable {
    RouteTable::first(CORES, drafts(config, 0), &config.routes)
}

fn next(table: &RouteTable, config: &Config, material: u8) -> RouteTable {
    table.next(drafts(config, material), &config.routes)
}

fn changes(old: &RouteTable, new: &RouteTable) -> Vec<String> {
    let word = |change: &Change| {
        let (word, route) = match change {
            Change::Kept(route) => ("kept", route),
            Change::Changed(route) => ("changed", route),
            Change::NewListener(route) => ("new listener", route),
            Change::Added(route) => ("added", route),
            Change::Removed(route) => ("removed", route),
        };
        format!("{word} {}", route.config.name)
    };
    diff(old, new).iter().map(word).collect()
}

const TARGET: &str = "targets = [\"127.0.0.1:104\"]";
const PROBED: &str = "targets = [\"127.0.0.1:104\", \"127.0.0.1:105\"]\nhealth = \"connect\"";

#[test]
fn a_route_is_kept_where_neither_its_configuration_nor_its_files_changed() {
    let before = first(&config(&[("a", 1, TARGET), ("b", 2, TARGET)]));
    // The second table has a line more above the routes, and their order is another.
    let moved = config(&[("new", 3, TARGET), ("b", 2, TARGET), ("a", 1, TARGET)]);
    let after = next(&before, &moved, 0);
    assert_eq!(changes(&before, &after), ["added new", "kept b", "kept a"]);
    assert_eq!((before.generation, after.generation), (0, 1));
    let renewed = next(&after, &moved, 1);
    let all_changed = ["changed new", "changed b", "changed a"];
    assert_eq!(changes(&after, &renewed), all_changed, "other certificates");
}

#[test]
fn a_route_that_changes_keeps_its_state_and_one_that_comes_again_does_not() {
    let before = first(&config(&[("a", 1, TARGET), ("b", 2, TARGET)]));
    let after = next(&before, &config(&[("a", 9, PROBED)]), 0);
    assert_eq!(changes(&before, &after), ["new listener a", "removed b"]);
    assert!(Arc::ptr_eq(&before.routes[0].state, &after.routes[0].state));
    let again = next(&after, &config(&[("a", 9, TARGET), ("b", 2, TARGET)]), 0);
    assert_eq!(changes(&after, &again), ["changed a", "added b"]);
    let ids: Vec<_> = before.routes.iter().map(|route| route.id()).collect();
    assert!(!ids.contains(&again.routes[1].id()), "an id is used once");
}

#[test]
fn health_stays_known_for_a_target_that_is_still_probed() {
    let before = first(&config(&[("a", 1, PROBED)]));
    before.routes[0].targets.all[1].state.counters.up.set(0);
    let other = PROBED.replace(":104", ":106");
    let after = next(&before, &config(&[("a", 1, &other)]), 0);
    let known = |route: &Route| -> Vec<_> {
        let targets = route.targets.all.iter();
        targets
            .map(|one| (one.target.to_string(), one.state.counters.up.get()))
            .collect()
    };
    let expected = [
        ("127.0.0.1:106".to_owned(), 1),
        ("127.0.0.1:105".to_owned(), 0),
    ];
    assert_eq!(known(&after.routes[0]), expected);
}

#[test]
fn maintenance_is_set_by_the_address_as_configured_and_survives_a_reload() {
    let before = first(&config(&[("a", 1, PROBED)]));
    let route = &before.routes[0];
    let resting = |route: &Route| -> Vec<_> {
        let targets = route.targets.all.iter();
        targets.map(|one| one.state.is_in_maintenance()).collect()
    };
    let unknown = route.set_maintenance("127.0.0.1:106", true);
    assert_eq!(
        unknown.expect_err("there is no such target").to_string(),
        "route \"a\" has no target \"127.0.0.1:106\"; its targets are 127.0.0.1:104, 127.0.0.1:105"
    );
    route
        .set_maintenance("127.0.0.1:105", true)
        .expect("a target");
    let other = format!("{PROBED}\nassociations = 9");
    let after = next(&before, &config(&[("a", 1, &other)]), 0);
    assert_eq!(resting(&after.routes[0]), [false, true]);
    let route = &after.routes[0];
    route
        .set_maintenance("127.0.0.1:105", false)
        .expect("a target");
    assert_eq!(resting(&before.routes[0]), [false, false], "one state");
}

#[test]
fn a_route_refuses_connections_while_each_target_is_down_or_in_maintenance() {
    let refusing = format!("{PROBED}\nwhen_down = \"refuse\"");
    for (lines, expected) in [(&*refusing, true), (PROBED, false)] {
        let table = first(&config(&[("a", 1, lines)]));
        let route = &table.routes[0];
        let up = |index: usize| &route.targets.all[index].state.counters.up;
        assert!(!route.refuses_connections(), "nothing is known");
        up(0).set(0);
        assert!(!route.refuses_connections(), "one is up");
        up(1).set(0);
        assert_eq!(route.refuses_connections(), expected);
        up(1).set(1);
        assert!(!route.refuses_connections(), "one is up again");
        route
            .set_maintenance("127.0.0.1:105", true)
            .expect("a target");
        assert_eq!(route.refuses_connections(), expected);
    }
}

#[test]
fn open_associations_count_against_the_bound_of_the_next_configuration() {
    let two = config(&[("a", 1, &format!("{TARGET}\nassociations = 2"))]);
    let before = first(&two);
    let request = crate::dicom::AssociateRq {
        called: "PACS".parse().expect("a title"),
        calling: "CT_1".parse().expect("a title"),
        contexts: Vec::new(),
        user: crate::dicom::UserInformation::default(),
    };
    let admit = |route: &Arc<Route>| {
        let admission = route.admission.as_ref().expect("a DICOM route");
        let peer = ["dns:a.example".to_owned()];
        let admitted = admission.admit(&route.config, &request, &peer);
        admitted.map(|_| ()).map_err(|refused| refused.sentence)
    };
    let route = &before.routes[0];
    let admission = route.admission.as_ref().expect("a DICOM route");
    let _open = admission
        .admit(&route.config, &request, &["dns:a.example".to_owned()])
        .expect("the first of two");
    assert_eq!(admit(route), Ok(()), "and given back at once");
    let one = config(&[("a", 1, &format!("{TARGET}\nassociations = 1"))]);
    let after = next(&before, &one, 0);
    let refused = admit(&after.routes[0]).expect_err("the open one is counted");
    assert!(refused.contains("at most 1 may be open"), "{refused}");
}

#[test]
fn the_phase_of_a_route_never_goes_back() {
    let table = first(&config(&[("a", 1, TARGET)]));
    let state = &table.routes[0].state;
    let phase = state.phase();
    state.enter(RoutePhase::Stopped);
    state.enter(RoutePhase::Draining);
    assert_eq!(*phase.borrow(), RoutePhase::Stopped);
    assert_eq!(
        *state.phase().borrow(),
        RoutePhase::Stopped,
        "also for later ones"
    );
}

#[test]
fn the_expiry_of_a_peer_s_certificates_is_known_until_its_identity_is_no_longer_listed() {
    let certificate = |not_after| ChainCertificate {
        issuer: [0; 32],
        serial: Box::new([1]),
        not_after,
    };
    let peer = |identity: &str, dates: &[i64]| PeerInfo {
        identity: identity.to_owned(),
        further: Vec::new(),
        key_sha256: String::new(),
        serial: String::new(),
        chain: dates.iter().copied().map(certificate).collect(),
    };
    let before = first(&config(&[("a", 1, TARGET)]));
    let route = &before.routes[0];
    assert_eq!(before.metrics()[0].peers, []);
    route.note_certificates(&peer("dns:a.example", &[3000, 2000]));
    route.note_certificates(&peer("dns:not.listed.example", &[1000]));
    let seen = [("dns:a.example".to_owned(), 2000)];
    assert_eq!(before.metrics()[0].peers, seen);
    let after = next(&before, &config(&[("a", 1, PROBED)]), 0);
    assert_eq!(after.metrics()[0].peers, seen);
    // A connection that began before the change is accepted after it.
    route.note_certificates(&peer("dns:a.example", &[4000]));
    assert_eq!(
        after.metrics()[0].peers,
        [("dns:a.example".to_owned(), 4000)]
    );
    let mut other = config(&[("a", 1, TARGET)]);
    let route = Arc::make_mut(&mut other.routes[0]);
    let peers = &mut route.tls.as_mut().expect("it has TLS").peers;
    Arc::make_mut(&mut peers[0]).identities = vec![PeerName::Dns("b.example".to_owned())];
    let last = next(&after, &other, 0);
    assert_eq!(last.metrics()[0].peers, []);
}
