//! The updates by which an old CA vouches for the next.

use std::time::SystemTime;

use rcgen::{SigningKey as _, date_time_ymd};

use super::*;
use crate::pairing::state::StateFolder;
use crate::pairing::update::{RenewalMessage, Update, UpdateError};

const IDENTITY: &str = "dns:gw.hospital.example";
const KNOWN: u64 = 1_700_000_000;

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is later")
        .as_secs()
}

/// An update that `signer` has signed.
fn update(signer: &Ca, authorities: &[&Ca], sequence: u64, identity: &str) -> Vec<u8> {
    let authorities: Vec<_> = authorities
        .iter()
        .map(|ca| ca.certificate.der().clone())
        .collect();
    let part = Update::signed_part(sequence, identity, &authorities, signer.certificate.der());
    let part = part.expect("its certificate can be read");
    let signature = signer
        .key
        .sign(&Update::to_sign(&part))
        .expect("it has a key");
    Update::complete(&part, &signature)
}

/// The check of a site that trusts `old`.
fn check(bytes: &[u8], old: &Ca, known: u64) -> Result<(), UpdateError> {
    let trusted = [old.certificate.der().clone()];
    Update::read(bytes)?.check(bytes, &[IDENTITY.to_owned()], &trusted, known, now())
}

#[test]
fn only_the_key_of_a_trusted_ca_vouches_for_a_new_one() {
    let (old, next, other) = (
        Ca::new("Hospital"),
        Ca::new("Hospital"),
        Ca::new("Hospital"),
    );
    let sequence = seconds(now());
    let good = update(&old, &[&old, &next], sequence, IDENTITY);
    assert_eq!(check(&good, &old, KNOWN), Ok(()));
    // Another CA of the same name, the new CA itself, and a signature that names the old CA and is not its own.
    let mut forged = update(&other, &[&old, &other], sequence, IDENTITY);
    for bytes in [&forged, &update(&next, &[&old, &next], sequence, IDENTITY)] {
        assert_eq!(check(bytes, &old, KNOWN), Err(UpdateError::Unsigned));
    }
    let place = |bytes: &[u8], ca: &Ca| {
        let key = crate::pki::partner::key_sha256(ca.certificate.der()).expect("a key");
        memchr::memmem::find(bytes, &key).expect("it names its signer")
    };
    let named = crate::pki::partner::key_sha256(old.certificate.der()).expect("a key");
    let at = place(&forged, &other);
    forged[at..at + 32].copy_from_slice(&named);
    assert_eq!(check(&forged, &old, KNOWN), Err(UpdateError::Unsigned));
    // No byte can be changed.
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(check(&changed, &old, KNOWN).is_err(), "byte {at}");
    }
}

#[test]
fn an_update_never_goes_back_and_is_of_the_peer_that_sends_it() {
    let (old, next) = (Ca::new("Hospital"), Ca::new("Hospital"));
    let sequence = seconds(now());
    let good = update(&old, &[&old, &next], sequence, IDENTITY);
    let older = UpdateError::Older {
        sequence,
        known: sequence,
    };
    assert_eq!(check(&good, &old, sequence), Err(older));
    let of_other = update(&old, &[&next], sequence, "dns:gw.other.example");
    assert!(matches!(
        check(&of_other, &old, KNOWN),
        Err(UpdateError::OtherSite(_))
    ));
    let later = update(&old, &[&next], sequence + 2 * 24 * 60 * 60, IDENTITY);
    assert_eq!(check(&later, &old, KNOWN), Err(UpdateError::Future));
    let expired = Ca::with("Hospital", |params| {
        params.not_after = date_time_ymd(2026, 1, 1);
    });
    let expired = update(&old, &[&expired], sequence, IDENTITY);
    assert!(matches!(
        check(&expired, &old, KNOWN),
        Err(UpdateError::Certificate(_))
    ));
}

#[test]
fn an_update_and_a_message_are_whole_or_nothing() {
    let old = Ca::new("Hospital");
    let bytes = update(&old, &[&old], KNOWN, IDENTITY);
    for length in 0..bytes.len() {
        assert_eq!(Update::read(&bytes[..length]), Err(UpdateError::Unreadable));
    }
    assert!(Update::read(&[&bytes[..], &[0]].concat()).is_err());
    let message = RenewalMessage {
        in_use: 7,
        update: bytes,
    };
    let bytes = message.bytes();
    for length in 0..bytes.len() {
        assert_eq!(RenewalMessage::read(&bytes[..length]), Ok(None));
    }
    assert_eq!(RenewalMessage::read(&bytes), Ok(Some(message)));
    assert!(RenewalMessage::read(&[&bytes[..], &[0]].concat()).is_err());
    // Longer than an update may be, before its bytes have come.
    let long = [&7_u64.to_be_bytes()[..], &[0xff, 0xff]].concat();
    assert!(RenewalMessage::read(&long).is_err());
}

#[test]
fn the_state_folder_follows_no_link_and_reads_no_long_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "key").expect("the folder is ours");
    let path = dir.path().join("state");
    let state = StateFolder::new(&path);
    state.store("region", b"one").expect("the folder is ours");
    assert_eq!(state.received("region").as_deref(), Some(&b"one"[..]));
    std::fs::remove_file(path.join("region.update")).expect("it is there");
    std::os::unix::fs::symlink(&secret, path.join("region.update")).expect("a link");
    assert_eq!(state.received("region"), None);
    state.store("region", b"two").expect("the folder is ours");
    assert_eq!(
        std::fs::read_to_string(&secret).expect("it is there"),
        "key"
    );
    std::fs::write(path.join("region.update"), vec![0; 10 << 10]).expect("the folder is ours");
    assert_eq!(state.received("region"), None);
    state.note_in_use("region", 5).expect("the folder is ours");
    assert_eq!(state.in_use_at("region"), 5);
}
