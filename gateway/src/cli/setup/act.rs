//! The work of `wardgate setup` after all answers are accepted: certificate, configuration, service.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::super::admin::CONFIG;
use super::super::site_files::make_certificate;
use super::super::unpaired::missing_peers;
use super::super::{EXIT_CONFIG, EXIT_GOOD, systemd};
use super::draft::{Question, SetupAnswers, SiteSide};
use super::leftovers;
use super::other_ca::OtherCa;
use super::terminal::Terminal;
use super::text::{KnownPeer, SiteFiles};
use super::trial;
use crate::pki::authority::OutputFiles;
use crate::pki::request::{NewRequest, make_request};
use crate::pki::write;

/// Permissions of files that every user may read, and of private keys.
const MODE_PUBLIC: u32 = 0o644;
const MODE_KEY: u32 = 0o600;

/// What is to be done.
pub(super) struct Work<'a> {
    pub(super) file: &'a Path,
    /// The text of the configuration as the difference was made of it.
    pub(super) present: &'a str,
    pub(super) text: &'a str,
    pub(super) draft: &'a SetupAnswers,
    pub(super) files: &'a SiteFiles,
    /// The other site, with its CA certificates.
    pub(super) peer: Option<(&'a KnownPeer, &'a OtherCa)>,
}

