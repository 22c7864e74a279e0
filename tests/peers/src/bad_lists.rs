//! Bad peers of routes with revocation lists: revoked ones, and ones that no usable list is about.

use rcgen::SerialNumber;
use rustls::AlertDescription as Alert;

use crate::authority::{Authority, SERIAL};
use crate::bad_peer::{BadPeer, Made, OTHER, SITE};
use crate::kind::{Kind, REVOKED_SERIAL};

pub(crate) const LIST: &[BadPeer] = &[
    BadPeer {
        name: "revoked",
        alert: Alert::CertificateRevoked,
        is_trust_loaded: true,
        only: None,
        words: &["is revoked", "have a new certificate"],
        make: |name, _| {
            let site = Authority::new(SITE);
            let own = site.issue_with(&[name], |params| Kind::Revoked.change(name, params));
            Made::under(&site, name, own).with_crls(vec![site.crl(&[REVOKED_SERIAL])])
        },
    },
    BadPeer {
        name: "revoked-intermediate",
        alert: Alert::CertificateRevoked,
        is_trust_loaded: false,
        only: None,
        words: &["issuer \"CN=Middle CA\" (serial 77) of the", "is revoked"],
        make: |name, _| {
            let site = Authority::new(SITE);
            let middle = site.intermediate("Middle CA", |params| {
                params.serial_number = Some(SerialNumber::from(0x77_u64));
            });
            let crls = vec![site.crl(&[0x77]), middle.crl(&[])];
            Made::under(&site, name, middle.issue(&[name])).with_crls(crls)
        },
    },
    // The newest list of an issuer decides.
    BadPeer {
        name: "revoked-by-the-newest-list",
        alert: Alert::CertificateRevoked,
        is_trust_loaded: false,
        only: None,
        words: &["is revoked"],
        make: |name, _| {
            let site = Authority::new(SITE);
            let crls = vec![site.old_crl(), site.crl(&[SERIAL])];
            let made = Made::under(&site, name, site.issue(&[name]));
            made.with_crls(crls).without_good()
        },
    },
    BadPeer {
        name: "expired-list",
        alert: Alert::UnknownCA,
        is_trust_loaded: false,
        only: None,
        words: &[
            "revocation list of \"CN=Site CA\" expired on 2021-01-01",
            "put the CA's current list into the peer's crl",
        ],
        make: |name, _| {
            let site = Authority::new(SITE);
            let made = Made::under(&site, name, site.issue(&[name]));
            made.with_crls(vec![site.old_crl()]).without_good()
        },
    },
    BadPeer {
        name: "missing-list",
        alert: Alert::UnknownCA,
        is_trust_loaded: false,
        only: None,
        words: &["no revocation list", "put the list of \"CN=Site CA\""],
        make: |name, _| {
            let site = Authority::new(SITE);
            let made = Made::under(&site, name, site.issue(&[name]));
            let crls = vec![Authority::new(OTHER).crl(&[])];
            made.with_crls(crls).without_good()
        },
    },
    BadPeer {
        name: "missing-list-of-the-root",
        alert: Alert::UnknownCA,
        is_trust_loaded: false,
        only: None,
        words: &[
            "issuer \"CN=Middle CA\"",
            "no revocation list",
            "list of \"CN=Site CA\"",
        ],
        make: |name, _| {
            let site = Authority::new(SITE);
            let middle = site.intermediate("Middle CA", |_| {});
            let made = Made::under(&site, name, middle.issue(&[name]));
            made.with_crls(vec![middle.crl(&[])]).without_good()
        },
    },
    BadPeer {
        name: "list-by-another-key",
        alert: Alert::UnknownCA,
        is_trust_loaded: false,
        only: None,
        words: &[
            "cannot be used (no CA of that name here signed it",
            "fetch the list again",
        ],
        make: |name, _| {
            let site = Authority::new(SITE);
            let made = Made::under(&site, name, site.issue(&[name]));
            let crls = vec![Authority::new(SITE).crl(&[])];
            made.with_crls(crls).without_good()
        },
    },
];
