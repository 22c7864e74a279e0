//! Observes a DICOM association (PS3.8) as its bytes pass.
//!
//! Pure: no socket, no clock. This module changes no byte and keeps no byte of a data set.

mod accept;
mod association;
mod closing_pdu;
mod command;
mod command_set;
mod counts;
mod echo;
mod items;
pub(crate) mod limits;
#[cfg(test)]
mod made;
mod pdu;
mod request;
mod role;
mod rules;
mod sop_class;
mod stats;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod title;
mod user_information;
mod verdict;

pub use accept::ContextResult;
pub use association::{Association, Phase};
pub use closing_pdu::{Abort, ClosingPdu, Rejection};
pub use command::{DimseCommand, NotACommand};
pub use command_set::{Class, Status};
pub use counts::{AssociationCounters, OfCommand};
pub use echo::{Echo, EchoError, EchoStep};
pub use pdu::PduType;
pub use request::{AssociateRq, AssociateRqError, Proposed};
pub use role::AssociationRole;
pub use rules::{AssociationRefusal, AssociationRules, Binding};
pub use sop_class::SopClass;
pub use summary::{
    AssociationEndpoint, AssociationSummary, ClassCount, CommandCount, CommandFailures, Context,
    Ending,
};
pub use title::{AeTitle, InvalidAeTitle};
pub use user_information::{UserInformation, VersionName, Window};
pub use verdict::{AssociationEndReason, AssociationVerdict, RequestedCommand, Violation};
