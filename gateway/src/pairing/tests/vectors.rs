//! The test vectors of `docs/src/reference/pairing.md`.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::pairing::exchange::{Hello, plain_reject};
use crate::pairing::frame::FrameKind;
use crate::pairing::offer::agreement;
use crate::pairing::update::{RenewalMessage, Update};

/// The certificate of the CA that signs the update: P-256, valid from 2026 to 2126.
const CA: &str = "3082014a3081f1a003020102020101300a06082a8648ce3d040302300c310a300806035504030c01413020170d323630\
    3130313030303030305a180f32313236303130313030303030305a300c310a300806035504030c01413059301306072a\
    8648ce3d020106082a8648ce3d03010703420004c9e9467c9208950d2fd7525781a233e1f0e5133bcb98ac07dde3fb02\
    a96d709e3c8d33d6d0cb39b743daeed9c34d9eedb4d8304cb76e7ca492c7fa3a0f1afa7ea3423040300f0603551d1301\
    01ff040530030101ff300e0603551d0f0101ff040403020106301d0603551d0e04160414121e68b86bb5f40eaafa4fcf\
    510e038b59918c6b300a06082a8648ce3d0403020348003045022100c80abbf4def42b110f7811608e4f1683468d5fdf\
    2372ce8d0215384580fa900402207f4a085bc30704e1045454324c5db05f870ad3b7261fad759975f5f3a0c29fb3";
/// A signature by its key over the update. ECDSA signatures are random, so this one was made once, and the key was deleted.
const SIGNATURE: &str = "30450220460181dd331f53460f6ffbb84b43a0727ac984c436467c8a9ebf918ff42077ce022100f461e4ab2356cb761e\
    7e8db4eb54d983056262c315413cb8d73dad91b1e52b69";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("two digits")
    };
    digits.map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 32 == 0 {
            text.push('\n');
        }
        write!(text, "{byte:02x}").expect("a string");
    }
    text
}

/// The vectors as the page has them.
fn vectors() -> String {
    let code = PairingCode::of(CODE);
    // The secret scalars are of these 64 bytes, reduced modulo the order of the group.
    let connects = Hello::with_secret(PairRole::Connects, &code, [0x11; 64]);
    let listens = Hello::with_secret(PairRole::Listens, &code, [0x22; 64]);
    let hellos = [connects.frame().clone(), listens.frame().clone()];
    let [connects, listens] = [
        connects.receive(&hellos[1]).expect("a HELLO"),
        listens.receive(&hellos[0]).expect("a HELLO"),
    ];
    let proofs = [connects.proof(), listens.proof()];
    let mut connects = connects.check(&proofs[1]).expect("the same code");
    let mut listens = listens.check(&proofs[0]).expect("the same code");
    let offer = Offer {
        site: "hospital-a".to_owned(),
        identity: "dns:gw.a.example".to_owned(),
        renews: true,
        chain: vec![b"leaf".to_vec().into()],
        authorities: vec![b"ca".to_vec().into()],
    };
    let bytes = offer.bytes();
    let transcript = *connects.transcript();
    let sealed = connects
        .seal(FrameKind::Offer, &bytes)
        .expect("it is short");
    assert_eq!(
        listens
            .open(FrameKind::Offer, sealed.clone())
            .expect("it is whole"),
        bytes
    );
    let agreed = agreement(&transcript, &bytes, &bytes);
    let ready = connects
        .seal(FrameKind::Ready, &agreed)
        .expect("it is short");
    let done = listens.seal(FrameKind::Done, &[]).expect("it is short");
    let plain_reject = plain_reject(RejectCode::WrongCode);
    let reject = listens
        .reject(RejectCode::Aborted, "the disk is full")
        .expect("it is short");
    let mut text = String::new();
    for (what, value) in [
        ("code", code.words().to_string()),
        ("code as bytes", hex(&CODE)),
        ("HELLO of the connecting side", hex(&hellos[0].bytes())),
        ("HELLO of the listening side", hex(&hellos[1].bytes())),
        ("SHA-256 of both HELLO frames", hex(&transcript)),
        ("PROOF of the connecting side", hex(&proofs[0].bytes())),
        ("PROOF of the listening side", hex(&proofs[1].bytes())),
        ("an offer, before it is sealed", hex(&bytes)),
        (
            "the first sealed frame of the connecting side: this OFFER",
            hex(&sealed.bytes()),
        ),
        (
            "the value in READY, if both sides sent this OFFER",
            hex(&agreed),
        ),
        (
            "its second: READY, if both sides sent this OFFER",
            hex(&ready.bytes()),
        ),
        (
            "the first sealed frame of the listening side, if it were DONE",
            hex(&done.bytes()),
        ),
        (
            "its second, if it were REJECT with the reason 7 and the text `the disk is full`",
            hex(&reject.bytes()),
        ),
        (
            "REJECT with the reason 3 before the proofs",
            hex(&plain_reject.bytes()),
        ),
    ]
    .into_iter()
    .chain(renewal_vectors())
    {
        writeln!(text, "# {what}\n{value}").expect("a string");
    }
    text
}

