//! Sender, wire and archive without gateways: in plaintext the search must find its needles, and altered
//! bytes must be detected.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::archive::Archive;
use super::dimse::{Receipt, SUCCESS};
use super::sender::Sent;
use super::setup::{free_ports, listener};
use super::wire::Wire;
use super::*;

const SIZE: u64 = 4 << 20;

fn generated() -> Study {
    let args = Args {
        size: SIZE,
        dicom: None,
        keep: false,
    };
    choose_study(&args).expect("study")
}

fn archive(study: &Study) -> Archive {
    let listener = listener().expect("listener");
    Archive::start(listener, TITLES.called, &study.transfer_syntaxes()).expect("archive")
}

/// The archive records a release after it has replied to it.
fn released(archive: &Archive, associations: u64) -> archive::Received {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let received = archive.received();
        if received.released >= associations || Instant::now() > deadline {
            return received;
        }
        thread::yield_now();
    }
}

fn receipts(sent: &[Sent]) -> Vec<Receipt> {
    sent.iter().map(|sent| sent.receipt.clone()).collect()
}

#[test]
fn what_is_sent_arrives_with_equal_hashes() {
    let study = generated();
    let archive = archive(&study);
    let moved = AtomicU64::new(0);
    let sent = sender::send(&study, archive.addr, TITLES, &moved).expect("sent");
    let received = released(&archive, 2);
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|sent| sent.status == SUCCESS));
    assert_eq!(receipts(&sent), received.receipts);
    assert_eq!(moved.into_inner(), study.bytes());
    assert_eq!(
        (received.released, received.faults),
        (2, Vec::<String>::new())
    );
}

#[test]
fn plaintext_on_the_wire_is_detected_and_is_not_tls() {
    let study = generated();
    let archive = archive(&study);
    let wire = listener().expect("listener");
    let wire = Wire::start(wire, archive.addr, Arc::clone(&study.needles)).expect("wire");
    sender::send(&study, wire.addr, TITLES, &AtomicU64::new(0)).expect("sent");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !wire.quiet(2) {
        assert!(Instant::now() < deadline, "the wire is not quiet");
        thread::yield_now();
    }
    let traffic = wire.traffic();
    assert_eq!(traffic.connections, 2);
    assert!(traffic.a_to_b.bytes > study.bytes());
    assert!(
        traffic
            .a_to_b
            .faults
            .iter()
            .all(|fault| fault.contains("record of type 1"))
    );
    assert_eq!(traffic.a_to_b.faults.len(), 2);
    // `DICM` and the marker in every frame, and the marker once more in every object.
    let a_to_b = &traffic.a_to_b.hits;
    assert!(a_to_b[0] >= 8, "{a_to_b:?}");
    assert_eq!(a_to_b[1..], [2, 2, 13]);
    // The replies contain both AE titles, and so does the acceptance of the association.
    assert_eq!(traffic.b_to_a.hits, [0, 2, 2, 0]);
    assert!(
        traffic
            .hits
            .iter()
            .all(|hits| hits.count > hits.allowed(traffic.a_to_b.bytes))
    );
}

#[test]
fn the_search_is_checked_with_plaintext_first() {
    let found = try_search(&generated()).expect("tried");
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|hits| hits.count > 0), "{found:?}");
}

/// Relays one connection and flips a bit of byte number `at`.
fn corrupting(target: SocketAddr, at: usize) -> SocketAddr {
    let listener = listener().expect("listener");
    let addr = listener.local_addr().expect("address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(target).expect("archive listens");
            let (mut from, mut to) = (
                server.try_clone().expect("clone"),
                client.try_clone().expect("clone"),
            );
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            flip(client, server, at);
        }
    });
    addr
}

