//! Names of routes, peers and services, and host names in the DNS.

use std::net::IpAddr;

use super::problem::quoted;
use super::{InterfaceName, ServiceLabel};
use crate::config::limits::{INTERFACE_BYTES_MAX, ROUTE_NAME_BYTES_MAX, SERVICE_LABEL_BYTES_MAX};

/// The maximum bytes of a DNS name without its final dot (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// The maximum bytes of one label (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Reads the name of a route. An error is the end of a sentence.
pub(super) fn route_name(name: &str) -> Result<String, String> {
    short_name(name, "pacs-to-region", ROUTE_NAME_BYTES_MAX)
}

/// Reads a service label. An error is the end of a sentence.
pub(super) fn service_label(label: &str) -> Result<ServiceLabel, String> {
    short_name(label, "archive", SERVICE_LABEL_BYTES_MAX).map(ServiceLabel)
}

/// Checks the name by which a site is known to another one: that of a `[[peer]]` table.
///
/// # Errors
/// The end of a sentence.
pub(crate) fn check_site_name(name: &str) -> Result<(), String> {
    short_name(name, "region", ROUTE_NAME_BYTES_MAX).map(|_| ())
}

/// Reads a name of at most `bytes_max` bytes. An error is the end of a sentence.
pub(super) fn short_name(name: &str, example: &str, bytes_max: usize) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Err(format!("is empty; write a short name, such as {example:?}"));
    }
    if let Some(wrong) = name.chars().find(|c| !is_legal(*c)) {
        return Err(format!(
            "has {wrong:?}; use only the letters a to z and A to Z, digits, \"-\", \"_\" and \".\""
        ));
    }
    // LIMIT: `ROUTE_NAME_BYTES_MAX` or `SERVICE_LABEL_BYTES_MAX`.
    if name.len() > bytes_max {
        return Err(format!(
            "has {} characters, and {bytes_max} is the maximum; shorten it",
            name.len()
        ));
    }
    Ok(name.to_owned())
}

/// Reads the name of a network interface by the rules of Linux. An error is the end of a sentence.
pub(super) fn interface(name: &str) -> Result<InterfaceName, String> {
    if name.is_empty() {
        return Err("is empty; write a name that `ip link` shows, or remove it".to_owned());
    }
    let is_legal = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '/' | ':');
    let wrong = name.chars().find(|c| !is_legal(*c));
    if let Some(wrong) = wrong.or_else(|| name.chars().find(|_| matches!(name, "." | ".."))) {
        return Err(format!(
            "has {wrong:?}, which is not allowed in the name of an interface; write a name that `ip link` shows"
        ));
    }
    // LIMIT: `INTERFACE_BYTES_MAX`.
    if name.len() > INTERFACE_BYTES_MAX {
        return Err(format!(
            "has {} bytes, and Linux allows {INTERFACE_BYTES_MAX}; write the name that `ip link` shows",
            name.len()
        ));
    }
    Ok(InterfaceName(name.to_owned()))
}

/// Reads a DNS name and returns it in lowercase. An error is the end of a sentence.
///
/// Underscores are allowed, because names of Windows hosts contain them.
pub(super) fn dns_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("has no host name".to_owned());
    }
    if !text.is_ascii() {
        return Err("has letters outside ASCII; write the name in its \"xn--\" form".to_owned());
    }
    if text.ends_with('.') {
        return Err("ends with a dot; remove the dot".to_owned());
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(format!(
            "has a name of {} bytes, and DNS allows at most {NAME_BYTES_MAX}",
            text.len()
        ));
    }
    for label in text.split('.') {
        check_label(label)?;
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        // RFC 1123 section 2.1: a name that ends in a number is meant as an address.
        return Err(
            "is neither an IPv4 address nor a DNS name; write four numbers from 0 to 255, \
            or a name"
                .to_owned(),
        );
    }
    Ok(text.to_ascii_lowercase())
}

fn check_label(label: &str) -> Result<(), String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if label.is_empty() {
        return Err("is not a DNS name: it begins with a dot, or has two dots in a row".to_owned());
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(format!(
            "is not a DNS name: {} has more than {LABEL_BYTES_MAX} characters",
            quoted(label)
        ));
    }
    if let Some(wrong) = label.chars().find(|c| !c.is_ascii() || !is_legal(*c as u8)) {
        return Err(format!(
            "is not a DNS name: {wrong:?} cannot be part of one"
        ));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(format!(
            "is not a DNS name: {} begins or ends with a hyphen",
            quoted(label)
        ));
    }
    Ok(())
}

/// Whether `text` is an IP address, in brackets or not.
pub(super) fn ip_address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().ok()
}
