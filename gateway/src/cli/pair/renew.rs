//! `wardgate pair renew`: once a day, what expires soon is renewed, and partners learn of it over the link.
//!
//! The command runs as root, because it has the keys. The gateway, which faces the network, only stores what partners
//! send: here the signature of the old CA is checked before a certificate is trusted.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;

use super::super::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD};
use super::args::RenewArgs;
use super::edit::Edited;
use super::leftovers;
use super::link::RenewalLink;
use super::rotate::OwnAuthorities;
use super::site::identity_of;
use super::write::{new_problems, temporary};
use crate::audit::{self, messages};
use crate::config::{self, Config, Peer};
use crate::hardening::becomes;
use crate::pairing::state::StateFolder;
use crate::pairing::update::{Update, UpdateError, digest_of};
use crate::pki::authority::OutputFiles;
use crate::pki::{folder, partner, pem, store, write};

const MODE: u32 = 0o644;

pub(super) fn run(args: &RenewArgs, now: SystemTime) -> anyhow::Result<u8> {
    let file = &args.files.config;
    let config = match config::load(file).config {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}", problem.display(file));
            }
            return Ok(EXIT_CONFIG);
        }
    };
    if config.renewed.is_empty() {
        println!(
            "{}: no [[peer]] has renew = true, so there is nothing to renew",
            file.display()
        );
        return Ok(EXIT_GOOD);
    }
    let folder = &config.gateway.state;
    let state = StateFolder::made_for(folder, becomes(&config.gateway))
        .with_context(|| format!("the state folder {} cannot be made", folder.display()))?;
    let mut renewal = Renewal {
        state,
        config: &config,
        file,
        now,
        code: EXIT_GOOD,
        has_printed: Cell::new(false),
    };
    for peer in &config.renewed {
        leftovers::remove_of_trust(&peer.trust.trust.value);
        renewal.use_received(peer);
    }
    let published = renewal.renew_own(args).unwrap_or_else(|error| {
        renewal.report(Err(error));
        None
    });
    for peer in &config.renewed {
        let outcome = renewal.exchange(peer);
        let name = peer.name.as_deref().unwrap_or_default();
        renewal.report(outcome.with_context(|| format!("peer \"{name}\"")));
    }
    if let Some(sequence) = published {
        renewal.name_a_peer_behind(sequence);
    }
    if renewal.code == EXIT_GOOD && !renewal.has_printed.get() {
        println!(
            "nothing to do: neither the certificate nor the CA of this site is due, and no partner has sent new CA \
             certificates"
        );
    }
    Ok(renewal.code)
}

/// One run of the command.
struct Renewal<'a> {
    state: StateFolder,
    config: &'a Config,
    /// The file of the configuration.
    file: &'a Path,
    now: SystemTime,
    code: u8,
    /// Whether a person was shown what was done, or what is missing.
    has_printed: Cell<bool>,
}

