//! Whether an association may begin, and where it leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::audit::{Close, Party, Reason};
use crate::config::{ByTitle, Dicom, Route, Target};
use crate::dicom::{Answer, AssociateRq, Binding, Refusal, Rules};

/// What a route's associations are held to, on all cores.
#[derive(Debug)]
pub(super) struct Admission {
    rules: Arc<Rules>,
    open: AtomicU32,
    open_max: u32,
}

/// A place among the associations that a route may have open at a time.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicU32);

/// An association that may begin.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    /// Where it leads, in the order in which it is tried.
    pub(super) targets: &'a [Target],
    /// Its place; as long as it lasts.
    _place: Option<Place<'a>>,
    /// The rule that would have refused it, on a route that only reports.
    pub(super) reported: Option<String>,
}

/// An association that may not begin.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why, for the log.
    pub(super) sentence: String,
    /// What its requestor is told.
    pub(super) answer: Answer,
}

impl<'a> Admitted<'a> {
    /// What nobody has rules for.
    pub(super) fn anyone(targets: &'a [Target]) -> Self {
        Self {
            targets,
            _place: None,
            reported: None,
        }
    }
}

impl Refused {
    /// How a connection ends by it.
    pub(super) fn into_close(self) -> Close {
        Close {
            by: Party::Gateway,
            reason: Reason::Forbidden(self.sentence),
        }
    }
}

impl Admission {
    pub(super) fn new(dicom: &Dicom) -> Self {
        let bound = dicom.bound.iter().map(|(title, peers)| Binding {
            title: *title,
            identities: peers.iter().map(ToString::to_string).collect(),
        });
        Self {
            rules: Arc::new(Rules {
                called: dicom.called.clone(),
                calling: dicom.calling.clone(),
                bound: bound.collect(),
                by_title: !dicom.by_title.is_empty(),
                commands: dicom.commands.clone(),
                enforce: dicom.enforce,
            }),
            open: AtomicU32::new(0),
            open_max: dicom.associations_max.unwrap_or(u32::MAX),
        }
    }

    /// The rules, which hold for what comes later as well.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// Judges a request of `route`'s, from the peer of this identity if it came in TLS.
    pub(super) fn admit<'a>(
        &'a self,
        route: &'a Route,
        request: &AssociateRq,
        identity: Option<&str>,
    ) -> Result<Admitted<'a>, Refused> {
        let judged = self.rules.judge(request, identity);
        let by_rule = self.held_to(judged.map_err(Refused::from))?;
        let targets = targets(route, request, self.rules.enforce)?;
        let (place, counted) = self.place();
        let by_number = self.held_to(counted)?;
        Ok(Admitted {
            targets,
            _place: place,
            reported: by_rule.or(by_number),
        })
    }

    // Why it would be refused, on a route that only reports.
    fn held_to(&self, judged: Result<(), Refused>) -> Result<Option<String>, Refused> {
        match judged {
            Err(refused) if self.rules.enforce => Err(refused),
            judged => Ok(judged.err().map(|refused| refused.sentence)),
        }
    }

    // A place, if there is one, and whether it is one too many.
    fn place(&self) -> (Option<Place<'_>>, Result<(), Refused>) {
        let one_more = |open: u32| {
            let is_allowed = open < self.open_max || !self.rules.enforce;
            is_allowed.then(|| open.saturating_add(1))
        };
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        // LIMIT: associations of the route.
        let counted = match taken {
            Ok(before) if before < self.open_max => Ok(()),
            _ => Err(Refused {
                sentence: format!("{} associations are open, as many as may be", self.open_max),
                answer: Answer::local_limit_exceeded(),
            }),
        };
        (taken.ok().map(|_| Place(&self.open)), counted)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// The targets of the title that is called, or those of the route where it has no other. A title that a
// receiver might read as another has none on a route that tells titles apart.
fn targets<'a>(
    route: &'a Route,
    request: &AssociateRq,
    enforce: bool,
) -> Result<&'a [Target], Refused> {
    let tables = || route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let is_called = |table: &&ByTitle| table.called.contains(&request.called);
    let found = tables().find(is_called);
    let targets = found.map_or(&route.targets, |table| &table.targets);
    let is_doubtful = enforce && request.called.is_odd() && tables().next().is_some();
    if targets.is_empty() || is_doubtful {
        return Err(Refused {
            sentence: format!("called AE title \"{}\" has no targets", request.called),
            answer: Answer::called_ae_not_recognized(),
        });
    }
    Ok(targets)
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            sentence: refusal.to_string(),
            answer: refusal.answer(),
        }
    }
}
