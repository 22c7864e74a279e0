//! MLLP: conversations at any split, compared with a reading of each direction as a whole.

use gateway::strictness::Strictness;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gateway::hl7::limits::{
    MLLP_HEAD_BYTES_MAX, MLLP_PENDING_MAX, MLLP_START_JUNK_MAX, MLLP_TYPES_MAX,
};
use gateway::hl7::{
    Conversation, ConversationSummary, MllpRole, MllpVerdict, NotMllp, Start, start,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::choices::Choices;

/// The maximum allocation of a conversation of any length: its histogram of 12 KiB, the messages in transit
/// and the types, which both grow by doubling.
const CONVERSATION_MAX: usize = (14 << 10) + 2 * (16 * MLLP_PENDING_MAX + 16 * MLLP_TYPES_MAX);

/// The bytes that one side sends at a time.
struct Saying {
    by: MllpRole,
    bytes: Vec<u8>,
    now: Instant,
}

pub(crate) fn converse(input: &[u8]) -> String {
    let mut choices = Choices::new(input);
    let strictness = choices.pick(&[Strictness::Lenient, Strictness::Strict]);
    let piece = 1 + choices.below(40);
    let sayings = sayings(&mut choices);
    let whole = play(&sayings, strictness, usize::MAX);
    for size in [1, 2, piece] {
        assert_eq!(play(&sayings, strictness, size), whole, "pieces of {size}");
    }
    let (record, verdict) = whole;
    match record.not_followed {
        Some(why) if strictness == Strictness::Strict => assert_eq!(verdict, MllpVerdict::End(why)),
        Some(_) => assert_eq!(verdict, MllpVerdict::Pass),
        None => {
            assert_eq!(verdict, MllpVerdict::Pass);
            assert_counted(&record, &sayings);
        }
    }
    word(&record)
}

fn sayings(choices: &mut Choices<'_>) -> Vec<Saying> {
    let mut now = Instant::now();
    let mut sayings = Vec::new();
    while !choices.are_made() {
        let what = choices.octet();
        let by = match what / 16 % 2 {
            0 => MllpRole::Sender,
            _ => MllpRole::Receiver,
        };
        now += Duration::from_millis(u64::from(what / 32));
        let bytes = bytes(what % 16, choices);
        sayings.push(Saying { by, bytes, now });
    }
    sayings
}

fn bytes(what: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let kinds = [
        "ADT^A01^ADT_A01",
        "ORU^R01",
        "ACK",
        "ACK^^ACK",
        "SMITH^JO",
        "",
        "Z%%^Z01",
    ];
    let codes = ["AA", "AE", "AR", "CA", "CE", "CR", "", "XX", "AAA"];
    let any = |choices: &mut Choices<'_>| {
        let length = choices.below(40);
        choices.take(length).to_vec()
    };
    match what {
        0 => message(choices.pick(&kinds), ""),
        1 => message("ACK^A01", &format!("\rMSA|{}|7", choices.pick(&codes))),
        2 => message("ACK", &format!("\rSFT|x\r\nMSA|{}", choices.pick(&codes))),
        3 => vec![0x0b, choices.pick(&[0x06, 0x15]), 0x1c, b'\r'],
        4 => vec![choices.pick(b"\r\n\0"); 1 + choices.below(20)],
        5 if choices.chance(4) => vec![0; 70_000],
        6 => {
            let count = if choices.chance(4) {
                300
            } else {
                choices.below(5)
            };
            message("ADT^A01", "\rOBX|1\x1c|\x0b\x1c").repeat(count)
        }
        7 => b"\x0b".to_vec(),
        8 => b"\x1c\r".to_vec(),
        9 => b"\x0bMSH|^~\\&|".to_vec(),
        10 => wide(&message(choices.pick(&kinds), "")),
        11 => b"\rMSA|AA".to_vec(),
        12 => [b"\x0b", &any(choices)[..], b"\x1c\r"].concat(),
        _ => any(choices),
    }
}

fn message(kind: &str, more: &str) -> Vec<u8> {
    let text = format!("MSH|^~\\&|A|B|C|D|2026||{kind}|7|P|2.5{more}\rPID|1||SECRET\r");
    [b"\x0b", text.as_bytes(), b"\x1c\r"].concat()
}

// Two bytes per character, in the bytes of a frame.
fn wide(message: &[u8]) -> Vec<u8> {
    let text = &message[1..message.len() - 2];
    let text: Vec<u8> = text.iter().flat_map(|octet| [*octet, 0]).collect();
    [b"\x0b", &text[..], b"\x1c\r"].concat()
}

