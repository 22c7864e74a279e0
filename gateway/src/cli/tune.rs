//! `wardgate tune`: settings of this host. The crate `wardgate-tuning` reads, changes and restores them.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use wardgate_tuning::{
    Applied, BootStage, CpuList, Goal, Host, Left, NoPrograms, Options, Profile, Rate, RoundTrip,
    Shown,
};

use super::{EXIT_FAILED, EXIT_GOOD};

/// The subcommands of `wardgate tune`.
#[derive(Debug, Subcommand)]
pub(crate) enum TuneCommand {
    /// Compare each setting with the wanted value; exit code 1 if one that matters differs
    #[command(after_help = CHECK_HELP)]
    Check(TuneCheck),
    /// Show what differs, ask, change it, and keep the change after the next start of the host
    #[command(after_help = APPLY_HELP)]
    Apply(TuneApply),
    /// Restore what `apply` changed
    #[command(after_help = UNDO_HELP)]
    Undo(TunedHost),
}

impl TuneCommand {
    /// Whether the command changes nothing.
    pub(super) fn is_report(&self) -> bool {
        matches!(self, Self::Check(_))
    }
}

/// What the host should be good at.
#[derive(Debug, Args)]
pub(crate) struct TuneGoal {
    /// The kind of host: vm, 1g, 10g, 25g or 100g. By default vm on a virtual machine, otherwise the speed of the
    /// fastest network card
    #[arg(long)]
    profile: Option<Profile>,
    /// The rate of the line to the other site, such as 500m or 10g. By default that of the profile
    #[arg(long, value_name = "RATE")]
    wan: Option<Rate>,
    /// The round-trip time to the other site, as `ping` shows it, such as 20ms. By default 20ms
    #[arg(long, value_name = "TIME")]
    rtt: Option<RoundTrip>,
    /// The CPUs of `cores` in the configuration, such as 0-3 or 2,4. By default all
    #[arg(long, value_name = "LIST")]
    cores: Option<CpuList>,
    /// A network card to tune; may be given several times. By default all that are up
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    #[command(flatten)]
    host: TunedHost,
}

