//! Name constraints that webpki does not process: on the hosts of URIs and on directory names (RFC 5280
//! section 4.2.1.10).
//!
//! webpki refuses every URI and every subject below a CA with such constraints, whatever they permit. So
//! these constraints are removed from what webpki reads of a CA, and this module applies them to every path
//! that webpki finds. All other constraints are left to webpki.

use std::cell::Cell;
use std::fmt;

use super::der::{Elements, Layout, SEQUENCE};
use super::names::distinguished_name;
use super::text::printable;
use crate::pki::constraints::{Constraints, Subtree, is_host_name};
use crate::pki::der::{context, context_constructed, element, only};
use crate::pki::name;

/// The constraints of one CA on URIs and directory names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NameConstraints {
    uris: Constraints,
    permitted: Vec<DirectoryName>,
    excluded: Vec<DirectoryName>,
}

/// The contents of a Name in their comparable form.
type DirectoryName = Vec<u8>;

/// `permittedSubtrees` and `excludedSubtrees` of NameConstraints.
const PERMITTED: u8 = context_constructed(0);
const EXCLUDED: u8 = context_constructed(1);
/// `uniformResourceIdentifier` and `directoryName` of GeneralName.
const URI: u8 = context(6);
const DIRECTORY_NAME: u8 = context_constructed(4);
/// id-ce-subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A subtree of a kind that this module processes.
enum Base<'a> {
    Uri(&'a str),
    Directory(DirectoryName),
}

impl NameConstraints {
    /// Splits `all`, the contents of NameConstraints, into the constraints that this module processes and
    /// the contents of the others. `None` if webpki can process all of them. Constraints that cannot be
    /// read stay among the others, and webpki refuses them.
    pub(super) fn split(all: &[u8]) -> Option<(Self, Vec<u8>)> {
        let mut taken = Self::default();
        let mut rest = Vec::new();
        let mut lists = Elements(all);
        for list in lists.by_ref() {
            let (uris, directories) = match list.tag {
                PERMITTED => (&mut taken.uris.permitted, &mut taken.permitted),
                EXCLUDED => (&mut taken.uris.excluded, &mut taken.excluded),
                _ => return None,
            };
            let mut others = Vec::new();
            let mut subtrees = Elements(list.content);
            for subtree in subtrees.by_ref() {
                let base = Some(subtree).filter(|subtree| subtree.tag == SEQUENCE);
                match base.and_then(|subtree| Base::of(subtree.content)) {
                    Some(Base::Uri(host)) => uris.push(Subtree::Uri(host.to_owned())),
                    Some(Base::Directory(name)) => directories.push(name),
                    None => others.extend(subtree.whole),
                }
            }
            if !subtrees.0.is_empty() {
                return None;
            }
            if !others.is_empty() {
                rest.extend(element(list.tag, &others));
            }
        }
        if !lists.0.is_empty() || taken == Self::default() {
            return None;
        }
        Some((taken, rest))
    }

    /// Whether the constraints permit the names of a certificate. `is_exempt` means that the subject is not
    /// checked, because the certificate is a self-issued certificate of a CA (RFC 5280 section 6.1.3). Each
    /// name takes as many comparisons off `left` as there are constraints; if too few are left, the name is
    /// not permitted.
    pub(super) fn permit(&self, certificate: &[u8], is_exempt: bool, left: &Cell<usize>) -> bool {
        let Some(layout) = Layout::of(certificate) else {
            return false;
        };
        let subject = (!layout.subject.is_empty() && !is_exempt).then_some(layout.subject);
        if !subject.is_none_or(|subject| self.permit_directory(subject)) {
            return false;
        }
        let value = layout.extension(SUBJECT_ALT_NAME).unwrap_or_default();
        let names = Elements(only(value, SEQUENCE).unwrap_or_default());
        names.into_iter().all(|name| match name.tag {
            URI | DIRECTORY_NAME if !self.take_off(left) => false,
            URI => str::from_utf8(name.content)
                .is_ok_and(|uri| self.uris.permit(&format!("uri:{uri}"))),
            DIRECTORY_NAME => only(name.content, SEQUENCE)
                .is_some_and(|name| is_exempt || self.permit_directory(name)),
            _ => true,
        })
    }

