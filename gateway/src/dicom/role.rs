//! The two ends of an association.

use std::fmt;

/// One of the two ends. After acceptance, either end may send requests to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that requested the association.
    Requestor,
    /// The end that received the request.
    Acceptor,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Requestor => Self::Acceptor,
            Self::Acceptor => Self::Requestor,
        }
    }
}

impl fmt::Display for Role {
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
    pub(super) const fn of(&self, role: Role) -> &T {
        match role {
            Role::Requestor => &self.requestor,
            Role::Acceptor => &self.acceptor,
        }
    }

    pub(super) const fn of_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Requestor => &mut self.requestor,
            Role::Acceptor => &mut self.acceptor,
        }
    }
}
