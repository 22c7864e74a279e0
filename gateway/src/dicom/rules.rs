//! The rules of a route for its associations: AE titles and commands.

use std::fmt;

use super::{AeTitle, AssociateRq, ClosingPdu, DimseCommand};

/// The rules of a route. By default everything is allowed.
///
/// The checks do not depend on `enforce`; the caller that acts on a refusal does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociationRules {
    /// Called titles that are allowed (`called_ae`); `None` allows every title.
    pub called: Option<Vec<AeTitle>>,
    /// Calling titles that are allowed (`calling_ae`); `None` allows every title.
    pub calling: Option<Vec<AeTitle>>,
    /// Calling titles that are restricted to their own site (`ae_bind`).
    pub bound: Vec<Binding>,
    /// Whether the called title selects the targets (`[[route.ae]]`).
    pub by_title: bool,
    /// Commands that either side may send (`commands`); `None` allows every command.
    pub commands: Option<Vec<DimseCommand>>,
    /// Whether violations are refused, or only reported (`rules = "report"`).
    pub enforce: bool,
}

/// A calling AE title that is restricted to the TLS identities of its site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The title.
    pub title: AeTitle,
    /// The identities that may use the title, as in the route's peers: `dns:gw.a.example`.
    pub identities: Vec<String>,
}

/// Why the rules of a route refuse an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssociationRefusal {
    /// The called AE title is not listed.
    Called(AeTitle),
    /// The calling AE title is not listed.
    Calling(AeTitle),
    /// The calling AE title has illegal characters, on a route that restricts titles: the receiver might read
    /// it as a restricted title.
    Odd(AeTitle),
    /// The calling AE title is restricted to another site.
    Bound {
        /// The title.
        title: AeTitle,
        /// The identity of the peer that used the title; `None` if the request came without TLS.
        identity: Option<String>,
    },
}

impl Default for AssociationRules {
    fn default() -> Self {
        Self {
            called: None,
            calling: None,
            bound: Vec::new(),
            by_title: false,
            commands: None,
            enforce: true,
        }
    }
}

impl AssociationRules {
    /// Checks a request of a TLS peer that has proved these identities; the first is the identity by which it
    /// was accepted. Empty for a request from the plain side.
    ///
    /// # Errors
    ///
    /// The first rule that refuses the request.
    pub fn check(
        &self,
        request: &AssociateRq,
        identities: &[String],
    ) -> Result<(), AssociationRefusal> {
        if !is_listed(self.called.as_deref(), &request.called) {
            return Err(AssociationRefusal::Called(request.called));
        }
        if !is_listed(self.calling.as_deref(), &request.calling) {
            return Err(AssociationRefusal::Calling(request.calling));
        }
        self.check_binding(request.calling, identities)
    }

    /// Whether there is a rule about the traffic, enforced or not: a list of commands, or a rule for which an
    /// A-ASSOCIATE-RQ is checked or routed.
    #[must_use]
    pub(super) fn are_any(&self) -> bool {
        let lists = self.called.is_some() || self.calling.is_some() || self.commands.is_some();
        lists || !self.bound.is_empty() || self.by_title
    }

    /// Whether the observer must follow all traffic, because bytes that it does not read could evade a rule:
    /// a forbidden command, or a second A-ASSOCIATE-RQ whose titles are not checked.
    #[must_use]
    pub(super) fn must_follow(&self) -> bool {
        self.enforce && self.are_any()
    }

    // Only a title that is certainly different is unrestricted, because receivers interpret odd titles in
    // different ways.
    fn check_binding(
        &self,
        title: AeTitle,
        identities: &[String],
    ) -> Result<(), AssociationRefusal> {
        if title.is_odd() && !self.bound.is_empty() {
            return Err(AssociationRefusal::Odd(title));
        }
        let is_tied = self.bound.iter().any(|bound| bound.title == title);
        let mut bindings = self.bound.iter().filter(|bound| match is_tied {
            true => bound.title == title,
            false => bound.title.is_like(&title),
        });
        let is_bound = bindings.clone().next().is_some();
        let has_proved = |owner: &String| identities.contains(owner);
        if !is_bound || bindings.any(|bound| bound.identities.iter().any(has_proved)) {
            return Ok(());
        }
        Err(AssociationRefusal::Bound {
            title,
            identity: identities.first().cloned(),
        })
    }

    /// Whether a request with this command may pass. Its responses may then pass as well, and the C-CANCEL
    /// that ends it.
    #[must_use]
    pub fn allows(&self, command: DimseCommand) -> bool {
        is_listed(self.commands.as_deref(), &command)
    }
}

fn is_listed<T: PartialEq>(list: Option<&[T]>, one: &T) -> bool {
    list.is_none_or(|list| list.contains(one))
}

impl AssociationRefusal {
    /// The reply to the application that sent the request.
    #[must_use]
    pub fn answer(&self) -> ClosingPdu {
        match self {
            Self::Called(_) => ClosingPdu::called_ae_not_recognized(),
            Self::Calling(_) | Self::Odd(_) | Self::Bound { .. } => {
                ClosingPdu::calling_ae_not_recognized()
            }
        }
    }
}

