//! Associations over loopback, directly or through a relay that changes their bytes.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

use super::*;
use crate::server;

fn options(associations: u32, objects: u16) -> Options {
    Options {
        between: Between::on_loopback(associations),
        kind: Kind::Mr,
        objects: Some(objects),
        asynchronous: 1,
        rtt: None,
        nodelay: true,
        writes: Writes::Split,
        pdu: 16_384,
        count_only: false,
    }
}

fn over_loopback(options: &Options) -> anyhow::Result<Report> {
    let job = job(options);
    let server = start_keeper(&job, &options.between)?;
    measure(options, &job, &server, server.address())
}

#[test]
fn every_object_of_every_association_is_kept() {
    for (asynchronous, writes, pdu) in [
        (1, Writes::Split, 16_384),
        (4, Writes::Split, 16_384),
        (1, Writes::Whole, 4096),
        (8, Writes::Whole, 1 << 20),
    ] {
        let options = Options {
            asynchronous,
            writes,
            pdu,
            ..options(3, 9)
        };
        let report = over_loopback(&options).expect("all are kept");
        assert_eq!(report.number("objects"), Some(27.0));
        assert!(report.number("object_p99_ms") > Some(0.0));
    }
}

#[test]
fn a_round_trip_is_felt_by_each_synchronous_object_and_shared_by_asynchronous_ones() {
    let synchronous = Options {
        rtt: Some(Duration::from_millis(30)),
        ..options(1, 8)
    };
    let report = over_loopback(&synchronous).expect("all are kept");
    assert!(
        report.number("object_p50_ms") >= Some(30.0),
        "{}",
        report.table()
    );
    assert!(report.number("elapsed_seconds") >= Some(0.24));
    let asynchronous = Options {
        asynchronous: 8,
        ..synchronous
    };
    let report = over_loopback(&asynchronous).expect("all are kept");
    assert!(
        report.number("elapsed_seconds") < Some(0.24),
        "{}",
        report.table()
    );
}

/// A relay that changes the byte at a position of the storer's stream, or stops there.
fn spoiled(options: &Options, place: usize, change: bool) -> String {
    let job = job(options);
    let keeper = start_keeper(&job, &options.between).expect("it listens");
    let (to, between) = (keeper.address(), Arc::new(options.between.clone()));
    let spoiler = Server::start(&options.between, move |mut near| {
        let far = server::connect(to, &between).map_err(std::io::Error::other)?;
        let mut answers = (far.try_clone()?, near.try_clone()?);
        thread::spawn(move || {
            let _ = std::io::copy(&mut answers.0, &mut answers.1);
            let _ = answers.1.shutdown(Shutdown::Both);
        });
        let mut place = Some(place);
        let mut room = [0; 4096];
        loop {
            let n = near.read(&mut room)?;
            if n == 0 {
                return far.shutdown(Shutdown::Write);
            }
            match place {
                Some(left) if left < n => {
                    room[left] ^= 0x20;
                    place = None;
                }
                Some(left) => place = Some(left - n),
                None => {}
            }
            if change || place.is_some() {
                (&far).write_all(&room[..n])?;
            }
        }
    });
    let spoiler = spoiler.expect("it listens");
    let error = measure(options, &job, &keeper, spoiler.address());
    format!("{:#}", error.expect_err("it was spoiled"))
}

#[test]
fn a_changed_byte_of_an_object_is_reported_by_the_receiving_end() {
    let error = spoiled(&options(1, 3), 400_000, true);
    assert!(error.contains("object 00000001 differs"), "{error}");
}

#[test]
fn an_association_that_stalls_is_an_error() {
    let mut options = options(1, 3);
    options.between.stall = 1;
    let error = spoiled(&options, 400_000, false);
    assert!(error.contains("association 0 failed"), "{error}");
}

#[test]
fn an_object_that_is_missing_or_doubled_is_found() {
    let job = job(&options(2, 2));
    let kept = |objects: &[u32]| compare(&job, 2, vec![objects.to_vec()]);
    assert!(kept(&[0, 1, 0x1_0001, 0x1_0000]).is_ok());
    assert!(kept(&[0, 1, 0x1_0000]).is_err());
    assert!(kept(&[0, 1, 1, 0x1_0000]).is_err());
}

#[test]
fn a_pdu_that_holds_no_command_is_refused() {
    assert_eq!(pdu_max("16KiB"), Ok(16_384));
    assert!(pdu_max("100").is_err() && pdu_max("1GiB").is_err());
}
