//! The memory of an association's observer: little for an open association, nothing per object.

use gateway::strictness::Strictness;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::dicom::{Association, AssociationRole, AssociationRules, AssociationVerdict};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use super::{made, script};
use crate::driver::alone;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn store(message: u16) -> Vec<u8> {
    made::message(1, &made::store(message, CT, true), Some(&[0; 5000]))
}

fn stored(message: u16) -> Vec<u8> {
    made::message(1, &made::response(0x8001, message, 0), None)
}

fn pass(association: &mut Association, by: AssociationRole, bytes: &[u8], now: Instant) {
    assert_eq!(
        association.observe(by, bytes, now),
        AssociationVerdict::Pass
    );
}

#[test]
fn an_association_holds_little_and_stores_ask_for_nothing() {
    let _alone = alone();
    // The harness reports the previous test and starts the next one, which waits: both allocate, once. An observer that
    // holds too much, or allocates for each object, does so in every round.
    let faults: Vec<_> = (0..3).map_while(|_| count_allocations().err()).collect();
    assert!(faults.len() < 3, "{faults:#?}");
}

fn count_allocations() -> Result<(), String> {
    let (opening, store, stored) = (script::opening(), store(1), stored(1));
    let (rules, mut now) = (Arc::new(AssociationRules::default()), Instant::now());
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let held = || {
        let change = region.change();
        change.bytes_allocated - change.bytes_deallocated
    };
    // The table of SOP classes is made once for the process.
    drop(gateway::dicom::SopClass::from_field(CT.as_bytes()));
    let before = held();
    let mut association = Association::new(Strictness::Lenient, rules, now);
    let unborn = held() - before;
    for (by, bytes) in &opening {
        pass(&mut association, *by, bytes, now);
    }
    let open = held() - before;
    let mut exchange = |association: &mut Association, count: u32| {
        for _ in 0..count {
            pass(association, AssociationRole::Requestor, &store, now);
            now += Duration::from_millis(20);
            pass(association, AssociationRole::Acceptor, &stored, now);
        }
    };
    exchange(&mut association, 1);
    let storing = held() - before;
    println!("itself: {}", size_of::<Association>());
    let allocations = region.change().allocations;
    exchange(&mut association, 1000);
    let further = region.change().allocations - allocations;
    let is_good = unborn == 0 && open <= 512 && storing <= 8192 && further == 0;
    is_good.then_some(()).ok_or(format!(
        "heap: {unborn} new, {open} open, {storing} after an object, then {further} allocations"
    ))
}
