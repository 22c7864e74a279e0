//! Types for counting and measuring. They know nothing about what they measure.

mod bounds;
mod counter;
mod latency;
mod limits;
mod times;

pub(crate) use bounds::ReachedBound;
pub use counter::Counter;
pub(crate) use latency::Latencies;
pub(crate) use times::SCALE;
pub(crate) use times::Times;
