//! The test vectors of `docs/src/reference/pairing.md`.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::pairing::exchange::Hello;
use crate::pairing::frame::FrameKind;
use crate::pairing::offer::agreement;

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
            "its second: READY, if both sides sent this OFFER",
            hex(&ready.bytes()),
        ),
        (
            "the first sealed frame of the listening side, if it were DONE",
            hex(&done.bytes()),
        ),
    ] {
        writeln!(text, "# {what}\n{value}").expect("a string");
    }
    text
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
