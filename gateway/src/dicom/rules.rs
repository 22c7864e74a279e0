//! What a route allows in its associations: who calls whom, and by which commands.

use std::fmt;

use super::{AeTitle, Answer, AssociateRq, Command};

/// The rules of a route. By default everything is allowed.
///
/// Judging does not ask whether the rules are enforced: who acts on a refusal does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Titles that may be called (`called_ae`); any where `None`.
    pub called: Option<Vec<AeTitle>>,
    /// Titles that may call (`calling_ae`); any where `None`.
    pub calling: Option<Vec<AeTitle>>,
    /// Titles that only their own site may call with (`ae_bind`).
    pub bound: Vec<Binding>,
    /// Whether the called title chooses the targets (`[[route.ae]]`).
    pub by_title: bool,
    /// Commands that either side may send (`commands`); any where `None`.
    pub commands: Option<Vec<Command>>,
    /// Whether what is not allowed is refused, or only told of (`rules = "report"`).
    pub enforce: bool,
}

/// A calling AE title that is tied to the TLS identities of the site that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The title.
    pub title: AeTitle,
    /// Who may use it, as the route's peers are written: `dns:gw.a.example`.
    pub identities: Vec<String>,
}

/// Why the rules of a route do not allow an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The called AE title is not listed.
    Called(AeTitle),
    /// The calling AE title is not listed.
    Calling(AeTitle),
    /// The calling AE title holds what no title may, on a route that ties titles to sites: the receiver
    /// might read a title in it that is tied.
    Odd(AeTitle),
    /// The calling AE title belongs to another site.
    Bound {
        /// The title.
        title: AeTitle,
        /// Who used it; `None` where it came without TLS.
        identity: Option<String>,
    },
}

impl Default for Rules {
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

impl Rules {
    /// Judges a request that came from a TLS peer which has proved these identities, that by which it was accepted
    /// first; from the plain side where there is none.
    ///
    /// # Errors
    /// The first rule that does not allow it.
    pub fn judge(&self, request: &AssociateRq, identities: &[String]) -> Result<(), Refusal> {
        if !is_listed(self.called.as_deref(), &request.called) {
            return Err(Refusal::Called(request.called));
        }
        if !is_listed(self.calling.as_deref(), &request.calling) {
            return Err(Refusal::Calling(request.calling));
        }
        self.judge_binding(request.calling, identities)
    }

    /// Whether there is a rule about what passes, enforced or not: a list of commands, or anything that
    /// an A-ASSOCIATE-RQ is judged or routed by.
    #[must_use]
    pub(super) fn are_any(&self) -> bool {
        let lists = self.called.is_some() || self.calling.is_some() || self.commands.is_some();
        lists || !self.bound.is_empty() || self.by_title
    }

    /// Whether everything that passes must be followed, because what the observer does not see could
    /// evade a rule: a forbidden command, or a second A-ASSOCIATE-RQ, whose titles nobody judges.
    #[must_use]
    pub(super) fn must_follow(&self) -> bool {
        self.enforce && self.are_any()
    }

