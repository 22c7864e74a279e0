//! The allocations tier: in steady state, the byte path allocates no memory.
//!
//! The allocator of this program counts for all threads. Hence there is only one test, which measures one
//! thing after the other while nothing else runs.

mod engine;
mod relay;
mod route_pair;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of allocations during `act`, including changes of size.
fn allocations(act: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    act();
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn steady_state_allocates_nothing_per_record_or_batch() {
    assert_eq!(allocations(|| drop(vec![0_u8; 9])), 1, "they are counted");
    engine::sealing_and_opening_allocate_nothing();
    relay::bulk_and_messages_through_both_modes_allocate_nothing();
}
