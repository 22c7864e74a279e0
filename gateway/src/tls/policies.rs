//! Certificate policies on a path (RFC 5280 section 6.1), which webpki does not process.
//!
//! Routes do not require a policy: the initial policy set is any-policy, and nothing is inhibited at first.
//! So policies only matter if a CA on the path requires one (requireExplicitPolicy), or maps the special
//! any-policy. The policies of the trust anchor do not count (RFC 5280 section 6.1.1).
//!
//! The standard grows a tree of policies, and hostile mappings make it exponentially large. Whether any
//! policy remains at the end depends only on the nodes of the last level, so only one level is kept, in
//! which each policy occurs once (RFC 9618 section 4). A path is processed only after every signature on it
//! has been verified.

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use crate::pki::der::{BOOLEAN, INTEGER, context, only};

/// id-ce-certificatePolicies, id-ce-policyMappings, id-ce-policyConstraints and id-ce-inhibitAnyPolicy.
const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 0x20];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 0x21];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x24];
const INHIBIT_ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x36];
/// anyPolicy.
const ANY: &[u8] = &[0x55, 0x1d, 0x20, 0];

/// Whether this module processes the extension.
pub(super) fn is_processed(id: &[u8]) -> bool {
    [
        CERTIFICATE_POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        INHIBIT_ANY_POLICY,
    ]
    .contains(&id)
}

/// Processes the policies of a path. `path` lists the certificates, the leaf last, each with whether it is
/// self-issued.
///
/// # Errors
/// The index of the certificate in `path` that breaks a rule, and the text that follows "the certificate".
pub(super) fn process(path: &[(&[u8], bool)]) -> Result<(), (usize, String)> {
    let count = path.len();
    let mut state = PolicyState::new(count);
    for (index, (certificate, is_self_issued)) in path.iter().enumerate() {
        let policies = Policies::of(certificate).map_err(|fault| (index, fault))?;
        let is_last = index + 1 == count;
        state.take(&policies, *is_self_issued && !is_last);
        if state.is_violated() {
            return Err((index, state.fault()));
        }
        if is_last {
            state.wrap_up(&policies);
        } else {
            state
                .prepare(&policies, *is_self_issued)
                .map_err(|fault| (index, fault))?;
        }
        if is_last && state.is_violated() {
            return Err((index, state.fault()));
        }
    }
    Ok(())
}

/// The policy extensions of a certificate. Object identifiers are contents without tag and length.
#[derive(Debug, Default, PartialEq, Eq)]
struct Policies<'a> {
    /// `None` if the extension is absent.
    policies: Option<Vec<&'a [u8]>>,
    /// From a policy of the issuer to a policy of the subject.
    mappings: Vec<(&'a [u8], &'a [u8])>,
    require_explicit: Option<usize>,
    inhibit_mapping: Option<usize>,
    inhibit_any: Option<usize>,
}

impl<'a> Policies<'a> {
    /// Reads the extensions. The error is the text that follows "the certificate". Policies that are not
    /// critical and cannot be read count as none.
    fn of(certificate: &'a [u8]) -> Result<Self, String> {
        let mut all = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        let layout = Layout::of(certificate).ok_or("cannot be read")?;
        for extension in layout.each_extension() {
            let mut parts = Elements(extension.content);
            let id = parts.next_if(OBJECT_IDENTIFIER).unwrap_or_default();
            if !is_processed(id) {
                continue;
            }
            let name = extension_name(id).unwrap_or_default();
            if seen.contains(&id) {
                return Err(format!("has the extension {name} twice"));
            }
            seen.push(id);
            let is_critical = parts.next_if(BOOLEAN).is_some_and(|value| value != [0]);
            let value = parts.next_if(OCTET_STRING).unwrap_or_default();
            let read = all.read(id, value);
            if read.is_none() && (is_critical || id != CERTIFICATE_POLICIES) {
                return Err(format!("has an extension {name} that cannot be read"));
            }
        }
        Ok(all)
    }

