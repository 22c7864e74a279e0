//! A CA that may issue certificates for some names only: what it issues, and what verifiers accept.

use std::sync::Arc;

use rcgen::SanType;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

use super::super::super::show;
use super::super::{CERTIFICATE_DAYS, Permitted, own_facts};
use super::*;

fn permitting(dns: &[&str], uri: &[&str]) -> Permitted {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Permitted {
        dns: owned(dns),
        uri: owned(uri),
    }
}

impl Region {
    fn permitting(dns: &[&str], uri: &[&str]) -> Self {
        let region = Self::empty();
        let permitted = permitting(dns, uri);
        let made = region.init_permitting(KeyType::P256, CA_DAYS, permitted);
        made.expect("a CA");
        region
    }

    fn issue_names(&self, names: &[&str]) -> Result<Issued, AuthorityError> {
        self.open()
            .issue(&certificate_for(names), &self.output("site"), self.now)
    }

    /// A certificate that this CA signs in spite of its constraints, as an attacker with its key would.
    fn forge(&self, names: &[&str]) -> CertificateDer<'static> {
        let authority = self.open();
        let now = unix(self.now);
        let dns_and_uri: Vec<_> = names
            .iter()
            .filter(|name| !name.starts_with("ip:"))
            .copied()
            .collect();
        let mut wanted = certificate_for(&dns_and_uri);
        let has_address_alone = dns_and_uri.is_empty();
        if has_address_alone {
            wanted.dns.push("placeholder.example".to_owned());
        }
        let mut params = leaf_params(&wanted, now, now + 1000).expect("sound");
        if has_address_alone {
            params.subject_alt_names.clear();
        }
        for address in names.iter().filter_map(|name| name.strip_prefix("ip:")) {
            let address = address.parse().expect("an address");
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        // No verifier may treat the common name as a name of the host.
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyType::P256.generate().expect("a key");
        let issuer = authority.issuer().expect("an issuer");
        let certificate = params.signed_by(&*key, &issuer).expect("signed");
        std::fs::write(self.path("forged.pem"), certificate.pem()).expect("written");
        certificate.der().clone()
    }

    /// The CA, which is not kept open: an open CA locks its folder.
    fn certificate_and_facts(&self) -> (CertificateDer<'static>, Facts) {
        let authority = self.open();
        (authority.certificate.clone(), authority.facts.clone())
    }

    fn openssl_accepts(&self) -> bool {
        let output = std::process::Command::new("openssl")
            .args(["verify", "-CAfile", "ca/ca.pem", "forged.pem"])
            .current_dir(self.dir.path())
            .output()
            .expect("openssl is installed");
        output.status.success()
    }
}

fn certificate_for(names: &[&str]) -> NewCertificate {
    let of_kind = |kind: &str| {
        let names = names.iter().filter_map(|name| name.strip_prefix(kind));
        names.map(str::to_owned).collect()
    };
    NewCertificate {
        dns: of_kind("dns:"),
        uri: of_kind("uri:"),
        key: KeyType::P256,
        days: CERTIFICATE_DAYS,
    }
}

/// The verdict of webpki, with which the gateway verifies its peers.
fn webpki_accepts(authority: &CertificateDer<'_>, leaf: &CertificateDer<'_>) -> bool {
    let anchors = [webpki::anchor_from_trusted_cert(authority).expect("a CA")];
    let leaf = webpki::EndEntityCert::try_from(leaf).expect("a certificate");
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let verdict = leaf.verify_for_usage(
        algorithms.all,
        &anchors,
        &[],
        UnixTime::now(),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    );
    match verdict {
        Ok(_) => true,
        Err(webpki::Error::NameConstraintViolation) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// The verdict of another program that uses rustls and connects to a host.
fn rustls_accepts(authority: &CertificateDer<'_>, leaf: &CertificateDer<'_>, name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().expect("a verifier");
    let host = name.split_once(':').map_or(name, |(_, host)| host);
    let host = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("none.example").expect("a name"));
    let verdict = verifier.verify_server_cert(leaf, &[], &host, &[], UnixTime::now());
    match verdict {
        Ok(_) => true,
        // rustls has no specific error for a violated constraint.
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) => false,
        // A URI is not a host, so the path was valid.
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => true,
        Err(error) => panic!("{error:?}"),
    }
}

