//! Checks what the other site offers against the whole configuration, and writes it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use tempfile::NamedTempFile;

use super::args::PairOptions;
use super::edit::{Edited, PeerTable};
use super::site::OwnSite;
use crate::pairing::conversation::Partner;
use crate::pairing::error::PairingError;
use crate::pairing::offer::Offer;
use crate::pki::{pem, write};
use crate::supervisor::prepare;

/// The mode of a new folder for CA certificates. The folder above it decides who may enter.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Writes the `[[peer]]` table and the CA certificate of the other site.
pub(super) struct PeerWriter<'a> {
    options: &'a PairOptions,
    own: &'a OwnSite,
    /// The text of the configuration as it was read.
    before: String,
    ready: Option<ReadyFiles>,
}

/// What is written at the end.
struct ReadyFiles {
    trust: PathBuf,
    trust_pem: String,
    text: String,
    table: PeerTable,
    /// Problems that the configuration had before.
    remaining: Vec<String>,
}

impl<'a> PeerWriter<'a> {
    pub(super) fn new(options: &'a PairOptions, own: &'a OwnSite, before: String) -> Self {
        Self {
            options,
            own,
            before,
            ready: None,
        }
    }

    /// The table that was written, and the problems that the configuration still has.
    pub(super) fn written(&self) -> Option<(&PeerTable, &[String])> {
        let ready = self.ready.as_ref()?;
        Some((&ready.table, &ready.remaining))
    }

    fn make_ready(&self, offer: &Offer) -> anyhow::Result<ReadyFiles> {
        let config = &self.options.files.config;
        let mut edited = Edited::parse(config, &self.before)?;
        if edited.identity().is_none() {
            edited.set_identity(&self.own.certificate, &self.own.key);
        }
        let name = self.options.peer.clone();
        let name = name
            .or_else(|| edited.name_of(&offer.identity))
            .or_else(|| edited.missing_peer())
            .unwrap_or_else(|| offer.site.clone());
        let folder = std::path::absolute(&self.options.files.trust_dir)?;
        let table = PeerTable {
            trust: folder.join(format!("{name}.pem")),
            identity: offer.identity.clone(),
            renews: offer.renews && self.own.offer.renews,
            name,
        };
        confirm_replacement(&edited, &table, offer, self.options.yes)?;
        let pem: String = offer
            .authorities
            .iter()
            .map(|ca| pem::of_certificate(ca))
            .collect();
        make_folder(&folder)?;
        for route in &self.options.route {
            edited.list_in_route(route, &table.name)?;
        }
        // First with the certificates in a temporary file, so that all of it is checked.
        let trial_trust = temporary(&folder, pem.as_bytes())?;
        let trial = PeerTable {
            trust: trial_trust.path().to_owned(),
            ..table.clone()
        };
        edited.set_peer(&trial)?;
        let remaining = new_problems(config, &edited.text())?;
        edited.set_peer(&table)?;
        Ok(ReadyFiles {
            trust: table.trust.clone(),
            trust_pem: pem,
            text: edited.text(),
            table,
            remaining,
        })
    }

    fn write(&self) -> anyhow::Result<()> {
        let ready = self.ready.as_ref().context("nothing was made ready")?;
        let config = &self.options.files.config;
        let now = fs::read_to_string(config)
            .with_context(|| format!("{} cannot be read", config.display()))?;
        anyhow::ensure!(
            now == self.before,
            "{} was changed by someone else during the pairing, so nothing was written; run the command again at both \
             sites",
            config.display()
        );
        // A link stays a link.
        let config = fs::canonicalize(config)?;
        write::replace_all(&[
            (&ready.trust, ready.trust_pem.as_bytes(), FILE_MODE),
            (&config, ready.text.as_bytes(), FILE_MODE),
        ])
        .with_context(|| {
            format!(
                "{} or {} cannot be written",
                ready.trust.display(),
                config.display()
            )
        })?;
        // The umask of an administrator may be closed, and the gateway has to read it.
        fs::set_permissions(&ready.trust, fs::Permissions::from_mode(FILE_MODE))?;
        Ok(())
    }
}

