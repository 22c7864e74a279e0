//! Types for counting and measuring. They know nothing about what they measure.

mod counter;
mod latency;
mod limits;
mod times;

pub use counter::Counter;
pub(crate) use latency::Latencies;
pub(crate) use times::{SCALE, Times};
