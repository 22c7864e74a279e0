//! Bad peers whose certificate, or the chain above it, is at fault.

use rcgen::{
    CertificateParams, CustomExtension, GeneralSubtree, NameConstraints, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription as Alert, SignatureScheme};

use crate::authority::{Authority, Own, called, day, dns, self_signed};
use crate::bad_peer::{BadPeer, Made, OTHER, SITE, TlsSide};
use crate::der::element;
use crate::expensive::{
    CERTIFICATE_BYTES_MAX, CERTIFICATE_ELEMENTS_MAX, CERTIFICATE_EXTENSIONS_MAX, CHAIN_MAX,
    namesakes,
};
use crate::kind::{Kind, OTHER_NAME};

/// A new partner, whom no route lists.
const NEW: &str = "new.example";

const fn bad(
    name: &'static str,
    alert: Alert,
    words: &'static [&'static str],
    make: fn(&str, TlsSide) -> Made,
) -> BadPeer {
    BadPeer {
        name,
        alert,
        is_trust_loaded: true,
        only: None,
        words,
        make,
    }
}

/// A bad peer whose anchor is at fault: a gateway does not load such trust.
const fn bad_anchor(
    name: &'static str,
    words: &'static [&'static str],
    make: fn(&str, TlsSide) -> Made,
) -> BadPeer {
    BadPeer {
        is_trust_loaded: false,
        ..bad(name, Alert::UnknownCA, words, make)
    }
}

/// A peer with a certificate of this kind, which the trusted CA issued.
fn of_kind(name: &str, kind: Kind) -> Made {
    issued(name, |params| kind.change(name, params))
}

fn issued(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let site = Authority::new(SITE);
    Made::under(&site, name, site.issue_with(&[name], change))
}

/// A peer with a good certificate of these names.
fn named(name: &str, names: &[&str]) -> Made {
    let site = Authority::new(SITE);
    Made::under(&site, name, site.issue(names))
}

/// A peer that somebody else made, under a CA that did not issue its certificate.
fn foreign(name: &str, own: Own) -> Made {
    Made::under(&Authority::new(SITE), name, own)
}

/// A peer of an intermediate CA with changes to the certificate of that CA.
fn below(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let site = Authority::new(SITE);
    let middle = site.intermediate("Middle CA", change);
    Made::under(&site, name, middle.issue(&[name]))
}

/// A peer whose key is this SubjectPublicKeyInfo of an RSA key, and signs with zeros.
fn with_rsa_key(name: &str, key: &[u8]) -> Made {
    let key = SubjectPublicKeyInfo::from_der(key).expect("a public key");
    let site = Authority::new(SITE);
    let own = site.issue_for(name, &key, SignatureScheme::RSA_PSS_SHA256);
    Made::under(&site, name, own)
}

/// A certificate of the repository under its anchor. Both are for `peer.example`.
fn fixture(anchor: &[u8], leaf: &[u8]) -> Made {
    let [anchor, leaf] = [anchor, leaf].map(|der| CertificateDer::from(der.to_vec()));
    let own = Own::without_key(vec![leaf], SignatureScheme::ECDSA_NISTP256_SHA256);
    Made::trusting(vec![anchor], own)
}

/// A SubjectPublicKeyInfo of an RSA key of 16,384 bits.
fn long_rsa_key() -> Vec<u8> {
    let modulus = element(2, &[&[0], &[0xff; 2048]]);
    let key = element(0x30, &[&modulus, &[2, 3, 1, 0, 1]]);
    let algorithm = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    element(
        0x30,
        &[&element(0x30, &[&algorithm]), &element(3, &[&[0], &key])],
    )
}

fn too_large(params: &mut CertificateParams) {
    let content = vec![0; CERTIFICATE_BYTES_MAX];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2], content)];
}

const UNLISTED: &[&str] = &["none of this route's peers"];
const USAGE: &[&str] = &[
    "extended key usage ({usage})",
    "with serverAuth and clientAuth",
];
const CA_AS_PEER: &[&str] = &[
    "dns:{peer}",
    "is a CA's certificate",
    "issue the peer a certificate of its own",
];

