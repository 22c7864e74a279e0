//! The rules of a route, with DICOM applications on both sides: titles, commands, number of associations, and
//! the log lines about them.

use tempfile::TempDir;
use wardgate_tests::tier;
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Program, Site, dicom, free_port};

use crate::associations::{CALLED, CALLING, Open, PYNETDICOM, Provider, ask, ask_to};
use crate::pair::{A, B, originate, terminate};
use crate::peers::{DCMTK, loopback, storescp, storescu};

/// Try again: the number of open associations is at the limit.
const LIMIT: &str = "2 3 2";
/// The calling title is not recognized.
const NOT_CALLING: &str = "1 1 3";
/// The called title is not recognized.
const NOT_CALLED: &str = "1 1 7";

/// The gateway with the rules of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Near,
    Far,
}

const BOTH: [Where; 2] = [Where::Near, Where::Far];

/// Two gateways with rules at one of them.
struct Ruled {
    a: Gateway,
    b: Gateway,
    entry: u16,
    at: Where,
}

impl Ruled {
    /// `rules` are keys of the route with their values.
    fn start(at: Where, target: u16, rules: &[(&str, &str)]) -> Self {
        let pki = Pki::new();
        let (entry, wan) = (free_port(), free_port());
        let with = |site: Site| {
            let add = |site: Site, (key, value): &(&str, &str)| site.set(key, *value);
            rules.iter().fold(site, add)
        };
        let (mut near, mut far) = (
            originate(&pki, "dicom", entry, wan),
            terminate(&pki, "dicom", wan, target),
        );
        match at {
            Where::Near => near = with(near),
            Where::Far => far = with(far),
        }
        let b = far.start();
        let a = near.start();
        Self { a, b, entry, at }
    }

    /// The gateway with the rules.
    fn judge(&self) -> &Gateway {
        match self.at {
            Where::Near => &self.a,
            Where::Far => &self.b,
        }
    }

    fn stop(self) {
        self.a.stop();
        self.b.stop();
    }
}

/// Waits for the log line of an association.
fn association(gateway: &Gateway, what: &str, accept: impl Fn(&Line) -> bool) -> Line {
    gateway.wait_for_line(what, DEADLINE, |line| {
        line.message() == "association" && accept(line)
    })
}

#[test]
fn titles_that_are_not_listed_are_rejected_for_good() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    let provider = Provider::start();
    for at in BOTH {
        let rules = [
            ("called_ae", "[\"ARCHIVE\", \"RIS\"]"),
            ("calling_ae", "[\"CT_A\", \"MR_B\"]"),
        ];
        let ruled = Ruled::start(at, provider.port, &rules);
        let allowed = ask(ruled.entry, "MR_B", "RIS", &["echo"]);
        assert_eq!(allowed.lines(), ["accepted", "echo 0x0000"], "{at:?}");
        assert_eq!(allowed.ended(), "released");
        ask(ruled.entry, "CT_A", "OTHER", &["echo"]).assert_rejected(NOT_CALLED);
        // Titles are case-sensitive.
        ask(ruled.entry, "CT_A", "archive", &["echo"]).assert_rejected(NOT_CALLED);
        ask(ruled.entry, "CT_Z", "ARCHIVE", &["echo"]).assert_rejected(NOT_CALLING);
        let line = association(ruled.judge(), "who was refused", |line| {
            line.text("calling") == "CT_Z"
        });
        assert_eq!(line.text("called"), "ARCHIVE");
        assert_eq!(line.text("ended"), "refused", "{line:?}");
        let connection = ruled
            .judge()
            .wait_for_connection_line("why", DEADLINE, |line| line.text("reason").contains("CT_Z"));
        assert_eq!(connection.text("ended_by"), "gateway", "{connection:?}");
        ruled.stop();
    }
    let requests = provider.report();
    let requests = requests.iter().filter(|line| line.starts_with("requested"));
    assert_eq!(requests.count(), 2, "{:?}", provider.report());
}

#[test]
fn dcmtk_shows_which_title_is_not_recognized() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    for at in BOTH {
        let rules = [("called_ae", "[\"ARCHIVE\"]"), ("calling_ae", "[\"CT_A\"]")];
        let ruled = Ruled::start(at, free_port(), &rules);
        for (calling, called, words) in [
            ("CT_A", "OTHER", "Called AE Title Not Recognized"),
            ("CT_Z", "ARCHIVE", "Calling AE Title Not Recognized"),
        ] {
            let text = Program::new("echoscu")
                .args(["-v", "-aet", calling, "-aec", called])
                .args(["127.0.0.1", &ruled.entry.to_string()])
                .run()
                .expect_failure()
                .text();
            assert!(text.contains("Rejected Permanent"), "{text}");
            assert!(text.contains("Service User"), "{text}");
            assert!(text.contains(words), "{text}");
        }
        ruled.stop();
    }
}