impl Work<'_> {
    /// Makes or imports the certificate, then writes the CA certificates of the other site and the configuration. Returns
    /// the exit code.
    ///
    /// # Errors
    /// A file cannot be read or written. The configuration is then as it was; the CA certificates may be new.
    pub(super) fn write(&self) -> anyhow::Result<u8> {
        let now = super::read(self.file)?;
        ensure!(
            now == self.present,
            "{} was changed by someone else during the questions, so nothing was written; run `wardgate setup` again",
            self.file.display()
        );
        self.certificate()?;
        // A requested certificate is not there yet, so the files cannot be checked.
        if !self.waits_for_certificate() {
            let problems = self.problems(self.text)?;
            if !problems.is_empty() {
                for problem in problems {
                    eprintln!("{problem}");
                }
                let and_ca = match self.new_authorities() {
                    Some((peer, _)) => format!(", and neither was the CA of {}", peer.name),
                    None => String::new(),
                };
                eprintln!(
                    "wardgate: {} was not changed, because of the problems above{and_ca}; a certificate that was made is \
                     kept",
                    self.file.display()
                );
                return Ok(EXIT_CONFIG);
            }
        }
        self.replace_files()?;
        Ok(EXIT_GOOD)
    }

    /// Writes the CA certificates of the other site and the configuration, if they change.
    fn replace_files(&self) -> anyhow::Result<()> {
        // A link stays a link.
        let config = fs::canonicalize(self.file).unwrap_or_else(|_| self.file.to_owned());
        let new = self.new_authorities();
        let pem = new.map(|(peer, ca)| (peer, ca.pem()));
        let mut files: Vec<(&Path, &[u8], u32)> = Vec::new();
        if let Some((peer, pem)) = &pem {
            write::make_folder(write::folder(&peer.trust))?;
            files.push((&peer.trust, pem.as_bytes(), MODE_PUBLIC));
        }
        if self.text != self.present {
            files.push((&config, self.text.as_bytes(), write::MODE_CONFIG));
        }
        write::replace_all(&files).with_context(|| {
            format!(
                "{} or a file beside it cannot be written",
                self.file.display()
            )
        })?;
        if let Some((peer, _)) = new {
            println!("wrote {}: the CA of {}", peer.trust.display(), peer.name);
        }
        if self.text != self.present {
            println!("wrote {}", self.file.display());
        }
        Ok(())
    }

    /// The CA certificates of the other site, if its file does not hold them yet.
    fn new_authorities(&self) -> Option<(&KnownPeer, &OtherCa)> {
        self.peer.filter(|(peer, ca)| ca.is_new_in(&peer.trust))
    }

    /// The problems of a text of the configuration with the CA certificates of the other site, which are not in their place
    /// yet: a running gateway would trust them at once.
    fn problems(&self, text: &str) -> anyhow::Result<Vec<String>> {
        let Some((peer, ca)) = self.new_authorities() else {
            return trial::all_problems(text, self.file);
        };
        let trial = self.trial_folder()?;
        let copy = trial.path().join("other-ca.pem");
        write::create(&copy, ca.pem().as_bytes(), MODE_PUBLIC)?;
        let (own, copy) = (peer.trust.display().to_string(), copy.display().to_string());
        ensure!(
            text.contains(&own),
            "{own:?} cannot be checked before it is written; use a folder without special characters in its name"
        );
        let problems = trial::all_problems(&text.replace(&own, &copy), self.file)?;
        let problems = problems.into_iter();
        Ok(problems.map(|one| one.replace(&copy, &own)).collect())
    }

    /// A folder beside the configuration, which is removed when it is dropped.
    fn trial_folder(&self) -> anyhow::Result<TempDir> {
        let folder = write::folder(self.file);
        Ok(tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .tempdir_in(folder)?)
    }

    fn certificate(&self) -> anyhow::Result<()> {
        match self.draft.get(Question::Certificate) {
            Some("make") => self.make(),
            Some("csr") => self.request(),
            Some("keep") | None => Ok(()),
            Some(path) => {
                let key = self.draft.get(Question::Key).unwrap_or_default();
                self.import(Path::new(path), Path::new(key))
            }
        }
    }

    /// The folder of the site's own CA.
    fn ca_folder(&self) -> PathBuf {
        write::folder(self.file).join("ca")
    }

    fn make(&self) -> anyhow::Result<()> {
        let (now, dir) = (SystemTime::now(), self.ca_folder());
        ensure!(
            !self.files.certificate.exists(),
            "{} exists; write --certificate keep, or replace it with `wardgate pki renew`",
            self.files.certificate.display()
        );
        let site = self.draft.get(Question::SiteName).unwrap_or("site");
        let output = OutputFiles {
            certificate: self.files.certificate.clone(),
            key: self.files.key.clone(),
        };
        make_certificate(&dir, site, &self.gateway_name(), &output, now)
    }

    fn gateway_name(&self) -> String {
        let name = self.draft.get(Question::GatewayName);
        name.unwrap_or_default().to_owned()
    }

    fn request(&self) -> anyhow::Result<()> {
        let request = self.files.certificate.with_extension("csr");
        if request.exists() {
            println!("{} is there already, and is kept", request.display());
            return Ok(());
        }
        let wanted = NewRequest {
            dns: vec![self.gateway_name()],
            uri: Vec::new(),
            key_type: None,
            key: self.files.key.clone(),
            request: request.clone(),
        };
        write::make_folder(write::folder(&request))?;
        let written = make_request(&wanted)?;
        println!(
            "wrote {}: a request for {}",
            request.display(),
            written.names.join(", ")
        );
        Ok(())
    }

    /// Copies a certificate and its key, after a check of both in a folder of their own.
    fn import(&self, certificate: &Path, key: &Path) -> anyhow::Result<()> {
        let read = |path: &Path| {
            fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let certificate = read(certificate)?;
        let key = zeroize::Zeroizing::new(read(key)?);
        write::make_folder(write::folder(&self.files.certificate))?;
        let trial = self.trial_folder()?;
        let copies = SiteFiles {
            certificate: trial.path().join("site.pem"),
            key: trial.path().join("site.key"),
        };
        write::create(&copies.certificate, &certificate, MODE_PUBLIC)?;
        write::create(&copies.key, &key, MODE_KEY)?;
        let shown = |path: &Path| path.display().to_string();
        let text = self
            .text
            .replace(&shown(&self.files.certificate), &shown(&copies.certificate));
        let text = text.replace(&shown(&self.files.key), &shown(&copies.key));
        let problems = self.problems(&text)?;
        ensure!(
            problems.is_empty(),
            "the certificate and its key were not imported: {}",
            problems.join("; ").replace(&shown(trial.path()), "")
        );
        let exists = self.files.key.exists() || self.files.certificate.exists();
        let files: [(&Path, &[u8], u32); 2] = [
            (&self.files.key, &key, MODE_KEY),
            (&self.files.certificate, &certificate, MODE_PUBLIC),
        ];
        if exists {
            write::replace_all(&files)?;
        } else {
            write::create_key(&self.files.key, &key)?;
            write::create(&self.files.certificate, &certificate, MODE_PUBLIC)?;
        }
        println!("imported {} and its key", self.files.certificate.display());
        Ok(())
    }

    /// Whether the certificate comes later from the CA of the organisation.
    fn waits_for_certificate(&self) -> bool {
        self.draft.get(Question::Certificate) == Some("csr") && !self.files.certificate.exists()
    }

    /// Whether the gateway can start with what is there.
    fn is_complete(&self) -> bool {
        missing_peers(self.text).is_empty() && !self.waits_for_certificate()
    }

    /// Whether the configuration is that of the service, and systemd runs.
    fn is_of_service(&self) -> bool {
        self.file == Path::new(CONFIG) && systemd::has_service()
    }

    /// Asks whether the service should start, if there is one. An enabled service that runs gets the configuration without
    /// a question.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn asks_to_start<R: BufRead, W: Write>(
        &self,
        terminal: &mut Terminal<R, W>,
    ) -> anyhow::Result<bool> {
        if !self.is_of_service() {
            return Ok(false);
        }
        if systemd::is_enabled() && systemd::is_active() {
            return Ok(true);
        }
        terminal.confirm(
            match self.is_complete() {
                true => "Start the service now, and when this machine starts?",
                false => "Start the service when this machine starts, and as soon as the sites are paired?",
            },
            true,
        )
    }

    /// Starts the service, and prints what to do next. Returns the exit code.
    ///
    /// # Errors
    /// The service cannot be started.
    pub(super) fn finish(&self, starts: bool) -> anyhow::Result<u8> {
        if starts && self.is_of_service() {
            if self.is_complete() {
                systemd::start_or_reload()?;
                println!("the service runs with this configuration");
            } else {
                systemd::enable()?;
                println!(
                    "{}",
                    match systemd::is_active() {
                        true =>
                            "the service runs with its earlier configuration, and uses the new one when the sites are paired",
                        false => "the service is enabled, and starts when the sites are paired",
                    }
                );
            }
        }
        if self.waits_for_certificate() {
            println!(
                "next: send {} to your CA, and save its certificate, followed by those of intermediate CAs, as {}",
                self.files.certificate.with_extension("csr").display(),
                self.files.certificate.display()
            );
        }
        for line in self.next_commands() {
            println!("next: {line}");
        }
        Ok(EXIT_GOOD)
    }

    fn next_commands(&self) -> Vec<String> {
        let config = match self.file == Path::new(CONFIG) {
            true => String::new(),
            false => format!(" --config {}", self.file.display()),
        };
        let mut lines = vec![format!(
            "wardgate sheet{config}    (what the firewall, PACS and modality teams of both sites need)"
        )];
        if !missing_peers(self.text).is_empty() {
            let folder = write::folder(self.file).display();
            let config = match config.is_empty() {
                true => config,
                false => format!("{config} --dir {folder}/ca --trust-dir {folder}/pki/peers"),
            };
            let address = self
                .draft
                .get(if self.draft.side() == Some(SiteSide::Archive) {
                    Question::Listen
                } else {
                    Question::OtherSite
                });
            let address = address
                .unwrap_or_default()
                .split(',')
                .next()
                .unwrap_or_default()
                .to_owned();
            lines.push(match self.draft.side() {
                Some(SiteSide::Archive) => format!(
                    "wardgate pair{config} --listen {address}    (shows a code to read to the other site by telephone)"
                ),
                _ => format!("wardgate pair{config} --connect {address}    (asks for the code that the other site shows)"),
            });
        }
        lines
    }
}
