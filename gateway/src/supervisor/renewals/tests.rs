//! Which updates of a peer are stored.

use rcgen::SigningKey as _;

use super::*;
use crate::pki::fixture::{Ca, now};

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
    // What whoever has only the key of the certificate can send.
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
    // A file that is there already, from before an update of this program, is in nobody's way either.
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
