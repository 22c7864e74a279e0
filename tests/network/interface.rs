//! A listener that is bound to its interface, on a machine that answers for its addresses on all interfaces.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{DEADLINE, Pki};

use crate::lab::{ENTRY, Family, Lab, Place};

/// The result of a connection from site B, on the WAN, to the plaintext listener on site A's LAN address.
fn connect_from(lab: &Lab, place: Place) -> Result<(), ErrorKind> {
    let entry = Family::V4.address(Place::GatewayA, "lan-a", ENTRY);
    let entry: SocketAddr = entry.parse().expect("an address");
    let connected = lab.inside(place, || TcpStream::connect_timeout(&entry, DEADLINE));
    connected.map(drop).map_err(|error| error.kind())
}

#[test]
fn originate_listener_is_not_reached_by_another_interface_than_its_own() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let pki = Pki::new();
    for (interface, expected) in [
        (None, Ok(())),
        (Some("lan-a"), Err(ErrorKind::ConnectionRefused)),
    ] {
        let lab = Lab::new();
        lab.lead_lan_of_a_over_the_wan();
        let [a, _] = lab.sites(&pki, "dicom", [Family::V4, Family::V4]);
        let a = match interface {
            Some(interface) => a.set("interface", format!("\"{interface}\"")),
            None => a,
        };
        let gateway = a.start();
        assert_eq!(connect_from(&lab, Place::Near), Ok(()), "{interface:?}");
        assert_eq!(
            connect_from(&lab, Place::GatewayB),
            expected,
            "{interface:?}"
        );
        gateway.stop();
    }
}
