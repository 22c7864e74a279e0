//! What applications receive when an open association is lost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use wardgate_tests::stream::{Ending, accept, connect, reset};
use wardgate_tests::tier;
use wardgate_tests::{DEADLINE, Gateway, Pki, free_port};

use crate::associations::{CALLED, CALLING, Open, PYNETDICOM, Provider};
use crate::dicom_bytes::{ABORT, REJECT_TEMPORARY, acceptance, half_of_data, hear, local, request};
use crate::pair::{Pair, alone, originate, terminate};

fn ready() -> bool {
    tier::ready("interop", &PYNETDICOM)
}

fn kill(gateway: Gateway) {
    gateway.process().signal(Signal::KILL);
    let _ = gateway.wait(DEADLINE);
}

#[test]
fn remote_gateway_that_dies_in_an_open_association_is_an_abort() {
    if !ready() {
        return;
    }
    let provider = Provider::start();
    let pair = Pair::start(&Pki::new(), "dicom", provider.port);
    let mut open = Open::start(pair.entry, CALLING, CALLED, &["echo"]);
    open.wait_for("echo 0x0000");
    kill(pair.b);
    let report = open.report();
    assert_eq!(report.lines(), ["accepted", "echo 0x0000", "aborted 2 0"]);
    assert_eq!(report.ended(), "aborted");
    pair.a.stop();
}

#[test]
fn local_gateway_that_dies_in_an_open_association_is_an_abort_at_the_archive() {
    if !ready() {
        return;
    }
    let mut provider = Provider::start();
    let pair = Pair::start(&Pki::new(), "dicom", provider.port);
    let mut open = Open::start(pair.entry, CALLING, CALLED, &["echo"]);
    open.wait_for("echo 0x0000");
    kill(pair.a);
    let report = provider.report_when_closed();
    let requested = format!("requested {CALLING} {CALLED}");
    assert_eq!(report, [&*requested, "C-ECHO", "aborted 2 0", "closed"]);
    // The requestor's own gateway is gone, so only the end of the connection can report it.
    assert_eq!(open.report().lines(), ["accepted", "echo 0x0000"]);
    pair.b.stop();
}

/// A requestor and an archive with an association between them, both played by the test.
struct InHand {
    pair: Pair,
    requestor: TcpStream,
    archive: TcpStream,
}

impl InHand {
    fn start() -> Self {
        let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = target.local_addr().expect("it is bound").port();
        let pair = Pair::start(&Pki::new(), "dicom", port);
        let mut requestor = connect(local(pair.entry));
        requestor.write_all(&request()).expect("it is connected");
        let mut archive = accept(&target);
        expect(&mut archive, &request());
        archive.write_all(&acceptance()).expect("it is connected");
        expect(&mut requestor, &acceptance());
        Self {
            pair,
            requestor,
            archive,
        }
    }
}

#[track_caller]
fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).expect("it comes");
    assert!(heard == bytes, "other bytes came");
}

#[test]
fn archive_that_resets_an_open_association_is_an_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        archive,
    } = InHand::start();
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.stop();
}

#[test]
fn remote_gateway_that_dies_before_the_answer_is_a_transient_rejection() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = target.local_addr().expect("it is bound").port();
    let pair = Pair::start(&Pki::new(), "dicom", port);
    let mut requestor = connect(local(pair.entry));
    requestor.write_all(&request()).expect("it is connected");
    let mut archive = accept(&target);
    expect(&mut archive, &request());
    kill(pair.b);
    let heard = hear(&mut requestor);
    assert_eq!(heard, (REJECT_TEMPORARY.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.a.stop();
}

/// An A-ABORT there would be read as part of the PDU.
#[test]
fn association_that_is_lost_within_a_pdu_is_a_reset_and_no_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    archive.write_all(&half_of_data()).expect("it is connected");
    expect(&mut requestor, &half_of_data());
    kill(pair.b);
    assert_eq!(hear(&mut requestor), (Vec::new(), Ending::Reset));
    pair.a.stop();
}

#[test]
fn archive_in_the_middle_of_a_pdu_is_reset_and_sent_no_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    requestor
        .write_all(&half_of_data())
        .expect("it is connected");
    expect(&mut archive, &half_of_data());
    kill(pair.a);
    assert_eq!(hear(&mut archive), (Vec::new(), Ending::Reset));
    pair.b.stop();
}

/// A side that is sending a PDU can still receive an A-ABORT: only its reading direction counts.
#[test]
fn sender_in_the_middle_of_its_own_pdu_receives_an_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    requestor
        .write_all(&half_of_data())
        .expect("it is connected");
    expect(&mut archive, &half_of_data());
    kill(pair.b);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.a.stop();
}

/// For a side that does not close after an A-ABORT, the gateway waits at most the ARTIM timer.
#[test]
fn who_does_not_close_after_a_rejection_is_reset() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let (a, entry) = alone(&Pki::new(), free_port());
    let mut client = connect(local(entry));
    client.write_all(&request()).expect("it is connected");
    let heard = hear(&mut client);
    assert_eq!(heard, (REJECT_TEMPORARY.to_vec(), Ending::Orderly));
    a.wait_for_connections(1);
    // Only this end is still open.
    drop(client);
    a.stop();
}

#[test]
fn who_does_not_close_after_an_abort_is_reset() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        archive,
    } = InHand::start();
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    pair.a.wait_for_connections(1);
    // Only this end is still open.
    drop(requestor);
    pair.stop();
}

/// A stop also waits no longer than its limit.
#[test]
fn who_does_not_close_after_an_abort_does_not_hold_up_a_stop() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = target.local_addr().expect("it is bound").port();
    let b = terminate(&pki, "dicom", wan, port).start();
    let a = originate(&pki, "dicom", entry, wan)
        .timeout("drain", "\"1s\"")
        .start();
    let mut requestor = connect(local(entry));
    requestor.write_all(&request()).expect("it is connected");
    let mut archive = accept(&target);
    expect(&mut archive, &request());
    archive.write_all(&acceptance()).expect("it is connected");
    expect(&mut requestor, &acceptance());
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    a.stop();
    b.stop();
}
