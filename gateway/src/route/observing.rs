//! What looks at the connections of a route, and what it counts.

use tokio::time::Instant;

use super::live::Route;
use crate::config::{Connect, Observe, Protocol};
use crate::dicom;
use crate::hl7;
use crate::metrics::Seen;
use crate::observe::Observer;

impl Route {
    /// What looks at one connection, and counts into `seen`.
    pub(crate) fn observer(&self, seen: &Seen) -> Observer {
        let is_strict = match self.config.observe {
            Observe::Off => return Observer::Blind,
            Observe::Lenient => false,
            Observe::Strict => true,
        };
        match (self.config.protocol, &self.admission) {
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
                match self.config.connect {
                    Connect::Late => Observer::of_mllp(manner, seen.conversations()),
                    Connect::Early => Observer::of_mllp_from_either(manner, seen.conversations()),
                }
            }
            (Protocol::Dicom | Protocol::Tcp, _) => Observer::Blind,
        }
    }
}
