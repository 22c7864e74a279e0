//! What `wardgate setup` and `wardgate pair` have in common: the certificate of a site, and a configuration that is checked before it
//! is written.

use std::path::Path;
use std::time::SystemTime;

use crate::config::check_site_name;
use crate::pki::authority::{
    Authority, CA_DAYS, CERTIFICATE_DAYS, CRL_DAYS, KeyType, NewAuthority, NewCertificate,
    OutputFiles, Permitted,
};
use crate::supervisor::{Prepared, prepare, prepare_text};

/// Makes a certificate for the name `dns` with the CA in `dir`. Makes the CA for the site `site` if there is none. Prints what was made.
///
/// # Errors
/// Why the CA or the certificate cannot be made.
pub(super) fn make_certificate(
    dir: &Path,
    site: &str,
    dns: &str,
    output: &OutputFiles,
    now: SystemTime,
) -> anyhow::Result<()> {
    let mut authority = match dir.join("ca.pem").exists() {
        true => Authority::open(dir)?,
        false => {
            let wanted = NewAuthority {
                name: site.to_owned(),
                key: KeyType::P384,
                days: CA_DAYS,
                crl_days: CRL_DAYS,
                permitted: Permitted {
                    dns: Vec::new(),
                    uri: Vec::new(),
                },
            };
            let authority = Authority::init(dir, &wanted, now)?;
            println!(
                "made the CA of this site in {}, valid until {}; never give ca.key away",
                dir.display(),
                authority.ends()
            );
            authority
        }
    };
    let wanted = NewCertificate {
        dns: vec![dns.to_owned()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: CERTIFICATE_DAYS,
    };
    let issued = authority.issue(&wanted, output, now)?;
    println!(
        "made the certificate of this site, {}, and its key: {}, valid until {}",
        output.certificate.display(),
        issued.names.join(", "),
        issued.ends
    );
    Ok(())
}

/// The problems that the configuration in `file` and the files that it names would have with this text, as `wardgate check` reports them.
pub(super) fn problems_with(text: &str, file: &Path) -> Vec<String> {
    problems_of(prepare_text(text, file, SystemTime::now()))
}

/// The problems of a configuration and of the files that it names.
pub(super) fn problems(file: &Path) -> Vec<String> {
    problems_of(prepare(file, SystemTime::now()))
}

fn problems_of(outcome: Result<Prepared, Vec<String>>) -> Vec<String> {
    match outcome {
        Ok(prepared) => prepared.problems,
        Err(problems) => problems,
    }
}

/// A short name for the site whose gateway has this DNS name: `region` of `gw.region.example`. `None` for an address.
pub(super) fn site_of_host(host: &str) -> Option<&str> {
    let is_name = host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':');
    let is_general = |label: &&str| ["gw", "gateway", "wardgate", "dicom", "www"].contains(label);
    let mut labels = host.split('.').skip_while(is_general);
    labels
        .next()
        .filter(|label| is_name && check_site_name(label).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `wardgate pair renew` runs in a unit that cannot write in the folder of the configuration.
    #[test]
    fn a_text_is_checked_without_a_file() {
        let dir = tempfile::tempdir().expect("there is room");
        let file = dir.path().join("wardgate.toml");
        let problems = problems_with("[gateway]\nadminn = \"x\"\n", &file);
        assert!(problems[0].contains("adminn"), "{problems:?}");
        assert!(problems[0].starts_with(&file.display().to_string()));
        let left = std::fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_site_is_named_by_the_first_label_that_is_not_a_general_one() {
        for (host, site) in [
            ("gw.region.example", Some("region")),
            ("gateway.dicom.hospital-a.example", Some("hospital-a")),
            ("region", Some("region")),
            ("gw", None),
            ("198.51.100.7", None),
            ("2001:db8::7", None),
            ("", None),
        ] {
            assert_eq!(site_of_host(host), site, "{host}");
        }
    }
}
