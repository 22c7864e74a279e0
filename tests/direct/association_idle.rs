//! `association_idle`: an association that nobody uses is aborted, and one with a request outstanding is not.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wardgate_tests::DEADLINE;
use wardgate_tests::stream::{accept, connect};

use crate::archive::{ABORTED, associate};
use crate::pair::Pair;

const LIMIT: Duration = Duration::from_secs(1);

/// A message: a command set in one PDU, and a data set in another.
fn message(command: &[(u16, &[u8])], data: Option<&[u8]>) -> Vec<u8> {
    let mut set = Vec::new();
    for (element, value) in command {
        let length = u32::try_from(value.len()).expect("it is short");
        set.extend([0, 0]);
        set.extend(element.to_le_bytes());
        set.extend(length.to_le_bytes());
        set.extend_from_slice(value);
    }
    let mut bytes = pdu(3, &set);
    bytes.extend(data.map(|data| pdu(2, data)).unwrap_or_default());
    bytes
}

fn pdu(control: u8, fragment: &[u8]) -> Vec<u8> {
    let length = u32::try_from(fragment.len()).expect("it is short");
    let (of_value, of_pdu) = ((length + 2).to_be_bytes(), (length + 6).to_be_bytes());
    [&[4, 0][..], &of_pdu, &of_value, &[1, control], fragment].concat()
}

fn move_request() -> Vec<u8> {
    let command: [(u16, &[u8]); 3] = [(0x100, &[0x21, 0]), (0x110, &[1, 0]), (0x800, &[0, 0])];
    message(&command, Some(&[8; 40]))
}

fn move_response(status: u16) -> Vec<u8> {
    let status = status.to_le_bytes();
    let command: [(u16, &[u8]); 4] = [
        (0x100, &[0x21, 0x80]),
        (0x120, &[1, 0]),
        (0x800, &[1, 1]),
        (0x900, &status),
    ];
    message(&command, None)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).expect("connected");
    let mut heard = vec![0; bytes.len()];
    to.read_exact(&mut heard).expect("it arrives");
    assert_eq!(heard, bytes);
}

fn stays_silent(stream: &mut TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).expect("not zero");
    let error = stream.read(&mut [0]).expect_err("nothing comes");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
}

/// Goal: silence while a C-MOVE is pending ends nothing; after its final response the same silence ends the
/// association with an A-ABORT at both applications, whichever of the two gateways has the limit.
#[test]
fn an_idle_association_is_aborted_at_both_ends_and_a_pending_move_is_not() {
    for at_a in [true, false] {
        let limited = |site: wardgate_tests::Site| {
            site.route_timeout("association_idle", format!("\"{}s\"", LIMIT.as_secs()))
        };
        let pair = match at_a {
            true => Pair::each("dicom", limited, |site| site),
            false => Pair::each("dicom", |site| site, limited),
        };
        let mut client = connect(pair.entry);
        let request = associate(1, 0);
        client.write_all(&request).expect("connected");
        let mut archive = accept(&pair.exit);
        let mut heard = vec![0; request.len()];
        archive.read_exact(&mut heard).expect("the request comes");
        pass(&mut archive, &mut client, &associate(2, 0));

        pass(&mut client, &mut archive, &move_request());
        stays_silent(&mut client, 2 * LIMIT + LIMIT / 2);
        pass(&mut archive, &mut client, &move_response(0xff00));
        stays_silent(&mut client, 2 * LIMIT + LIMIT / 2);
        let begun = Instant::now();
        pass(&mut archive, &mut client, &move_response(0));

        for stream in [&mut client, &mut archive] {
            let mut last = Vec::new();
            stream.read_to_end(&mut last).expect("a clean end");
            assert_eq!(last, ABORTED);
        }
        assert!(begun.elapsed() >= LIMIT * 9 / 10, "{:?}", begun.elapsed());
        drop((client, archive));
        let (ends, other) = match at_a {
            true => (&pair.a, &pair.b),
            false => (&pair.b, &pair.a),
        };
        let line = ends.wait_for_connection_line("its end", DEADLINE, |_| true);
        assert!(line.text("reason").contains("timeouts.association_idle"));
        assert_eq!(ends.metric("wardgate_deadlines_passed_total"), 1.0);
        let association = ends.wait_for_line("the association", DEADLINE, |line| {
            line.message() == "association"
        });
        assert_eq!(association.text("ended"), "aborted");
        other.wait_for_connection_line("a clean end", DEADLINE, |line| {
            line.text("reason") == "complete"
        });
    }
}
