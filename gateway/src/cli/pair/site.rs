//! This site's side of a pairing: its name and its certificates, which are made if there are none.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;

use super::super::site_files::{make_certificate, site_of_host};
use super::args::PairOptions;
use super::edit::Edited;
use crate::config;
use crate::pairing::offer::Offer;
use crate::pki::authority::OutputFiles;
use crate::pki::{partner, store};

/// What this site offers, and where its certificate is.
pub(super) struct OwnSite {
    pub(super) offer: Offer,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The names of its certificate.
    pub(super) names: Vec<String>,
}

impl OwnSite {
    /// Reads the certificate of the site, or makes it.
    ///
    /// # Errors
    /// A sentence: what is missing or wrong.
    pub(super) fn new(
        options: &PairOptions,
        edited: &Edited,
        now: SystemTime,
    ) -> anyhow::Result<Self> {
        if let Some(site) = &options.site {
            config::check_site_name(site).map_err(|why| {
                anyhow::anyhow!("the name {site:?} of this site {why}; name it with --site")
            })?;
        }
        let (certificate, key) = edited.identity().unwrap_or_else(|| {
            // Beside the folder of the partners: /etc/wardgate/pki.
            let folder = options.files.trust_dir.parent().unwrap_or(Path::new("."));
            (folder.join("site.pem"), folder.join("site.key"))
        });
        // The configuration is not read in the present folder.
        let (certificate, key) = (std::path::absolute(certificate)?, std::path::absolute(key)?);
        if !certificate.exists() {
            make(options, &certificate, &key, now)?;
        }
        let chain = store::certificates(&certificate).map_err(|why| {
            anyhow::anyhow!("certificate {:?} {why}", certificate.display().to_string())
        })?;
        let names = chain.first().map(|leaf| partner::names(leaf));
        let names = names.unwrap_or_default();
        let identity = identity_of(&chain).with_context(|| {
            format!(
                "certificate {:?} has no DNS name and no URI; issue one with `wardgate pki issue --dns NAME`",
                certificate.display().to_string()
            )
        })?;
        let site = name_of(options, identity.strip_prefix("dns:").unwrap_or_default());
        let authorities = authorities(options)?;
        let offer = Offer {
            site,
            identity,
            renews: options.ca.is_none() && !options.no_renew,
            chain,
            authorities,
        };
        // The other site would refuse it with the same sentence.
        offer.check(&[], now).map_err(|why| {
            anyhow::anyhow!("{why}; the CA certificates that this site offers must have issued its certificate: name others with --ca")
        })?;
        Ok(Self {
            offer,
            certificate,
            key,
            names,
        })
    }
}

/// The identity of a site: the first DNS name of its certificate, or its first URI.
pub(super) fn identity_of(chain: &[CertificateDer<'_>]) -> Option<String> {
    let names = partner::names(chain.first()?);
    let dns = names
        .iter()
        .find(|name| name.starts_with("dns:") && !name.contains('*'));
    let identity = dns.map(|name| name.to_lowercase());
    identity.or_else(|| names.into_iter().find(|name| name.starts_with("uri:")))
}

/// The CA certificates that the other site is to trust.
fn authorities(options: &PairOptions) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let dir = &options.files.dir;
    let read = |file: &Path| {
        store::certificates(file).map_err(|why| {
            anyhow::anyhow!(
                "the CA certificate {:?} {why}; name the CA certificates of this site with --ca, or its CA's folder \
                 with --dir",
                file.display().to_string()
            )
        })
    };
    if let Some(file) = &options.ca {
        return read(file);
    }
    let mut authorities = read(&dir.join("ca.pem"))?;
    // While one CA takes the place of another, both are needed.
    let neighbours = ["next", "previous"].map(|folder| dir.join(folder).join("ca.pem"));
    let mut neighbours = neighbours
        .iter()
        .filter_map(|file| store::certificates(file).ok());
    let is_valid =
        |ca: &CertificateDer<'_>| partner::check_authority(ca, SystemTime::now()).is_ok();
    authorities.extend(neighbours.next().into_iter().flatten().filter(is_valid));
    Ok(authorities)
}

/// Makes the CA of the site if there is none, and its certificate.
fn make(
    options: &PairOptions,
    certificate: &Path,
    key: &Path,
    now: SystemTime,
) -> anyhow::Result<()> {
    let shown = certificate.display();
    let Some(dns) = options.dns.clone().or_else(|| ask_dns(certificate)) else {
        anyhow::bail!(
            "certificate \"{shown}\" does not exist; give the DNS name of this site with --dns, and this command makes \
             the site's CA and its certificate"
        );
    };
    let output = OutputFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let dns = dns.trim();
    make_certificate(
        &options.files.dir,
        &name_of(options, dns),
        dns,
        &output,
        now,
    )
}

fn ask_dns(certificate: &Path) -> Option<String> {
    let question = format!(
        "{} does not exist. DNS name for a new certificate of this site: ",
        certificate.display()
    );
    super::ask(&question)
        .ok()
        .flatten()
        .filter(|name| !name.is_empty())
}

/// The name that this site gives to the other one: by the same rule, `wardgate setup` there names a peer whose
/// gateway has this DNS name.
fn name_of(options: &PairOptions, dns: &str) -> String {
    let named = options.site.as_deref().or_else(|| site_of_host(dns));
    named.map_or_else(machine_name, str::to_owned)
}

/// The name of this machine up to the first dot, in letters that a name may have.
fn machine_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let first = name.split('.').next().unwrap_or_default();
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = first.chars().filter(legal).collect();
    if name.is_empty() {
        "site".to_owned()
    } else {
        name
    }
}