impl Renewal<'_> {
    fn report(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            let text = format!("{error:#}");
            eprintln!("wardgate: {text}");
            audit::record(&messages::RENEWAL_FAILED, &text);
            self.code = EXIT_FAILED;
        }
    }

    /// Renews the certificate and the CA of this site, and writes the update for partners. Returns the number of an update
    /// that partners could use before.
    fn renew_own(&self, args: &RenewArgs) -> anyhow::Result<Option<u64>> {
        let Some(own) = OwnAuthorities::open(&args.files.dir, args.early, self.now)? else {
            self.print(
                "the CA of this site is not on this machine, so its certificates are not renewed here",
            );
            return Ok(None);
        };
        let text = fs::read_to_string(self.file)?;
        let files = Edited::parse(self.file, &text)?.identity();
        let (certificate, key) = files.context("the configuration has no [identity]")?;
        leftovers::remove_of_site(&certificate, &key, &args.files.dir);
        let published = self.state.own();
        let current = own.last_update(published.clone());
        let sequence = current
            .as_deref()
            .and_then(|bytes| Update::read(bytes).ok())
            .map(|update| update.sequence);
        let all_know = sequence.map_or(self.config.renewed.is_empty(), |own| {
            self.peer_behind(own).is_none()
        });
        self.print_and_record(own.switch(all_know)?);
        self.print_and_record(own.make_successor()?);
        let output = OutputFiles { certificate, key };
        self.print_and_record(own.renew_certificate(&output)?);
        let chain = store::certificates(&output.certificate).map_err(|why| {
            anyhow::anyhow!(
                "certificate {:?} {why}",
                output.certificate.display().to_string()
            )
        })?;
        let identity = identity_of(&chain).context("the certificate has no DNS name and no URI")?;
        if let Some(update) = own.update(&identity, current.as_deref())? {
            own.keep(&update)?;
            self.state.set_own(&update)?;
            self.print_and_record(Some(format!(
                "signed an update of the CA certificates for partners: sha256 {}",
                digest_of(&update)
            )));
            return Ok(None);
        }
        // What the gateway's process may have changed is put right.
        if published != current {
            match &current {
                Some(update) => self.state.set_own(update)?,
                None => self.state.remove_own()?,
            }
        }
        Ok(sequence)
    }

    /// The name of a partner that has not reported that it uses this update of this site.
    fn peer_behind(&self, sequence: u64) -> Option<&str> {
        let mut names = self.config.renewed.iter().map(|peer| peer.name.as_deref());
        names.find_map(|name| {
            let name = name.unwrap_or_default();
            (self.state.in_use_at(name) != sequence).then_some(name)
        })
    }

    fn name_a_peer_behind(&self, sequence: u64) {
        if let Some(name) = self.peer_behind(sequence) {
            self.print(&format!(
                "peer \"{name}\" does not use the last update of this site yet"
            ));
        }
    }

    /// Exchanges updates with a partner to which this site connects. Others connect to this site.
    fn exchange(&mut self, peer: &Arc<Peer>) -> anyhow::Result<()> {
        let Some(name) = &peer.name else {
            return Ok(());
        };
        let Some(link) = RenewalLink::open(self.config, peer, self.now)? else {
            return Ok(());
        };
        self.state.note_in_use(name, link.message.in_use)?;
        if !link.message.update.is_empty() {
            self.state.store(name, &link.message.update)?;
            self.use_received(peer);
        }
        let own = self.state.message_for(name);
        let is_taken = link.send(&own)?;
        anyhow::ensure!(
            is_taken,
            "the other site does not take the update of this site; the log of its gateway has the reason"
        );
        Ok(())
    }

    /// Checks what a partner has sent, and trusts it.
    fn use_received(&mut self, peer: &Arc<Peer>) {
        let name = peer.name.clone().unwrap_or_default();
        let Some(bytes) = self.state.received(&name) else {
            return;
        };
        let outcome = self.trust(peer, &name, &bytes);
        if let Err(error) = &outcome
            && error.is::<UpdateError>()
        {
            // It would be refused again every day, and the gateway would take it for the latest one.
            let removed = self.state.forget(&name).with_context(|| {
                format!(
                    "peer \"{name}\": the update that it has sent cannot be removed from {}",
                    self.state.path().display()
                )
            });
            self.report(removed);
        }
        self.report(
            outcome.with_context(|| format!("peer \"{name}\": the update that it has sent")),
        );
    }

    fn trust(&self, peer: &Peer, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = &peer.trust.trust.value;
        // `wardgate pair` may replace what is read here, and would be overwritten.
        let _lock = folder::lock_trust(write::folder(path))?;
        let record = record_of(path);
        let last = last_used(&record)?;
        if let Some((last, update)) = &last
            && last == bytes
        {
            return self.note_used(peer, name, update);
        }
        let known = last.map_or(0, |(_, update)| update.sequence);
        let update = Update::read(bytes)?;
        let trusted =
            store::certificates(path).map_err(|why| anyhow::anyhow!("trust {path:?} {why}"))?;
        let current: Vec<_> = trusted
            .into_iter()
            .filter(|ca| partner::check_authority(ca, self.now).is_ok())
            .collect();
        let identities: Vec<_> = peer.identities.iter().map(ToString::to_string).collect();
        // A gateway that was restored from a backup sends an old one.
        update.check(bytes, &identities, &current, known, self.now)?;
        let text: String = update
            .authorities
            .iter()
            .map(|ca| pem::of_certificate(ca))
            .collect();
        self.check_result(name, (path, &record), &text)?;
        write::replace_all(&[(path, text.as_bytes(), MODE), (&record, bytes, MODE)])
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let text = format!(
            "peer \"{name}\": {} has new CA certificates, signed by the old CA; sha256 of the update {}",
            path.display(),
            digest_of(bytes)
        );
        self.print(&text);
        audit::record(&messages::TRUST_UPDATE_USED, &text);
        self.note_used(peer, name, &update)
    }

    /// Lets the peer know that it may change to its next CA: with `crl`, only if the lists of all its CAs are here,
    /// because the gateway refuses a certificate of a CA without a list.
    fn note_used(&self, peer: &Peer, name: &str, update: &Update) -> anyhow::Result<()> {
        let files = || peer.trust.crl.iter().map(|list| list.value.as_path());
        let run_as = &self.config.gateway.run_as;
        let has_list = |ca: &&CertificateDer<'_>| partner::has_list(ca, files(), run_as, self.now);
        if files().next().is_some()
            && let Some(ca) = update.authorities.iter().find(|ca| !has_list(ca))
        {
            anyhow::bail!(
                "crl has no valid list of its CA {:?} with the key sha256:{}, so its certificates will be refused once it \
                 changes to this CA; ask the other site for /etc/wardgate/ca/next/ca.crl, add it to crl, and run `wardgate \
                 reload`. Until then the other site is asked to keep its present CA",
                partner::subject(ca),
                partner::hex(&partner::key_sha256(ca).unwrap_or_default())
            );
        }
        Ok(self.state.note_used(name, update.sequence)?)
    }
}

