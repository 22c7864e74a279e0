//! What numbers are counted in. It knows nothing of what they count.

mod counter;
mod latency;
mod times;

pub use counter::Counter;
pub use latency::Latencies;
pub use times::{SCALE, Times};