pub(crate) const LIST: &[BadPeer] = &[
    bad(
        "other-ca",
        Alert::UnknownCA,
        &[
            "dns:{peer}",
            "by no trusted CA of this route",
            "sent no certificate of \"CN=Other CA\"",
            "it bears \"dns:{peer}\" of this route's peers",
            "trust.pem\" holds another CA (\"CN=Site CA\")",
            "fetch ca.pem from that site again",
            "by telephone",
            "if \"CN=Other CA\" is an intermediate CA",
        ],
        |name, _| foreign(name, Authority::new(OTHER).issue(&[name])),
    ),
    bad(
        "other-ca-of-a-new-partner",
        Alert::UnknownCA,
        &[
            "sent no certificate of \"CN=Other CA\"",
            "write a [[peer]] table",
            "never put it into the trust of another peer",
        ],
        |name, _| foreign(name, Authority::new(OTHER).issue(&[NEW])),
    ),
    bad(
        "namesake",
        Alert::UnknownCA,
        &[
            "another key signed it",
            "fingerprint of its new certificate",
            "trust.pem\"",
        ],
        |name, _| foreign(name, Authority::new(SITE).issue(&[name])),
    ),
    bad(
        "namesakes",
        Alert::UnknownCA,
        &[
            "another key signed it",
            "fingerprint of its new certificate",
        ],
        |name, _| foreign(name, namesakes(SITE, name)),
    ),
    bad(
        "other-ca-of-many",
        Alert::UnknownCA,
        &[
            "no trusted CA of this route",
            "its chain ends at \"CN=Other CA\"",
        ],
        |name, _| foreign(name, namesakes(OTHER, name)),
    ),
    bad(
        "other-name",
        Alert::AccessDenied,
        &[
            "dns:other.example",
            "is none of this route's peers (dns:{peer}",
            "add \"dns:other.example\" to the route's peers",
        ],
        |name, _| of_kind(name, Kind::OtherName),
    ),
    bad(
        "common-name",
        Alert::AccessDenied,
        &[
            "subject \"CN={peer}\" without a DNS or URI name",
            "is none of this route's peers",
            "add \"sha256:",
        ],
        |name, _| of_kind(name, Kind::CommonNameOnly),
    ),
    bad(
        "common-name-beside-another",
        Alert::AccessDenied,
        &["dns:other.example"],
        |name, _| {
            let site = Authority::new(SITE);
            let own = site.issue_with(&[OTHER_NAME], |params| {
                params.distinguished_name = called(name);
            });
            Made::under(&site, name, own)
        },
    ),
    // The remedy is one that `check` accepts: it refuses wildcards.
    bad(
        "wildcard",
        Alert::AccessDenied,
        &[
            "dns:*.region.example",
            "none of this route's peers",
            "it has wildcard names only, and a wildcard cannot be listed",
            "add \"sha256:",
        ],
        |name, _| named(name, &["*.region.example"]),
    ),
    bad(
        "name-with-more-behind",
        Alert::AccessDenied,
        UNLISTED,
        |name, _| named(name, &[&format!("{name}.org")]),
    ),
    bad(
        "name-with-more-before",
        Alert::AccessDenied,
        UNLISTED,
        |name, _| named(name, &[&format!("a.{name}")]),
    ),
    bad("name-cut", Alert::AccessDenied, UNLISTED, |name, _| {
        named(name, &[name.strip_suffix('e').expect("it ends in example")])
    }),
    bad(
        "name-with-a-dot",
        Alert::AccessDenied,
        UNLISTED,
        |name, _| named(name, &[&format!("{name}.")]),
    ),
    bad(
        "expired",
        Alert::CertificateExpired,
        &["expired on 2020-02-01", "install a renewed certificate"],
        |name, _| of_kind(name, Kind::Expired),
    ),
    bad(
        "future",
        Alert::CertificateExpired,
        &["not valid before 2400-01-01", "compare the clocks"],
        |name, _| of_kind(name, Kind::NotYetValid),
    ),
    bad(
        "ca-as-leaf",
        Alert::UnsupportedCertificate,
        CA_AS_PEER,
        |name, _| of_kind(name, Kind::AuthorityAsLeaf),
    ),
    bad(
        "intermediate-as-leaf",
        Alert::UnsupportedCertificate,
        CA_AS_PEER,
        |name, _| {
            let site = Authority::new(SITE);
            let middle = site.intermediate("Middle CA", |params| {
                params.subject_alt_names = vec![dns(name)];
            });
            Made::under(&site, name, middle.into_peer())
        },
    ),
    bad(
        "anchor-as-leaf",
        Alert::UnsupportedCertificate,
        &["is a CA's certificate"],
        |name, _| {
            let site = Authority::new(SITE);
            let good = site.issue(&[name]);
            Made {
                good: Some(good),
                ..Made::trusting(vec![site.der()], site.into_peer())
            }
        },
    ),
    bad(
        "wrong-usage",
        Alert::UnsupportedCertificate,
        USAGE,
        |name, _| of_kind(name, Kind::WrongUsage),
    ),
    bad(
        "one-sided",
        Alert::UnsupportedCertificate,
        USAGE,
        |name, side| {
            of_kind(
                name,
                match side {
                    TlsSide::Client => Kind::ServerOnly,
                    TlsSide::Server => Kind::ClientOnly,
                },
            )
        },
    ),
    bad(
        "self-signed",
        Alert::UnknownCA,
        &[
            "dns:{peer}",
            "is self-signed",
            "it bears \"dns:{peer}\" of this route's peers",
            "let that site issue its certificate from a CA",
            "give you the ca.pem for",
            "trust.pem\"",
        ],
        |name, _| foreign(name, self_signed(&[name])),
    ),
    bad(
        "self-signed-of-a-new-partner",
        Alert::UnknownCA,
        &["is self-signed", "the trust of a [[peer]] table for it"],
        |name, _| foreign(name, self_signed(&[NEW])),
    ),
    bad(
        "rsa-1024",
        Alert::BadCertificate,
        &["an RSA key of 1024 bits", "RSA 2048 to 8192 bits"],
        |name, _| with_rsa_key(name, include_bytes!("../../data/tls/rsa-1024.spki.der")),
    ),
    // Refused before the key is used: a signature check with it would take long.
    bad(
        "rsa-16384",
        Alert::BadCertificate,
        &["an RSA key of 16384 bits", "RSA 2048 to 8192 bits"],
        |name, _| with_rsa_key(name, &long_rsa_key()),
    ),
    bad(
        "sha1",
        Alert::BadCertificate,
        &["signed by ECDSA with SHA-1", "reissued with SHA-256"],
        |_, _| {
            fixture(
                include_bytes!("../../data/tls/sha1-anchor.der"),
                include_bytes!("../../data/tls/sha1-leaf.der"),
            )
        },
    ),
    bad_anchor(
        "weak-anchor",
        &[
            "trust anchor with an RSA key of 1024 bits",
            "replace the CA",
        ],
        |_, _| {
            fixture(
                include_bytes!("../../data/tls/weak-anchor.der"),
                include_bytes!("../../data/tls/weak-anchor-leaf.der"),
            )
        },
    ),
    bad_anchor(
        "expired-anchor",
        &[
            "trust anchor that expired on 2021-01-01",
            "renewed certificate",
        ],
        |name, _| {
            let site = Authority::expired(SITE);
            Made::under(&site, name, site.issue(&[name])).without_good()
        },
    ),
    bad(
        "expired-intermediate",
        Alert::CertificateExpired,
        &[
            "dns:{peer}",
            "issuer \"CN=Middle CA\"",
            "expired on 2020-02-01",
        ],
        |name, _| {
            below(name, |params| {
                (params.not_before, params.not_after) = (day(2020, 1), day(2020, 2));
            })
        },
    ),
    bad(
        "name-beyond-constraints",
        Alert::BadCertificate,
        &[
            "may not issue certificates for",
            "dns:region.example and names below it",
        ],
        |name, _| {
            below(name, |params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("region.example".into())],
                    excluded_subtrees: Vec::new(),
                });
            })
        },
    ),
    bad(
        "chain-too-long",
        Alert::BadCertificate,
        &["a chain of 9 certificates", "its intermediates only"],
        |name, _| {
            let site = Authority::new(SITE);
            let mut own = site.issue(&[name]);
            while own.chain.len() <= CHAIN_MAX {
                own.chain.push(site.der());
            }
            Made::under(&site, name, own)
        },
    ),
    bad(
        "too-many-bytes",
        Alert::BadCertificate,
        &[
            "dns:{peer}",
            "bytes, which is more than 16384",
            "with fewer names and extensions",
        ],
        |name, _| issued(name, too_large),
    ),
    bad(
        "issuer-of-too-many-bytes",
        Alert::BadCertificate,
        &["dns:{peer}", "issuer \"CN=Middle CA\"", "more than 16384"],
        |name, _| below(name, too_large),
    ),
    bad(
        "too-many-elements",
        Alert::BadCertificate,
        &[
            "and 511 more names",
            "names and extensions of more than 512 elements",
        ],
        |name, _| {
            issued(name, |params| {
                let more =
                    (1..CERTIFICATE_ELEMENTS_MAX).map(|number| dns(&format!("n{number}.example")));
                params.subject_alt_names.extend(more);
            })
        },
    ),
    bad(
        "too-many-extensions",
        Alert::BadCertificate,
        &["issuer \"CN=Middle CA\"", "has more than 32 extensions"],
        |name, _| {
            below(name, |params| {
                let extension = CustomExtension::from_oid_content(&[1, 2], Vec::new());
                params.custom_extensions = vec![extension; CERTIFICATE_EXTENSIONS_MAX];
            })
        },
    ),
    bad(
        "noise",
        Alert::BadCertificate,
        &["certificate cannot be read"],
        |name, _| {
            let noise = CertificateDer::from(vec![0x30, 0x03, 0x1b, 0x5b, 0x41]);
            let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
            foreign(name, Own::without_key(vec![noise], scheme))
        },
    ),
];
