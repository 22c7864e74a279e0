//! An archive that closes: an application behind a TLS peer, which may be no gateway, receives a DICOM PDU
//! with the reason.

use std::io::{Read, Write};
use std::net::TcpStream;

use wardgate_tests::stream::{accept, connect, reset};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Gateway, Pki, Site};

use crate::pair::{B, Originate, Terminate, local, originate};

const REJECTED: [u8; 10] = [3, 0, 0, 0, 0, 4, 0, 2, 3, 1];
pub(crate) const ABORTED: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 0];

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("it is short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

/// An A-ASSOCIATE-RQ or -AC (PS3.8 sections 9.3.2 and 9.3.3) of this length at least.
pub(crate) fn associate(kind: u8, least: usize) -> Vec<u8> {
    let syntax = item(0x40, b"1.2.840.10008.1.2");
    let context = match kind {
        1 => [
            &[1, 0, 0, 0][..],
            &item(0x30, b"1.2.840.10008.1.1"),
            &syntax,
        ]
        .concat(),
        _ => [&[1, 0, 0, 0][..], &syntax].concat(),
    };
    let kind_of_context = if kind == 1 { 0x20 } else { 0x21 };
    // Private user information, which every receiver skips, in items of its own.
    let mut user = item(0x51, &[0, 0, 0x40, 0]);
    while user.len() < least.min(60_000) {
        user.extend(item(0xfe, &[0; 1000]));
    }
    let body = [
        &[0, 1, 0, 0][..],
        b"ARCHIVE         CT_A            ",
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        &item(kind_of_context, &context),
        &item(0x50, &user),
    ]
    .concat();
    let length = u32::try_from(body.len()).expect("it is short");
    [&[kind, 0][..], &length.to_be_bytes(), &body].concat()
}

fn close(archive: TcpStream, by_reset: bool) {
    match by_reset {
        true => reset(archive),
        false => drop(archive),
    }
}

pub(crate) fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    // The bytes after the PDU.
    let _ = stream.read_to_end(&mut heard);
    heard
}

#[test]
fn an_archive_that_closes_before_it_has_answered_is_a_rejection_behind_tls() {
    for by_reset in [false, true] {
        for read in [0, 40, usize::MAX] {
            let terminate = Terminate::with(|site| site.protocol("dicom"));
            let mut peer = terminate.greeted(TLS13);
            let request = associate(1, 0);
            peer.write_all(&request).expect("connected");
            let mut archive = accept(&terminate.exit);
            let mut heard = vec![0; read.min(request.len())];
            archive.read_exact(&mut heard).expect("the request comes");
            close(archive, by_reset);
            assert_eq!(
                rest(&mut peer),
                REJECTED,
                "behind {read}, reset: {by_reset}"
            );
        }
    }
}

#[test]
fn an_archive_that_closes_in_an_open_association_is_an_abort_behind_tls() {
    for by_reset in [false, true] {
        let terminate = Terminate::with(|site| site.protocol("dicom"));
        let mut peer = terminate.greeted(TLS13);
        let request = associate(1, 0);
        peer.write_all(&request).expect("connected");
        let mut archive = accept(&terminate.exit);
        let mut heard = vec![0; request.len()];
        archive.read_exact(&mut heard).expect("the request comes");
        let acceptance = associate(2, 0);
        archive.write_all(&acceptance).expect("connected");
        let mut heard = vec![0; acceptance.len()];
        peer.read_exact(&mut heard).expect("the answer comes");
        close(archive, by_reset);
        assert_eq!(rest(&mut peer), ABORTED, "reset: {by_reset}");
    }
}

#[test]
fn a_tls_archive_that_closes_before_it_has_answered_is_a_rejection() {
    for long in [0, 60_000] {
        for how in ["close_notify", "FIN", "reset"] {
            let originate = Originate::with(|site| site.protocol("dicom"));
            let mut client = connect(originate.entry);
            let request = associate(1, long);
            client.write_all(&request).expect("connected");
            let mut archive = originate.accept(TLS13);
            let mut heard = vec![0; request.len() / 2];
            archive.read_exact(&mut heard).expect("the request comes");
            match how {
                "close_notify" => archive.finish().expect("connected"),
                "reset" => {
                    reset(archive.socket);
                    assert_eq!(rest(&mut client), REJECTED, "{how}");
                    continue;
                }
                _ => {}
            }
            drop(archive);
            assert_eq!(rest(&mut client), REJECTED, "{how}");
        }
    }
}

/// The line of the association, after the gateway has rejected it in the place of a target that was lost.
fn assert_rejected(gateway: &Gateway) {
    let what = "the association ends";
    let line = gateway.wait_for_line(what, DEADLINE, |line| line.message() == "association");
    assert_eq!(line.text("ended"), "rejected");
    assert_eq!(
        line.text("how"),
        "rejected by gateway: rejected-transient, service-provider (presentation), temporary-congestion"
    );
}

#[test]
fn an_association_that_the_gateway_rejects_for_a_lost_target_is_logged_as_rejected_by_it() {
    let terminate = Terminate::with(|site| site.protocol("dicom"));
    let mut peer = terminate.greeted(TLS13);
    peer.write_all(&associate(1, 0)).expect("connected");
    reset(accept(&terminate.exit));
    assert_eq!(rest(&mut peer), REJECTED);
    drop(peer);
    assert_rejected(&terminate.gateway);

    let originate = Originate::with(|site| site.protocol("dicom"));
    let mut client = connect(originate.entry);
    client.write_all(&associate(1, 0)).expect("connected");
    reset(originate.accept(TLS13).socket);
    assert_eq!(rest(&mut client), REJECTED);
    drop(client);
    assert_rejected(&originate.gateway);
}

/// The server's alert arrives after the gateway has sent the request: in TLS 1.3 the server verifies the
/// gateway's certificate after the gateway's side of the handshake is done.
#[test]
fn an_association_behind_a_server_that_refuses_our_certificate_is_logged_as_rejected_by_the_gateway()
 {
    let (pki, entry, wan) = (Pki::new(), local(), local());
    let other = Site::new(&pki, B).terminate(wan, local(), &["dns:gw.other.example".to_owned()]);
    let other = other.protocol("dicom").start();
    let gateway = originate(&pki, entry, wan).protocol("dicom").start();
    let mut client = connect(entry);
    client.write_all(&associate(1, 0)).expect("connected");
    assert_eq!(rest(&mut client), REJECTED);
    drop(client);
    assert_rejected(&gateway);
    drop(other);
}
