//! Addresses: listen addresses, targets, and which of them are equal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::name::{dns_name, ip_address};
use super::{Host, Target};

/// Reads an address of this machine with its port. An error is the end of a sentence.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| listen_remedy(text))?;
    if address.port() == 0 {
        return Err(
            "has port 0, which is a different port at each start; write the port that others connect to"
                .to_owned(),
        );
    }
    if !is_host(address.ip()) {
        return Err(
            "is a multicast or broadcast address; write an address of this machine".to_owned(),
        );
    }
    Ok(canonical(address))
}

fn listen_remedy(text: &str) -> String {
    let port = text.trim_start_matches([':', '*']);
    if let Ok(port) = port.parse::<u16>() {
        return format!(
            "has no address; write the address of this machine on which clients connect, for example \
             \"10.20.0.5:{port}\""
        );
    }
    if let Some(remedy) = brackets_remedy(text) {
        return remedy;
    }
    if let Some(ip) = ip_address(text) {
        return format!("has no port; write \"{}\"", SocketAddr::new(ip, 11112));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if ip_address(host).is_some() => port_remedy(port),
        Some(("localhost", port)) => {
            format!(
                "has a host name, but an IP address is needed to listen; write \"127.0.0.1:{port}\""
            )
        }
        _ => "is not an IP address and port; write an address of this machine, such as \
            \"10.20.0.5:11112\" \
              or \"[fd00::5]:11112\""
            .to_owned(),
    }
}

/// The advice for an IPv6 address whose last colon was meant to separate the port.
fn brackets_remedy(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let (ip, port) = (host.parse::<Ipv6Addr>().ok()?, port.parse::<u16>().ok()?);
    Some(format!(
        "needs brackets around its IPv6 address; write \"[{ip}]:{port}\""
    ))
}

fn port_remedy(port: &str) -> String {
    let port: String = port.chars().take(20).collect();
    format!("has port {port:?}; a port is a number from 1 to 65535")
}

/// Reads a host and port to connect to. An error is the end of a sentence.
pub(super) fn target(text: &str) -> Result<Target, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or_default();
        return Err(format!(
            "is a URL; write only host and port: {:?}",
            with_port(authority)
        ));
    }
    if let Some(remedy) = brackets_remedy(text) {
        return Err(remedy);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(format!(
            "has no port; write for example \"{}\"",
            SocketAddr::new(ip, 2762)
        ));
    }
    let Some((host, port)) = text
        .rsplit_once(':')
        .filter(|(host, _)| !is_open_bracket(host))
    else {
        return Err(format!(
            "has no port; write for example {:?}",
            with_port(text)
        ));
    };
    let port = match port.parse::<u16>() {
        Ok(number @ 1..) if !port.starts_with('+') => number,
        _ => return Err(port_remedy(port)),
    };
    let host = host_of(host)?;
    Ok(Target {
        host,
        port,
        expected: None,
        connections: None,
    })
}

fn host_of(host: &str) -> Result<Host, String> {
    if host.starts_with('[') {
        let ip = ip_address(host).filter(IpAddr::is_ipv6);
        let ip = ip.ok_or("must have an IPv6 address in its brackets")?;
        return host_address(ip);
    }
    match ip_address(host) {
        Some(ip @ IpAddr::V4(_)) => host_address(ip),
        Some(IpAddr::V6(ip)) => Err(format!(
            "needs brackets around its IPv6 address; write \"[{ip}]:PORT\""
        )),
        None => dns_name(host).map(Host::Name),
    }
}

fn host_address(ip: IpAddr) -> Result<Host, String> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() {
        let local = loopback_like(ip);
        return Err(format!("names no host; write {local} for this machine"));
    }
    if !is_host(ip) {
        return Err(
            "is a multicast or broadcast address; write the address of one host".to_owned(),
        );
    }
    Ok(Host::Ip(ip))
}

/// Whether `host` is `[::1` of a bracketed address without a port: its last colon is not the separator.
fn is_open_bracket(host: &str) -> bool {
    host.starts_with('[') && !host.ends_with(']')
}

fn with_port(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() && !host.ends_with(']') => host.to_owned(),
        _ => format!("{host}:2762"),
    }
}