/// Which host is read and changed.
#[derive(Debug, Args)]
pub(crate) struct TunedHost {
    /// A folder with copies of /proc, /sys and /etc in place of this host, for tests
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TuneCheck {
    #[command(flatten)]
    goal: TuneGoal,
    /// Write the report as JSON; the guide describes its fields
    #[arg(long, conflicts_with = "explain")]
    json: bool,
    /// Explain every setting, not only those that differ
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TuneApply {
    #[command(flatten)]
    goal: TuneGoal,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Change only what the units of an earlier `apply` have to set again when the host starts, and no file
    #[arg(long, hide = true, value_name = "STAGE", requires = "yes")]
    at_boot: Option<BootStage>,
}

const CHECK_HELP: &str = "\
Verdicts:
  good            as wanted, or better
  differs         not as wanted, and it matters
  minor           not as wanted, with a small effect
  report          reported only; this program does not change it
  not applicable  this host does not have it, or does not let it be changed

Exit codes:
  0  no setting that matters differs
  1  a setting that matters differs
  2  the command line is not valid";

const APPLY_HELP: &str = "\
The values and files that were there before are in /var/lib/wardgate-tune/tune.json before anything is
changed. A second `apply` keeps those of the first. Without a terminal to ask at, --yes is necessary.

Exit codes:
  0  what can be changed was changed; what cannot be changed on this host is listed
  1  refused, the host changed during the question, or the record could not be written; nothing was changed
  2  the command line is not valid";

const UNDO_HELP: &str = "\
A value or file that was changed by someone else since `apply` is reported and left as it is.

Exit codes:
  0  restored, or there was nothing to restore
  1  something could not be restored; run `undo` again when the cause is gone
  2  the command line is not valid";

/// Runs a subcommand and returns the exit code.
pub(crate) fn run(command: TuneCommand) -> anyhow::Result<u8> {
    match command {
        TuneCommand::Check(check) => Ok(compare(check)),
        TuneCommand::Apply(args) => apply(args),
        TuneCommand::Undo(host) => undo(host),
    }
}

/// Whether a setting that matters differs on this host, with the default goal.
pub(super) fn differs() -> bool {
    let host = Host::running();
    let goal = Goal::new(&host, default_options());
    wardgate_tuning::check(&host, &goal).differs()
}

/// Changes the settings of this host with the default goal, as `wardgate tune apply` does; `yes`: without a question.
///
/// # Errors
/// As for `wardgate tune apply`.
pub(super) fn apply_now(yes: bool) -> anyhow::Result<u8> {
    let goal = TuneGoal {
        profile: None,
        wan: None,
        rtt: None,
        cores: None,
        interface: Vec::new(),
        host: TunedHost { root: None },
    };
    let at_boot = None;
    apply(TuneApply { goal, yes, at_boot })
}

fn default_options() -> Options {
    Options {
        profile: None,
        wan: None,
        round_trip: None,
        cores: None,
        cards: Vec::new(),
    }
}

impl TunedHost {
    fn resolve(self) -> Host {
        match self.root {
            Some(root) => Host::below(root, NoPrograms),
            None => Host::running(),
        }
    }
}

impl TuneGoal {
    fn resolve(self) -> (Host, Goal) {
        let options = Options {
            profile: self.profile,
            wan: self.wan,
            round_trip: self.rtt,
            cores: self.cores,
            cards: self.interface,
        };
        let host = self.host.resolve();
        let goal = Goal::new(&host, options);
        (host, goal)
    }
}

fn compare(check: TuneCheck) -> u8 {
    let (host, goal) = check.goal.resolve();
    let report = wardgate_tuning::check(&host, &goal);
    if check.json {
        println!("{}", report.json());
    } else {
        let explain = check.explain;
        print!(
            "{}",
            Shown {
                report: &report,
                explain
            }
        );
    }
    if report.differs() {
        EXIT_FAILED
    } else {
        EXIT_GOOD
    }
}

fn apply(args: TuneApply) -> anyhow::Result<u8> {
    let (host, goal) = args.goal.resolve();
    if let Some(stage) = args.at_boot {
        let applied = wardgate_tuning::apply_at_boot(&host, &goal, stage)?;
        show(&applied, "changed", "written");
        return Ok(EXIT_GOOD);
    }
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    // Root runs the named program at each start of the host, so only the installed one may be named.
    let program = if program.starts_with("/usr") {
        program
    } else {
        PathBuf::new()
    };
    let plan = wardgate_tuning::plan(&host, &goal, &program)?;
    show(&plan, "would be changed", "would be written");
    if plan.is_empty() {
        println!("nothing differs that can be changed");
        return Ok(EXIT_GOOD);
    }
    if !args.yes && !confirmed()? {
        println!("nothing was changed");
        return Ok(EXIT_FAILED);
    }
    // The answer may have taken a while: what is changed is what was shown.
    let agreed = (!args.yes).then_some(&plan);
    carry_out(&host, &goal, &program, agreed)
}

fn carry_out(
    host: &Host,
    goal: &Goal,
    program: &Path,
    agreed: Option<&Applied>,
) -> anyhow::Result<u8> {
    let applied = wardgate_tuning::apply(host, goal, program, agreed)?;
    println!();
    show(&applied, "changed", "written");
    println!("`wardgate tune undo` restores what was there before");
    if applied.files.iter().any(|file| file.contains("/systemd/")) {
        println!(
            "limits of the service change with: systemctl daemon-reload && systemctl restart wardgate"
        );
    }
    Ok(EXIT_GOOD)
}

fn show(applied: &Applied, changed: &str, written: &str) {
    for (setting, before, after) in &applied.changed {
        let words = |text: &str| match text.split_whitespace().collect::<Vec<_>>().join(" ") {
            text if text.is_empty() => "not set".to_owned(),
            text => text,
        };
        println!(
            "{changed}: {setting}: {} -> {}",
            words(before),
            words(after)
        );
    }
    for file in &applied.files {
        println!("{written}: {file}");
    }
    for (setting, sentence) in &applied.overridden {
        println!("overridden: {setting}: {sentence}");
    }
    for (setting, reason) in &applied.not_applicable {
        println!("not applicable: {setting}: {reason}");
    }
}

/// Asks at the terminal.
fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("there is no terminal to ask at, and nothing was changed; run it with --yes");
    }
    print!("change these settings? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn undo(host: TunedHost) -> anyhow::Result<u8> {
    let Some(undone) = wardgate_tuning::undo(&host.resolve())? else {
        println!("nothing to undo: `wardgate tune apply` has changed nothing on this host");
        return Ok(EXIT_GOOD);
    };
    for what in &undone.restored {
        println!("restored: {what}");
    }
    for Left { what, why } in &undone.left {
        println!("left as it is: {what}: {why}");
    }
    for Left { what, why } in &undone.failed {
        println!("not restored: {what}: {why}");
    }
    if undone
        .restored
        .iter()
        .any(|what| what.contains("/systemd/"))
    {
        println!(
            "limits of the service change with: systemctl daemon-reload && systemctl restart wardgate"
        );
    }
    Ok(if undone.failed.is_empty() {
        EXIT_GOOD
    } else {
        EXIT_FAILED
    })
}
