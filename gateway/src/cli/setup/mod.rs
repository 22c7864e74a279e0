//! `wardgate setup`: a checked configuration, a certificate and a running service from three answers.
//!
//! Every answer is an option too. `draft` has the questions with their defaults, `interfaces` the addresses of this machine,
//! `terminal` asks, `text` writes a new configuration, `edit` changes a present one, `trial` checks it, and `act` makes the
//! certificate, writes the file and starts the service. Nothing is written before all answers are accepted.

mod act;
mod draft;
mod edit;
mod interfaces;
mod leftovers;
mod other_ca;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod trial;

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;
use similar::TextDiff;
use toml_edit::{DocumentMut, Item};

use self::draft::{Carried, Known, Question, SetupAnswers, SiteSide};
use self::interfaces::Machine;
use self::other_ca::OtherCa;
use self::terminal::Terminal;
use self::text::{KnownPeer, SiteFiles, configuration};
use super::admin::CONFIG;
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD, EXIT_USAGE, tune};
use crate::pki::write;

/// The options of `wardgate setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    /// The configuration file. Certificates are in the folder pki beside it, and the site's CA in the folder ca
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// What this site has
    #[arg(long, value_name = "SIDE", value_enum)]
    site: Option<SiteSide>,
    /// What the route carries
    #[arg(long, value_enum)]
    protocol: Option<Carried>,
    /// At the site of the modalities: the address of the other site's gateway, HOST or HOST:PORT. At the site of the
    /// archive: the addresses or networks from which that gateway may connect, or any
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    other_site: Vec<String>,
    /// At the site of the archive: the address of the archive, or of the system that receives HL7
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    archive: Vec<String>,
    /// A short name for the other site, which routes list in `peers`. A further route takes the name of the present
    /// [[peer]] table if there is one only
    #[arg(long, value_name = "NAME")]
    other_name: Option<String>,
    /// The address of this machine on which the gateway listens: that of the LAN at the site of the modalities, that of
    /// the network between the sites at the site of the archive
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The route that is changed, or added if there is none of this name
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The certificate: make (a CA of this site's own issues it), csr (a request for the CA of your organisation), keep,
    /// or a PEM file to import
    #[arg(long, value_name = "CHOICE")]
    certificate: Option<String>,
    /// The private key of a certificate to import, a PEM file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The DNS name of this gateway, for a certificate that is made or requested
    #[arg(long, value_name = "NAME")]
    dns: Option<String>,
    /// The name of this site, for its own CA
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The CA certificate of the other site, a PEM file, in place of `wardgate pair`; compare its fingerprint by
    /// telephone first
    #[arg(long, value_name = "FILE", requires = "other_identity")]
    other_ca: Option<PathBuf>,
    /// What the certificate of the other site must prove, such as dns:gw.region.example
    #[arg(long, value_name = "IDENTITY", requires = "other_ca")]
    other_identity: Option<String>,
    /// Also change the settings of this host, as `wardgate tune apply` does
    #[arg(long)]
    tune: bool,
    /// Neither enable nor start the service
    #[arg(long)]
    no_start: bool,
    /// Ask nothing: take the defaults of what is not given
    #[arg(long)]
    yes: bool,
    /// Show what would change in the configuration, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The text for the end of the help.
pub(super) const HELP: &str = "\
Three answers are necessary: which side this is, DICOM or HL7, and one address: at the
site of the modalities that of the other gateway, at the site of the archive that of the
archive. All others have defaults, which are shown before anything is written. Run it
again to change an answer: the difference is shown first, and what an operator has
written stays. --route NAME adds a route, for example for the other direction.

The site that receives HL7 is the site of the archive here.

Afterwards, `wardgate pair` at both sites makes the sites known to each other.

Exit codes:
  0   done, or there was nothing to change
  1   not done; standard error says why. If a certificate was made before, the next run
      keeps it
  2   the command line is not valid, or an answer is missing and there is no terminal
  78  the configuration would not be valid";

/// Runs the command.
pub(crate) fn run(args: &SetupArgs) -> anyhow::Result<u8> {
    let file = std::path::absolute(&args.config)?;
    let present = read(&file)?;
    let document: DocumentMut = present.parse().with_context(|| {
        format!(
            "{} is not valid TOML; `wardgate check` names the line",
            file.display()
        )
    })?;
    let files = site_files(&document, &file);
    let machine = Machine::read();
    let routes = edit::route_names(&document);
    let is_interactive = !args.yes && !args.dry_run;
    if is_interactive && !io::stdin().is_terminal() {
        eprintln!(
            "wardgate: there is no terminal to ask at; give the answers as options, and --yes. Necessary are {}",
            necessary(args)
        );
        return Ok(EXIT_USAGE);
    }
    let mut terminal = Terminal::new(io::stdin().lock(), io::stdout());
    let mut draft = SetupAnswers::default();
    let mut known = Known {
        machine: &machine,
        present: SetupAnswers::default(),
        has_certificate: is_there(&files.certificate, &document),
        routes,
        peers: edit::peer_names(&document),
    };
    if let Err(problem) = choose_route(
        args,
        &mut draft,
        &mut known,
        &document,
        is_interactive.then_some(&mut terminal),
    )? {
        eprintln!("wardgate: {problem}");
        return Ok(EXIT_USAGE);
    }
    let asked = is_interactive.then_some(&mut terminal);
    if let Err(problem) = given(args, &mut draft, &known, asked) {
        eprintln!("wardgate: {problem}");
        return Ok(EXIT_USAGE);
    }
    let other_ca = args.other_ca.as_deref().map(OtherCa::read).transpose()?;
    loop {
        if is_interactive {
            terminal.answer_all(&mut draft, &known)?;
        } else {
            draft.fill(&known);
            let missing: Vec<_> = draft.missing().into_iter().map(Question::flag).collect();
            if !missing.is_empty() {
                let missing = match draft.side() {
                    // What else is necessary depends on the side.
                    None => necessary(args).to_owned(),
                    Some(_) => missing.join(", "),
                };
                eprintln!("wardgate: these answers are missing: {missing}");
                return Ok(EXIT_USAGE);
            }
        }
        let peer = known_peer(args, &draft, &file);
        let text = edit::merged(&present, &configuration(&draft, &files, peer.as_ref()))?;
        let problems = trial::text_problems(&text, &file);
        if !problems.is_empty() {
            for problem in problems {
                eprintln!("{problem}");
            }
            if is_interactive {
                terminal.print("the configuration would not be valid, because of the problems above; change an answer")?;
                continue;
            }
            return Ok(EXIT_CONFIG);
        }
        show_difference(&present, &text, &file);
        let peer = peer.as_ref().zip(other_ca.as_ref());
        let replaces_ca = peer.is_some_and(|(peer, ca)| {
            let keys = ca.keys(&document, &file, peer);
            if keys.change() {
                println!("\nthe CA of {}, {}:", peer.name, peer.trust.display());
                print!("{}", keys.text());
            }
            keys.replace()
        });
        if let Some(note) = trial::unknown_name(&draft, &known) {
            println!("{note}");
        }
        // The gateway itself may listen where it did before.
        let listen = draft.get(Question::Listen);
        if listen != known.present.get(Question::Listen)
            && let Some(obstacle) = listen.and_then(trial::listen_obstacle)
        {
            println!("{obstacle}");
        }
        if args.dry_run {
            return Ok(EXIT_GOOD);
        }
        let question = match replaces_ca {
            true => "Replace the CA that this machine trusts for the other site, as shown above?",
            false => question(&present, &text),
        };
        if is_interactive && !terminal.confirm(question, !replaces_ca)? {
            terminal.print("nothing was changed")?;
            return Ok(EXIT_FAILED);
        }
        let work = act::Work {
            file: &file,
            present: &present,
            text: &text,
            draft: &draft,
            files: &files,
            peer,
        };
        leftovers::remove(write::folder(&file));
        let code = work.write()?;
        if code != EXIT_GOOD {
            return Ok(code);
        }
        offer_tuning(args, is_interactive.then_some(&mut terminal));
        let starts = !args.no_start && (!is_interactive || work.asks_to_start(&mut terminal)?);
        return work.finish(starts);
    }
}

/// The options without which a new configuration cannot be written.
fn necessary(args: &SetupArgs) -> &'static str {
    match args.site {
        Some(SiteSide::Modalities) => "--site, --protocol and --other-site",
        Some(SiteSide::Archive) => "--site, --protocol and --archive",
        None => "--site, --protocol, and --other-site (modalities) or --archive (archive)",
    }
}

