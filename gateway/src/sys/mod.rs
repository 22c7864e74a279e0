//! System calls for which the used crates offer no safe function: one call per function.
#![expect(
    unsafe_code,
    reason = "each call has a justification, a safety comment and a test"
)]

mod adopt;
mod calls;
mod clock;
mod peer_groups;
mod process;
mod ring;
mod tcp_info;
mod violation;

pub(crate) use adopt::adopt;
pub(crate) use calls::number as call_number;
pub(crate) use clock::{ClockState, clock_state};
pub(crate) use peer_groups::peer_groups;
pub(crate) use process::{close_descriptors, refuse_executable_memory, refuses_executable_memory};
#[cfg(test)]
pub(crate) use process::{make_executable, trace};
#[cfg(test)]
pub(crate) use ring::push_nop;
pub(crate) use ring::{RING_OPERATIONS, RingRequest, look, push_request, submit_and_look};
pub(crate) use tcp_info::tcp_info;
pub(crate) use violation::report_violations;
