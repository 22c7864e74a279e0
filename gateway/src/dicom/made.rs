//! PDUs and commands as applications send them, for the tests.

/// A PDU of any type.
pub(crate) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

/// An item of an A-ASSOCIATE PDU.
pub(crate) fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

/// An A-ASSOCIATE-RQ that proposes these contexts.
pub(crate) fn request(calling: &str, called: &str, contexts: &[(u8, &str)]) -> Vec<u8> {
    associate(0x01, calling, called, &proposed(contexts), &user(&[]))
}

/// An A-ASSOCIATE-RQ with a user identity: a name and a passcode (PS3.7 section D.3.3.7).
pub(crate) fn request_with_identity(calling: &str, called: &str, secret: &[u8]) -> Vec<u8> {
    let length = u16::try_from(secret.len()).expect("a short secret");
    let field = [&length.to_be_bytes()[..], secret].concat();
    let identity = item(0x58, &[&[2, 0][..], &field, &field].concat());
    associate(0x01, calling, called, &proposed(&[]), &user(&identity))
}

fn proposed(contexts: &[(u8, &str)]) -> Vec<u8> {
    let context = |(id, uid): &(u8, &str)| {
        let abstract_syntax = item(0x30, uid.as_bytes());
        let transfer_syntax = item(0x40, b"1.2.840.10008.1.2");
        item(
            0x20,
            &[&[*id, 0, 0, 0][..], &abstract_syntax, &transfer_syntax].concat(),
        )
    };
    contexts.iter().flat_map(context).collect()
}

fn user(more: &[u8]) -> Vec<u8> {
    let length = item(0x51, &16_384_u32.to_be_bytes());
    let class = item(0x52, b"1.2.3.4");
    let version = item(0x55, b"MADE_1");
    item(0x50, &[&length, &class, &version, more].concat())
}

fn associate(kind: u8, calling: &str, called: &str, contexts: &[u8], user: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    for title in [called, calling] {
        let mut field = title.as_bytes().to_vec();
        field.resize(16, b' ');
        body.extend(field);
    }
    body.resize(68, 0);
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    body.extend_from_slice(contexts);
    body.extend_from_slice(user);
    pdu(kind, &body)
}

/// A presentation data value. Control bits: 1 a command, 2 the last fragment.
pub(crate) fn pdv(context: u8, control: u8, fragment: &[u8]) -> Vec<u8> {
    let length = u32::try_from(fragment.len() + 2).expect("a short fragment");
    [&length.to_be_bytes()[..], &[context, control], fragment].concat()
}

/// An element of a command set: group 0000, Implicit VR Little Endian.
pub(crate) fn element(element: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("a short value");
    let tag = [&[0, 0][..], &element.to_le_bytes()].concat();
    [&tag[..], &length.to_le_bytes(), value].concat()
}

/// A request with a Message ID.
pub(crate) fn command(field: u16, message: u16, has_data: bool, more: &[u8]) -> Vec<u8> {
    let data = if has_data { 0_u16 } else { 0x0101 };
    [
        &element(0x0100, &field.to_le_bytes())[..],
        &element(0x0110, &message.to_le_bytes()),
        &element(0x0800, &data.to_le_bytes()),
        more,
    ]
    .concat()
}

/// A response, or a C-CANCEL (which has no status in practice).
pub(crate) fn response(field: u16, message: u16, status: u16) -> Vec<u8> {
    [
        element(0x0100, &field.to_le_bytes()),
        element(0x0120, &message.to_le_bytes()),
        element(0x0800, &0x0101_u16.to_le_bytes()),
        element(0x0900, &status.to_le_bytes()),
    ]
    .concat()
}

/// An A-ASSOCIATE-AC with these results for its contexts.
pub(crate) fn accept(results: &[(u8, u8)]) -> Vec<u8> {
    let transfer_syntax = item(0x40, b"1.2.840.10008.1.2");
    let result = |(id, result): &(u8, u8)| {
        let value = [&[*id, 0, *result, 0][..], &transfer_syntax].concat();
        item(0x21, &value)
    };
    let results: Vec<u8> = results.iter().flat_map(result).collect();
    associate(0x02, "CT_1", "PACS", &results, &user(&[]))
}

/// A message with one PDU for the command set and one for the data set.
pub(crate) fn message(context: u8, command: &[u8], data: Option<&[u8]>) -> Vec<u8> {
    let command = pdu(0x04, &pdv(context, 3, command));
    let data = data.map(|data| pdu(0x04, &pdv(context, 2, data)));
    [command, data.unwrap_or_default()].concat()
}

/// A C-STORE-RQ of this SOP class.
pub(crate) fn store(message: u16, class: &str, has_data: bool) -> Vec<u8> {
    command(
        0x0001,
        message,
        has_data,
        &element(0x0002, class.as_bytes()),
    )
}