    fn read(&mut self, id: &[u8], value: &'a [u8]) -> Option<()> {
        match id {
            CERTIFICATE_POLICIES => self.policies = Some(policies(value)?),
            POLICY_MAPPINGS => self.mappings = mappings(value)?,
            POLICY_CONSTRAINTS => {
                let mut parts = Elements(only(value, SEQUENCE)?);
                self.require_explicit = counter(parts.next_if(context(0)))?;
                self.inhibit_mapping = counter(parts.next_if(context(1)))?;
                let is_empty = self.require_explicit.is_none() && self.inhibit_mapping.is_none();
                return (!is_empty && parts.0.is_empty()).then_some(());
            }
            _ => self.inhibit_any = counter(Some(only(value, INTEGER)?))?,
        }
        Some(())
    }
}

fn policies(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Elements(only(value, SEQUENCE)?);
    let mut policies = Vec::new();
    for information in all.by_ref() {
        let policy = Elements(information.content).next_if(OBJECT_IDENTIFIER)?;
        if information.tag != SEQUENCE || policies.contains(&policy) {
            return None;
        }
        policies.push(policy);
    }
    (all.0.is_empty() && !policies.is_empty()).then_some(policies)
}

fn mappings(value: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut all = Elements(only(value, SEQUENCE)?);
    let mut mappings = Vec::new();
    for pair in all.by_ref() {
        let mut parts = Elements(pair.content);
        let from = parts.next_if(OBJECT_IDENTIFIER)?;
        let to = parts.next_if(OBJECT_IDENTIFIER)?;
        if pair.tag != SEQUENCE || !parts.0.is_empty() {
            return None;
        }
        mappings.push((from, to));
    }
    (all.0.is_empty() && !mappings.is_empty()).then_some(mappings)
}

/// A number of certificates, if present; `None` if it is negative or not a number. No path is longer than
/// one byte can count, so all larger numbers are treated alike.
fn counter(integer: Option<&[u8]>) -> Option<Option<usize>> {
    match integer {
        None => Some(None),
        Some([] | [0x80..=0xff, ..]) => None,
        Some([value]) => Some(Some(usize::from(*value))),
        Some([..]) => Some(Some(usize::from(u8::MAX))),
    }
}

/// A policy that is valid so far, and the policies by which certificates below may refer to it.
#[derive(Debug)]
struct ValidPolicy<'a> {
    policy: &'a [u8],
    expected: Vec<&'a [u8]>,
}

impl<'a> ValidPolicy<'a> {
    fn new(policy: &'a [u8]) -> Self {
        Self {
            policy,
            expected: vec![policy],
        }
    }
}

/// The state variables of RFC 5280 section 6.1.2.
struct PolicyState<'a> {
    // The last level of the graph; empty means that the graph is NULL.
    valid: Vec<ValidPolicy<'a>>,
    explicit_policy: usize,
    policy_mapping: usize,
    inhibit_any: usize,
}

impl<'a> PolicyState<'a> {
    fn new(count: usize) -> Self {
        let never = count.saturating_add(1);
        Self {
            valid: vec![ValidPolicy::new(ANY)],
            explicit_policy: never,
            policy_mapping: never,
            inhibit_any: never,
        }
    }

    fn is_violated(&self) -> bool {
        self.explicit_policy == 0 && self.valid.is_empty()
    }

    fn fault(&self) -> String {
        "has none of the certificate policies that a CA above it requires (requireExplicitPolicy)"
            .to_owned()
    }

