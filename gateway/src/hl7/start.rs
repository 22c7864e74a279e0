//! Decides whether a stream begins with MLLP.

use super::is_junk;
use crate::hl7::limits::MLLP_START_JUNK_MAX;
use crate::stream_kind::StreamKind;

/// The byte that begins a frame: VT, `<SB>` of HL7's Implementation Guide, appendix C section C.4.2.
pub(super) const START: u8 = 0x0b;

/// The result for the first bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Undecided: no bytes yet, or only junk.
    More,
    /// A frame begins.
    Legal,
    /// The stream is not MLLP.
    Wrong,
}

/// Checks all bytes of a stream so far: the stream must begin with a frame, with at most
/// `MLLP_START_JUNK_MAX` bytes of junk before it.
///
/// The function reads only to the first byte of the frame and does not validate the content of the frame.
#[must_use]
pub fn start(bytes: &[u8]) -> Start {
    let looked_at = bytes.iter().take(MLLP_START_JUNK_MAX + 1);
    match looked_at.copied().find(|byte| !is_junk(*byte)) {
        Some(START) => Start::Legal,
        None if bytes.len() <= MLLP_START_JUNK_MAX => Start::More,
        _ => Start::Wrong,
    }
}

/// The protocol of a stream that is not MLLP, if it is known. Junk that MLLP allows may stand before it.
#[must_use]
pub fn kind_of(bytes: &[u8]) -> Option<StreamKind> {
    let junk = bytes.iter().take_while(|byte| is_junk(**byte)).count();
    let behind = bytes.get(junk..).unwrap_or_default();
    // The PROXY protocol's signature begins with such junk.
    let mut kinds = [bytes, behind].into_iter().filter_map(StreamKind::of);
    kinds.find(|kind| !matches!(kind, StreamKind::Unknown | StreamKind::Mllp))
}

#[cfg(test)]
mod tests {
    use test_peers::openings;

    use super::*;

    #[test]
    fn a_frame_begins_a_stream() {
        assert_eq!(start(b"\x0bMSH|^~\\&|"), Start::Legal);
        assert_eq!(start(b"\x0b"), Start::Legal);
        assert_eq!(start(b"\r\n\0\x0bMSH"), Start::Legal);
    }

    #[test]
    fn bytes_that_decide_nothing_need_more() {
        for bytes in [&b""[..], b"\r", b"\n\0", &[0; MLLP_START_JUNK_MAX]] {
            assert_eq!(start(bytes), Start::More, "{bytes:?}");
        }
    }

    #[test]
    fn other_protocols_are_wrong() {
        for bytes in [
            openings::HTTP,
            b"\r\n\r\nGET / HTTP/1.0\r\n",
            openings::SSH,
            openings::BARE_HL7,
            openings::DICOM,
            openings::TLS_HELLO,
            b" \x0bMSH",
            b"\r\n\x1c\r",
            b"\xff",
        ] {
            assert_eq!(start(bytes), Start::Wrong, "{bytes:?}");
        }
    }

    #[test]
    fn junk_is_bounded() {
        let mut bytes = vec![b'\r'; MLLP_START_JUNK_MAX];
        bytes.push(START);
        assert_eq!(start(&bytes), Start::Legal);
        bytes.insert(0, b'\n');
        assert_eq!(start(&bytes), Start::Wrong);
        assert_eq!(start(&[0; 100_000]), Start::Wrong);
    }

    #[test]
    fn a_verdict_does_not_change_with_later_bytes() {
        for stream in [&b"\r\n\x0bMSH|"[..], b"\0GET", &[0; 20]] {
            let verdicts: Vec<_> = (0..=stream.len()).map(|to| start(&stream[..to])).collect();
            let first = verdicts.iter().position(|verdict| *verdict != Start::More);
            let decided = &verdicts[first.expect("it is decided")..];
            assert!(decided.iter().all(|verdict| *verdict == decided[0]));
        }
    }
}