    // Only what is certain to be another title is free: receivers differ in what they make of others.
    fn judge_binding(&self, title: AeTitle, identities: &[String]) -> Result<(), Refusal> {
        if title.is_odd() && !self.bound.is_empty() {
            return Err(Refusal::Odd(title));
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
        Err(Refusal::Bound {
            title,
            identity: identities.first().cloned(),
        })
    }

    /// Whether a request with this command may pass. Its responses may wherever it did, and so may the
    /// C-CANCEL that ends it.
    #[must_use]
    pub fn allows(&self, command: Command) -> bool {
        is_listed(self.commands.as_deref(), &command)
    }
}

fn is_listed<T: PartialEq>(list: Option<&[T]>, one: &T) -> bool {
    list.is_none_or(|list| list.contains(one))
}

impl Refusal {
    /// What the application that asked is told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Called(_) => Answer::called_ae_not_recognized(),
            Self::Calling(_) | Self::Odd(_) | Self::Bound { .. } => {
                Answer::calling_ae_not_recognized()
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Called(title) => {
                write!(f, "called AE title \"{title}\" is not in called_ae")
            }
            Self::Calling(title) => {
                write!(f, "calling AE title \"{title}\" is not in calling_ae")
            }
            Self::Odd(title) => {
                write!(f, "calling AE title \"{title}\" holds what no title may")
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
        let octets = made::request(calling, called, &[]);
        let read = AssociateRq::read(&octets).expect("a request");
        read.expect("a whole one").0
    }

    fn judge(rules: &Rules, request: &AssociateRq, identity: Option<&str>) -> Result<(), Refusal> {
        let identities: Vec<_> = identity.map(ToOwned::to_owned).into_iter().collect();
        rules.judge(request, &identities)
    }

    fn told(rules: &Rules, request: &AssociateRq, identity: Option<&str>) -> String {
        match judge(rules, request, identity) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = Rules::default();
        assert_eq!(judge(&rules, &request("CT_1", "PACS"), None), Ok(()));
        assert!(Command::ALL.into_iter().all(|c| rules.allows(c)));
    }

    #[test]
    fn titles_that_are_not_listed_are_refused_by_name() {
        let rules = Rules {
            called: Some(vec![title("PACS"), title("RIS")]),
            calling: Some(vec![title("CT_1")]),
            ..Rules::default()
        };
        assert_eq!(judge(&rules, &request("CT_1", " RIS "), A), Ok(()));
        let refused = judge(&rules, &request("CT_1", "ris"), A).expect_err("case");
        assert_eq!(refused.answer(), Answer::called_ae_not_recognized());
        assert_eq!(
            refused.to_string(),
            "called AE title \"ris\" is not in called_ae"
        );
        let refused = judge(&rules, &request("CT_2", "RIS"), A).expect_err("CT_2");
        assert_eq!(refused.answer(), Answer::calling_ae_not_recognized());
        assert_eq!(
            refused.to_string(),
            "calling AE title \"CT_2\" is not in calling_ae"
        );
    }

    #[test]
    fn an_empty_list_allows_nobody() {
        let rules = Rules {
            calling: Some(Vec::new()),
            commands: Some(Vec::new()),
            ..Rules::default()
        };
        assert!(judge(&rules, &request("CT_1", "PACS"), A).is_err());
        assert!(!rules.allows(Command::CEcho));
    }

    #[test]
    fn a_bound_title_is_of_use_to_its_own_sites_alone() {
        let binding = |who: &str| Binding {
            title: title("CT_1"),
            identities: vec![who.to_owned()],
        };
        let mut rules = Rules {
            bound: vec![binding("dns:gw.a.example")],
            ..Rules::default()
        };
        let ct = request("CT_1", "PACS");
        assert_eq!(told(&rules, &ct, A), "");
        assert_eq!(
            told(&rules, &ct, B),
            "calling AE title \"CT_1\" came from \"dns:gw.b.example\", \
             and ae_bind restricts it to other peers"
        );
        assert_eq!(
            told(&rules, &ct, None),
            "calling AE title \"CT_1\" came from the plain side, \
             and ae_bind restricts it to other peers"
        );
        rules.bound.push(binding("dns:gw.b.example"));
        assert_eq!(told(&rules, &ct, B), "");
        // Any identity that the peer has proved will do.
        let both = ["dns:other.example", "dns:gw.a.example"].map(ToOwned::to_owned);
        assert_eq!(rules.judge(&ct, &both), Ok(()));
        // A title that nobody has bound is everybody's.
        assert_eq!(told(&rules, &request("MR_1", "PACS"), B), "");
    }

    #[test]
    fn what_a_receiver_might_take_for_a_bound_title_is_bound() {
        let rules = Rules {
            bound: vec![Binding {
                title: title("CT_1"),
                identities: vec!["dns:gw.a.example".to_owned()],
            }],
            ..Rules::default()
        };
        let small = request("ct_1", "PACS");
        assert_eq!(told(&rules, &small, A), "");
        assert_ne!(told(&rules, &small, B), "");
        let odd = request("CT_1\0X", "PACS");
        for identity in [A, B] {
            assert_eq!(
                told(&rules, &odd, identity),
                "calling AE title \"CT_1\\x00X\" holds what no title may"
            );
        }
        assert_eq!(told(&Rules::default(), &odd, B), "");
    }

    #[test]
    fn commands_that_are_not_listed_are_not_allowed() {
        let rules = Rules {
            commands: Some(vec![Command::CEcho, Command::CStore]),
            ..Rules::default()
        };
        assert!(rules.allows(Command::CStore));
        assert!(!rules.allows(Command::CMove));
    }
}
