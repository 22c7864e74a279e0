//! Rules that only report: the applications notice nothing, and the log reports what the rules would have
//! done.

use wardgate_tests::tier::{self, Need};

use crate::counts::{Sites, association};

const SCENARIOS: [&str; 4] = ["echo:2", "get:5", "astray", "everything:3"];

/// All commands of `everything` but C-ECHO.
const FORBIDDEN: &str = "C-STORE, C-FIND, C-GET, C-MOVE, N-EVENT-REPORT, N-GET, N-SET, N-ACTION, N-CREATE, \
                         N-DELETE";

#[test]
fn applications_notice_nothing_of_rules_that_only_report() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let free = Sites::start(&[], &[]);
    let (reports, _) = free.perform(&SCENARIOS);
    free.stop();
    let report = ("rules", "\"report\"");
    let near = [
        report,
        ("called_ae", "[\"RIS\"]"),
        ("commands", "[\"C-ECHO\"]"),
    ];
    let far = [
        report,
        ("peers", "[\"dns:gw.a.example\", \"dns:gw.c.example\"]"),
        ("ae_bind", "{ \"GET\" = \"dns:gw.c.example\" }"),
        ("commands", "[\"C-ECHO\", \"C-GET\"]"),
    ];
    let ruled = Sites::start(&near, &far);
    let (reports_with_rules, text) = ruled.perform(&SCENARIOS);
    assert_eq!(reports_with_rules, reports, "{text}");
    let not_called = "called AE title \"ARCHIVE\" is not in called_ae";
    let bound = "calling AE title \"GET\" came from \"dns:gw.a.example\", and ae_bind restricts it to other peers";
    let without_get = FORBIDDEN.replace("C-GET, ", "");
    for (calling, at_a, at_b, refused_at_b) in [
        ("ECHO", "-", "-", "-"),
        // The archive sends the requested objects as C-STORE.
        ("GET", "C-STORE, C-GET", "C-STORE", bound),
        ("ASTRAY", "C-MOVE", "C-MOVE", "-"),
        ("EVERYTHING", FORBIDDEN, &*without_get, "-"),
    ] {
        let line = association(&ruled.a, calling);
        assert_eq!(line.text("would_forbid"), at_a, "{line:?}");
        assert_eq!(line.text("would_refuse"), not_called, "{line:?}");
        assert_eq!(line.text("ended"), "released", "{line:?}");
        let line = association(&ruled.b, calling);
        assert_eq!(line.text("would_forbid"), at_b, "{line:?}");
        assert_eq!(line.text("would_refuse"), refused_at_b, "{line:?}");
        assert_eq!(line.text("ended"), "released", "{line:?}");
    }
    ruled.stop();
}