/// Two sites lead to one archive, and each may use only its own titles.
#[test]
fn title_that_is_bound_to_a_site_is_of_no_use_to_another() {
    const C: &str = "gw.c.example";
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    let pki = Pki::new();
    let provider = Provider::start();
    let [wan, from_a, from_c] = [(); 3].map(|()| free_port());
    let b = terminate(&pki, "dicom", wan, provider.port)
        .set("peers", format!("[\"dns:{A}\", \"dns:{C}\"]"))
        .set(
            "ae_bind",
            format!("{{ \"CT_A\" = \"dns:{A}\", \"MR_C\" = [\"dns:{C}\"] }}"),
        )
        .start();
    let a = originate(&pki, "dicom", from_a, wan).start();
    let c = Site::new(&pki, C)
        .originate(loopback(from_c), loopback(wan), &[format!("dns:{B}")])
        .start();
    for (entry, own, other) in [(from_a, "CT_A", "MR_C"), (from_c, "MR_C", "CT_A")] {
        assert_eq!(ask(entry, own, CALLED, &["echo"]).ended(), "released");
        // Every site may use a title that is not restricted.
        assert_eq!(ask(entry, "US_X", CALLED, &["echo"]).ended(), "released");
        ask(entry, other, CALLED, &["echo"]).assert_rejected(NOT_CALLING);
    }
    for gateway in [a, b, c] {
        gateway.stop();
    }
}

#[test]
fn associations_beyond_the_bound_are_rejected_for_the_moment() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    for at in BOTH {
        let provider = Provider::start();
        let ruled = Ruled::start(at, provider.port, &[("associations", "2")]);
        let first = Open::start(ruled.entry, CALLING, CALLED, &[]);
        let second = Open::start(ruled.entry, CALLING, CALLED, &[]);
        ask_to(ruled.entry, &["echo"]).assert_rejected(LIMIT);
        assert_eq!(first.release().ended(), "released");
        association(ruled.judge(), "its end", |line| {
            line.text("ended") == "released"
        });
        assert_eq!(ask_to(ruled.entry, &["echo"]).ended(), "released");
        assert_eq!(second.release().ended(), "released");
        ruled.stop();
    }
}

/// Two sites lead to one archive that accepts five associations.
#[test]
fn one_site_leaves_associations_to_the_other() {
    const C: &str = "gw.c.example";
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    let pki = Pki::new();
    let provider = Provider::start();
    let [wan, from_a, from_c] = [(); 3].map(|()| free_port());
    let b = terminate(&pki, "dicom", wan, provider.port)
        .set("peers", format!("[\"dns:{A}\", \"dns:{C}\"]"))
        .set("associations", "5")
        .start();
    let a = originate(&pki, "dicom", from_a, wan).start();
    let c = Site::new(&pki, C)
        .originate(loopback(from_c), loopback(wan), &[format!("dns:{B}")])
        .start();
    let of_a = [(); 4].map(|()| Open::start(from_a, CALLING, CALLED, &[]));
    ask_to(from_a, &["echo"]).assert_rejected(LIMIT);
    assert_eq!(ask_to(from_c, &["echo"]).ended(), "released");
    b.wait_for_connection_line("why", DEADLINE, |line| {
        line.text("reason").contains(&format!(
            "\"dns:{A}\" requested another association, but its peer may have at most 4 open"
        ))
    });
    for open in of_a {
        assert_eq!(open.release().ended(), "released");
    }
    for gateway in [a, b, c] {
        gateway.stop();
    }
}

/// Whatever the applications negotiated, the archive never receives a command that the route forbids.
#[test]
fn forbidden_command_aborts_both_ends_and_does_not_arrive() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    for at in BOTH {
        for (action, command) in [("store", "C-STORE"), ("find", "C-FIND")] {
            let mut provider = Provider::start();
            let ruled = Ruled::start(at, provider.port, &[("commands", "[\"C-ECHO\"]")]);
            let report = ask_to(ruled.entry, &["echo", action]);
            assert_eq!(report.ended(), "aborted", "{at:?} {command} {report:?}");
            assert_eq!(report.lines()[..2], ["accepted", "echo 0x0000"]);
            assert!(
                report.lines().contains(&"aborted 2 0"),
                "{at:?} {command} {report:?}"
            );
            let requested = format!("requested {CALLING} {CALLED}");
            assert_eq!(
                provider.report_when_closed(),
                [&*requested, "C-ECHO", "aborted 2 0", "closed"],
                "{at:?} {command}"
            );
            let line = association(ruled.judge(), "its end", |_| true);
            assert_eq!(line.text("ended"), "policy", "{line:?}");
            assert!(line.text("how").contains(command), "{line:?}");
            ruled.stop();
        }
    }
}