    // LIMIT: `NAME_COMPARISONS_MAX`.
    fn take_off(&self, left: &Cell<usize>) -> bool {
        let lists = [self.permitted.len(), self.excluded.len()];
        let lists = lists
            .into_iter()
            .chain([self.uris.permitted.len(), self.uris.excluded.len()]);
        let after = left.get().checked_sub(lists.sum());
        left.set(after.unwrap_or(0));
        after.is_some()
    }

    fn permit_directory(&self, name: &[u8]) -> bool {
        let Some(name) = name::read_content(name) else {
            return false;
        };
        // Both consist of whole elements, so a common prefix in bytes is a common prefix in elements.
        let is_within = |base: &DirectoryName| name.starts_with(base);
        (self.permitted.is_empty() || self.permitted.iter().any(is_within))
            && !self.excluded.iter().any(is_within)
    }
}

/// The permitted names, for a message.
impl fmt::Display for NameConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directories = |names: &[DirectoryName]| -> Vec<String> {
            let shown =
                |name: &DirectoryName| format!("subjects below \"{}\"", distinguished_name(name));
            names.iter().map(shown).collect()
        };
        let uris =
            |list: &[Subtree]| -> Vec<String> { list.iter().map(Subtree::to_string).collect() };
        let all = |mut directories: Vec<String>, uris| {
            directories.extend::<Vec<String>>(uris);
            printable(&directories.join(", "))
        };
        let permitted = all(directories(&self.permitted), uris(&self.uris.permitted));
        let excluded = all(directories(&self.excluded), uris(&self.uris.excluded));
        match (permitted.is_empty(), excluded.is_empty()) {
            (false, true) => f.write_str(&permitted),
            (false, false) => write!(f, "{permitted}, without {excluded}"),
            (true, _) => write!(f, "all but {excluded}"),
        }
    }
}

