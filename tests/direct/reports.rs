//! Rules that only report: what they would refuse passes, with one log line and a count.

use std::io::{Read, Write};

use wardgate_tests::stream::{accept, connect};
use wardgate_tests::{DEADLINE, Line};

use crate::pair::Pair;

/// An A-ASSOCIATE-RQ without presentation contexts (PS3.8 section 9.3.2).
fn request(calling: &str, called: &str) -> Vec<u8> {
    let mut pdu = vec![1, 0, 0, 0, 0, 68, 0, 1, 0, 0];
    pdu.extend(format!("{called:16}{calling:16}").bytes());
    pdu.extend([0; 32]);
    pdu
}

#[test]
fn an_association_that_rules_would_refuse_is_one_log_line_and_a_count() {
    let pair = Pair::each(
        "dicom",
        |site| {
            site.set("calling_ae", r#"["CT_A"]"#)
                .set("rules", "\"report\"")
        },
        |site| site.set("called_ae", r#"["ARCHIVE"]"#),
    );
    for calling in ["MR_B", "CT_A"] {
        let mut client = connect(pair.entry);
        client
            .write_all(&request(calling, "ARCHIVE"))
            .expect("it is connected");
        let mut server = accept(&pair.exit);
        let mut heard = [0; 74];
        server.read_exact(&mut heard).expect("it passes");
        drop((client, server));
    }
    pair.a.wait_for_connections(2);
    let is_it = |line: &Line| line.message().starts_with("would refuse");
    let line = pair
        .a
        .wait_for_line("what would be refused", DEADLINE, is_it);
    assert_eq!(
        line.message(),
        "would refuse this association: calling AE title \"MR_B\" is not in calling_ae; remove rules = \
         \"report\" from the route to enforce its rules"
    );
    assert_eq!((line.text("level"), line.text("calling")), ("WARN", "MR_B"));
    assert_eq!(line.text("route"), "originate-1");
    for (gateway, count) in [(&pair.a, 1), (&pair.b, 0)] {
        let lines = gateway.lines().iter().filter(|line| is_it(line)).count();
        assert_eq!(lines, count);
        assert_eq!(
            gateway.metric("wardgate_would_refuse_total") as usize,
            count
        );
    }
}