impl fmt::Display for AssociationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Called(title) => {
                write!(f, "called AE title \"{title}\" is not in called_ae")
            }
            Self::Calling(title) => {
                write!(f, "calling AE title \"{title}\" is not in calling_ae")
            }
            Self::Odd(title) => {
                write!(f, "calling AE title \"{title}\" has illegal characters")
            }
            Self::Bound { title, identity } => {
                write!(f, "calling AE title \"{title}\" came from ")?;
                match identity {
                    Some(identity) => write!(f, "\"{identity}\"")?,
                    None => f.write_str("the plain side")?,
                }
                f.write_str(", and ae_bind restricts it to other peers")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    const A: Option<&str> = Some("dns:gw.a.example");
    const B: Option<&str> = Some("dns:gw.b.example");

    fn title(text: &str) -> AeTitle {
        text.parse().expect("a title")
    }

    fn request(calling: &str, called: &str) -> AssociateRq {
        let bytes = made::request(calling, called, &[]);
        let read = AssociateRq::read(&bytes).expect("a request");
        read.expect("a whole one").0
    }

    fn check(
        rules: &AssociationRules,
        request: &AssociateRq,
        identity: Option<&str>,
    ) -> Result<(), AssociationRefusal> {
        let identities: Vec<_> = identity.map(ToOwned::to_owned).into_iter().collect();
        rules.check(request, &identities)
    }

    fn refusal_text(
        rules: &AssociationRules,
        request: &AssociateRq,
        identity: Option<&str>,
    ) -> String {
        match check(rules, request, identity) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = AssociationRules::default();
        assert_eq!(check(&rules, &request("CT_1", "PACS"), None), Ok(()));
        assert!(DimseCommand::ALL.into_iter().all(|c| rules.allows(c)));
    }

    #[test]
    fn titles_that_are_not_listed_are_refused_by_name() {
        let rules = AssociationRules {
            called: Some(vec![title("PACS"), title("RIS")]),
            calling: Some(vec![title("CT_1")]),
            ..AssociationRules::default()
        };
        assert_eq!(check(&rules, &request("CT_1", " RIS "), A), Ok(()));
        let refused = check(&rules, &request("CT_1", "ris"), A).expect_err("case");
        assert_eq!(refused.answer(), ClosingPdu::called_ae_not_recognized());
        assert_eq!(
            refused.to_string(),
            "called AE title \"ris\" is not in called_ae"
        );
        let refused = check(&rules, &request("CT_2", "RIS"), A).expect_err("CT_2");
        assert_eq!(refused.answer(), ClosingPdu::calling_ae_not_recognized());
        assert_eq!(
            refused.to_string(),
            "calling AE title \"CT_2\" is not in calling_ae"
        );
    }

    #[test]
    fn an_empty_list_allows_no_title() {
        let rules = AssociationRules {
            calling: Some(Vec::new()),
            commands: Some(Vec::new()),
            ..AssociationRules::default()
        };
        assert!(check(&rules, &request("CT_1", "PACS"), A).is_err());
        assert!(!rules.allows(DimseCommand::CEcho));
    }

    #[test]
    fn a_bound_title_is_accepted_only_from_its_own_sites() {
        let binding = |who: &str| Binding {
            title: title("CT_1"),
            identities: vec![who.to_owned()],
        };
        let mut rules = AssociationRules {
            bound: vec![binding("dns:gw.a.example")],
            ..AssociationRules::default()
        };
        let ct = request("CT_1", "PACS");
        assert_eq!(refusal_text(&rules, &ct, A), "");
        assert_eq!(
            refusal_text(&rules, &ct, B),
            "calling AE title \"CT_1\" came from \"dns:gw.b.example\", \
             and ae_bind restricts it to other peers"
        );
        assert_eq!(
            refusal_text(&rules, &ct, None),
            "calling AE title \"CT_1\" came from the plain side, \
             and ae_bind restricts it to other peers"
        );
        rules.bound.push(binding("dns:gw.b.example"));
        assert_eq!(refusal_text(&rules, &ct, B), "");
        // Any identity that the peer has proved is sufficient.
        let both = ["dns:other.example", "dns:gw.a.example"].map(ToOwned::to_owned);
        assert_eq!(rules.check(&ct, &both), Ok(()));
        // Every peer may use a title that is not restricted.
        assert_eq!(refusal_text(&rules, &request("MR_1", "PACS"), B), "");
    }

    #[test]
    fn titles_that_a_receiver_might_read_as_a_bound_title_are_bound() {
        let rules = AssociationRules {
            bound: vec![Binding {
                title: title("CT_1"),
                identities: vec!["dns:gw.a.example".to_owned()],
            }],
            ..AssociationRules::default()
        };
        let small = request("ct_1", "PACS");
        assert_eq!(refusal_text(&rules, &small, A), "");
        assert_ne!(refusal_text(&rules, &small, B), "");
        let odd = request("CT_1\0X", "PACS");
        for identity in [A, B] {
            assert_eq!(
                refusal_text(&rules, &odd, identity),
                "calling AE title \"CT_1\\x00X\" has illegal characters"
            );
        }
        assert_eq!(refusal_text(&AssociationRules::default(), &odd, B), "");
    }

    #[test]
    fn commands_that_are_not_listed_are_not_allowed() {
        let rules = AssociationRules {
            commands: Some(vec![DimseCommand::CEcho, DimseCommand::CStore]),
            ..AssociationRules::default()
        };
        assert!(rules.allows(DimseCommand::CStore));
        assert!(!rules.allows(DimseCommand::CMove));
    }
}
