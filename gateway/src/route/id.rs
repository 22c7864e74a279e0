//! The names that routes have inside the process.

/// Names a route for the life of the process: a route of the same name keeps it in the next configuration, and
/// it is never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u64);

impl RouteId {
    /// No other is less.
    pub(crate) const LEAST: Self = Self(0);

    /// The one that is given after this one.
    pub(crate) fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
