//! Reads one direction of a stream of frames: where each frame begins and ends, and the fields of its head.
//!
//! A frame is 0BH, a text, 1CH 0DH (HL7's Implementation Guide, appendix C section C.4.2). The text may be in
//! any encoding, so 1CH alone does not end a frame. If a text contains both bytes in a row, the frame ends
//! there, because no receiver could distinguish them from an end either. No byte of a text is copied.

use memchr::{memchr, memmem};

use super::head::{HeadFields, HeadReader};
use super::is_junk;
use super::start::START;
use crate::hl7::limits::{MLLP_JUNK_MAX, MLLP_OVERSIZE_BYTES};

/// The two bytes that end a frame: FS and CR.
const END: [u8; 2] = [0x1c, b'\r'];

/// Reads one direction, in slices of any size.
pub(super) struct FrameReader {
    place: FramePosition,
    junk_bytes: u64,
    oversize: u64,
    // Whether a frame has begun on this stream.
    has_begun: bool,
    // Whether a new frame began after FS, in place of CR.
    lacks_cr: bool,
}

#[derive(Clone, Copy)]
enum FramePosition {
    /// Outside of frames, after this number of junk bytes in a row.
    Between(u64),
    /// In a frame's text.
    Within(FrameText),
}

#[derive(Clone, Copy)]
struct FrameText {
    head: HeadReader,
    bytes: u64,
    // Whether the last byte was the first of an end; it is not yet counted as text.
    may_end: bool,
}

/// A complete frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The fields of its head.
    pub(super) fields: HeadFields,
    /// The number of bytes of its text.
    pub(super) bytes: u64,
}

/// Bytes outside of frames that are not MLLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// A byte that is not junk.
    Byte,
    /// More junk than `MLLP_JUNK_MAX`.
    Junk,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self {
            place: FramePosition::Between(0),
            junk_bytes: 0,
            oversize: 0,
            has_begun: false,
            lacks_cr: false,
        }
    }

    /// The number of junk bytes until now.
    pub(super) fn junk_bytes(&self) -> u64 {
        self.junk_bytes
    }

    /// The number of frames until now whose text is longer than any message should be.
    pub(super) fn oversize(&self) -> u64 {
        self.oversize
    }

    /// Whether the reader is inside a frame.
    pub(super) fn is_within(&self) -> bool {
        matches!(self.place, FramePosition::Within(_))
    }

    /// Whether any frame has begun until now.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether a frame ended with FS without the required CR: another frame began there, or nothing has come
    /// since.
    pub(super) fn lacks_cr(&self) -> bool {
        let waits = matches!(self.place, FramePosition::Within(text) if text.may_end);
        self.lacks_cr || waits
    }

    /// Reads to the end of the next frame, or all bytes if no frame ends, and removes the bytes that it read
    /// from `bytes`.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Stray> {
        if let FramePosition::Between(run) = self.place {
            self.between(run, bytes)?;
        }
        let FramePosition::Within(text) = &mut self.place else {
            return Ok(None);
        };
        let was_oversize = text.is_oversize();
        // A search for the first byte of an end is four times as fast as a search for both.
        let first = memchr(END[0], bytes);
        self.lacks_cr = self.lacks_cr || text.begins_another(bytes, first);
        let has_ended = text.read(bytes, first);
        self.oversize += u64::from(text.is_oversize() && !was_oversize);
        let frame = has_ended.then(|| text.finish());
        if has_ended {
            self.place = FramePosition::Between(0);
        }
        Ok(frame)
    }

    // Reads to the beginning of a frame.
    fn between(&mut self, run: u64, bytes: &mut &[u8]) -> Result<(), Stray> {
        let junk = bytes.iter().position(|byte| !is_junk(*byte));
        let junk = take(bytes, junk.unwrap_or(bytes.len())).len() as u64;
        // LIMIT: MLLP_JUNK_MAX; reported as `Stray::Junk`, because such a stream contains no message.
        let counted = junk.min(MLLP_JUNK_MAX.saturating_sub(run));
        self.junk_bytes = self.junk_bytes.saturating_add(counted);
        if counted < junk {
            return Err(Stray::Junk);
        }
        self.place = match take(bytes, 1) {
            [] => FramePosition::Between(run.saturating_add(counted)),
            [START] => {
                self.has_begun = true;
                FramePosition::Within(FrameText::new())
            }
            _ => return Err(Stray::Byte),
        };
        Ok(())
    }
}

impl FrameText {
    fn new() -> Self {
        Self {
            head: HeadReader::new(),
            bytes: 0,
            may_end: false,
        }
    }

    // Whether another frame begins where this one should end: after FS, in place of CR. `first` is the
    // position of the first FS in `bytes`, which usually is the FS of the end.
    fn begins_another(&self, bytes: &[u8], first: Option<usize>) -> bool {
        if self.may_end && bytes.first() == Some(&START) {
            return true;
        }
        let Some(behind) = first.and_then(|first| bytes.get(first..)) else {
            return false;
        };
        if behind.get(1) == Some(&END[1]) {
            return false;
        }
        let end = memmem::find(behind, &END).unwrap_or(behind.len());
        let text = behind.get(..end).unwrap_or_default();
        memmem::find(text, &[END[0], START]).is_some()
    }

    // Whether the frame has ended; if not, all of `bytes` is read. `first` is the position of the first FS in
    // `bytes`.
    fn read(&mut self, bytes: &mut &[u8], first: Option<usize>) -> bool {
        let Some(next) = bytes.first() else {
            return false;
        };
        if self.may_end && *next == END[1] {
            take(bytes, 1);
            return true;
        }
        if self.may_end {
            self.add(&END[..1]);
        }
        if let Some(at) = find_end(bytes, first) {
            self.add(take(bytes, at));
            take(bytes, END.len());
            return true;
        }
        self.may_end = bytes.last() == END.first();
        let text = bytes.len().saturating_sub(usize::from(self.may_end));
        self.add(take(bytes, text));
        take(bytes, 1);
        false
    }

