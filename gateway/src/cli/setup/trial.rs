//! Checks a configuration before it is written.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;

use super::super::site_files::problems_with;
use super::super::unpaired::{NO_FILE, missing_peers, with_placeholders};
use super::draft::{Known, Question, SetupAnswers};
use super::leftovers;
use super::text::{SiteFiles, configuration};
use crate::config;
use crate::pki::authority::{Authority, KeyType, NewAuthority, Permitted};
use crate::pki::write;

/// Sets an answer, and takes it back if the configuration would not be valid because of it.
///
/// # Errors
/// A sentence: what is wrong with the answer.
pub(super) fn answer(
    draft: &mut SetupAnswers,
    question: Question,
    text: &str,
) -> Result<(), String> {
    let before = draft.clone();
    draft.set(question, text)?;
    if question == Question::OtherName {
        let mut names = text.split(',').map(str::trim);
        if let Some(name) = names.find(|name| !is_short_name(name) && !config::is_peer_name(name)) {
            *draft = before;
            return Err(format!(
                "{name:?} is not a short name; write letters from a to z, digits, \"-\", \"_\" and \".\", such as region"
            ));
        }
    }
    if let Some(problem) = problem(draft, question) {
        *draft = before;
        return Err(problem);
    }
    Ok(())
}

/// A sentence about names of the other site that no `[[peer]]` table has, if there are such tables already: the name may be
/// meant as one of them.
pub(super) fn unknown_name(draft: &SetupAnswers, known: &Known<'_>) -> Option<String> {
    if known.peers.is_empty() {
        return None;
    }
    let names = draft.list(Question::OtherName);
    let unknown = names
        .iter()
        .find(|name| !known.peers.contains(name) && is_short_name(name))?;
    Some(format!(
        "note: no [[peer]] table is called {unknown}; the present ones are called {}. If the other site is one of them, \
         write its name in place of {unknown} (--other-name); if it is a further site, `wardgate pair` writes its table",
        known.peers.join(", ")
    ))
}

/// Whether all characters are those of the name of a peer.
fn is_short_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(is_legal)
}

/// Why the gateway could not listen there now; `None` if it could, or if that is not known. The port is open for a moment.
pub(super) fn listen_obstacle(listen: &str) -> Option<String> {
    let address: SocketAddr = listen.parse().ok()?;
    let error = TcpListener::bind(address).err()?;
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => Some(format!(
            "note: {} is not an address of this machine now, so the gateway cannot listen there; change the answer, unless \
             two machines share this address",
            address.ip()
        )),
        io::ErrorKind::AddrInUse => Some(format!(
            "note: another program listens on {address} now; stop it before the gateway starts, or choose another port \
             (`ss -ltnp` names the program)"
        )),
        _ => None,
    }
}

/// What `wardgate check` would report about the answer to a question, whatever the others are.
fn problem(draft: &SetupAnswers, question: Question) -> Option<String> {
    let (key, is_list) = match question {
        Question::Route => ("name", false),
        Question::Listen => ("listen", false),
        Question::Archive => ("targets", true),
        Question::OtherSite if draft.side() == Some(super::SiteSide::Archive) => ("from", true),
        Question::OtherSite => ("targets", true),
        Question::OtherName => ("peers", true),
        Question::GatewayName => return name_problem(draft.get(question)?),
        _ => return None,
    };
    let files = SiteFiles {
        certificate: NO_FILE.into(),
        key: NO_FILE.into(),
    };
    let text = configuration(draft, &files, None);
    let start = format!("{key} = {}", if is_list { "[" } else { "\"" });
    let found = config::parse(
        &with_placeholders(&text, NO_FILE),
        Path::new("wardgate.toml"),
    );
    let problems = found.err()?;
    let of_key = |line: usize| {
        text.lines()
            .nth(line.saturating_sub(1))
            .is_some_and(|line| line.starts_with(&start))
    };
    let mut problems = problems.into_iter();
    let problem = problems.find(|problem| problem.line.is_some_and(of_key))?;
    Some(without_scope(&problem.text))
}

/// What is wrong with a DNS name as the identity of a peer, which the other site will write.
fn name_problem(name: &str) -> Option<String> {
    let text = format!(
        "[[peer]]\nname = \"p\"\nidentity = {}\ntrust = \"{NO_FILE}\"\n",
        toml_edit::Value::from(format!("dns:{name}"))
    );
    let problems = config::parse(&text, Path::new("wardgate.toml")).err()?;
    // There is no route, which is a problem without this line.
    let problem = problems
        .into_iter()
        .find(|problem| problem.line == Some(3))?;
    Some(without_scope(&problem.text))
}

/// `route "to-region": listen "x" ...` without the route.
fn without_scope(text: &str) -> String {
    let scoped = ["route \"", "peer \""]
        .iter()
        .any(|scope| text.starts_with(scope));
    match text.split_once("\": ") {
        Some((_, rest)) if scoped => rest.to_owned(),
        _ => text.to_owned(),
    }
}

/// The problems of the text of a configuration, apart from other sites that are not paired yet, with the name of its file.
pub(super) fn text_problems(text: &str, file: &Path) -> Vec<String> {
    let found = config::parse(&with_placeholders(text, NO_FILE), file);
    let problems = found.err().unwrap_or_default();
    problems
        .iter()
        .map(|problem| problem.display(file).to_string())
        .collect()
}

/// The problems of a configuration and of the files that it names, as `wardgate check` reports them. Nothing of this site
/// is changed.
///
/// # Errors
/// No file can be written beside the configuration.
pub(super) fn all_problems(text: &str, file: &Path) -> anyhow::Result<Vec<String>> {
    let folder = write::folder(file);
    let trial = tempfile::Builder::new()
        .prefix(leftovers::PREFIX)
        .tempdir_in(folder);
    let trial = trial.with_context(|| format!("{} cannot be written", folder.display()))?;
    let mut whole = text.to_owned();
    if !missing_peers(text).is_empty() {
        let ca = trial.path().join("ca");
        let wanted = NewAuthority {
            name: "placeholder".to_owned(),
            key: KeyType::P256,
            days: 1,
            crl_days: 1,
            permitted: Permitted {
                dns: Vec::new(),
                uri: Vec::new(),
            },
        };
        Authority::init(&ca, &wanted, SystemTime::now())?;
        whole = with_placeholders(text, &ca.join("ca.pem").display().to_string());
    }
    Ok(problems_with(&whole, file))
}