/// An update that a CA has signed for its own certificate, and the messages of a renewal connection.
fn renewal_vectors() -> [(&'static str, String); 5] {
    let (identity, sequence) = ("dns:gw.a.example", 1_780_000_000);
    let ca = rustls::pki_types::CertificateDer::from(bytes_of(CA));
    let authorities = [ca.clone()];
    let part = Update::signed_part(sequence, identity, &authorities, &ca);
    let part = part.expect("the certificate can be read");
    let update = Update::complete(&part, &bytes_of(SIGNATURE));
    let read = Update::read(&update).expect("it is whole");
    assert_eq!(
        read.check(&update, &[identity.to_owned()], &authorities, 0, now()),
        Ok(())
    );
    let empty = RenewalMessage {
        in_use: 0,
        update: Vec::new(),
    };
    let message = RenewalMessage {
        in_use: sequence,
        update: update.clone(),
    };
    [
        ("the certificate of a CA", hex(&ca)),
        (
            "what its key signs, for an update with only this certificate",
            hex(&Update::to_sign(&part)),
        ),
        ("this update", hex(&update)),
        (
            "the message of a gateway that uses update 1780000000 and sends this one",
            hex(&message.bytes()),
        ),
        (
            "the message of a gateway that uses no update and has none",
            hex(&empty.bytes()),
        ),
    ]
}

#[test]
fn the_page_has_the_test_vectors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference/pairing.md");
    let page = std::fs::read_to_string(&path).expect("the page exists");
    let (begin, end) = ("<!-- vectors -->\n```text\n", "```\n<!-- end -->\n");
    let (before, rest) = page
        .split_once(begin)
        .expect("the page has a place for them");
    let (written, after) = rest.split_once(end).expect("the place ends");
    let vectors = vectors();
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        let page = [before, begin, &vectors, end, after].concat();
        std::fs::write(&path, page).expect("it can be written");
        return;
    }
    assert_eq!(written, vectors, "WARDGATE_BLESS=1 writes the page");
}

#[test]
fn the_page_has_the_words_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference/pairing.md");
    let page = std::fs::read_to_string(&path).expect("the page exists");
    let (begin, end) = ("<!-- words -->\n```text\n", "```\n<!-- end of words -->\n");
    let (before, rest) = page
        .split_once(begin)
        .expect("the page has a place for them");
    let (written, after) = rest.split_once(end).expect("the place ends");
    let lines = crate::pairing::code::WORDS.chunks(8).enumerate();
    let lines = lines.map(|(row, words)| format!("{:02x}: {}\n", row * 8, words.join(" ")));
    let words: String = lines.collect();
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        let page = [before, begin, &words, end, after].concat();
        std::fs::write(&path, page).expect("it can be written");
        return;
    }
    assert_eq!(written, words, "WARDGATE_BLESS=1 writes the page");
}
