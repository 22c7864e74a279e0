//! The two ends of an association.

use std::fmt;

/// One of the two ends. After acceptance, either end may send requests to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssociationRole {
    /// The end that requested the association.
    Requestor,
    /// The end that received the request.
    Acceptor,
}

impl AssociationRole {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Requestor => Self::Acceptor,
            Self::Acceptor => Self::Requestor,
        }
    }
}

impl fmt::Display for AssociationRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requestor => "requestor",
            Self::Acceptor => "acceptor",
        })
    }
}

/// One value for each end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Both<T> {
    pub(super) requestor: T,
    pub(super) acceptor: T,
}

impl<T> Both<T> {
    pub(super) const fn of(&self, role: AssociationRole) -> &T {
        match role {
            AssociationRole::Requestor => &self.requestor,
            AssociationRole::Acceptor => &self.acceptor,
        }
    }

    pub(super) const fn of_mut(&mut self, role: AssociationRole) -> &mut T {
        match role {
            AssociationRole::Requestor => &mut self.requestor,
            AssociationRole::Acceptor => &mut self.acceptor,
        }
    }
}