impl<'a> Base<'a> {
    /// The base of a GeneralSubtree that has no other field.
    fn of(subtree: &'a [u8]) -> Option<Self> {
        let mut fields = Elements(subtree);
        let base = fields.next()?;
        if !fields.0.is_empty() {
            return None;
        }
        match base.tag {
            URI => {
                // A base of another form would contain no host, so an exclusion by it would have no effect.
                let host = str::from_utf8(base.content).ok()?;
                let name = host.strip_prefix('.').unwrap_or(host);
                is_host_name(name).then_some(Self::Uri(host))
            }
            DIRECTORY_NAME => {
                let name = only(base.content, SEQUENCE)?;
                Some(Self::Directory(name::read_content(name)?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: u8 = 0x82;

    fn subtree(tag: u8, base: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &element(tag, base))
    }

    fn common_name(tag: u8, name: &str) -> Vec<u8> {
        let value = element(tag, name.as_bytes());
        let attribute = element(SEQUENCE, &[&[6, 3, 0x55, 4, 3], &value[..]].concat());
        element(0x31, &attribute)
    }

    fn directory(names: &[Vec<u8>]) -> Vec<u8> {
        subtree(DIRECTORY_NAME, &element(SEQUENCE, &names.concat()))
    }

    #[test]
    fn constraints_on_uris_and_directory_names_are_taken_out_and_all_others_stay() {
        let dns = subtree(DNS, b"gw.a.example");
        let long = subtree(DNS, &[b'a'; 200]);
        let name = common_name(0x13, "Hospital");
        let both = [
            &dns[..],
            &subtree(URI, b"a.example"),
            &long,
            &directory(std::slice::from_ref(&name)),
        ]
        .concat();
        let permitted = element(PERMITTED, &both);
        let excluded = element(EXCLUDED, &subtree(URI, b".b.example"));
        let all = [permitted, excluded].concat();
        let (taken, rest) = NameConstraints::split(&all).expect("there are some");
        assert_eq!(taken.uris.permitted, [Subtree::Uri("a.example".to_owned())]);
        assert_eq!(taken.uris.excluded, [Subtree::Uri(".b.example".to_owned())]);
        assert_eq!(taken.permitted, [name::comparable_content(&name)]);
        assert_eq!(rest, element(PERMITTED, &[dns, long].concat()));
        assert_eq!(NameConstraints::split(&rest), None);
    }

    #[test]
    fn unreadable_constraints_are_left_to_webpki_which_refuses_them() {
        let minimum = [&element(URI, b"a.example")[..], &[0x80, 1, 0]].concat();
        let with_minimum = element(SEQUENCE, &minimum);
        let no_name = subtree(DIRECTORY_NAME, b"\x31\x00");
        // Bases that are not hosts, and would contain none.
        let uris = [
            "",
            "https://b.example/",
            "b.example:443",
            "b.example.",
            "*.b.example",
            "10.0.0.1",
        ];
        let uris = uris.map(|base| subtree(URI, base.as_bytes()));
        let odd = [with_minimum, subtree(URI, b"\xff"), no_name];
        for odd in odd.into_iter().chain(uris) {
            assert_eq!(NameConstraints::split(&element(PERMITTED, &odd)), None);
            // If it stands beside a readable one, it is still left to webpki.
            let both = [&subtree(URI, b"a.example"), &odd[..]].concat();
            let (_, rest) = NameConstraints::split(&element(PERMITTED, &both)).expect("one");
            assert_eq!(rest, element(PERMITTED, &odd));
        }
        let readable = subtree(URI, b"a.example");
        for cut in [
            element(PERMITTED, &[&readable, &b"\x30\x05"[..]].concat()),
            [&element(PERMITTED, &readable), &b"\xa1"[..]].concat(),
        ] {
            assert_eq!(NameConstraints::split(&cut), None, "{cut:x?}");
        }
    }

    #[test]
    fn a_directory_name_is_within_another_by_whole_relative_names() {
        let [hospital, ward] = ["Hospital", "Ward"].map(|name| common_name(0x0c, name));
        let split = |kind, base: &[Vec<u8>]| {
            let all = element(kind, &directory(base));
            NameConstraints::split(&all).expect("one").0
        };
        let base = [common_name(0x13, "HOSPITAL")];
        let within = [hospital.clone(), ward.clone()].concat();
        let beside = [common_name(0x0c, "Hospital B"), ward.clone()].concat();
        let behind = [ward, hospital.clone()].concat();
        let permitted = split(PERMITTED, &base);
        let excluded = split(EXCLUDED, &base);
        for (name, is_within) in [
            (&within, true),
            (&hospital, true),
            (&beside, false),
            (&behind, false),
        ] {
            assert_eq!(permitted.permit_directory(name), is_within, "{name:x?}");
            assert_eq!(excluded.permit_directory(name), !is_within, "{name:x?}");
        }
        assert!(
            split(PERMITTED, &[]).permit_directory(&behind),
            "every name"
        );
        // A name that cannot be read passes neither permitted nor excluded subtrees.
        for odd in [&b"\x31\x00"[..], &b"\x30\x00"[..]] {
            let name = [&hospital[..], odd].concat();
            assert!(!permitted.permit_directory(&name) && !excluded.permit_directory(&name));
        }
    }

    #[test]
    fn uris_whose_host_is_no_name_are_refused_where_uris_are_constrained() {
        let excluded = element(EXCLUDED, &subtree(URI, b"b.example"));
        let (excluded, _) = NameConstraints::split(&excluded).expect("one");
        for (uri, is_permitted) in [
            ("https://a.example/gateway", true),
            ("https://B.example/gateway", false),
            ("https://10.0.0.1/gateway", false),
            ("https://[fd00::1]/gateway", false),
            ("https://a.example./gateway", false),
            ("urn:nhs:ods:X26", false),
        ] {
            assert_eq!(
                excluded.uris.permit(&format!("uri:{uri}")),
                is_permitted,
                "{uri}"
            );
        }
    }

    #[test]
    fn no_name_is_permitted_once_too_many_were_compared() {
        let all = element(EXCLUDED, &subtree(URI, b"b.example").repeat(10));
        let (constraints, _) = NameConstraints::split(&all).expect("ten");
        let left = Cell::new(25);
        assert!(constraints.take_off(&left) && constraints.take_off(&left));
        assert!(!constraints.take_off(&left) && !constraints.take_off(&left));
    }
}
