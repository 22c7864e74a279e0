//! What passes in a DICOM association (PS3.8), told from its bytes.
//!
//! Pure: no socket, no clock. Nothing here changes a byte or keeps one of a data set.

mod answer;
mod command;
mod items;
#[cfg(test)]
mod made;
mod request;
mod rules;
mod sop_class;
mod title;
mod user_information;

pub use answer::{Abort, Answer, Rejection};
pub use command::{Command, NotACommand};
pub use request::{AssociateRq, NoRequest, Proposed};
pub use rules::{Binding, Refusal, Rules};
pub use sop_class::SopClass;
pub use title::{AeTitle, NotATitle};
pub use user_information::{UserInformation, VersionName, Window};
