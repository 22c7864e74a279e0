//! The sizes of buffers.

use crate::buffers::limits::{RECORD_ROOM, RECORDS_LARGE, RECORDS_MEDIUM, RECORDS_SMALL};

/// The size of a buffer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `RECORDS_SMALL` records: messages, and the first bytes of every transfer.
    #[default]
    Small,
    /// `RECORDS_MEDIUM` records: bulk while other connections exchange messages.
    Medium,
    /// `RECORDS_LARGE` records: bulk.
    Large,
}

impl Size {
    /// Bytes of memory.
    #[must_use]
    pub const fn room(self) -> usize {
        self.records() * RECORD_ROOM
    }

    /// Records of full length that there is room for.
    #[must_use]
    pub const fn records(self) -> usize {
        match self {
            Self::Small => RECORDS_SMALL,
            Self::Medium => RECORDS_MEDIUM,
            Self::Large => RECORDS_LARGE,
        }
    }
}