/// The objects of a C-GET come back as C-STORE, which the archive sends.
#[test]
fn rules_of_commands_hold_for_the_archive_as_well() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    for at in BOTH {
        let mut provider = Provider::start();
        let ruled = Ruled::start(at, provider.port, &[("commands", "[\"C-GET\"]")]);
        let report = ask_to(ruled.entry, &["get"]);
        assert!(report.lines().contains(&"aborted 2 0"), "{at:?} {report:?}");
        assert!(!report.lines().contains(&"stored"), "{at:?} {report:?}");
        let requested = format!("requested {CALLING} {CALLED}");
        assert_eq!(
            provider.report_when_closed(),
            [&*requested, "C-GET", "aborted 2 0", "closed"],
            "{at:?}"
        );
        ruled.stop();
        let both = [("commands", "[\"C-GET\", \"C-STORE\"]")];
        let ruled = Ruled::start(at, provider.port, &both);
        let report = ask_to(ruled.entry, &["get"]);
        let expected = ["accepted", "stored", "get 0xff00", "get 0x0000"];
        assert_eq!(report.lines(), expected, "{at:?}");
        let line = association(ruled.judge(), "its end", |_| true);
        assert_eq!(
            line.text("commands"),
            "C-GET 1 (success 1), C-STORE 1 by the acceptor (success 1)",
            "{line:?}"
        );
        ruled.stop();
    }
}

#[test]
fn dcmtk_cannot_store_where_only_echo_is_allowed() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    for at in BOTH {
        let (sent, received) = (TempDir::new(), TempDir::new());
        let sent = sent.expect("there is room");
        let received = received.expect("there is room");
        let port = free_port();
        let _scp = storescp(port, received.path());
        let ruled = Ruled::start(at, port, &[("commands", "[\"C-ECHO\"]")]);
        let files = dicom::series(sent.path(), "WARDGATE", 2, 256);
        storescu(ruled.entry, &[], &files).run().expect_failure();
        assert_eq!(dicom::objects(received.path()), []);
        Program::new("echoscu")
            .args(["127.0.0.1", &ruled.entry.to_string()])
            .run()
            .expect_success();
        ruled.stop();
    }
}

#[test]
fn rules_that_only_report_let_everything_pass_and_name_it() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    for at in BOTH {
        let provider = Provider::start();
        let rules = [
            ("rules", "\"report\""),
            ("calling_ae", "[\"MR_B\"]"),
            ("commands", "[\"C-ECHO\"]"),
            ("associations", "1"),
        ];
        let ruled = Ruled::start(at, provider.port, &rules);
        let report = ask_to(ruled.entry, &["echo", "store", "find"]);
        let expected = ["accepted", "echo 0x0000", "store 0x0000", "find 0x0000"];
        assert_eq!(report.lines(), expected, "{at:?}");
        assert_eq!(report.ended(), "released");
        let line = association(ruled.judge(), "its end", |_| true);
        assert_eq!(
            line.text("would_refuse"),
            format!("calling AE title \"{CALLING}\" is not in calling_ae")
        );
        assert_eq!(line.text("would_forbid"), "C-STORE, C-FIND", "{line:?}");
        assert_eq!(line.text("ended"), "released");
        let report = ask(ruled.entry, "MR_B", CALLED, &["echo"]);
        assert_eq!(report.ended(), "released");
        let line = association(ruled.judge(), "the one that is allowed", |line| {
            line.text("calling") == "MR_B"
        });
        assert_eq!(line.text("would_refuse"), "-", "{line:?}");
        assert_eq!(line.text("would_forbid"), "-", "{line:?}");
        let mut first = Open::start(ruled.entry, "MR_B", CALLED, &["echo"]);
        first.wait_for("echo 0x0000");
        let report = ask(ruled.entry, "MR_B", "SECOND", &["echo"]);
        assert_eq!(report.ended(), "released", "one more than may be open");
        let line = association(ruled.judge(), "the second", |line| {
            line.text("called") == "SECOND"
        });
        assert_eq!(
            line.text("would_refuse"),
            "requested another association, but at most 1 may be open on this route (associations)"
        );
        drop(first);
        ruled.stop();
    }
}

