//! Decides whether an association may begin, and which targets it may use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::state::RouteState;
use crate::config::{ByTitle, RouteConfig, RouteTls};
use crate::dicom::{AssociateRq, AssociationRefusal, AssociationRules, Binding, ClosingPdu};

/// The admission rules of a route, and its open associations on all cores.
#[derive(Debug)]
pub(crate) struct Admission {
    rules: Arc<AssociationRules>,
    open: AssociationLimit,
    // By the identities that peers are accepted by. All configured identities are entered at the start and
    // none is added later. The identities of one `[[peer]]` share one count.
    by_peer: HashMap<String, Arc<AssociationLimit>>,
}

/// The number of open associations, and its limit.
#[derive(Debug)]
struct AssociationLimit {
    // Counted for as long as a route of this name exists, under any configuration.
    count: Arc<AtomicU32>,
    most: u32,
}

/// A slot among the associations that are counted together.
#[derive(Debug)]
struct AssociationSlot<'a>(&'a AssociationLimit);

/// An association that may begin.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    /// The `[[route.ae]]` table whose targets it may use, by index; `None` for those of the route itself.
    pub(crate) table: Option<usize>,
    /// Its slots in the counts of its peer and of the route, held for its lifetime.
    _slots: [Option<AssociationSlot<'a>>; 2],
    /// The rule that would have refused it, on a route with `rules = "report"`.
    pub(crate) reported: Option<String>,
}

/// An association that may not begin.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The reason, for the log.
    pub(crate) sentence: String,
    /// The reply to its requestor.
    pub(crate) answer: ClosingPdu,
    /// Whether the connection exceeds a limit, and not a rule.
    pub(crate) is_limit: bool,
}

impl Admitted<'_> {
    /// Admission on a route without rules.
    pub(crate) fn anyone() -> Self {
        Self {
            table: None,
            _slots: [None, None],
            reported: None,
        }
    }
}

impl Refused {
    /// A request on a connection that exceeds this limit.
    pub(crate) fn by_limit(sentence: String) -> Self {
        Self {
            sentence,
            answer: ClosingPdu::local_limit_exceeded(),
            is_limit: true,
        }
    }

    // Checks the number of associations; builds the message only if it is needed.
    fn check_number(is_one_too_many: bool, sentence: impl FnOnce() -> String) -> Result<(), Self> {
        if !is_one_too_many {
            return Ok(());
        }
        Err(Self {
            sentence: sentence(),
            answer: ClosingPdu::local_limit_exceeded(),
            is_limit: false,
        })
    }
}

impl Admission {
    /// What `route` allows, on a DICOM route. Open associations are counted in `state`.
    pub(super) fn new(route: &RouteConfig, state: &RouteState) -> Option<Self> {
        let dicom = route.dicom.as_ref()?;
        let bound = dicom.bound.iter().map(|(title, peers)| Binding {
            title: *title,
            identities: peers.iter().map(ToString::to_string).collect(),
        });
        let most = dicom.associations_max.unwrap_or(u32::MAX);
        let open = AssociationLimit::new(Arc::clone(&state.associations), most);
        // A peer that may use all associations of the route is only bounded by the route.
        let per_peer = route
            .associations_per_peer()
            .filter(|most| *most < open.most);
        let sites = route.tls.iter().flat_map(RouteTls::sites);
        let by_peer = per_peer.map(|most| {
            let of_site = |identities| {
                Arc::new(AssociationLimit::new(
                    state.associations_of(identities),
                    most,
                ))
            };
            let counted_together = sites.map(|identities| (identities, of_site(identities)));
            counted_together
                .flat_map(|(identities, open)| {
                    let each = identities.iter().map(ToString::to_string);
                    each.map(move |identity| (identity, Arc::clone(&open)))
                })
                .collect()
        });
        Some(Self {
            rules: Arc::new(AssociationRules {
                called: dicom.called.clone(),
                calling: dicom.calling.clone(),
                bound: bound.collect(),
                by_title: !dicom.by_title.is_empty(),
                commands: dicom.commands.clone(),
                enforce: dicom.enforce,
            }),
            open,
            by_peer: by_peer.unwrap_or_default(),
        })
    }

