//! What `wardgate setup` asks and writes, without a machine around it.

use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;

use super::draft::{Known, Question, SetupAnswers};
use super::interfaces::Machine;
use super::terminal::Terminal;
use super::text::{KnownPeer, SiteFiles, configuration};
use super::{edit, trial};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A machine between a LAN and the network of the other sites.
fn machine() -> Machine {
    Machine {
        host: "gw.hospital-a.example".to_owned(),
        local: vec![
            ("lan".to_owned(), address("10.20.0.5")),
            ("wan".to_owned(), address("198.51.100.7")),
        ],
        outward: Some(address("198.51.100.7")),
    }
}

fn known(machine: &Machine) -> Known<'_> {
    Known {
        machine,
        present: SetupAnswers::default(),
        routes: Vec::new(),
        peers: Vec::new(),
        has_certificate: false,
    }
}

fn files() -> SiteFiles {
    SiteFiles {
        certificate: "/etc/wardgate/pki/site.pem".into(),
        key: "/etc/wardgate/pki/site.key".into(),
    }
}

/// A person who types these lines: the answers, and what was shown.
fn typed(lines: &str, known: &Known<'_>) -> (anyhow::Result<SetupAnswers>, String) {
    let mut shown = Vec::new();
    let mut draft = SetupAnswers::default();
    let outcome = Terminal::new(Cursor::new(lines), &mut shown).answer_all(&mut draft, known);
    let shown = String::from_utf8(shown).expect("it is text");
    (outcome.map(|()| draft), shown)
}

fn draft(answers: &[(Question, &str)]) -> SetupAnswers {
    let mut draft = SetupAnswers::default();
    for (question, text) in answers {
        trial::answer(&mut draft, *question, text).expect("a good answer");
    }
    let machine = machine();
    draft.fill(&known(&machine));
    assert_eq!(draft.missing(), []);
    draft
}

fn modalities() -> SetupAnswers {
    draft(&[
        (Question::Side, "modalities"),
        (Question::Protocol, "dicom"),
        (Question::OtherSite, "gw.region.example"),
    ])
}

fn archive() -> SetupAnswers {
    draft(&[
        (Question::Side, "archive"),
        (Question::Protocol, "hl7"),
        (Question::Archive, "10.30.0.9"),
        (Question::OtherSite, "198.51.100.7:6660, 203.0.113.0/24"),
        (Question::OtherName, "hospital-a"),
        (Question::Listen, "192.0.2.10"),
    ])
}

#[test]
fn three_answers_make_a_configuration_and_enter_accepts_the_rest() {
    let machine = machine();
    let (draft, shown) = typed("1\n1\ngw.region.example\n\n", &known(&machine));
    let draft = draft.expect("answered");
    assert_eq!(draft, modalities());
    for (question, answer) in [
        (Question::OtherSite, "gw.region.example:2762"),
        (Question::OtherName, "region"),
        (Question::Listen, "10.20.0.5:11112"),
        (Question::GatewayName, "gw.hospital-a.example"),
        (Question::Route, "to-region"),
        (Question::Certificate, "make"),
    ] {
        assert_eq!(draft.get(question), Some(answer));
    }
    assert!(shown.contains("this site has the modalities"), "{shown}");
    let (draft, _) = typed("2\n1\n10.30.0.9\n\n", &known(&machine));
    let draft = draft.expect("answered");
    assert_eq!(draft.get(Question::Archive), Some("10.30.0.9:104"));
    assert_eq!(draft.get(Question::Listen), Some("198.51.100.7:2762"));
    assert_eq!(draft.get(Question::OtherSite), Some("any"));
}

#[test]
fn a_bad_answer_gets_a_sentence_and_is_asked_again() {
    let machine = machine();
    let (draft, shown) = typed(
        "3\n1\nboth\n1\nbad name\ngw.region.example:0\ngw.region.example\n6\n0.0.0.0\n10.20.0.6\n99\n\n",
        &known(&machine),
    );
    let draft = draft.expect("answered");
    assert_eq!(
        draft.get(Question::Listen),
        Some("10.20.0.6:11112"),
        "{shown}"
    );
    for says in [
        "\"3\" is neither 1 (the modalities) nor 2 (the archive)",
        "\"both\" is neither 1 (DICOM) nor 2 (HL7)",
        "target \"bad name:2762\"",
        "target \"gw.region.example:0\"",
        "listen \"0.0.0.0:11112\"",
        "is not a number from 1 to 9",
    ] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
}

#[test]
fn another_side_asks_again_for_what_depends_on_it() {
    let machine = machine();
    let (draft, shown) = typed(
        "1\n1\ngw.region.example\n2\n2\n10.30.0.9\n\n",
        &known(&machine),
    );
    let draft = draft.expect("answered");
    for (question, answer) in [
        (Question::Archive, "10.30.0.9:104"),
        (Question::Listen, "198.51.100.7:2762"),
        (Question::OtherSite, "any"),
        (Question::Route, "from-region"),
    ] {
        assert_eq!(draft.get(question), Some(answer), "{shown}");
    }
}

#[test]
fn input_that_ends_changes_nothing_and_says_so() {
    let machine = machine();
    for lines in ["", "1\n", "1\n1\ngw.region.example\n"] {
        let (draft, _) = typed(lines, &known(&machine));
        let error = draft.expect_err("it has ended").to_string();
        assert_eq!(error, "the input ended, and nothing was changed");
    }
    let (draft, _) = typed(&"x".repeat(5000), &known(&machine));
    assert!(
        draft
            .expect_err("too long")
            .to_string()
            .contains("4096 bytes")
    );
}

