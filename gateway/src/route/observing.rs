//! What observes the connections of a route, and what it counts.

use crate::strictness::Strictness;
use tokio::time::Instant;

use super::live::Route;
use crate::config::{Connect, Observe, Protocol};
use crate::metrics::ObservedCounts;
use crate::observe::Observer;

impl Route {
    /// What observes one connection, and counts into `counts`.
    pub(crate) fn observer(&self, counts: &ObservedCounts) -> Observer {
        let is_strict = match self.config.observe {
            Observe::Off => return Observer::Blind,
            Observe::Lenient => false,
            Observe::Strict => true,
        };
        match (self.config.protocol, &self.admission) {
            (Protocol::Dicom, Some(admission)) => {
                let strictness = match is_strict {
                    true => Strictness::Strict,
                    false => Strictness::Lenient,
                };
                let (rules, now) = (admission.rules(), Instant::now().into_std());
                Observer::of_dicom(strictness, rules, counts.associations(), now)
            }
            (Protocol::Mllp, _) => {
                let strictness = match is_strict {
                    true => Strictness::Strict,
                    false => Strictness::Lenient,
                };
                match self.config.connect {
                    Connect::Late => Observer::of_mllp(strictness, counts.conversations()),
                    Connect::Early => {
                        Observer::of_mllp_from_either(strictness, counts.conversations())
                    }
                }
            }
            (Protocol::Dicom | Protocol::Tcp, _) => Observer::Blind,
        }
    }
}
