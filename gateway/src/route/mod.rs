//! Live routes: what a route is while the gateway runs.
//!
//! A `Route` never changes. It holds its configuration, its TLS setup and an `Arc<RouteState>`: the counters,
//! the number of open associations and the drain signal. The next `Route` of the same name takes this state
//! over. A `RouteTable` holds all routes of one configuration, and `diff` compares two tables. A connection
//! keeps its `Route` for its whole lifetime.

mod admission;
mod bandwidth;
mod counts;
mod diff;
mod draft;
mod full;
mod id;
mod limits;
mod live;
mod observing;
mod peer_expiries;
mod shares;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use diff::{Change, diff};
pub use draft::{RouteDraft, Transport};
pub use full::Full;
pub use id::RouteId;
pub use live::{Route, UnknownTarget};
pub use shares::Shares;
pub use state::{RoutePhase, RouteState};
pub use table::RouteTable;

pub(crate) use admission::{Admitted, Refused};
pub(crate) use bandwidth::{BandwidthFlow, RouteBandwidth, TurnStep};
pub(crate) use counts::CountedPlace;
pub(crate) use full::OfRoute;
pub(crate) use shares::{AnsweredPlace, PeerPlace, passthrough_max, source_max};
