//! Certificates for one run. As with two real sites, each site has its own CA and the CA certificate of the
//! other site.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use gateway::pki::authority::{
    Authority, KeyType, NewAuthority, NewCertificate, OutputFiles, Permitted,
};

/// Validity of all certificates: longer than any run, and enough to try `--keep` for a week.
const DAYS: u32 = 7;

/// Creates the folder of a site with its CA in `ca`, an empty revocation list and its certificate.
pub(super) fn create_site(site: &Path, name: &str) -> anyhow::Result<()> {
    fs::create_dir(site).with_context(|| format!("cannot make {}", site.display()))?;
    let wanted = NewAuthority {
        name: format!("Demonstration CA of {name}"),
        key: KeyType::P384,
        days: DAYS,
        crl_days: DAYS,
        permitted: Permitted::default(),
    };
    let mut authority = Authority::init(&site.join("ca"), &wanted, SystemTime::now())?;
    let wanted = NewCertificate {
        dns: vec![name.into()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: DAYS,
    };
    let output = OutputFiles {
        certificate: site.join("site.pem"),
        key: site.join("site.key"),
    };
    authority.issue(&wanted, &output, SystemTime::now())?;
    Ok(())
}

/// Copies the public files of the `peer`'s CA to a site, as `NAME-ca.pem` and `NAME-ca.crl`.
pub(super) fn copy_trust(site: &Path, peer: &Path, name: &str) -> anyhow::Result<()> {
    for end in ["pem", "crl"] {
        let from = peer.join("ca").join(format!("ca.{end}"));
        let to = site.join(format!("{name}-ca.{end}"));
        fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}