    /// The rules, which also apply to messages after the request.
    pub(crate) fn rules(&self) -> Arc<AssociationRules> {
        Arc::clone(&self.rules)
    }

    /// Checks a request on `route` from a TLS peer with these proved identities, beginning with the one by
    /// which it was accepted. The list is empty for a client on the plain side.
    pub(crate) fn admit<'a>(
        &'a self,
        route: &'a RouteConfig,
        request: &AssociateRq,
        identities: &[String],
    ) -> Result<Admitted<'a>, Refused> {
        let checked = self.rules.check(request, identities);
        let by_rule = self.held_to(checked.map_err(Refused::from))?;
        let table = table(route, request, self.rules.enforce)?;
        let (of_peer, by_share) = self.slot_of_peer(identities.first())?;
        let (of_all, by_number) = self.slot_of_all()?;
        Ok(Admitted {
            table,
            _slots: [of_peer, of_all],
            reported: by_rule.or(by_share).or(by_number),
        })
    }

    // LIMIT: associations of one peer, so that one peer cannot use those of all. A request that is refused
    // here or below releases its slots.
    fn slot_of_peer(
        &self,
        identity: Option<&String>,
    ) -> Result<(Option<AssociationSlot<'_>>, Option<String>), Refused> {
        let Some((identity, open)) = identity.and_then(|one| self.by_peer.get_key_value(one))
        else {
            return Ok((None, None));
        };
        let (slot, is_one_too_many) = open.take_slot(self.rules.enforce);
        let reported = self.held_to(Refused::check_number(is_one_too_many, || {
            let most = open.most;
            format!(
                "\"{identity}\" requested another association, but its peer may have at most {most} open \
                 (associations_per_peer)"
            )
        }))?;
        Ok((slot, reported))
    }

    // LIMIT: associations of the route.
    fn slot_of_all(&self) -> Result<(Option<AssociationSlot<'_>>, Option<String>), Refused> {
        let (slot, is_one_too_many) = self.open.take_slot(self.rules.enforce);
        let reported = self.held_to(Refused::check_number(is_one_too_many, || {
            format!(
                "requested another association, but at most {} may be open on this route (associations)",
                self.open.most
            )
        }))?;
        Ok((slot, reported))
    }

    // Returns the reason as a report on a route that only reports, else as a refusal.
    fn held_to(&self, checked: Result<(), Refused>) -> Result<Option<String>, Refused> {
        match checked {
            Err(refused) if self.rules.enforce => Err(refused),
            checked => Ok(checked.err().map(|refused| refused.sentence)),
        }
    }
}

impl AssociationLimit {
    fn new(count: Arc<AtomicU32>, most: u32) -> Self {
        Self { count, most }
    }

    // Takes a slot and returns whether the limit is exceeded; a slot beyond the limit is only given if rules
    // are not enforced.
    fn take_slot(&self, enforce: bool) -> (Option<AssociationSlot<'_>>, bool) {
        let one_more = |open: u32| {
            let is_allowed = open < self.most || !enforce;
            is_allowed.then(|| open.saturating_add(1))
        };
        let taken = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let is_one_too_many = taken.is_err() || taken.is_ok_and(|before| before >= self.most);
        (taken.ok().map(|_| AssociationSlot(self)), is_one_too_many)
    }
}

impl Drop for AssociationSlot<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

// The table of the called title; `None` if the title has no table and uses the targets of the route. On a route
// that separates titles, a title that a receiver might read as another one has no targets.
fn table(
    route: &RouteConfig,
    request: &AssociateRq,
    enforce: bool,
) -> Result<Option<usize>, Refused> {
    let tables = || route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let is_called = |(_, table): &(usize, &ByTitle)| table.called.contains(&request.called);
    let found = tables().enumerate().find(is_called);
    let targets = found.map_or(&route.targets, |(_, table)| &table.targets);
    let is_doubtful = enforce && request.called.is_odd() && tables().next().is_some();
    if targets.is_empty() || is_doubtful {
        return Err(Refused {
            sentence: format!("called AE title \"{}\" has no targets", request.called),
            answer: ClosingPdu::called_ae_not_recognized(),
            is_limit: false,
        });
    }
    Ok(found.map(|(index, _)| index))
}