impl Partner for PeerWriter<'_> {
    fn prepare(&mut self, offer: &Offer) -> Result<(), PairingError> {
        offer
            .check(&self.own.names, SystemTime::now())
            .map_err(PairingError::Offer)?;
        let ready = self.make_ready(offer);
        self.ready = Some(ready.map_err(|error| PairingError::Aborted(format!("{error:#}")))?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), PairingError> {
        self.write()
            .map_err(|error| PairingError::Aborted(format!("{error:#}")))
    }
}

/// Shows what would be replaced, and asks.
fn confirm_replacement(
    edited: &Edited,
    table: &PeerTable,
    offer: &Offer,
    yes: bool,
) -> anyhow::Result<()> {
    let Some(old) = edited.peer(&table.name) else {
        return Ok(());
    };
    let old_trust = fs::read_to_string(&old.trust).unwrap_or_default();
    let new_trust: String = offer
        .authorities
        .iter()
        .map(|ca| pem::of_certificate(ca))
        .collect();
    if old == *table && old_trust == new_trust {
        return Ok(());
    }
    println!(
        "the configuration has a peer {:?} already; this would change:",
        table.name
    );
    for (key, before, after) in [
        ("identity", old.identity.clone(), table.identity.clone()),
        (
            "trust",
            old.trust.display().to_string(),
            table.trust.display().to_string(),
        ),
        ("renew", old.renews.to_string(), table.renews.to_string()),
    ] {
        if before != after {
            println!("  - {key} = {before}\n  + {key} = {after}");
        }
    }
    if old_trust != new_trust {
        println!("  the CA certificates of the peer");
    }
    if yes {
        return Ok(());
    }
    let answer = super::ask("replace it? [y/N] ")?;
    let answer = answer.context("the peer was not replaced, because there is no terminal to ask at; run the command again with --yes at both sites, or give the other site another name with --peer")?;
    anyhow::ensure!(
        ["y", "yes"].contains(&answer.to_lowercase().as_str()),
        "a person decided not to replace peer {:?}",
        table.name
    );
    Ok(())
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    if !folder.exists() {
        fs::create_dir_all(folder).with_context(|| format!("{shown} cannot be made"))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))?;
    }
    Ok(())
}

fn temporary(folder: &Path, bytes: &[u8]) -> anyhow::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(".pair")
        .suffix(".pem")
        .tempfile_in(folder);
    let mut file = file.with_context(|| format!("{} cannot be written", folder.display()))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Checks a new text of the configuration as `wardgate check` does. Returns the problems that the present text has as
/// well.
///
/// # Errors
/// The problems that the new text adds.
fn new_problems(config: &Path, text: &str) -> anyhow::Result<Vec<String>> {
    let folder = config.parent().filter(|folder| *folder != Path::new(""));
    let mut trial = tempfile::Builder::new()
        .prefix(".pair")
        .suffix(".toml")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("no file can be written beside {}", config.display()))?;
    trial.write_all(text.as_bytes())?;
    let before = problems(config);
    let (known, new): (Vec<_>, Vec<_>) = problems(trial.path())
        .into_iter()
        .partition(|problem| before.contains(problem));
    anyhow::ensure!(
        new.is_empty(),
        "the configuration with the other site would not be valid: {}",
        new.join("; ")
    );
    Ok(known)
}

/// The problems of a configuration and its files, without the name of the file and the line.
fn problems(config: &Path) -> Vec<String> {
    let found = match prepare(config, SystemTime::now()) {
        Ok(prepared) => prepared.problems,
        Err(problems) => problems,
    };
    let file = format!("{}:", config.display());
    let without = |text: &String| {
        let text = text.strip_prefix(&file).unwrap_or(text);
        let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
        text.trim_start_matches([':', ' ']).to_owned()
    };
    found.iter().map(without).collect()
}