/// The question before the work begins.
fn question(present: &str, text: &str) -> &'static str {
    match present == text {
        true => "Go on with the settings of this host and with the service?",
        false => "Write this configuration?",
    }
}

/// The present configuration; empty if there is none.
fn read(file: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// The files of the certificate: those of the present configuration, or the usual ones beside it.
fn site_files(document: &DocumentMut, file: &Path) -> SiteFiles {
    let written = |key: &str| {
        document
            .get("identity")?
            .get(key)?
            .as_str()
            .map(PathBuf::from)
    };
    let folder = write::folder(file).join("pki");
    SiteFiles {
        certificate: written("certificate").unwrap_or_else(|| folder.join("site.pem")),
        key: written("key").unwrap_or_else(|| folder.join("site.key")),
    }
}

/// Whether the certificate is there. A credential of the service cannot be looked at here.
fn is_there(certificate: &Path, document: &DocumentMut) -> bool {
    let is_credential = document
        .get("identity")
        .and_then(|table| table.get("certificate"))
        .and_then(Item::as_str)
        .is_some_and(|name| name.starts_with("credential:"));
    is_credential || certificate.exists()
}

/// Decides which route of the present configuration is changed, and takes its values as defaults.
///
/// # Errors
/// Outside: the terminal was closed, or the route cannot be changed. Inside: a sentence about the option.
fn choose_route<R: io::BufRead, W: io::Write>(
    args: &SetupArgs,
    draft: &mut SetupAnswers,
    known: &mut Known<'_>,
    document: &DocumentMut,
    terminal: Option<&mut Terminal<R, W>>,
) -> anyhow::Result<Result<(), String>> {
    if let Some(name) = &args.route {
        if let Err(problem) = trial::answer(draft, Question::Route, name) {
            return Ok(Err(format!("--route: {problem}")));
        }
    } else if known.routes.len() > 1 {
        let Some(terminal) = terminal else {
            return Ok(Err(format!(
                "there are several routes ({}); name the one to change with --route, or a new one to add",
                known.routes.join(", ")
            )));
        };
        terminal.ask(Question::Route, draft, known)?;
    }
    let chosen = draft.get(Question::Route).map(str::to_owned);
    let name = chosen.or_else(|| known.routes.first().cloned());
    if let Some(name) = name {
        known.present = edit::answers(document, &name)?;
    }
    Ok(Ok(()))
}

/// Takes the answers that are options.
fn given<R: io::BufRead, W: io::Write>(
    args: &SetupArgs,
    draft: &mut SetupAnswers,
    known: &Known<'_>,
    mut terminal: Option<&mut Terminal<R, W>>,
) -> Result<(), String> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned())
    };
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(", "));
    let is_key_alone = args.key.is_some() && args.certificate.is_none();
    if is_key_alone {
        return Err(
            "--key is the key of a certificate to import; name the certificate with --certificate"
                .to_owned(),
        );
    }
    for (question, value) in [
        (
            Question::Side,
            name(args.site.and_then(|side| side.to_possible_value())),
        ),
        (
            Question::Protocol,
            name(
                args.protocol
                    .and_then(|carried| carried.to_possible_value()),
            ),
        ),
        (Question::Archive, list(&args.archive)),
        (Question::OtherSite, list(&args.other_site)),
        (Question::OtherName, args.other_name.clone()),
        (Question::Listen, args.listen.clone()),
        (Question::Certificate, args.certificate.clone()),
        (
            Question::Key,
            args.key.as_ref().map(|path| path.display().to_string()),
        ),
        (Question::GatewayName, args.dns.clone()),
        (Question::SiteName, args.name.clone()),
    ] {
        if let Some(value) = value {
            trial::answer(draft, question, &value)
                .map_err(|problem| format!("{}: {problem}", question.flag()))?;
        } else if matches!(question, Question::Side | Question::Protocol) {
            // The meaning of later answers, such as an address without a port, depends on these two.
            if let Some(present) = known.present.get(question) {
                draft.adopt(question, present.to_owned());
            } else if let Some(terminal) = &mut terminal {
                terminal
                    .ask(question, draft, known)
                    .map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

/// The other site, if its CA certificate is given.
fn known_peer(args: &SetupArgs, draft: &SetupAnswers, file: &Path) -> Option<KnownPeer> {
    let name = draft.list(Question::OtherName).into_iter().next()?;
    args.other_ca.as_ref()?;
    Some(KnownPeer {
        identity: args.other_identity.clone()?,
        trust: write::folder(file)
            .join("pki")
            .join(format!("{name}-ca.pem")),
        name,
    })
}

/// Prints the difference as `diff -u` does. The example of the package has nothing that an operator would miss, so a new
/// configuration is shown without it.
fn show_difference(present: &str, text: &str, file: &Path) {
    let shown = file.display().to_string();
    if present == text {
        println!("{shown} does not change");
        return;
    }
    if edit::is_new(present) {
        println!("\nthe new {shown}:\n\n{text}");
        return;
    }
    let difference = TextDiff::from_lines(present, text);
    let mut unified = difference.unified_diff();
    print!("\n{}", unified.header(&shown, &shown));
}

/// Changes the settings of the host, if that is wanted. A failure does not stop the rest.
fn offer_tuning<R: io::BufRead, W: io::Write>(
    args: &SetupArgs,
    mut terminal: Option<&mut Terminal<R, W>>,
) {
    let wanted = args.tune || match &mut terminal {
        Some(terminal) if tune::differs() => terminal
            .confirm(
                "Some settings of this host are not the best for many connections (`wardgate tune check` explains each; \
                 no is safe). Show what would change?",
                false,
            )
            .unwrap_or(false),
        _ => false,
    };
    // The terminal holds the lock of standard input, so it asks this too.
    let mut confirmed = || match &mut terminal {
        Some(terminal) => terminal.confirm(tune::CHANGE, false),
        None => Ok(true),
    };
    if wanted && let Err(error) = tune::apply_now(&mut confirmed) {
        eprintln!("wardgate: the settings of the host were not changed: {error:#}");
    }
}