    /// Section 6.1.3, steps d and e. `may_be_any` means that any-policy counts even if it is inhibited.
    fn take(&mut self, certificate: &Policies<'a>, may_be_any: bool) {
        let Some(policies) = &certificate.policies else {
            self.valid.clear();
            return;
        };
        let above = std::mem::take(&mut self.valid);
        let has_any = above.iter().any(|valid| valid.policy == ANY);
        for policy in policies.iter().filter(|policy| **policy != ANY) {
            let is_expected = above.iter().any(|valid| valid.expected.contains(policy));
            if is_expected || has_any {
                self.valid.push(ValidPolicy::new(policy));
            }
        }
        if policies.contains(&ANY) && (self.inhibit_any > 0 || may_be_any) {
            for expected in above.iter().flat_map(|valid| &valid.expected) {
                if !self.valid.iter().any(|valid| valid.policy == *expected) {
                    self.valid.push(ValidPolicy::new(expected));
                }
            }
        }
    }

    /// Section 6.1.4.
    fn prepare(&mut self, certificate: &Policies<'a>, is_self_issued: bool) -> Result<(), String> {
        let mappings = &certificate.mappings;
        if mappings.iter().any(|(from, to)| *from == ANY || *to == ANY) {
            return Err(
                "maps the special policy anyPolicy, which RFC 5280 section 6.1.4 forbids"
                    .to_owned(),
            );
        }
        self.map(mappings);
        if !is_self_issued {
            for counter in [
                &mut self.explicit_policy,
                &mut self.policy_mapping,
                &mut self.inhibit_any,
            ] {
                *counter = counter.saturating_sub(1);
            }
        }
        let bounded = |counter: usize, bound: Option<usize>| {
            bound.map_or(counter, |bound| counter.min(bound))
        };
        self.explicit_policy = bounded(self.explicit_policy, certificate.require_explicit);
        self.policy_mapping = bounded(self.policy_mapping, certificate.inhibit_mapping);
        self.inhibit_any = bounded(self.inhibit_any, certificate.inhibit_any);
        Ok(())
    }

    fn map(&mut self, mappings: &[(&'a [u8], &'a [u8])]) {
        if self.policy_mapping == 0 {
            self.valid
                .retain(|valid| mappings.iter().all(|(from, _)| *from != valid.policy));
            return;
        }
        let has_any = self.valid.iter().any(|valid| valid.policy == ANY);
        let mut mapped: Vec<&[u8]> = Vec::new();
        for (from, to) in mappings {
            let known = self.valid.iter_mut().find(|valid| valid.policy == *from);
            match known {
                Some(valid) if mapped.contains(from) => valid.expected.push(to),
                Some(valid) => valid.expected = vec![to],
                None if has_any => self.valid.push(ValidPolicy {
                    policy: from,
                    expected: vec![to],
                }),
                None => continue,
            }
            mapped.push(from);
        }
    }

    /// Section 6.1.5, steps a and b. Step g leaves the graph as it is, because every policy is acceptable.
    fn wrap_up(&mut self, certificate: &Policies<'a>) {
        self.explicit_policy = self.explicit_policy.saturating_sub(1);
        if certificate.require_explicit == Some(0) {
            self.explicit_policy = 0;
        }
    }
}

/// The RFC 5280 name of an extension that this program processes, or that is often critical.
pub(super) fn extension_name(id: &[u8]) -> Option<&'static str> {
    Some(match id {
        CERTIFICATE_POLICIES => "certificatePolicies",
        POLICY_MAPPINGS => "policyMappings",
        POLICY_CONSTRAINTS => "policyConstraints",
        INHIBIT_ANY_POLICY => "inhibitAnyPolicy",
        [0x55, 0x1d, 0x10] => "privateKeyUsagePeriod",
        [0x55, 0x1d, 0x12] => "issuerAltName",
        [0x55, 0x1d, 0x09] => "subjectDirectoryAttributes",
        [0x55, 0x1d, 0x2e] => "freshestCRL",
        [0x2b, 6, 1, 5, 5, 7, 1, 1] => "authorityInfoAccess",
        [0x2b, 6, 1, 5, 5, 7, 1, 24] => "TLS feature (OCSP must-staple)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
