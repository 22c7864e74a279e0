//! `wardgate import`: turns the configuration of stunnel or HAProxy into routes, and reports line by line what became
//! of it.
//!
//! The importer promises the text: it parses, and what is missing is a placeholder that `wardgate check` refuses. It
//! opens no file that the other configuration names, except included ones beside it, and no socket.

mod address;
mod draft;
mod haproxy;
mod include;
mod report;
mod run;
mod stunnel;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use address::ProtocolGuess;
use draft::NewConfig;

use crate::config;

pub use report::{ImportClass, ImportReport, LinePlace, LineRemark};
pub(crate) use run::{ImportArgs, run};

/// The program whose configuration is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OtherProgram {
    /// stunnel, versions 4 and 5
    Stunnel,
    /// HAProxy: sections in mode tcp
    Haproxy,
}

impl OtherProgram {
    /// Its name as its makers write it.
    fn name(self) -> &'static str {
        match self {
            Self::Stunnel => "stunnel",
            Self::Haproxy => "HAProxy",
        }
    }
}

/// Returns the name and the text of each file of a folder that is included, or why it is not read.
pub type Include<'a> = &'a dyn Fn(&str) -> Result<Vec<(String, String)>, String>;

/// What the operator adds to the imported file.
#[derive(Debug, Clone, Default)]
pub struct ImportContext {
    folder: PathBuf,
    lan: Option<IpAddr>,
    peers: BTreeMap<String, BTreeSet<String>>,
    protocols: BTreeMap<String, ProtocolGuess>,
}

impl ImportContext {
    /// For a file in `folder`, at which its relative paths begin. `lan` is the address of this machine on the LAN, for
    /// plaintext listeners on every address.
    #[must_use]
    pub fn new(folder: PathBuf, lan: Option<IpAddr>) -> Self {
        Self {
            folder,
            lan,
            ..Self::default()
        }
    }

    /// The path of a file, absolute if the imported file's folder is.
    fn path(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    fn identities_of(&self, route: &str) -> Option<BTreeSet<String>> {
        self.peers.get(route).cloned()
    }

    fn protocol_of(&self, route: &str) -> Option<ProtocolGuess> {
        self.protocols.get(route).copied()
    }

    /// Adds `ROUTE=IDENTITY`. An error is a sentence.
    ///
    /// # Errors
    ///
    /// The text has another form, or the identity is none.
    pub fn add_peer(&mut self, text: &str) -> Result<(), String> {
        let (route, identity) = text
            .split_once('=')
            .ok_or_else(|| format!("--peer {text:?}: write ROUTE=IDENTITY"))?;
        if !config::is_peer_name(identity) {
            return Err(format!(
                "--peer {text:?}: write \"dns:\" and a name, \"uri:\" and a URI, or \"sha256:\" and a digest after the \
                 equals sign"
            ));
        }
        let identities = self.peers.entry(route.to_owned()).or_default();
        identities.insert(identity.to_owned());
        Ok(())
    }

    /// Adds `ROUTE=PROTOCOL`. An error is a sentence.
    ///
    /// # Errors
    ///
    /// The text has another form, or the protocol is none.
    pub fn add_protocol(&mut self, text: &str) -> Result<(), String> {
        let read = text.split_once('=');
        let read = read.and_then(|(route, word)| Some((route, ProtocolGuess::of_word(word)?)));
        let (route, protocol) = read.ok_or_else(|| {
            format!("--protocol {text:?}: write ROUTE=dicom, ROUTE=mllp or ROUTE=tcp")
        })?;
        self.protocols.insert(route.to_owned(), protocol);
        Ok(())
    }
}

/// The result of an import.
#[derive(Debug)]
pub struct Import {
    /// What became of each line.
    pub report: ImportReport,
    /// The new configuration; its text has no mistake in its form.
    pub toml: String,
    /// What `wardgate check` would report about the text: placeholders, and clashes that the other program allowed.
    pub open: Vec<String>,
    /// Names in `--peer` and `--protocol` that no route has.
    pub unknown: Vec<String>,
    /// The names of the routes.
    pub routes: Vec<String>,
}

/// Imports the text of a configuration. `file` is its name in comments, `new` that of the new configuration.
#[must_use]
pub fn import(
    program: OtherProgram,
    text: &str,
    (file, new): (&str, &Path),
    context: &ImportContext,
    include: Include<'_>,
) -> Import {
    let (draft, report) = match program {
        OtherProgram::Stunnel => stunnel::import(text, context, include),
        OtherProgram::Haproxy => haproxy::import(text, context),
    };
    let routes: Vec<_> = draft
        .routes
        .iter()
        .map(|route| route.name.clone())
        .collect();
    let toml = draft.toml(&head(program, file, &draft));
    let open = match config::parse(&toml, new) {
        Ok(_) => Vec::new(),
        Err(_) if routes.is_empty() => {
            vec!["no route could be made; the lines above have the reasons".to_owned()]
        }
        Err(problems) => problems
            .iter()
            .map(|problem| problem.display(new).to_string())
            .collect(),
    };
    let named = context.peers.keys().chain(context.protocols.keys());
    let unknown = named.filter(|name| !routes.contains(name)).cloned();
    let unknown = unknown.collect::<BTreeSet<_>>().into_iter().collect();
    Import {
        report,
        toml,
        open,
        unknown,
        routes,
    }
}

/// The first comment of the new configuration.
fn head(program: OtherProgram, file: &str, draft: &NewConfig) -> Vec<String> {
    let file: String = file.chars().filter(|c| !c.is_control()).collect();
    let mut head = vec![
        format!(
            "Made by `wardgate import` from {file}, a configuration of {}.",
            program.name()
        ),
        "Replace each value that begins with FILL-IN, then run `wardgate check`.".to_owned(),
    ];
    if draft.routes.is_empty() {
        head.push("Nothing could be carried over: the report has the reasons.".to_owned());
    }
    head
}
