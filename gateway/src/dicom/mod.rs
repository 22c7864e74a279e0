//! What passes in a DICOM association (PS3.8), told from its bytes.
//!
//! Pure: no socket, no clock. Nothing here changes a byte or keeps one of a data set.

mod command;
mod title;

pub use command::{Command, NotACommand};
pub use title::{AeTitle, NotATitle};