fn flip(mut client: TcpStream, mut server: TcpStream, at: usize) {
    let (mut passed, mut buffer) = (0, vec![0; 1 << 16]);
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        if (passed..passed + read).contains(&at) {
            buffer[at - passed] ^= 1;
        }
        passed += read;
        if server.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

#[test]
fn a_byte_altered_on_the_wire_fails_the_report() {
    let study = generated();
    let archive = archive(&study);
    // In the pixels of the first object of each association.
    let corrupting = corrupting(archive.addr, 300_000);
    let sent = sender::send(&study, corrupting, TITLES, &AtomicU64::new(0)).expect("sent");
    let received = released(&archive, 2);
    let measured = report::tests::measured(sent, received);
    let report = Report::new(&measured);
    assert!(!report.holds());
    let text = report.to_string();
    let unaltered = "SHA-256 of the data set equal at both ends for 3 of 5";
    let line = text.lines().find(|line| line.contains(unaltered));
    assert!(
        line.expect("the line is there")
            .starts_with("  FAIL  unaltered"),
        "{text}"
    );
}

#[test]
fn a_sender_without_an_archive_fails_with_the_reason() {
    let study = generated();
    let (unused, _) = free_ports().expect("ports");
    let outcome = sender::send(&study, unused, TITLES, &AtomicU64::new(0));
    let error = format!("{:#}", outcome.expect_err("no server listens"));
    assert!(error.contains("association 1: cannot associate"), "{error}");
}

#[test]
fn sizes_are_written_with_units_and_have_bounds() {
    assert_eq!(parse_size("64MiB"), Ok(64 << 20));
    assert_eq!(parse_size("1GiB"), Ok(1 << 30));
    assert_eq!(parse_size("2048KiB"), Ok(2 << 20));
    for wrong in [
        "",
        "64",
        "64MB",
        "MiB",
        "-1GiB",
        "1.5GiB",
        "1023KiB",
        "33GiB",
        "99999999999GiB",
    ] {
        assert!(parse_size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_users_files_are_sent_and_others_are_counted() {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::create_dir(dir.path().join("deeper")).expect("directory");
    std::fs::write(dir.path().join("readme.txt"), "not DICOM").expect("file");
    for (at, place) in ["one.dcm", "deeper/two"].iter().enumerate() {
        let generated = generated();
        let mut set = Vec::new();
        generated.series[0].objects[at]
            .stream(&mut set)
            .expect("streams");
        let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
        let set = dicom_object::InMemDicomObject::read_dataset_with_ts(set.as_slice(), &syntax);
        let meta = dicom_object::FileMetaTableBuilder::new().transfer_syntax(syntax.uid());
        let file = set.expect("parses").with_meta(meta).expect("meta");
        file.write_to_file(dir.path().join(place)).expect("written");
    }
    let dicom = Some(dir.path().to_path_buf());
    let study = choose_study(&Args {
        size: SIZE,
        dicom,
        keep: false,
    })
    .expect("study");
    assert_eq!(study.objects(), 2);
    assert!(
        study.title.ends_with(": 2; other files skipped: 1"),
        "{}",
        study.title
    );
    // DICM, two AE titles, and a name each.
    let found = try_search(&study).expect("tried");
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|hits| hits.count > 0), "{found:?}");
    let archive = archive(&study);
    let sent = sender::send(&study, archive.addr, TITLES, &AtomicU64::new(0)).expect("sent");
    assert_eq!(receipts(&sent), released(&archive, 1).receipts);
}

#[test]
fn the_gateways_table_of_sop_classes_agrees_with_the_dicom_library() {
    use dicom_core::dictionary::UidDictionary as _;
    let library = dicom_dictionary_std::sop_class::registry();
    let table = include_str!("../../../gateway/src/dicom/sop_classes.txt");
    for line in table.lines() {
        let (uid, name) = line.split_once(' ').expect("UID and name");
        let known = library.by_uid(uid).map(|entry| entry.name);
        assert_eq!(known, Some(name), "{uid}");
    }
}

#[test]
fn the_closing_commands_start_the_program_that_cargo_built_here() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let by_cargo = |program: &str| by_cargo(&here.join(program), here);
    assert_eq!(by_cargo("target/release/wardgate-demo"), None, "no project");
    std::fs::write(here.join("Cargo.toml"), "").expect("file");
    for (profile, command) in [
        ("quick", "cargo demo"),
        ("release", "cargo run --release -p wardgate-demo --"),
        ("debug", "cargo run -p wardgate-demo --"),
    ] {
        let program = format!("target/{profile}/wardgate-demo");
        assert_eq!(by_cargo(&program).as_deref(), Some(command));
    }
    for elsewhere in [
        "wardgate-demo",
        "target/other/wardgate-demo",
        "/usr/bin/wardgate-demo",
    ] {
        assert_eq!(by_cargo(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn the_closing_commands_start_both_kept_sites() {
    let text = what_next(true, Path::new("/tmp/x"), "cargo x");
    for site in [HOSPITAL, REGION] {
        let command = format!("  cargo x wardgate run --config /tmp/x/{site}/wardgate.toml\n");
        assert!(text.contains(&command), "no {command:?} in\n{text}");
    }
    let text = what_next(false, Path::new("/tmp/x"), "/opt/wardgate-demo");
    assert!(text.contains("\n  /opt/wardgate-demo --keep  "), "{text}");
    assert!(!text.contains("/tmp/x"), "{text}");
}
