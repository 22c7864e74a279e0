//! Two sides that pair over a connection of the test, and what may happen on the way.

mod attacks;
mod interruptions;
mod offers;
mod updates;
mod vectors;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{KeyPair, SanType};

use super::code::PairingCode;
use super::conversation::{Interrupted, OfferHandler, WrittenPart, WrittenState, exchange, prove};
use super::error::{PairingError, RejectCode};
use super::exchange::{PairRole, PairingChannel};
use super::offer::Offer;
use super::tries::Tries;
use crate::pki::fixture::{Ca, Site, now};

const CODE: [u8; 4] = [1, 2, 3, 4];

/// The offer of a site with a CA of its own.
fn offer_of(site: &str) -> Offer {
    let ca = Ca::new(&format!("{site} CA"));
    offer_from(site, &ca, |_| {})
}

fn offer_from(site: &str, ca: &Ca, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Offer {
    let dns = format!("gw.{site}.example");
    let mut params = Site::leaf_params();
    params.subject_alt_names = vec![SanType::DnsName(dns.as_str().try_into().expect("a name"))];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &ca.issuer()).expect("signed");
    Offer {
        site: site.to_owned(),
        identity: format!("dns:{dns}"),
        renews: true,
        chain: vec![leaf.der().clone()],
        authorities: vec![ca.certificate.der().clone()],
    }
}

/// Counts what a side did.
#[derive(Default)]
struct Counted {
    prepared: bool,
    committed: bool,
}

impl OfferHandler for Counted {
    fn prepare(&mut self, offer: &Offer) -> Result<(), PairingError> {
        offer.check(&[], now()).map_err(PairingError::Offer)?;
        self.prepared = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), PairingError> {
        self.committed = true;
        Ok(())
    }
}

/// How a side ended.
struct Outcome {
    done: Counted,
    tries: u32,
    result: Result<Offer, (WrittenState, PairingError)>,
}

impl Outcome {
    fn error(&self) -> &PairingError {
        match &self.result {
            Ok(_) => panic!("it succeeded"),
            Err((_, error)) => error,
        }
    }
}

/// Runs one side to its end.
fn side(stream: UnixStream, role: PairRole, code: [u8; 4], offer: &Offer) -> Outcome {
    side_over(stream, role, code, offer)
}

fn side_over<S: Read + Write>(
    mut stream: S,
    role: PairRole,
    code: [u8; 4],
    offer: &Offer,
) -> Outcome {
    let mut done = Counted::default();
    let mut tries = Tries::new(Instant::now());
    let mut check = |is_right: &mut dyn FnMut() -> bool| tries.attempt(Instant::now(), is_right);
    let proved = prove(&mut stream, role, &PairingCode::of(code), &mut check);
    let result = proved
        .map_err(|error| (WrittenState::NOTHING, error))
        .and_then(|mut channel: PairingChannel| {
            exchange(&mut stream, &mut channel, offer, &mut done)
                .map_err(|Interrupted { error, written }| (written, error))
        });
    Outcome {
        done,
        tries: tries.left(),
        result,
    }
}

fn sockets() -> (UnixStream, UnixStream) {
    let pair = UnixStream::pair().expect("a pair of sockets");
    for stream in [&pair.0, &pair.1] {
        let limit = Some(Duration::from_secs(2));
        stream.set_read_timeout(limit).expect("a timeout");
    }
    pair
}

/// Both sides, with `middle` between them: it gets the ends at which the connecting and the listening side are.
fn both(
    codes: [[u8; 4]; 2],
    roles: [PairRole; 2],
    middle: impl FnOnce(UnixStream, UnixStream) + Send,
) -> [Outcome; 2] {
    let ((one, to_one), (two, to_two)) = (sockets(), sockets());
    thread::scope(|scope| {
        let hospital = scope.spawn(move || side(one, roles[0], codes[0], &offer_of("hospital")));
        let region = scope.spawn(move || side(two, roles[1], codes[1], &offer_of("region")));
        middle(to_one, to_two);
        [hospital, region].map(|side| side.join().expect("no panic"))
    })
}