    fn add(&mut self, text: &[u8]) {
        self.head.read(text);
        self.bytes = self.bytes.saturating_add(text.len() as u64);
    }

    fn is_oversize(&self) -> bool {
        self.bytes > MLLP_OVERSIZE_BYTES
    }

    fn finish(&self) -> Frame {
        Frame {
            fields: self.head.finish(),
            bytes: self.bytes,
        }
    }
}

// The position of the end in `bytes`, whose first FS is at `first`. In text with many FS bytes (UTF-16 has
// pages of such characters), both bytes are searched for.
fn find_end(bytes: &[u8], first: Option<usize>) -> Option<usize> {
    let first = first?;
    let both = memmem::find(bytes.get(first..)?, &END)?;
    first.checked_add(both)
}

// The first `count` bytes, or all bytes if there are fewer.
fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|||||||ADT^A01|1|P|2.3\rPID|1||4711\r\x1c\r";

    fn all(reader: &mut FrameReader, mut bytes: &[u8]) -> Result<Vec<Frame>, Stray> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next(&mut bytes)? {
            frames.push(frame);
        }
        assert!(bytes.is_empty(), "without an error, all bytes are read");
        Ok(frames)
    }

    fn lengths(bytes: &[u8]) -> Vec<u64> {
        let frames = all(&mut FrameReader::new(), bytes).expect("MLLP");
        frames.iter().map(|frame| frame.bytes).collect()
    }

    #[test]
    fn frames_are_found_at_any_position() {
        assert_eq!(lengths(MESSAGE), [MESSAGE.len() as u64 - 3]);
        assert_eq!(lengths(&[MESSAGE, MESSAGE].concat()).len(), 2);
        assert_eq!(lengths(b"\x0b\x1c\r\r\n\0\x0ba\x1c\r\n"), [0, 1]);
        assert_eq!(lengths(b""), [0; 0]);
    }

    #[test]
    fn one_byte_of_an_end_does_not_end_the_frame() {
        assert_eq!(lengths(b"\x0ba\x1cb\rc\x1c\x1c\r"), [6]);
        assert_eq!(lengths(b"\x0b\x1c\x1c\x1c\r"), [2]);
        assert_eq!(lengths(b"\x0b\r\x1c\n\x1c\x0b\r\x1c\r"), [6]);
        assert_eq!(lengths(b"\x0ba\x1c\n"), [0; 0]);
    }

    #[test]
    fn any_split_finds_the_same() {
        let stream = [b"\r\n", MESSAGE, b"\r", b"\x0b\x1c\x1c\x1c\r\0", MESSAGE].concat();
        let whole = all(&mut FrameReader::new(), &stream).expect("MLLP");
        assert_eq!(whole.len(), 3);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut reader = FrameReader::new();
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                let frames = pieces
                    .map(|piece| all(&mut reader, piece).expect("MLLP"))
                    .concat();
                assert_eq!(frames, whole, "{first} {second}");
                assert_eq!(reader.junk_bytes(), 4);
                assert!(!reader.is_within());
            }
        }
    }

    #[test]
    fn a_frame_is_incomplete_until_its_last_byte() {
        let mut reader = FrameReader::new();
        for byte in MESSAGE {
            let frames = all(&mut reader, &[*byte]).expect("MLLP");
            assert_eq!(frames.is_empty(), reader.is_within());
        }
    }

    #[test]
    fn text_with_two_bytes_for_each_character_passes() {
        let text = "MSH|^~\\&|\u{1c}\r\u{b}Ünïcödé\u{d0d}\u{1c1c}|\u{1c0b}|\rPID|";
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let text: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            let frame = [b"\x0b", &text[..], b"\x1c\r"].concat();
            assert_eq!(lengths(&frame), [text.len() as u64]);
        }
    }

    #[test]
    fn bytes_outside_of_frames_are_junk_or_wrong() {
        for (stream, wrong) in [
            (&b"x"[..], Stray::Byte),
            (b"\x0ba\x1c\rb\x0bc\x1c\r", Stray::Byte),
            (b"\r\x1c\r", Stray::Byte),
            (&[0; MLLP_JUNK_MAX as usize + 1], Stray::Junk),
        ] {
            for size in [1, 2, 3, 1000, stream.len()] {
                let mut reader = FrameReader::new();
                let mut pieces = stream.chunks(size);
                let found = pieces.find_map(|piece| all(&mut reader, piece).err());
                assert_eq!(found, Some(wrong));
                assert!(reader.junk_bytes() <= MLLP_JUNK_MAX);
            }
        }
        let filled = [&[b'\n'; MLLP_JUNK_MAX as usize][..], MESSAGE].concat();
        assert_eq!(lengths(&[&filled[..], &filled].concat()).len(), 2);
    }

    #[test]
    fn long_frames_are_counted_as_such_and_pass() {
        let text = vec![b'x'; 1 << 20];
        let mut reader = FrameReader::new();
        all(&mut reader, b"\x0b").expect("MLLP");
        let mut bytes = 0;
        while bytes < MLLP_OVERSIZE_BYTES {
            assert_eq!(reader.oversize(), 0, "{bytes}");
            all(&mut reader, &text).expect("MLLP");
            bytes += text.len() as u64;
        }
        assert_eq!(reader.oversize(), 0, "the longest allowed frame");
        let frames = all(&mut reader, b"xx\x1c\r").expect("MLLP");
        assert_eq!(frames[0].bytes, bytes + 2);
        assert_eq!(reader.oversize(), 1);
    }
}
