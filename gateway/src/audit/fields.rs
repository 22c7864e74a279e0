//! Values of log fields. Where OpenTelemetry has a name for a field, the log uses it: `client.address`.

use std::fmt;
use std::net::SocketAddr;

/// What a field without a value holds, so that a line of a kind always has the same keys.
pub(super) const NONE: &str = "-";

/// The two fields of an address: `client.address` and `client.port`, `server.address` and `server.port`.
/// Without an address, these are `-` and 0.
pub(super) fn address_and_port(address: Option<SocketAddr>) -> (String, u16) {
    (
        shown(address.map(|address| address.ip())),
        address.map_or(0, |address| address.port()),
    )
}

/// The value as text, `-` without one.
pub(super) fn shown(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_no_brackets_and_no_address_is_a_dash() {
        let of = |text: &str| address_and_port(text.parse().ok());
        assert_eq!(of("[2001:db8::5]:104"), ("2001:db8::5".to_owned(), 104));
        assert_eq!(of("10.20.0.5:49014"), ("10.20.0.5".to_owned(), 49014));
        assert_eq!(of("no address"), ("-".to_owned(), 0));
    }
}
