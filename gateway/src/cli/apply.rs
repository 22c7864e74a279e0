//! Makes a running gateway use its changed configuration, for commands that have changed it.

use std::path::Path;

use super::limits::REPLY_WITHIN;
use super::socket::{ask, parse};
use crate::control::{Command, CommandReply};

/// Asks the gateway at this admin socket for a reload, and for an upgrade if its sandbox does not allow what the
/// configuration needs, such as the port of a new route. Both keep open connections.
///
/// # Errors
/// The gateway is not reached. A refusal is a reply.
pub(super) fn use_configuration(socket: &Path) -> anyhow::Result<CommandReply> {
    let ask = |command| ask(socket, command, REPLY_WITHIN).and_then(|text| parse(&text));
    let reply = ask(Command::Reload)?;
    match reply.needs_restart {
        true => ask(Command::Upgrade),
        false => Ok(reply),
    }
}
