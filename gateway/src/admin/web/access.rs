//! Which clients may see the page: the names by which they may ask for it, and wrong tokens.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use crate::admin::limits::{WRONG_TOKEN_SOURCES_MAX, WRONG_TOKENS_MAX, WRONG_TOKENS_WITHIN};
use crate::client_source::Source;

/// The names of this machine.
///
/// A page of another site can let a name of its own lead to this address, and then read what a browser behind
/// the firewall gets from it (DNS rebinding). It cannot do so with an address, or with a name of this machine.
#[derive(Debug)]
pub(super) struct OwnNames(Vec<String>);

impl OwnNames {
    /// `localhost`, and the name of the host with and without its domain.
    pub(super) fn new(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let short = host.split('.').next().unwrap_or_default().to_owned();
        let names = ["localhost".to_owned(), short, host];
        Self(names.into_iter().filter(|name| !name.is_empty()).collect())
    }

    /// Whether the value of a `Host` field is an address or one of the names.
    pub(super) fn has(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            return address.parse::<Ipv6Addr>().is_ok() && is_port(port);
        }
        let (name, port) = match host.find(':') {
            Some(colon) => host.split_at(colon),
            None => (host, ""),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_own = || self.0.iter().any(|own| own.eq_ignore_ascii_case(name));
        is_port(port) && (name.parse::<IpAddr>().is_ok() || is_own())
    }
}

// `:9464`, or nothing.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => text.is_empty(),
    }
}

/// Wrong tokens, by the address that sent them.
#[derive(Debug, Default)]
pub(super) struct WrongTokens(HashMap<Source, TokenAttempts>);

#[derive(Debug, Clone, Copy)]
struct TokenAttempts {
    since: Instant,
    count: u32,
}

impl WrongTokens {
    /// Whether the address has sent too many wrong tokens.
    pub(super) fn is_blocked(&self, source: IpAddr, now: Instant) -> bool {
        let attempts = self.0.get(&source.into());
        // LIMIT: WRONG_TOKENS_MAX.
        attempts
            .is_some_and(|attempts| attempts.is_recent(now) && attempts.count >= WRONG_TOKENS_MAX)
    }

    /// Counts a wrong token.
    pub(super) fn note(&mut self, source: IpAddr, now: Instant) {
        let source = Source::from(source);
        self.0.retain(|_, attempts| attempts.is_recent(now));
        // LIMIT: WRONG_TOKEN_SOURCES_MAX.
        if self.0.len() >= WRONG_TOKEN_SOURCES_MAX && !self.0.contains_key(&source) {
            let oldest = self.0.iter().min_by_key(|(_, attempts)| attempts.since);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.0.remove(&oldest);
            }
        }
        let new = TokenAttempts {
            since: now,
            count: 0,
        };
        let attempts = self.0.entry(source).or_insert(new);
        attempts.count = attempts.count.saturating_add(1);
    }
}

impl TokenAttempts {
    fn is_recent(self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < WRONG_TOKENS_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_names_of_this_machine_are_accepted_as_host() {
        let names = OwnNames::new("GW1.hospital.example");
        for good in [
            "localhost",
            "LOCALHOST:9464",
            "localhost.:80",
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "gw1",
            "gw1.hospital.example:9464",
        ] {
            assert!(names.has(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[::1",
            "[::1]evil",
            "[evil]",
            "hospital.example",
            "127.0.0.1:x",
            "localhost:80@evil.example",
            "gw1 ",
            "::1",
        ] {
            assert!(!names.has(bad), "{bad}");
        }
        assert!(!OwnNames::new("").has(""));
    }

    #[test]
    fn an_address_is_blocked_after_ten_wrong_tokens_for_a_minute() {
        let (mut wrong, now) = (WrongTokens::default(), Instant::now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
        for _ in 0..WRONG_TOKENS_MAX {
            assert!(!wrong.is_blocked(one, now));
            wrong.note(one, now);
        }
        assert!(wrong.is_blocked(one, now) && !wrong.is_blocked(other, now));
        let later = now + WRONG_TOKENS_WITHIN;
        assert!(!wrong.is_blocked(one, later));
        wrong.note(one, later);
        assert!(!wrong.is_blocked(one, later));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together_and_their_number_is_bounded() {
        let (mut wrong, now) = (WrongTokens::default(), Instant::now());
        for last in 0..u16::try_from(WRONG_TOKENS_MAX).expect("it is small") {
            let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last);
            wrong.note(source.into(), now);
        }
        assert!(wrong.is_blocked(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into(), now));
        for network in 0..1_000 {
            wrong.note(
                Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, 1).into(),
                now,
            );
        }
        assert_eq!(wrong.0.len(), WRONG_TOKEN_SOURCES_MAX);
    }
}