/// Both sides with these offers and the same code, and `middle` between them.
fn between(
    offers: &[Offer; 2],
    middle: impl FnOnce(UnixStream, UnixStream) + Send,
) -> [Outcome; 2] {
    let ((one, to_one), (two, to_two)) = (sockets(), sockets());
    thread::scope(|scope| {
        let hospital = scope.spawn(move || side(one, ROLES[0], CODE, &offers[0]));
        let region = scope.spawn(move || side(two, ROLES[1], CODE, &offers[1]));
        middle(to_one, to_two);
        [hospital, region].map(|side| side.join().expect("no panic"))
    })
}

const ROLES: [PairRole; 2] = [PairRole::Connects, PairRole::Listens];

/// A middle that carries frames and may change or stop them: `act` gets the number of a frame in its direction, whether
/// it is from the connecting side, and the bytes. `None` cuts the connection.
fn relay(
    one: UnixStream,
    two: UnixStream,
    act: impl Fn(usize, bool, Vec<u8>) -> Option<Vec<u8>> + Sync,
) {
    let carry = |mut from: UnixStream, mut to: UnixStream, is_connecting: bool| {
        for number in 0.. {
            let Some(frame) = raw_frame(&mut from) else {
                break;
            };
            let Some(frame) = act(number, is_connecting, frame) else {
                break;
            };
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = from.shutdown(std::net::Shutdown::Both);
        let _ = to.shutdown(std::net::Shutdown::Both);
    };
    let (from_one, from_two) = (
        one.try_clone().expect("a copy"),
        two.try_clone().expect("a copy"),
    );
    thread::scope(|scope| {
        let carry = &carry;
        scope.spawn(move || carry(from_one, two, true));
        scope.spawn(move || carry(from_two, one, false));
    });
}

fn raw_frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut frame = vec![0; 3];
    from.read_exact(&mut frame).ok()?;
    let length = usize::from(u16::from_be_bytes([frame[1], frame[2]]));
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    frame.extend(body);
    Some(frame)
}

#[test]
fn two_sides_with_the_same_code_exchange_their_certificates() {
    let [hospital, region] = both([CODE; 2], ROLES, |one, two| {
        relay(one, two, |_, _, frame| Some(frame));
    });
    assert!(hospital.done.committed && region.done.committed);
    assert_eq!(hospital.result.expect("it is paired").site, "region");
    assert_eq!(region.result.expect("it is paired").site, "hospital");
}

#[test]
fn a_wrong_code_uses_up_one_try_and_nothing_is_sent() {
    let [hospital, region] = both([[9; 4], CODE], ROLES, |one, two| {
        relay(one, two, |_, _, frame| Some(frame));
    });
    assert!(matches!(region.error(), PairingError::WrongCode));
    let wrong = RejectCode::WrongCode;
    assert!(matches!(hospital.error(), PairingError::Rejected { code, .. } if *code == wrong));
    assert_eq!(region.tries, 2);
    assert!(!hospital.done.prepared && !region.done.prepared);
}

#[test]
fn two_sides_with_the_same_role_both_report_it() {
    let [one, two] = both([CODE; 2], [PairRole::Connects; 2], |one, two| {
        relay(one, two, |_, _, frame| Some(frame));
    });
    for outcome in [one, two] {
        let error = outcome.error();
        let role = RejectCode::Role;
        let is_role = matches!(error, PairingError::SameRole)
            || matches!(error, PairingError::Rejected { code, .. } if *code == role);
        assert!(is_role, "{error}");
        assert!(error.to_string().contains("--listen"), "{error}");
    }
}

/// What a side reads and writes, without another side.
struct Script<'s> {
    incoming: &'s [u8],
    sent: Vec<u8>,
}

impl Read for Script<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(room)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listening side to which these bytes are sent.
fn listening(incoming: &[u8]) -> (Outcome, Vec<u8>) {
    let mut script = Script {
        incoming,
        sent: Vec::new(),
    };
    let outcome = side_over(&mut script, PairRole::Listens, CODE, &offer_of("region"));
    (outcome, script.sent)
}
