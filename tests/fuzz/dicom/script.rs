//! Associations that choices decide, most of them with a legal beginning.

use gateway::dicom::AssociationRole;

use super::made;
use crate::choices::Choices;

/// The bytes that pass, and the side that sends them.
pub(crate) type Script = Vec<(AssociationRole, Vec<u8>)>;

const CLASSES: [&str; 5] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.3.4\0",
    "DOE^JANE",
    "",
];
const FIELDS: [u16; 10] = [
    0x0001, 0x0001, 0x0030, 0x0010, 0x0021, 0x0020, 0x0110, 0x0fff, 0x7777, 0x0150,
];
const STATUSES: [u16; 8] = [0, 0, 0xff00, 0xb000, 0xa700, 0xfe00, 0x0107, 0xc123];
const LENGTHS: [usize; 7] = [0, 1, 2, 11, 300, 3000, 20_000];
const STEPS_MAX: usize = 100;

/// A request and its acceptance.
pub(crate) fn opening() -> Script {
    let contexts = [(1, CLASSES[0]), (3, CLASSES[1]), (5, CLASSES[2])];
    vec![
        (
            AssociationRole::Requestor,
            made::request("CT_1", "PACS", &contexts),
        ),
        (
            AssociationRole::Acceptor,
            made::accept(&[(1, 0), (3, 3), (5, 0)]),
        ),
    ]
}

/// The script for these choices.
pub(crate) fn make(choices: &mut Choices<'_>) -> Script {
    let mut script = match choices.octet() % 8 {
        6 => vec![(
            AssociationRole::Requestor,
            made::request_with_identity("CT_1", "PACS", b"horse"),
        )],
        7 => Script::new(),
        _ => opening(),
    };
    while !choices.are_made() && script.len() < STEPS_MAX {
        let by = choices.pick(&[AssociationRole::Requestor, AssociationRole::Acceptor]);
        let octets = step(choices);
        script.push((by, octets));
        if choices.chance(10) {
            damage(choices, &mut script);
        }
    }
    script
}

/// The same in pieces of at most `length` bytes.
pub(crate) fn cut(script: &Script, length: usize) -> Script {
    let pieces = |(by, octets): &(AssociationRole, Vec<u8>)| {
        let by = *by;
        let pieces: Vec<_> = octets
            .chunks(length)
            .map(|piece| (by, piece.to_vec()))
            .collect();
        pieces
    };
    script.iter().flat_map(pieces).collect()
}

/// The same with consecutive bytes of one side joined.
pub(crate) fn joined(script: &Script) -> Script {
    let mut joined = Script::new();
    for (by, octets) in script {
        match joined.last_mut() {
            Some((last, before)) if last == by => before.extend_from_slice(octets),
            _ => joined.push((*by, octets.clone())),
        }
    }
    joined
}

fn step(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.octet() % 16 {
        0..=3 => request(choices),
        4..=6 => response(choices),
        7 => made::pdu(4, &value(choices)),
        8 => in_parts(choices),
        9 => several(choices),
        10 => made::pdu(5, &[0; 4]),
        11 => made::pdu(6, &[0; 4]),
        12 => made::pdu(choices.pick(&[7, 3, 7, 8]), choices.take(4)),
        13 => match choices.octet() % 9 {
            1 => made::request("MR_9", "OTHER", &[(1, CLASSES[0])]),
            kind => made::pdu(kind, choices.take(9)),
        },
        14 => endless(choices),
        _ => {
            let length = choices.below(30);
            choices.take(length).to_vec()
        }
    }
}

fn command(choices: &mut Choices<'_>) -> Vec<u8> {
    let field = choices.pick(&FIELDS);
    let message = u16::from(choices.octet() % 4);
    let class = made::element(0x0002, choices.pick(&CLASSES).as_bytes());
    let destination = made::element(0x0600, choices.pick(&["WS_1", "WS_2 ", " "]).as_bytes());
    let has_data = !choices.octet().is_multiple_of(4);
    match choices.octet() % 4 {
        0 => made::command(field, message, has_data, &[]),
        1 => made::store(message, choices.pick(&CLASSES), has_data),
        _ => made::command(field, message, has_data, &[class, destination].concat()),
    }
}

fn request(choices: &mut Choices<'_>) -> Vec<u8> {
    let command = command(choices);
    let data = choices.chance(200).then(|| vec![0; choices.pick(&LENGTHS)]);
    made::message(choices.octet(), &command, data.as_deref())
}

fn response(choices: &mut Choices<'_>) -> Vec<u8> {
    let field = choices.pick(&FIELDS) | 0x8000;
    let message = u16::from(choices.octet() % 4);
    let response = made::response(field, message, choices.pick(&STATUSES));
    made::message(1, &response, None)
}

fn value(choices: &mut Choices<'_>) -> Vec<u8> {
    let length = choices.pick(&LENGTHS);
    made::pdv(choices.octet() % 4, choices.octet() % 4, &vec![0; length])
}

// A message whose command set and data set are split over PDUs.
fn in_parts(choices: &mut Choices<'_>) -> Vec<u8> {
    let command = command(choices);
    let (one, two) = command.split_at(choices.below(command.len()));
    let mut values = vec![made::pdv(1, 1, one), made::pdv(1, 3, two)];
    for control in [0, 2] {
        values.push(made::pdv(1, control, &vec![0; choices.pick(&LENGTHS)]));
    }
    let together = 1 + choices.below(4);
    let pdus = values.chunks(together);
    pdus.flat_map(|values| made::pdu(4, &values.concat()))
        .collect()
}

fn several(choices: &mut Choices<'_>) -> Vec<u8> {
    let count = choices.below(5);
    let mut values: Vec<u8> = (0..count).flat_map(|_| value(choices)).collect();
    values.truncate(values.len().saturating_sub(choices.below(2)));
    made::pdu(4, &values)
}

// The beginning of a PDU with a length that no memory could hold.
fn endless(choices: &mut Choices<'_>) -> Vec<u8> {
    let kind = choices.pick(&[4, 4, 1, 2]);
    let length = choices.pick(&[u32::MAX, 1 << 31, 1 << 20, 1 << 16]);
    let value = choices.pick(&[length.wrapping_sub(4), 100, length]);
    let value = [&value.to_be_bytes()[..], &[1, choices.octet() % 4]].concat();
    [&[kind, 0][..], &length.to_be_bytes(), &value].concat()
}

// One byte of the last part is changed, or its end is missing.
fn damage(choices: &mut Choices<'_>, script: &mut Script) {
    let Some((_, octets)) = script.last_mut() else {
        return;
    };
    let at = choices.below(octets.len().max(1));
    let flip = choices.octet();
    match octets.get_mut(at) {
        Some(octet) if flip != 0 => *octet ^= flip,
        _ => octets.truncate(at),
    }
}