fn play(
    sayings: &[Saying],
    strictness: Strictness,
    piece: usize,
) -> (ConversationSummary, MllpVerdict) {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let mut conversation = Conversation::new(strictness);
    let (mut verdict, mut now) = (MllpVerdict::Pass, Instant::now());
    for saying in sayings {
        now = saying.now;
        for piece in saying.bytes.chunks(piece) {
            // An empty piece is a piece, too.
            for piece in [piece, &[]] {
                verdict = conversation.observe(saying.by, piece, now);
            }
        }
    }
    let mut record = conversation.finish(now);
    let change = region.change();
    let allocated = change.bytes_allocated;
    assert!(allocated <= CONVERSATION_MAX, "{allocated} bytes");
    let shown = format!("{record:?}");
    assert!(!shown.contains("SECRET"), "{shown}");
    // Another protocol is named if its beginning comes in one piece.
    record.not_followed = record.not_followed.map(unnamed);
    if let MllpVerdict::End(why) = verdict {
        verdict = MllpVerdict::End(unnamed(why));
    }
    (record, verdict)
}

fn unnamed(why: NotMllp) -> NotMllp {
    match why {
        NotMllp::Foreign(by, _) => NotMllp::OutsideOfFrames(by),
        other => other,
    }
}

/// One direction, read as a whole.
#[derive(Default)]
struct Direction {
    texts: Vec<Vec<u8>>,
    junk: u64,
    is_cut: bool,
}

impl Direction {
    fn read(sayings: &[Saying], by: MllpRole) -> Self {
        let said = sayings.iter().filter(|saying| saying.by == by);
        let all: Vec<u8> = said.flat_map(|saying| saying.bytes.clone()).collect();
        let mut this = Self::default();
        let mut rest = &all[..];
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            if *first != 0x0b {
                assert!(b"\r\n\0".contains(first), "that is not followed");
                this.junk += 1;
                continue;
            }
            match behind.windows(2).position(|pair| pair == b"\x1c\r") {
                Some(end) => {
                    this.texts.push(behind[..end].to_vec());
                    rest = &behind[end + 2..];
                }
                None => {
                    this.is_cut = true;
                    rest = &[];
                }
            }
        }
        this
    }
}

fn assert_counted(record: &ConversationSummary, sayings: &[Saying]) {
    let sender = Direction::read(sayings, MllpRole::Sender);
    let receiver = Direction::read(sayings, MllpRole::Receiver);
    assert_eq!(record.junk_bytes, sender.junk + receiver.junk);
    assert_eq!(record.unanswered.is_cut, sender.is_cut);
    let mut texts = sender.texts.iter().chain(&receiver.texts);
    if texts.any(|text| text.len() > MLLP_HEAD_BYTES_MAX) {
        // This reading does not distinguish the head from the bytes after it.
        return;
    }
    let is_message = |text: &&Vec<u8>| !code(text).is_some_and(|code| is_commit(&code));
    let messages: Vec<_> = sender.texts.iter().filter(is_message).collect();
    assert_eq!(record.messages.total(), count(messages.len()));
    let octets = messages.iter().map(|text| text.len()).sum();
    assert_eq!(record.message_bytes, count(octets));
    let octets = receiver.texts.iter().map(Vec::len).sum();
    assert_eq!(record.acknowledgement_bytes, count(octets));
    assert_types(record, &messages);
    assert_codes(record, &receiver.texts);
    let known = record.latencies.count() + record.unanswered.messages;
    let total = record.messages.total();
    assert!(known <= total && total <= known + record.untimed);
}

fn assert_types(record: &ConversationSummary, messages: &[&Vec<u8>]) {
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    for kind in messages.iter().filter_map(|text| kind(text)) {
        *types.entry(kind).or_default() += 1;
    }
    let found = record.messages.each();
    let found: BTreeMap<_, _> = found.map(|(kind, n)| (kind.to_string(), n)).collect();
    assert!(
        types.len() > MLLP_TYPES_MAX || found == types,
        "{found:?} {types:?}"
    );
}

fn assert_codes(record: &ConversationSummary, texts: &[Vec<u8>]) {
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        *codes.entry(code(text).unwrap_or_default()).or_default() += 1;
    }
    let said = &record.acknowledgements;
    for (code, count) in said.each() {
        assert_eq!(
            count,
            codes.remove(code.name()).unwrap_or_default(),
            "{code}"
        );
    }
    assert_eq!(said.other(), codes.remove("").unwrap_or_default());
    assert!(codes.is_empty(), "{codes:?}");
}

