//! Which updates of a peer are stored.

use rcgen::SigningKey as _;

use super::*;
use crate::config::LogFormat;
use crate::pki::fixture::{Ca, now};
use crate::thread_sandbox::ThreadSandbox;

const IDENTITY: &str = "dns:gw.clinic.example";

fn message(signer: &Ca, sequence: u64, signature: Option<&[u8]>) -> RenewalMessage {
    let authorities = [signer.certificate.der().clone()];
    let part = Update::signed_part(sequence, IDENTITY, &authorities, signer.certificate.der());
    let part = part.expect("its certificate can be read");
    let signed = signer
        .key
        .sign(&Update::to_sign(&part))
        .expect("it has a key");
    RenewalMessage {
        in_use: 0,
        update: Update::complete(&part, signature.unwrap_or(&signed)),
    }
}

fn sender(trusted: &Ca) -> Sender<'static> {
    Sender {
        name: "clinic",
        identity: IDENTITY.to_owned(),
        trusted: vec![trusted.certificate.der().clone()],
    }
}

fn seconds() -> u64 {
    now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is later")
        .as_secs()
}

#[test]
fn the_key_of_a_leaf_alone_does_not_stand_in_the_way_of_later_updates() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = StateFolder::new(dir.path());
    let (ca, other) = (Ca::new("Clinic"), Ca::new("Clinic"));
    let peer = sender(&ca);
    // What a sender with only the key of the certificate can send.
    for (bad, why) in [
        (
            message(&ca, u64::MAX, Some(b"garbage")),
            "made in the future",
        ),
        (message(&ca, seconds(), Some(b"garbage")), "not signed"),
        (message(&other, seconds(), None), "not signed"),
        (message(&ca, u64::MAX, None), "made in the future"),
    ] {
        let refused = store(&folder, &peer, &bad, now()).expect_err(why);
        assert!(refused.contains(why), "{refused}");
        assert_eq!(folder.received("clinic"), None);
    }
    // A file that is there already, from before an update of this program, does not prevent one either.
    let bad = message(&ca, u64::MAX, Some(b"garbage")).update;
    folder.store("clinic", &bad).expect("the folder is ours");
    let good = message(&ca, seconds(), None);
    let text = store(&folder, &peer, &good, now()).expect("it is signed");
    assert!(text.is_some_and(|text| text.contains("new CA certificates")));
    assert_eq!(folder.received("clinic").as_ref(), Some(&good.update));
    assert_eq!(store(&folder, &peer, &good, now()), Ok(None));
    // Still only forward.
    let older = message(&ca, seconds() - 1, None);
    let refused = store(&folder, &peer, &older, now()).expect_err("it is older");
    assert!(refused.contains("is older"), "{refused}");
}

#[test]
fn messages_that_no_ca_has_signed_do_not_delay_an_update() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = StateFolder::new(dir.path());
    let ca = Ca::new("Clinic");
    let peer = sender(&ca);
    let (journal, _writer) =
        Journal::start(LogFormat::Text, &ThreadSandbox::none()).expect("a thread");
    let mut writer = StateWriter::default();
    let now = Instant::now();
    let mut take =
        |message: RenewalMessage| writer.take(&folder, &journal, &peer, &message.bytes(), now);
    let empty = RenewalMessage {
        in_use: 0,
        update: Vec::new(),
    };
    assert_eq!(take(empty), Some(vec![TAKEN]));
    for _ in 0..3 {
        let forged = message(&ca, seconds(), Some(b"garbage"));
        assert_eq!(take(forged), Some(vec![REFUSED]));
    }
    let good = message(&ca, seconds(), None);
    assert_eq!(take(good.clone()), Some(vec![TAKEN]));
    assert_eq!(folder.received("clinic").as_ref(), Some(&good.update));
    // A stored one has a limit: each is a file written.
    assert_eq!(take(message(&ca, seconds() + 1, None)), None);
}
