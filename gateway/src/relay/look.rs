//! What looks at the connections of a route, and what it counts.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::Path;
use crate::config::{Connect, Observe, Protocol};
use crate::dicom;
use crate::hl7;
use crate::metrics::Seen;
use crate::observe::Observer;

impl Path {
    /// What is to be counted of what passes; one for each core.
    #[must_use]
    pub fn seen(&self) -> Seen {
        match (self.route.observe, self.route.protocol) {
            (Observe::Off, _) | (_, Protocol::Tcp) => Seen::Nothing,
            (_, Protocol::Dicom) => Seen::Associations(Arc::default()),
            (_, Protocol::Mllp) => Seen::Conversations(Arc::default()),
        }
    }

    /// What looks at one connection, and counts into `seen`.
    pub(super) fn observer(&self, seen: &Seen) -> Observer {
        let is_strict = match self.route.observe {
            Observe::Off => return Observer::Blind,
            Observe::Lenient => false,
            Observe::Strict => true,
        };
        match (self.route.protocol, &self.admission) {
            (Protocol::Dicom, Some(admission)) => {
                let manner = match is_strict {
                    true => dicom::Manner::Strict,
                    false => dicom::Manner::Lenient,
                };
                let (rules, now) = (admission.rules(), Instant::now().into_std());
                Observer::of_dicom(manner, rules, seen.associations(), now)
            }
            (Protocol::Mllp, _) => {
                let manner = match is_strict {
                    true => hl7::Manner::Strict,
                    false => hl7::Manner::Lenient,
                };
                match self.route.connect {
                    Connect::Late => Observer::of_mllp(manner, seen.conversations()),
                    Connect::Early => Observer::of_mllp_from_either(manner, seen.conversations()),
                }
            }
            (Protocol::Dicom | Protocol::Tcp, _) => Observer::Blind,
        }
    }
}