/// Which verifiers accept a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    All,
    /// webpki refuses every URI below a constraint on URIs.
    ByOpenssl,
    None,
}

/// `--permit-dns`, `--permit-uri`, and names with the verifiers that accept them.
type Case = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [(&'static str, Accepted)],
);

/// Goal: a name for which a CA must not issue certificates is refused by every verifier, and `pki issue`
/// refuses it first. The further names that webpki refuses are known.
#[test]
fn verifiers_refuse_names_for_which_a_ca_may_not_issue_certificates() {
    use Accepted::{All, ByOpenssl, None};
    let cases: [Case; 4] = [
        (
            &["gw.a.example"],
            &[],
            &[
                ("dns:gw.a.example", All),
                ("dns:second.gw.a.example", All),
                ("dns:gw.b.example", None),
                ("dns:a.example", None),
                ("dns:othergw.a.example", None),
                ("uri:https://gw.a.example/", None),
                ("uri:spiffe://gw.b.example/gw", None),
                ("uri:https://invalid.example/", None),
                ("uri:urn:nhs:ods:X26", None),
                ("ip:192.0.2.1", None),
                ("ip:2001:db8::1", None),
            ],
        ),
        (
            &[],
            &["a.example"],
            &[
                ("uri:https://a.example/gw", ByOpenssl),
                ("uri:spiffe://a.example:443/gw", ByOpenssl),
                ("uri:https://gw.a.example/", None),
                ("uri:https://b.example/", None),
                ("uri:urn:nhs:ods:X26", None),
                ("dns:a.example", None),
                ("ip:192.0.2.1", None),
            ],
        ),
        (
            &[],
            &[".a.example"],
            &[
                ("uri:https://gw.a.example/", ByOpenssl),
                ("uri:https://a.example/", None),
                ("uri:https://gw.ba.example/", None),
                ("dns:gw.a.example", None),
            ],
        ),
        (
            &["a.example", "b.example"],
            &["https://gw.a.example/any"],
            &[
                ("dns:gw.a.example", All),
                ("dns:gw.b.example", All),
                ("dns:gw.c.example", None),
                ("uri:https://gw.a.example/", ByOpenssl),
                ("uri:https://gw.b.example/", None),
            ],
        ),
    ];
    for (dns, uri, names) in cases {
        let region = Region::permitting(dns, uri);
        let (ca, facts) = region.certificate_and_facts();
        for (name, expected) in names {
            let leaf = region.forge(&[name]);
            let case = format!("{dns:?} {uri:?} {name}");
            let by_openssl = region.openssl_accepts();
            assert_eq!(by_openssl, *expected != None, "openssl: {case}");
            assert_eq!(
                webpki_accepts(&ca, &leaf),
                *expected == All,
                "webpki: {case}"
            );
            assert_eq!(
                rustls_accepts(&ca, &leaf, name),
                *expected == All,
                "rustls: {case}"
            );
            if !name.starts_with("ip:") {
                let constraints = facts.constraints.as_ref().expect("constraints");
                assert_eq!(constraints.permit(name), by_openssl, "ours: {case}");
            }
        }
    }
}

#[test]
fn a_certificate_with_one_forbidden_name_is_refused_despite_permitted_names() {
    let region = Region::permitting(&["gw.a.example"], &[]);
    for bad in [
        "dns:gw.b.example",
        "uri:https://gw.b.example/",
        "ip:192.0.2.1",
    ] {
        let leaf = region.forge(&["dns:gw.a.example", bad]);
        assert!(!webpki_accepts(&region.open().certificate, &leaf), "{bad}");
        assert!(!region.openssl_accepts(), "{bad}");
    }
}

#[test]
fn issue_and_renew_refuse_a_name_that_is_not_permitted() {
    let region = Region::permitting(&["gw.a.example", "gw.b.example"], &[]);
    let issued = region.issue_names(&["dns:gw.a.example", "dns:gw.b.example"]);
    issued.expect("both are permitted");
    openssl(region.dir.path(), "verify -CAfile ca/ca.pem site.pem");
    let renewed = region.open().renew(&region.output("site"), 30, region.now);
    assert_eq!(renewed.expect("still permitted").names.len(), 2);

    let region = Region::permitting(&["gw.a.example", "gw.b.example"], &[]);
    let ca = region.path("ca").display().to_string();
    for name in ["dns:gw.c.example", "uri:urn:nhs:ods:X26"] {
        let error = region.issue_names(&["dns:gw.a.example", name]);
        assert_eq!(
            error.expect_err("not permitted").to_string(),
            format!(
                "the CA in {ca:?} may not issue certificates for name {name:?} (permitted: dns:gw.a.example and \
                 names below it, dns:gw.b.example and names below it, no URIs); issue it from another CA"
            )
        );
        assert!(!region.path("site.pem").exists());
        assert!(!region.path("site.key").exists());
    }
}

#[test]
fn no_ca_is_created_for_names_that_cannot_be_permitted() {
    for (dns, uri, expected) in [
        (
            "*.a.example",
            "",
            "has a wildcard; names below a permitted name",
        ),
        (".a.example", "", "is not a DNS name; labels"),
        ("192.0.2.1", "", "is an address; permit DNS names"),
        ("", "urn:nhs:ods:X26", "has no host that is a DNS name"),
        ("", "https://192.0.2.1/", "has no host that is a DNS name"),
        (
            "",
            "https://[2001:db8::1]/",
            "has no host that is a DNS name",
        ),
        ("", "a b", "has no host that is a DNS name"),
        ("", "https:///path", "has no host that is a DNS name"),
    ] {
        let region = Region::empty();
        let permitted = Permitted {
            dns: [dns.to_owned()]
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect(),
            uri: [uri.to_owned()]
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect(),
        };
        let made = region.init_permitting(KeyType::P256, CA_DAYS, permitted);
        let error = made.err().expect("refused").to_string();
        let given = format!("name {:?} {expected}", format!("{dns}{uri}"));
        assert!(error.starts_with(&given), "{error}");
        assert!(!region.path("ca").exists());
    }
}

#[test]
fn the_extension_is_critical_and_openssl_reads_it_however_long_it_is() {
    for count in [1, 5, 300] {
        let names: Vec<String> = (0..count).map(|n| format!("gw{n}.a.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let region = Region::permitting(&names, &[]);
        let text = openssl(region.dir.path(), "x509 -in ca/ca.pem -noout -text");
        assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
        assert_eq!(text.matches("DNS:gw").count(), count, "{text}");
        let last = format!("dns:gw{}.a.example", count - 1);
        region.issue_names(&[&last]).expect("permitted");
        let leaf = region.forge(&["dns:gw.b.example"]);
        assert!(!webpki_accepts(&region.open().certificate, &leaf));
    }
}

#[test]
fn show_prints_the_names_for_which_a_ca_may_issue_certificates() {
    let region = Region::permitting(&["gw.a.example", "gw.b.example"], &[]);
    let shown = show::describe(&region.path("ca/ca.pem"), region.now).expect("a CA");
    assert!(
        shown.text.contains(
            "  CA            yes, with no CA below it\n  \
             permitted     dns:gw.a.example and names below it\n                \
             dns:gw.b.example and names below it\n                \
             no URIs\n  \
             excluded      every IPv4 address\n                \
             every IPv6 address\n"
        ),
        "{}",
        shown.text
    );
    let free = Region::new();
    let shown = show::describe(&free.path("ca/ca.pem"), free.now).expect("a CA");
    assert!(!shown.text.contains("permitted"), "{}", shown.text);
    let facts = own_facts(&free.open().certificate).expect("a CA");
    assert_eq!(facts.constraints, None);
}