fn is_host(ip: IpAddr) -> bool {
    !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // The scope of a link-local IPv6 address is lost if the address is converted.
        IpAddr::V6(_) => address,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
    }
}

/// Whether a listener on `wide` accepts connections to `narrow`.
///
/// `[::]` accepts IPv4 as well, as on Linux.
pub(super) fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    if wide.port() != narrow.port() {
        return false;
    }
    match wide {
        SocketAddr::V6(_) if wide.ip().is_unspecified() => true,
        SocketAddr::V4(_) if wide.ip().is_unspecified() => narrow.is_ipv4(),
        _ => wide == narrow,
    }
}

/// Whether a connection to `target` arrives at the listener on `listen`, as far as this is known without the
/// addresses of this machine.
pub(super) fn reaches(target: &Target, listen: SocketAddr) -> bool {
    let is_wide = listen.ip().is_unspecified();
    // Of the addresses that a wildcard covers, only loopback certainly belongs to this machine.
    let at = |ip: IpAddr| {
        (ip.is_loopback() || !is_wide) && covers(listen, SocketAddr::new(ip, target.port))
    };
    match &target.host {
        Host::Ip(ip) => at(*ip),
        Host::Name(name) if name == "localhost" => {
            at(Ipv4Addr::LOCALHOST.into()) || at(Ipv6Addr::LOCALHOST.into())
        }
        Host::Name(_) => false,
    }
}

fn loopback_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("it is an address")
    }

    #[test]
    fn a_wildcard_covers_the_addresses_of_its_family_and_ipv6_covers_both() {
        assert!(covers(at("0.0.0.0:104"), at("10.0.0.1:104")));
        assert!(!covers(at("0.0.0.0:104"), at("10.0.0.1:105")));
        assert!(!covers(at("0.0.0.0:104"), at("[fd00::1]:104")));
        assert!(covers(at("[::]:104"), at("10.0.0.1:104")));
        assert!(covers(at("[::]:104"), at("0.0.0.0:104")));
        assert!(!covers(at("10.0.0.1:104"), at("0.0.0.0:104")));
        assert!(!covers(at("10.0.0.1:104"), at("10.0.0.2:104")));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_maps() {
        assert_eq!(listen("[::ffff:10.0.0.1]:104"), Ok(at("10.0.0.1:104")));
        let target = target("[::ffff:10.0.0.1]:104").expect("it is a target");
        assert_eq!(target.host, Host::Ip(Ipv4Addr::new(10, 0, 0, 1).into()));
    }

    #[test]
    fn a_target_loops_back_if_it_is_known_to_be_the_listener() {
        let reaches = |to, from| reaches(&target(to).expect("it is a target"), at(from));
        assert!(reaches("10.0.0.1:104", "10.0.0.1:104"));
        assert!(reaches("127.0.0.1:104", "0.0.0.0:104"));
        assert!(reaches("127.0.0.1:104", "[::]:104"));
        assert!(reaches("localhost:104", "[::1]:104"));
        assert!(!reaches("10.0.0.9:104", "0.0.0.0:104"));
        assert!(!reaches("[fd00::9]:104", "[::]:104"));
        assert!(!reaches("localhost:104", "10.0.0.1:104"));
        assert!(!reaches("127.0.0.1:105", "0.0.0.0:104"));
    }

    #[test]
    fn targets_are_addresses_or_names_with_a_port() {
        let host = |text| target(text).map(|target| target.host);
        assert_eq!(
            host("10.0.0.1:104"),
            Ok(Host::Ip(Ipv4Addr::new(10, 0, 0, 1).into()))
        );
        assert_eq!(host("[::1]:104"), Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())));
        assert_eq!(
            host("PACS_1.Region.example:104"),
            Ok(Host::Name("pacs_1.region.example".to_owned()))
        );
        for wrong in [
            "",
            ":",
            ":104",
            "a:",
            "[::1]",
            "[::1]:",
            "[]:1",
            "[10.0.0.1]:1",
            "fe80::1:104",
            "a:+1",
        ] {
            target(wrong).expect_err(wrong);
        }
    }
}
