//! What a receiver that reads gets of a stream that is cut.

use std::time::Duration;

use gateway::config::{Mode, Protocol};

use crate::app::{End, Script};
use crate::chain::Scenario;
use crate::oracle::judge;

/// Linux lets an application read bytes that arrived before a reset; other systems drop them.
#[test]
fn a_receiver_gets_all_bytes_before_a_reset_although_its_system_drops_unread_bytes() {
    for at in 1..=150 {
        let mut scenario = Scenario::calm(at, &[Mode::Originate, Mode::Terminate], Protocol::Tcp);
        scenario.natures[2].keeps_data_behind_reset = false;
        scenario.scripts[0] = Script {
            amount: 400_000,
            chunk_max: 8000,
            end: End::Never,
            leaves_at: Some(Duration::from_millis(at)),
            ..Script::default()
        };
        scenario.scripts[1].end = End::Never;
        let report = scenario.run();
        assert_eq!(judge(&scenario, &report), [""; 0], "{report:#?}");
        let account = report.accounts.iter().find(|(place, _)| *place == 1);
        let Some((b, (_, account))) = report.b.first().zip(account) else {
            continue;
        };
        let passed = (account.opened_bytes, account.undelivered_bytes[1]);
        assert_eq!(passed, (b.received, 0), "at {at} ms: {report:#?}");
    }
}
