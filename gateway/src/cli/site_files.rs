//! What `wardgate setup` and `wardgate pair` have in common: the certificate of a site, and a configuration that is checked before it
//! is written.

use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::config::check_site_name;
use crate::pki::authority::{
    Authority, CA_DAYS, CERTIFICATE_DAYS, CRL_DAYS, KeyType, NewAuthority, NewCertificate,
    OutputFiles, Permitted,
};
use crate::pki::write;
use crate::supervisor::prepare;

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
/// `file` itself stays as it is.
///
/// # Errors
/// No file can be written beside `file`.
pub(super) fn problems_with(text: &str, file: &Path) -> anyhow::Result<Vec<String>> {
    // In the folder of the configuration, where relative paths begin.
    let folder = write::folder(file);
    let mut trial = tempfile::Builder::new()
        .prefix(".trial")
        .suffix(".toml")
        .tempfile_in(folder)
        .with_context(|| format!("no file can be written in {}", folder.display()))?;
    trial.write_all(text.as_bytes())?;
    let (tried, meant) = (
        trial.path().display().to_string(),
        file.display().to_string(),
    );
    let problems = problems(trial.path());
    Ok(problems
        .iter()
        .map(|problem| problem.replace(&tried, &meant))
        .collect())
}

/// The problems of a configuration and of the files that it names.
pub(super) fn problems(file: &Path) -> Vec<String> {
    match prepare(file, SystemTime::now()) {
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
