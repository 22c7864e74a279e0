//! Types for counting and measuring. They know nothing about what they measure.

mod counter;
mod latency;
mod limits;
mod times;

pub use counter::Counter;
pub use latency::Latencies;
pub use times::{SCALE, Times};