#[test]
fn called_title_chooses_the_archive() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    for at in BOTH {
        let pki = Pki::new();
        let folder = TempDir::new().expect("there is room");
        let [entry, wan, one, two] = [(); 4].map(|()| free_port());
        let archives: Vec<_> = [one, two]
            .map(|port| {
                let received = TempDir::new().expect("there is room");
                (storescp(port, received.path()), received)
            })
            .into();
        let tables = |one: u16, two: u16| {
            format!(
                "[{{ called = [\"ARCHIVE\", \"ARCHIVE2\"], targets = [\"127.0.0.1:{one}\"] }}, \
                 {{ called = \"RESEARCH\", targets = [\"127.0.0.1:{two}\"] }}]"
            )
        };
        let mut gateways = Vec::new();
        match at {
            // Site B has a listener for each archive, and site A selects between them.
            Where::Near => {
                let wan_two = free_port();
                let peers = [format!("dns:{A}")];
                let b = terminate(&pki, "dicom", wan, one).terminate(
                    loopback(wan_two),
                    loopback(two),
                    &peers,
                );
                gateways.push(b.start());
                let a = originate(&pki, "dicom", entry, wan).unset("targets");
                gateways.push(a.set("ae", tables(wan, wan_two)).start());
            }
            Where::Far => {
                let b = terminate(&pki, "dicom", wan, one).unset("targets");
                gateways.push(b.set("ae", tables(one, two)).start());
                gateways.push(originate(&pki, "dicom", entry, wan).start());
            }
        }
        let first = dicom::series(folder.path(), "ONE", 3, 64);
        let (for_one, for_two) = first.split_at(2);
        let send = |called: &str, file: usize| {
            let file = first.get(file..=file).expect("three were made");
            storescu(entry, &["-R", "-aec", called], file).run()
        };
        send("ARCHIVE", 0).expect_success();
        send("ARCHIVE2", 1).expect_success();
        send("RESEARCH", 2).expect_success();
        let text = send("OTHER", 0).expect_failure().text();
        assert!(text.contains("Called AE Title Not Recognized"), "{text}");
        let received = |index: usize| dicom::objects(archives[index].1.path());
        assert_eq!(received(0), dicom::objects_in(for_one), "{at:?}");
        assert_eq!(received(1), dicom::objects_in(for_two), "{at:?}");
        for gateway in gateways {
            gateway.stop();
        }
    }
}

#[test]
fn other_titles_go_to_the_targets_of_the_route() {
    if !tier::ready("interop", &PYNETDICOM) {
        return;
    }
    let (mut own, mut research) = (Provider::start(), Provider::start());
    let tables = format!(
        "[{{ called = \"RESEARCH\", targets = [\"127.0.0.1:{}\"] }}]",
        research.port
    );
    let ruled = Ruled::start(Where::Far, own.port, &[("ae", &tables)]);
    ask(ruled.entry, CALLING, "RESEARCH", &["echo"]);
    ask(ruled.entry, CALLING, "ANY", &["echo"]);
    let report = |called: &str| {
        let requested = format!("requested {CALLING} {called}");
        [&*requested, "C-ECHO", "released", "closed"].map(str::to_owned)
    };
    assert_eq!(research.report_when_closed(), report("RESEARCH"));
    assert_eq!(own.report_when_closed(), report("ANY"));
    ruled.stop();
}

#[test]
fn log_has_a_line_for_each_association_with_its_commands() {
    if !tier::ready("interop", &[PYNETDICOM.as_slice(), &DCMTK].concat()) {
        return;
    }
    let sent = TempDir::new().expect("there is room");
    let files = dicom::series(sent.path(), "WARDGATE", 5, 128);
    let provider = Provider::start();
    let ruled = Ruled::start(Where::Near, provider.port, &[]);
    ask(
        ruled.entry,
        "MIXED",
        CALLED,
        &["echo*3", "store*2", "find*4"],
    );
    storescu(
        ruled.entry,
        &["-xi", "-aet", "STORES", "-aec", "ARCHIVE"],
        &files,
    )
    .run()
    .expect_success();
    let expected = [
        (
            "MIXED",
            "C-ECHO 3 (success 3), C-STORE 2 (success 2), C-FIND 4 (success 4)",
            2,
        ),
        ("STORES", "C-STORE 5 (success 5)", 5),
    ];
    for gateway in [&ruled.a, &ruled.b] {
        for (calling, commands, objects) in expected {
            let line = association(gateway, calling, |line| line.text("calling") == calling);
            assert_eq!(line.text("called"), "ARCHIVE");
            assert_eq!(line.text("commands"), commands, "{line:?}");
            assert_eq!(line.number("objects"), objects, "{line:?}");
            assert!(line.number("object_bytes") > objects * 30_000, "{line:?}");
            assert_eq!(line.text("ended"), "released");
            assert_eq!(line.text("how"), "released by requestor");
        }
        gateway.wait_for_connections(2);
        let lines = gateway.lines();
        let lines = lines.iter().filter(|line| line.message() == "association");
        assert_eq!(lines.count(), 2, "one line for each");
        assert!(!gateway.output().contains("WARDGATE"), "no patient data");
    }
    ruled.stop();
}