impl Renewal<'_> {
    /// Checks the whole configuration with the new certificates of a peer. The peer has signed them, but a
    /// configuration that they make invalid would stop every route of the gateway at its next start.
    fn check_result(
        &self,
        name: &str,
        (path, record): (&Path, &Path),
        pem: &str,
    ) -> anyhow::Result<()> {
        let before = fs::read_to_string(self.file)
            .with_context(|| format!("{} cannot be read", self.file.display()))?;
        let mut edited = Edited::parse(self.file, &before)?;
        let path = std::path::absolute(path)?;
        if let Some(user) = edited.other_user(&path, name) {
            anyhow::bail!(
                "it is not used: {} is also {user}, whose trust this peer must not change; give [[peer]] {name:?} a file of \
                 its own in `trust`",
                path.display()
            );
        }
        // Whatever uses it, the table of this peer included.
        if let Some(user) = edited.other_user(&std::path::absolute(record)?, "") {
            anyhow::bail!(
                "it is not used: its record would be written to {}, which is {user}; give that file another name",
                record.display()
            );
        }
        let trial = temporary(write::folder(&path), pem.as_bytes())?;
        edited.set_trust(name, trial.path())?;
        new_problems(self.file, &edited.text(), (trial.path(), &path))
            .context("it is not used")
            .map(|_| ())
    }

    fn print(&self, text: &str) {
        println!("{text}");
        self.has_printed.set(true);
    }

    /// Prints and records what was renewed.
    fn print_and_record(&self, what: Option<String>) {
        if let Some(what) = what {
            self.print(&what);
            audit::record(&messages::OWN_RENEWED, &what);
        }
    }
}

/// The file of the last update that was used: it stays beside the certificates, so that an auditor can check it later.
/// `a.pem` and `a.crt` have a record each.
fn record_of(trust: &Path) -> PathBuf {
    let mut name = trust.as_os_str().to_owned();
    name.push(".update");
    name.into()
}

/// The last update that was used, and its bytes; `None` if there was none.
///
/// # Errors
/// There is one that cannot be read. Without its sequence, an old update could be used again.
fn last_used(record: &Path) -> anyhow::Result<Option<(Vec<u8>, Update)>> {
    let bytes = match fs::read(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("{} cannot be read", record.display()))?,
    };
    // The stored update is not at fault, and stays: this is no `UpdateError`.
    let update = Update::read(&bytes).map_err(|why| {
        anyhow::anyhow!(
            "{}, the record of the last update that was used, {why}; restore it from a backup, or remove it and run \
             `wardgate pair` with this site again",
            record.display()
        )
    })?;
    Ok(Some((bytes, update)))
}
