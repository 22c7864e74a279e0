//! A throwaway PKI: one certificate authority and a certificate for each site.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;

use crate::pki::authority::{Authority, KeyType, NewAuthority, NewCertificate, Output, Permitted};

/// How long it all is good: longer than any run, and no longer than a curious week with `--keep`.
const DAYS: u32 = 7;

/// Makes an authority in `dir/ca`, with an empty revocation list.
pub(super) fn authority(dir: &Path) -> anyhow::Result<Authority> {
    let wanted = NewAuthority {
        name: "wardgate demonstration CA".into(),
        key: KeyType::P384,
        days: DAYS,
        crl_days: DAYS,
        permitted: Permitted::default(),
    };
    Ok(Authority::init(
        &dir.join("ca"),
        &wanted,
        SystemTime::now(),
    )?)
}

/// Makes a site's certificate, and puts all that its gateway needs into `dir/site`.
pub(super) fn equip(
    authority: &mut Authority,
    dir: &Path,
    site: &str,
    name: &str,
) -> anyhow::Result<()> {
    let (ca, site) = (dir.join("ca"), dir.join(site));
    fs::create_dir(&site).with_context(|| format!("cannot make {}", site.display()))?;
    let wanted = NewCertificate {
        dns: vec![name.into()],
        uri: Vec::new(),
        key: KeyType::P256,
        days: DAYS,
    };
    let output = Output {
        certificate: site.join("site.pem"),
        key: site.join("site.key"),
    };
    authority.issue(&wanted, &output, SystemTime::now())?;
    for (from, to) in [("ca.pem", "trust.pem"), ("ca.crl", "trust.crl")] {
        let to = site.join(to);
        fs::copy(ca.join(from), &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}
