//! Requests to a running gateway on its admin socket. Text of the reply cannot control a terminal.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::limits::{REPLY_BYTES_MAX, STATUS_WITHIN};
use crate::control::{Command, CommandReply, GatewayStatus, Request};

/// Sends one request and returns the reply as text, which must come within `limit`.
pub(super) fn ask(path: &Path, command: Command, limit: Duration) -> anyhow::Result<String> {
    let shown = path.display();
    let mut socket = UnixStream::connect(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "no gateway runs there; `systemctl status wardgate` shows the service, and the key `admin` of its \
                 configuration sets the path"
            }
            io::ErrorKind::PermissionDenied => {
                "run this command as root, or as a member of the service's group (`wardgate` for the package)"
            }
            _ => "check the path",
        };
        anyhow::anyhow!("the gateway cannot be reached at {shown}: {error}; {remedy}")
    })?;
    let exchange = || -> io::Result<String> {
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        let mut line = serde_json::to_string(&Request::new(command))?;
        line.push('\n');
        socket.write_all(line.as_bytes())?;
        let mut text = String::new();
        // LIMIT: REPLY_BYTES_MAX.
        (&mut socket)
            .take(REPLY_BYTES_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = exchange().with_context(|| format!("no reply from the gateway at {shown}"))?;
    anyhow::ensure!(
        !text.is_empty(),
        "the gateway at {shown} closed the connection without a reply"
    );
    Ok(text)
}

/// Asks for the state.
pub(super) fn state(socket: &Path) -> anyhow::Result<GatewayStatus> {
    let reply = parse(&ask(socket, Command::Status, STATUS_WITHIN)?)?;
    let lines = reply.lines.join(" ");
    reply
        .status
        .ok_or_else(|| anyhow::anyhow!("the gateway reports no state: {lines}"))
}

/// Reads a reply. Its texts cannot control a terminal.
pub(super) fn parse(text: &str) -> anyhow::Result<CommandReply> {
    let read = || {
        let mut value: Value = serde_json::from_str(text)?;
        clean_all(&mut value);
        serde_json::from_value(value)
    };
    let reply: Result<CommandReply, serde_json::Error> = read();
    reply.map_err(|error| {
        anyhow::anyhow!(
            "the gateway's reply cannot be read ({error}); use the `wardgate` program that belongs to the running \
             gateway"
        )
    })
}

/// Replaces characters that could control a terminal, in all texts of a reply: AE titles, for example, come from
/// clients.
fn clean_all(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(is_harmful) => *text = clean(text),
        Value::Array(values) => values.iter_mut().for_each(clean_all),
        Value::Object(fields) => fields.values_mut().for_each(clean_all),
        _ => {}
    }
}

/// The text without characters that could control a terminal.
pub(super) fn clean(text: &str) -> String {
    let each = text.chars();
    each.map(|one| if is_harmful(one) { '?' } else { one })
        .collect()
}

/// The text with such characters as Rust writes them, such as `\u{1b}`: the reader sees what is there.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        match is_harmful(one) {
            true => escaped.extend(one.escape_default()),
            false => escaped.push(one),
        }
    }
    escaped
}

/// The JSON with such characters escaped. They occur within strings only, but for line ends.
pub(super) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for one in json.chars() {
        match one {
            '\n' => escaped.push(one),
            _ if is_harmful(one) => escaped.push_str(&format!("\\u{:04x}", u32::from(one))),
            _ => escaped.push(one),
        }
    }
    escaped
}

/// Control characters (C0, DEL, C1), and those that change the direction of text.
pub(super) fn is_harmful(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_gateway_cannot_control_the_terminal() {
        let mut value =
            serde_json::json!({"a": ["\u{1b}[2J\u{9b}0m", {"b": "x\u{202e}y\n"}], "c": 1});
        clean_all(&mut value);
        assert_eq!(
            value,
            serde_json::json!({"a": ["?[2J?0m", {"b": "x?y?"}], "c": 1})
        );
        let escaped = escape_json("{\"a\":\"\u{9b}2J\u{7f}é\"}\n");
        assert_eq!(escaped, "{\"a\":\"\\u009b2J\\u007fé\"}\n");
        let read: Value = serde_json::from_str(&escaped).expect("it is JSON");
        assert_eq!(read["a"], "\u{9b}2J\u{7f}é");
    }
}
