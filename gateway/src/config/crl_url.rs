//! The addresses in `crl_url` of a `[[peer]]` table, from which `wardgate pki crl fetch` fetches lists.

use std::path::PathBuf;
use std::sync::Arc;

use super::file;
use super::identity::CREDENTIAL;
use super::name::{dns_name, ip_address};
use super::problem::Problems;
use super::{CrlFetch, CrlUrl, Located, Peer};
use crate::config::limits::CRL_URL_BYTES_MAX;

/// How an address begins.
const SCHEME: &str = "http://";

impl CrlUrl {
    /// The address as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The lists of `peer` that `table` says are fetched: one address for each file of `crl`, in their order.
pub(super) fn fetches(
    table: &file::Peer,
    peer: Option<&Arc<Peer>>,
    problems: &mut Problems,
) -> Vec<CrlFetch> {
    let Some(urls) = table.crl_url.value() else {
        return Vec::new();
    };
    let scope = &table.scope;
    let read = |text: &Located<String>| {
        let value = problems.accept(scope, "crl_url", text, crl_url(&text.value))?;
        let line = text.line;
        Some(Located { value, line })
    };
    let read: Vec<_> = urls.value.iter().map(read).collect();
    if table.crl.is_absent() {
        let text = format!(
            "{scope}crl_url has no effect without crl, the file that the fetched list replaces; write crl = \
             [\"/var/lib/wardgate/crl/region.crl\"]"
        );
        problems.wrong(urls.line, text);
    }
    let Some(files) = table.crl.value() else {
        return Vec::new();
    };
    if files.value.len() != urls.value.len() {
        let text = format!(
            "{scope}crl_url and crl have {} and {} elements; write one address for each file, in the same order",
            urls.value.len(),
            files.value.len()
        );
        problems.wrong(urls.line, text);
    }
    if let Some(file) = files
        .value
        .iter()
        .find(|file| file.value.starts_with(CREDENTIAL))
    {
        let text = format!(
            "{scope}crl {:?} is a credential, which cannot be replaced by a fetched list; write the path of a \
             file, or remove crl_url",
            file.value
        );
        problems.wrong(file.line, text);
    }
    let Some(peer) = peer else {
        return Vec::new();
    };
    let pairs = peer.trust.crl.iter().zip(read);
    pairs
        .filter_map(|(file, url)| {
            Some(CrlFetch {
                peer: Arc::clone(peer),
                file: Located::<PathBuf>::clone(file),
                url: url?,
            })
        })
        .collect()
}

/// Reads an address. An error is the end of a sentence.
fn crl_url(text: &str) -> Result<CrlUrl, String> {
    const EXAMPLE: &str = "write one like \"http://crl.region.example/region.crl\"";
    if text.starts_with("https://") {
        return Err(
            "is HTTPS, which is not supported here: a revocation list is signed, and CAs publish it by HTTP (RFC 5280 \
             section 8); write the http:// address of the list, which stands in the CA's certificates"
                .to_owned(),
        );
    }
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return Err(format!("is no HTTP address; {EXAMPLE}"));
    };
    // LIMIT: `CRL_URL_BYTES_MAX`.
    if text.len() > CRL_URL_BYTES_MAX {
        return Err(format!(
            "has {} bytes, and {CRL_URL_BYTES_MAX} is the maximum",
            text.len()
        ));
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains('#') {
        return Err(
            "has characters that an address of a file must not have; write them percent-encoded"
                .to_owned(),
        );
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("has a user name, which is not supported; remove it".to_owned());
    }
    let host = match host.rsplit_once(':') {
        Some((host, number)) if !number.ends_with(']') => {
            if number.parse::<u16>().is_err() {
                return Err(format!(
                    "has the port {number:?}, which is no number up to 65535"
                ));
            }
            host
        }
        _ => host,
    };
    if ip_address(host).is_none() {
        dns_name(host)?;
    }
    Ok(CrlUrl(text.to_owned()))
}
