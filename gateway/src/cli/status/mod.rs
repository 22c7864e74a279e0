//! `wardgate status`: the state of a running gateway as a table, as JSON, as a live view, or as the result of a
//! monitoring plugin. Reads the admin socket only.

mod check;
mod rows;
mod table;
mod text;
mod watch;

use clap::Args;

use super::admin::AdminArgs;
use super::socket::{ask, escape_json, parse, state};
use crate::cli::limits::REPLY_WITHIN;
use crate::cli::{EXIT_FAILED, EXIT_GOOD};
use crate::control::Command;

/// `wardgate status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show the state in the terminal as it changes; keys are on the screen
    #[arg(long, conflicts_with_all = ["json", "check"])]
    watch: bool,
    /// Print one line for a monitoring program, with the exit code of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL,
    /// 3 UNKNOWN
    #[arg(long, conflicts_with = "json")]
    check: bool,
    /// With --json: leave out the open connections and the refusals
    #[arg(long, requires = "json")]
    brief: bool,
    /// With --check: only this route
    #[arg(long, value_name = "ROUTE", requires = "check")]
    route: Option<String>,
    /// With --check: WARNING if an own certificate, a CA or a peer's certificate expires in fewer days
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 14,
        requires = "check",
        allow_negative_numbers = true
    )]
    warning_days: i64,
    /// With --check: CRITICAL if it expires in fewer days
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 3,
        requires = "check",
        allow_negative_numbers = true
    )]
    critical_days: i64,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows the state of the gateway.
pub(crate) fn status(args: &StatusArgs) -> anyhow::Result<u8> {
    if args.check {
        let limits = check::CheckLimits {
            route: args.route.as_deref(),
            warning_days: args.warning_days,
            critical_days: args.critical_days,
        };
        let asked = args.admin.socket().and_then(|socket| state(&socket));
        let result = check::result(asked.map_err(|error| format!("{error:#}")), &limits);
        println!("{}", result.text);
        return Ok(result.code);
    }
    if args.watch {
        return watch::run(&args.admin.socket()?);
    }
    let text = ask(&args.admin.socket()?, Command::Status, REPLY_WITHIN)?;
    let reply = parse(&text)?;
    if args.admin.is_json() {
        let text = if args.brief { brief(&text)? } else { text };
        print!("{}", escape_json(&text));
    } else if let Some(status) = &reply.status {
        println!("{}", table::text(status));
    }
    for line in reply.lines.iter().filter(|_| !reply.ok) {
        eprintln!("wardgate: {line}");
    }
    Ok(match reply.ok {
        true => EXIT_GOOD,
        false => EXIT_FAILED,
    })
}

// Some monitoring programs limit the length of a value.
fn brief(text: &str) -> anyhow::Result<String> {
    let mut reply: serde_json::Value = serde_json::from_str(text)?;
    if let Some(status) = reply
        .get_mut("status")
        .and_then(|status| status.as_object_mut())
    {
        status.remove("open");
        status.remove("refusals");
    }
    Ok(reply.to_string() + "\n")
}