#[test]
fn what_is_written_is_valid_as_soon_as_the_sites_are_paired() {
    let peer = KnownPeer {
        name: "region".to_owned(),
        identity: "dns:gw.region.example".to_owned(),
        trust: "/etc/wardgate/pki/region-ca.pem".into(),
    };
    for (draft, peer) in [
        (modalities(), None),
        (archive(), None),
        (modalities(), Some(&peer)),
    ] {
        let text = configuration(&draft, &files(), peer);
        let problems = trial::text_problems(&text, Path::new("wardgate.toml"));
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        let lines = text.lines().filter(|line| line.contains(" = "));
        for line in lines {
            assert!(line.contains("# "), "a line without its reason: {line}");
        }
        assert_eq!(
            super::super::unpaired::missing_peers(&text).is_empty(),
            peer.is_some()
        );
    }
    let text = configuration(&archive(), &files(), None);
    assert!(
        text.contains("from = [\"198.51.100.7/32\", \"203.0.113.0/24\"]"),
        "{text}"
    );
    assert!(text.contains("targets = [\"10.30.0.9:2575\"]"), "{text}");
}

#[test]
fn the_package_s_example_counts_as_a_new_configuration() {
    let new = configuration(&modalities(), &files(), None);
    let starter = include_str!("../../../../packaging/etc/starter.toml");
    assert_eq!(edit::merged(starter, &new).expect("merged"), new);
    assert_eq!(edit::merged("", &new).expect("merged"), new);
}

/// A configuration that an operator has written, with comments of their own.
const BY_HAND: &str = "\
# Ours. Do not touch.
[gateway]
log = \"json\" # for the collector

[identity]
certificate = \"/etc/wardgate/pki/site.pem\"
key = \"/etc/wardgate/pki/site.key\"

[[route]]
name = \"to-region\"
mode = \"originate\"
protocol = \"dicom\"
listen = \"10.20.0.5:11112\" # agreed with radiology
# Two machines of the region.
targets = [{ address = \"gw1.region.example:2762\", connections = 5 }, \"gw2.region.example:2762\"]
peers = [\"region\"]
calling_ae = [\"CT_A\"]
";

#[test]
fn a_second_run_with_the_same_answers_changes_nothing() {
    let document = BY_HAND.parse().expect("it is TOML");
    let machine = machine();
    let known = Known {
        present: edit::answers(&document, "to-region").expect("a route of setup"),
        routes: edit::route_names(&document),
        peers: edit::peer_names(&document),
        has_certificate: true,
        machine: &machine,
    };
    let (draft, shown) = typed("\n", &known);
    let draft = draft.expect("answered");
    let text = edit::merged(BY_HAND, &configuration(&draft, &files(), None)).expect("merged");
    assert_eq!(text, BY_HAND, "{shown}");
}

#[test]
fn a_further_route_belongs_to_the_only_peer_and_another_name_gets_a_note() {
    let machine = machine();
    let known = Known {
        peers: vec!["other-site".to_owned()],
        ..known(&machine)
    };
    let (draft, _) = typed("1\n1\ngw.hospital-a.example\n\n", &known);
    let mut draft = draft.expect("answered");
    assert_eq!(draft.get(Question::OtherName), Some("other-site"));
    assert_eq!(trial::unknown_name(&draft, &known), None);
    trial::answer(&mut draft, Question::OtherName, "hospital-a").expect("a good answer");
    let note = trial::unknown_name(&draft, &known).expect("no table has this name");
    assert!(
        note.contains(
            "no [[peer]] table is called hospital-a; the present ones are called other-site."
        ),
        "{note}"
    );
    // The first site has no table before the sites are paired.
    assert_eq!(trial::unknown_name(&draft, &self::known(&machine)), None);
}

#[test]
fn a_changed_answer_changes_its_line_and_keeps_comments_and_other_keys() {
    let document = BY_HAND.parse().expect("it is TOML");
    let mut draft = edit::answers(&document, "to-region").expect("a route of setup");
    trial::answer(&mut draft, Question::Listen, "10.20.0.6").expect("a good answer");
    let text = edit::merged(BY_HAND, &configuration(&draft, &files(), None)).expect("merged");
    assert_eq!(text, BY_HAND.replace("10.20.0.5:11112", "10.20.0.6:11112"));
}

#[test]
fn a_route_with_another_name_is_added_with_its_reasons() {
    let mut draft = archive();
    trial::answer(&mut draft, Question::Route, "from-hospital-a").expect("a good answer");
    let text = edit::merged(BY_HAND, &configuration(&draft, &files(), None)).expect("merged");
    let added = text.strip_prefix(BY_HAND).expect("what was there is there");
    assert!(
        added.starts_with("\n# From the other site to this one."),
        "{added}"
    );
    assert!(
        added.contains("# only these addresses may connect"),
        "{added}"
    );
    assert_eq!(
        trial::text_problems(&text, Path::new("wardgate.toml")),
        Vec::<String>::new()
    );
    // Without `from`, every address may connect: the line goes.
    trial::answer(&mut draft, Question::OtherSite, "any").expect("a good answer");
    let again = edit::merged(&text, &configuration(&draft, &files(), None)).expect("merged");
    assert!(!again.contains("from = ["), "{again}");
}

#[test]
fn a_route_that_setup_does_not_write_is_left_to_the_editor() {
    let text = BY_HAND.replace("\"originate\"", "\"passthrough\"");
    let document = text.parse().expect("it is TOML");
    let error = edit::answers(&document, "to-region")
        .expect_err("refused")
        .to_string();
    assert!(error.contains("cannot be changed by setup"), "{error}");
    let inline = "route = [{ name = \"a\" }]\n";
    let error =
        edit::merged(inline, &configuration(&modalities(), &files(), None)).expect_err("refused");
    assert!(error.to_string().contains("[[route]] tables"), "{error}");
}
