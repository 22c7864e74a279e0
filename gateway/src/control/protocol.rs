//! The requests and replies of the admin socket: one JSON object each. `docs/src/reference/admin.md` describes
//! them for other programs.
//!
//! A request is one line: `{"version":1,"command":"reload"}`, or with parameters
//! `{"version":1,"command":{"drain":{"route":"pacs-to-region"}}}`. The reply is one JSON object. Fields may be
//! added to a reply within one version, so a client ignores fields that it does not know.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::changes::RouteChange;
use super::status::GatewayStatus;

/// The version of the protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request to a running gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `PROTOCOL_VERSION` of the client.
    pub version: u32,
    /// What the gateway is asked to do.
    pub command: Command,
}

impl Request {
    /// A request in this version.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            command,
        }
    }

    /// Reads a request from the text of its line.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn read(text: &str) -> Result<Command, String> {
        let request: Self = serde_json::from_str(text).map_err(|error| {
            format!("the request is not valid ({error}); write one line of JSON such as {EXAMPLE}")
        })?;
        if request.version != PROTOCOL_VERSION {
            return Err(format!(
                "the request has version {}, and this gateway supports version {PROTOCOL_VERSION}; use the \
                 `wardgate` program that belongs to the running gateway",
                request.version
            ));
        }
        Ok(request.command)
    }
}

const EXAMPLE: &str = r#"{"version":1,"command":"status"}"#;

/// What a running gateway can be asked to do. Signals produce some of these commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Drain all routes, then end the process.
    Stop,
    /// Read the configuration and its files again.
    Reload,
    /// Report the state of the routes.
    Status,
    /// Stop accepting on a route, or on all routes, and let open connections end.
    Drain {
        /// The name of the route; all routes without it.
        #[serde(default)]
        route: Option<String>,
        /// Accept again instead.
        #[serde(default)]
        undo: bool,
    },
    /// Send no new connection to a target.
    Maintenance {
        /// The name of the route.
        route: String,
        /// The target's address as configured.
        target: String,
        /// Use the target again instead.
        #[serde(default)]
        off: bool,
    },
    /// End one connection.
    End {
        /// The id of the connection, as in the log.
        connection: String,
    },
    /// Start the installed program, and hand the listeners over to it.
    Upgrade,
    /// Hand the listeners over to the process that asks. The reply is followed by the file descriptors.
    HandOver,
    /// The process that asked for the listeners serves now.
    TakenOver,
}

impl Command {
    /// Its name, for the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Status => "status",
            Self::Drain { undo: false, .. } => "drain",
            Self::Drain { undo: true, .. } => "drain --undo",
            Self::Maintenance { off: false, .. } => "maintenance",
            Self::Maintenance { off: true, .. } => "maintenance --off",
            Self::End { .. } => "end",
            Self::Upgrade => "upgrade",
            Self::HandOver => "hand-over",
            Self::TakenOver => "taken-over",
        }
    }
}

/// The reply to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// `PROTOCOL_VERSION` of the gateway.
    pub version: u32,
    /// Whether the command was carried out.
    pub ok: bool,
    /// What was done, or why nothing was done, in sentences.
    pub lines: Vec<String>,
    /// A reload was refused because the sandbox of the running process does not allow what the configuration
    /// needs. An upgrade uses that configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_restart: bool,
    /// The changes of a reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RouteChange>,
    /// The state of the gateway, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<GatewayStatus>,
    /// The listeners that follow, in the order of their file descriptors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<HandedListener>,
}

impl CommandReply {
    /// The command was carried out.
    #[must_use]
    pub fn done(lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            ok: true,
            lines: lines.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Nothing was done.
    #[must_use]
    pub fn refused(lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            ok: false,
            ..Self::done(lines)
        }
    }

    /// The reply as one line of JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        // A reply has text keys and finite numbers only, so it can always be written.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A listener that is handed over to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedListener {
    /// The address that it listens on; `None` for the admin socket.
    pub address: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read_as_it_is_written() {
        let route = Some("pacs".to_owned());
        for command in [
            Command::Stop,
            Command::Reload,
            Command::Status,
            Command::Drain {
                route: route.clone(),
                undo: false,
            },
            Command::Drain { route, undo: true },
            Command::Maintenance {
                route: "pacs".to_owned(),
                target: "192.0.2.1:104".to_owned(),
                off: true,
            },
            Command::End {
                connection: "19a-0-1".to_owned(),
            },
            Command::Upgrade,
            Command::HandOver,
            Command::TakenOver,
        ] {
            let text = serde_json::to_string(&Request::new(command.clone())).expect("text keys");
            assert_eq!(Request::read(&text), Ok(command), "{text}");
        }
        let short = r#"{"version":1,"command":{"drain":{}}}"#;
        let all = Command::Drain {
            route: None,
            undo: false,
        };
        assert_eq!(Request::read(short), Ok(all));
    }

    #[test]
    fn a_request_that_is_not_understood_is_refused_with_an_example() {
        for text in [
            "",
            "reload",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"command":"relaod"}"#,
            r#"{"version":1,"command":{"drain":{"rout":"a"}}}"#,
            r#"{"version":1,"command":"reload","more":1}"#,
            "[[[[[[[[",
        ] {
            let refusal = Request::read(text).expect_err(text);
            assert!(refusal.contains(EXAMPLE), "{refusal}");
        }
        let other = Request::read(r#"{"version":2,"command":"reload"}"#).expect_err("a version");
        assert!(other.contains("version 2"), "{other}");
    }

    /// The examples of the page that describes the protocol.
    fn examples() -> Vec<String> {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/src/reference/admin.md"
        );
        let text = std::fs::read_to_string(page).expect("our page");
        let blocks = text.split("```json\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        blocks.map(str::to_owned).collect()
    }

    #[test]
    fn the_examples_of_the_reference_are_requests_and_replies() {
        let (mut requests, mut replies) = (0, 0);
        for text in examples() {
            let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
            if value.get("command").is_some() {
                requests += 1;
                assert!(Request::read(text.trim()).is_ok(), "{text}");
                assert!(!text.trim().contains('\n'), "a request is one line: {text}");
                continue;
            }
            replies += 1;
            let reply: CommandReply = serde_json::from_str(&text).expect(&text);
            // A field that a reply does not have would be lost.
            assert_eq!(serde_json::to_value(&reply).expect("text keys"), value);
        }
        assert_eq!((requests, replies), (7, 4));
    }
}
