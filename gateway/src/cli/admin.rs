//! The commands for a running gateway: one request on its admin socket, and the reply in words.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::socket::{ask, parse};
use super::{EXIT_FAILED, EXIT_GOOD};
use crate::cli::limits::REPLY_WITHIN;
use crate::config;
use crate::control::{Command, CommandReply};

/// The configuration of the packaged service.
pub(super) const CONFIG: &str = "/etc/wardgate/wardgate.toml";

/// Where the packaged service has its admin socket.
pub(super) const SOCKET: &str = "/run/wardgate/admin.sock";

/// How a command finds the running gateway, and how it prints the reply.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    config: OnlyConfig,
    /// The admin socket, instead of the one that the configuration names
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// Print the reply as JSON
    #[arg(long)]
    json: bool,
}

/// The configuration file, by its option only: these commands have arguments of their own.
#[derive(Debug, Args)]
pub(super) struct OnlyConfig {
    /// The configuration file of the running gateway, which names its admin socket [default:
    /// /etc/wardgate/wardgate.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl OnlyConfig {
    /// The file, or that of the packaged service.
    pub(super) fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }
}

/// `wardgate drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The route; all routes without it
    route: Option<String>,
    /// End the drain: accept again on the route, or on all routes
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `wardgate maintenance`.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The route
    route: String,
    /// The target, as the configuration writes its address
    target: String,
    /// Use the target again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `wardgate end`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The id of the connection, as log lines show it: 19a00000000-1-2
    connection: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks for a reload.
pub(crate) fn reload(args: &AdminArgs) -> anyhow::Result<u8> {
    args.run(Command::Reload)
}

/// Asks for the start of the installed program.
pub(crate) fn upgrade(args: &AdminArgs) -> anyhow::Result<u8> {
    args.run(Command::Upgrade)
}

/// Drains, or accepts again.
pub(crate) fn drain(args: DrainArgs) -> anyhow::Result<u8> {
    let (route, undo) = (args.route, args.undo);
    args.admin.run(Command::Drain { route, undo })
}

/// Begins or ends the maintenance of a target.
pub(crate) fn maintenance(args: MaintenanceArgs) -> anyhow::Result<u8> {
    args.admin.run(Command::Maintenance {
        route: args.route,
        target: args.target,
        off: args.off,
    })
}

/// Ends one connection.
pub(crate) fn end(args: EndArgs) -> anyhow::Result<u8> {
    let connection = args.connection;
    args.admin.run(Command::End { connection })
}

impl AdminArgs {
    fn run(&self, command: Command) -> anyhow::Result<u8> {
        let text = ask(&self.socket()?, command, REPLY_WITHIN)?;
        let reply = parse(&text)?;
        if self.json {
            print!("{text}");
        } else {
            print(&reply);
        }
        Ok(match reply.ok {
            true => EXIT_GOOD,
            false => EXIT_FAILED,
        })
    }

    /// Whether the reply is printed as JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The path of the admin socket.
    ///
    /// # Errors
    /// A file was named that does not lead to a socket: the socket of the packaged service may be that of another
    /// gateway.
    pub(super) fn socket(&self) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let named = self.config.config.as_deref();
        let Some(file) = named.filter(|file| *file != Path::new(CONFIG)) else {
            return Ok(of_packaged_service());
        };
        let shown = file.display();
        if let Err(error) = File::open(file) {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run this command as root, or as a member of the group of the file (`wardgate` for the package)"
                }
                _ => "name the configuration with --config, or the admin socket with --socket",
            };
            anyhow::bail!("{shown} cannot be read: {error}; {remedy}");
        }
        let config = config::load(file).config.map_err(|problems| {
            let first = problems.first().map(|problem| problem.display(file));
            let first = first.map_or_else(String::new, |problem| problem.to_string());
            anyhow::anyhow!(
                "{first}; so the admin socket of its gateway is not known: name the socket itself with --socket SOCKET"
            )
        })?;
        config.gateway.admin.ok_or_else(|| {
            anyhow::anyhow!(
                "{shown} names no admin socket (the key `admin` of [gateway]); name the socket of the running \
                 gateway with --socket SOCKET, for the packaged service {SOCKET}"
            )
        })
    }
}

/// The admin socket of the packaged service: an operator can reach it even if its configuration is not valid any more.
pub(super) fn of_packaged_service() -> PathBuf {
    let config = config::load(Path::new(CONFIG)).config.ok();
    let named = config.and_then(|config| config.gateway.admin);
    named.unwrap_or_else(|| SOCKET.into())
}

fn print(reply: &CommandReply) {
    for line in &reply.lines {
        match reply.ok {
            true => println!("{line}"),
            false => eprintln!("wardgate: {line}"),
        }
    }
}