fn is_commit(code: &str) -> bool {
    code.starts_with('C') || code == "ACK" || code == "NAK"
}

// Segments without those that may stand before the first.
fn segments(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split(|octet| matches!(octet, b'\r' | b'\n'));
    let (mut segments, mut is_first) = (Vec::new(), true);
    for line in lines {
        let marks = line
            .iter()
            .take_while(|octet| is_first && b"\xef\xbb\xbf".contains(octet));
        let line = &line[marks.count()..];
        is_first &= line.is_empty();
        if !line.is_empty() {
            segments.push(line);
        }
    }
    segments
}

// The separator and the fields of MSH from the second on.
fn header(text: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let header = segments(text).first()?.strip_prefix(b"MSH")?;
    let (separator, rest) = header.split_first()?;
    let is_one = *separator != 0 && !separator.is_ascii_alphanumeric();
    let fields = rest.split(|octet| octet == separator).collect();
    is_one.then_some((*separator, fields))
}

fn kind(text: &[u8]) -> Option<String> {
    let (_, fields) = header(text)?;
    let component = fields.first()?.first().unwrap_or(&b'^');
    let mut parts = fields.get(7)?.split(|octet| octet == component);
    let code = std::str::from_utf8(parts.next()?).ok()?;
    let event = std::str::from_utf8(parts.next().unwrap_or_default()).ok()?;
    let is_word = |word: &str| {
        let mut chars = word.chars();
        word.len() == 3 && chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    if !is_word(code) || code.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match event {
        "" => Some(code.to_owned()),
        event => is_word(event).then(|| format!("{code}^{event}")),
    }
}

fn code(text: &[u8]) -> Option<String> {
    match segments(text)[..] {
        [[0x06]] if text.ends_with(b"\x06") => return Some("ACK".to_owned()),
        [[0x15]] if text.ends_with(b"\x15") => return Some("NAK".to_owned()),
        _ => {}
    }
    let (separator, _) = header(text)?;
    let is_passed = |segment: &&&[u8]| segment.starts_with(b"SFT") || segment.starts_with(b"UAC");
    let segments = segments(text);
    let answer = segments
        .iter()
        .skip(1)
        .find(|segment| !is_passed(segment))?;
    let rest = answer.strip_prefix(b"MSA")?.strip_prefix(&[separator])?;
    let code = rest.split(|octet| *octet == separator).next()?;
    let known = ["AA", "AE", "AR", "CA", "CE", "CR"];
    let code = known.iter().find(|known| known.as_bytes() == code)?;
    Some((*code).to_owned())
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("it fits")
}

// The new properties of a conversation.
fn word(record: &ConversationSummary) -> String {
    let is = |count: u64| count.min(1);
    let codes = record.acknowledgements.each();
    let codes = codes.filter(|(_, count)| *count > 0).count().min(3);
    let types = record.messages.each().count().min(3);
    let others = [record.messages.other(), record.acknowledgements.other()].map(is);
    let left = record.unanswered.messages.min(2);
    let rest = [record.unasked, record.untimed, record.junk_bytes].map(is);
    let (cut, why) = (record.unanswered.is_cut, record.not_followed);
    format!("{types} {codes} {others:?} {left} {rest:?} {cut} {why:?}")
}

/// The verdict on a beginning does not change with later bytes, and the reader of the stream agrees.
pub(crate) fn begin(input: &[u8]) -> String {
    let verdicts = (0..=input.len()).map(|to| start(&input[..to]));
    let verdicts: Vec<_> = verdicts.collect();
    let decided = verdicts.iter().position(|verdict| *verdict != Start::More);
    let Some(at) = decided else {
        assert!(input.len() <= MLLP_START_JUNK_MAX);
        return "more".to_owned();
    };
    assert!(
        verdicts[at..]
            .iter()
            .all(|verdict| *verdict == verdicts[at])
    );
    let mut conversation = Conversation::new(Strictness::Strict);
    let verdict = conversation.observe(MllpRole::Sender, &input[..at], Instant::now());
    // Between frames, more junk is borne.
    let is_junk = at > MLLP_START_JUNK_MAX && b"\r\n\0".contains(&input[at - 1]);
    let passes = verdicts[at] == Start::Legal || is_junk;
    assert_eq!(verdict == MllpVerdict::Pass, passes);
    format!("{:?} {at} {is_junk}", verdicts[at])
}
