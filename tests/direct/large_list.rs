//! A revocation list of 10 MB: its cost in a gateway with many routes.

use std::time::Duration;

use wardgate_tests::{Gateway, Pki, Site, free_port, one_good_round};

use crate::pair::{A, B};

const ENTRIES: u32 = 420_000;
const ROUTES: usize = 20;

/// Goal: routes that name the same list load it once and hold it once. Method: the CPU time and the memory of
/// the process when it is ready. Elapsed time would mean little on a busy machine.
#[test]
fn twenty_routes_read_and_hold_a_large_revocation_list_once() {
    let pki = Pki::new();
    let list = pki.large_crl("large.crl", ENTRIES);
    let start = |routes: usize| {
        let mut site = Site::new(&pki, B).crl(&list);
        for _ in 0..routes {
            let (listen, target) = (free_port(), free_port());
            site = site.terminate(
                format!("127.0.0.1:{listen}"),
                format!("127.0.0.1:{target}"),
                &[format!("dns:{A}")],
            );
        }
        site.start()
    };
    // CPU time depends on what else runs, too; a list that is read 20 times costs far more in every round.
    one_good_round(3, || {
        let (one_time, one_bytes) = cost(&start(1));
        let (time, bytes) = cost(&start(ROUTES));
        assert!(
            bytes * 10 <= one_bytes * 12,
            "{bytes} bytes with {ROUTES} routes, {one_bytes} with one"
        );
        let is_good = time * 2 <= one_time * 3;
        is_good.then_some(()).ok_or(format!(
            "{time:?} with {ROUTES} routes, {one_time:?} with one"
        ))
    });
}

fn cost(gateway: &Gateway) -> (Duration, u64) {
    let process = gateway.process();
    (process.cpu_time(), process.resident_bytes())
}