impl From<AssociationRefusal> for Refused {
    fn from(refusal: AssociationRefusal) -> Self {
        Self {
            sentence: refusal.to_string(),
            answer: refusal.answer(),
            is_limit: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::id::RouteId;
    use super::*;
    use crate::config;

    const ROUTE: &str = r#"
[identity]
certificate = "site.pem"
key = "site.key"
trust = "trust.pem"

[[route]]
name = "from-sites"
mode = "terminate"
protocol = "dicom"
listen = "127.0.0.1:2762"
targets = ["127.0.0.1:104"]
peers = ["dns:gw.a.example", "dns:gw.b.example"]
"#;
    const A: &str = "dns:gw.a.example";
    const B: &str = "dns:gw.b.example";

    fn route(lines: &str) -> Arc<RouteConfig> {
        let config = config::parse(&format!("{ROUTE}{lines}"), Path::new("wardgate.toml"));
        let routes = config.expect("a good route").routes;
        routes.into_iter().next().expect("one route")
    }

    fn admission(route: &RouteConfig) -> Admission {
        let state = RouteState::new(RouteId::LEAST, 1);
        Admission::new(route, &state).expect("it carries DICOM")
    }

    fn request() -> AssociateRq {
        AssociateRq {
            called: "PACS".parse().expect("a title"),
            calling: "CT_1".parse().expect("a title"),
            contexts: Vec::new(),
            user: crate::dicom::UserInformation::default(),
        }
    }

    #[test]
    fn a_peer_that_takes_all_it_can_get_leaves_a_place_to_the_other() {
        let route = route("associations = 5");
        let admission = admission(&route);
        let admit = |one: &str| admission.admit(&route, &request(), &[one.to_owned()]);
        let of_a: Vec<_> = (0..4).map(|_| admit(A).expect("a place")).collect();
        let refused = admit(A).expect_err("the last place is not for A");
        assert_eq!(refused.answer, ClosingPdu::local_limit_exceeded());
        assert_eq!(
            refused.sentence,
            "\"dns:gw.a.example\" requested another association, but its peer may have at most 4 open \
             (associations_per_peer)"
        );
        let of_b = admit(B).expect("a place");
        let refused = admit(B).expect_err("all are taken");
        assert_eq!(
            refused.sentence,
            "requested another association, but at most 5 may be open on this route (associations)"
        );
        // A refused request holds no slot, and an association that has ended releases its slot.
        drop(of_b);
        let of_b: Vec<_> = (0..1).map(|_| admit(B).expect("a place")).collect();
        drop(of_a);
        let more: Vec<_> = (0..3).map(|_| admit(B).expect("a place")).collect();
        assert_eq!(of_b.len() + more.len(), 4);
        assert!(admit(B).is_err());
        assert!(admit(A).is_ok());
    }

    #[test]
    fn a_limit_per_peer_works_without_a_limit_of_the_route() {
        let route = route("associations_per_peer = 1");
        let admission = admission(&route);
        let admit = |one: &str| admission.admit(&route, &request(), &[one.to_owned()]);
        let _of_a = admit(A).expect("a place");
        let _of_b = admit(B).expect("a place");
        assert!(admit(A).is_err());
    }

    #[test]
    fn a_refusal_names_the_limit_of_the_route_if_the_peer_may_use_all() {
        let route = route("associations = 1");
        let admission = admission(&route);
        let _open = admission
            .admit(&route, &request(), &[A.to_owned()])
            .expect("a place");
        let refused = admission
            .admit(&route, &request(), &[A.to_owned()])
            .expect_err("full");
        assert_eq!(
            refused.sentence,
            "requested another association, but at most 1 may be open on this route (associations)"
        );
    }

    #[test]
    fn report_only_rules_admit_and_count_associations_above_the_limit() {
        let route = route("associations_per_peer = 1\nrules = \"report\"");
        let admission = admission(&route);
        let admit = || {
            admission
                .admit(&route, &request(), &[A.to_owned()])
                .expect("a place")
        };
        let (first, second) = (admit(), admit());
        assert_eq!(first.reported, None);
        assert!(second.reported.is_some());
        drop(first);
        assert!(admit().reported.is_some(), "the second is still open");
        drop(second);
        assert_eq!(admit().reported, None);
    }
}
