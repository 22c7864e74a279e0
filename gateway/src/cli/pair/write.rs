//! Checks what the other site offers against the whole configuration, and writes it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use tempfile::NamedTempFile;

use super::super::site_files::{problems, problems_with};
use super::args::PairOptions;
use super::edit::{Edited, PeerTable};
use super::replacement::{self, Replacement};
use super::site::OwnSite;
use crate::config;
use crate::pairing::conversation::OfferHandler;
use crate::pairing::error::PairingError;
use crate::pairing::offer::Offer;
use crate::pairing::state::StateFolder;
use crate::pki::store::Store;
use crate::pki::{folder, pem, write};

const FILE_MODE: u32 = 0o644;
/// How the names of trials begin and end.
pub(super) const TRIAL: (&str, &str) = (".pair", ".pem");

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
    /// The other site: its name, identity and key.
    site: String,
    /// Problems that the configuration had before.
    remaining: Vec<String>,
}

/// What was written, for the operator and for the log.
pub(super) struct WrittenPeer<'w> {
    /// A sentence with the files.
    pub(super) files: String,
    /// The same with the other site.
    pub(super) record: String,
    /// Whether the CA certificates are renewed over the link.
    pub(super) renews: bool,
    /// Problems that the configuration still has.
    pub(super) remaining: &'w [String],
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

    /// What is written by `commit`, once everything is ready.
    pub(super) fn written(&self) -> Option<WrittenPeer<'_>> {
        let ready = self.ready.as_ref()?;
        let (name, trust) = (&ready.table.name, ready.trust.display());
        let config = self.options.files.config.display();
        let files = format!("wrote {trust}, and [[peer]] {name:?} in {config}");
        let record = format!("paired with {}: {files}", ready.site);
        Some(WrittenPeer {
            files,
            record,
            remaining: &ready.remaining,
            renews: ready.table.renews,
        })
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
        let pem: String = offer
            .authorities
            .iter()
            .map(|ca| pem::of_certificate(ca))
            .collect();
        replacement::check_file(&edited, &table, &pem)?;
        let replacement = Replacement {
            options: self.options,
            table: &table,
            offer,
        };
        replacement.confirm(edited.peer(&table.name), &mut super::ask)?;
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
        let remaining = new_problems(config, &edited.text(), (&trial.trust, &table.trust))?;
        edited.set_peer(&table)?;
        Ok(ReadyFiles {
            trust: table.trust.clone(),
            trust_pem: pem,
            text: edited.text(),
            table,
            site: format!("{:?}, {}, key {}", offer.site, offer.identity, offer.key()),
            remaining,
        })
    }

    fn write(&self) -> anyhow::Result<()> {
        let ready = self.ready.as_ref().context("nothing was made ready")?;
        // `wardgate pair renew` may be about to use an update that a CA of the earlier pairing has signed.
        let _lock = folder::lock_trust(write::folder(&ready.trust))?;
        let config = &self.options.files.config;
        let now = fs::read_to_string(config)
            .with_context(|| format!("{} cannot be read", config.display()))?;
        anyhow::ensure!(
            now == self.before,
            "{} was changed by someone else during the pairing",
            config.display()
        );
        // A link stays a link.
        let config = fs::canonicalize(config)?;
        write::replace_all(&[
            (&ready.trust, ready.trust_pem.as_bytes(), FILE_MODE),
            (&config, ready.text.as_bytes(), write::MODE_CONFIG),
        ])
        .with_context(|| {
            format!(
                "{} or {} cannot be written",
                ready.trust.display(),
                config.display()
            )
        })?;
        // A stored update of the site as it was before must not be taken for a later one than those that follow. If this
        // fails, `pair renew` removes it, because no CA that is trusted now has signed it.
        if let Ok(read) = config::load(&config).config {
            let _ = StateFolder::new(&read.gateway.state).forget(&ready.table.name);
        }
        Ok(())
    }
}

impl OfferHandler for PeerWriter<'_> {
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

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    write::make_folder(folder).with_context(|| format!("{shown} cannot be made"))
}

/// A file of certificates in this folder, for a check of the configuration that names it.
pub(super) fn temporary(folder: &Path, bytes: &[u8]) -> anyhow::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(TRIAL.0)
        .suffix(TRIAL.1)
        .tempfile_in(folder);
    let mut file = file.with_context(|| format!("{} cannot be written", folder.display()))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Checks a new text of the configuration as `wardgate check` does. Returns the problems that the present text has as
/// well. The new text names the first file of `trial` where the configuration will name the second one.
///
/// # Errors
/// The problems that the new text adds, and those because of which the certificates of the first file are not loaded, and
/// so not compared with those of other peers.
pub(super) fn new_problems(
    config: &Path,
    text: &str,
    trial: (&Path, &Path),
) -> anyhow::Result<Vec<String>> {
    let names = [trial.0, trial.1].map(|path| path.display().to_string());
    let before = without_place(problems(config), config);
    let found = without_place(problems_with(text, config), config);
    let (known, new): (Vec<_>, Vec<_>) = found
        .into_iter()
        .map(|problem| problem.replace(&names[0], &names[1]))
        .partition(|problem| before.contains(problem));
    anyhow::ensure!(
        new.is_empty(),
        "the configuration with the other site would not be valid: {}",
        new.join("; ")
    );
    let not_loaded = problems_of_trust(text, config, trial.0).join("; ");
    let not_loaded = not_loaded.replace(&names[0], &names[1]);
    anyhow::ensure!(
        not_loaded.is_empty(),
        "the certificates of the other site cannot be compared with those of other peers before this is fixed: {not_loaded}"
    );
    Ok(known)
}

/// Why the peer whose CA certificates are in the file `trust` is not loaded, if a route lists it.
fn problems_of_trust(text: &str, config: &Path, trust: &Path) -> Vec<String> {
    let found = config::find(text, config);
    let mut store = Store::new(SystemTime::now()).of_service(&found.run_as);
    let routes = || {
        found
            .routes
            .iter()
            .filter_map(|route| Some((route, route.tls.as_ref()?)))
    };
    for (route, tls) in routes() {
        store.own_chain(&tls.identity, route.mode);
    }
    let mut peers = routes().flat_map(|(_, tls)| &tls.peers);
    let Some(peer) = peers.find(|peer| peer.trust.trust.value == trust) else {
        return Vec::new();
    };
    store.trust("", &peer.trust);
    let problems = store.trust_problems(&peer.trust).iter();
    problems.map(|problem| problem.text.clone()).collect()
}

/// Problems without the name of the file and the line.
fn without_place(problems: Vec<String>, config: &Path) -> Vec<String> {
    let file = format!("{}:", config.display());
    let without = |text: String| {
        let text = text.strip_prefix(&file).unwrap_or(&text);
        let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
        text.trim_start_matches([':', ' ']).to_owned()
    };
    problems.into_iter().map(without).collect()
}
