//! The certificates of a route: its own, and those that its peers must present.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ImportContext;
use super::super::draft::{IdentityDraft, ModeDraft, TargetDraft, TrustDraft, fill_in, quoted};
use super::super::report::{ImportClass, ImportReport, shell_word};
use super::lines::WordLine;
use super::parts::{Options, Parts, based, last};
use super::server::ServerLine;
use super::{Global, options};

use ImportClass::{NotCarried, Stricter};

impl Parts<'_> {
    pub(super) fn trust(
        &self,
        options: Options<'_>,
        line: &WordLine,
        global: &Global,
        context: &ImportContext,
        report: &mut ImportReport,
    ) -> TrustDraft {
        let missing = format!("/etc/wardgate/pki/{}-ca.pem", self.name);
        if self.mode == ModeDraft::Passthrough {
            return TrustDraft::default();
        }
        let value = |name| last(options, name).filter(|value: &&str| !value.is_empty());
        let verify = match value("verify") {
            Some("required") => {
                "verify: both ends always verify each other, and the certificate must prove a written name as well"
            }
            _ => {
                "verify: verification cannot be turned off; both ends present a certificate of a known CA"
            }
        };
        report.add(&line.place, &line.text, Stricter, verify);
        let crl = value("crl-file").map(|file| based(global.ca_base.as_deref(), file, context));
        if crl.is_some() {
            let sentence =
                "crl-file: crl of the peer; with an expired list, no peer of this CA is accepted";
            report.add(&line.place, &line.text, Stricter, sentence);
        }
        let trust = match value("ca-file") {
            Some(file) if !file.starts_with('@') => {
                let sentence = "ca-file: trust of the peer; it must hold the CA of this partner alone, because every CA in \
                    it may issue for the peer";
                report.add(&line.place, &line.text, Stricter, sentence);
                based(global.ca_base.as_deref(), file, context)
            }
            _ => {
                let sentence =
                    format!("no file of a CA: save the other site's ca.pem as {missing}");
                report.add(&line.place, &line.text, Stricter, sentence);
                missing
            }
        };
        TrustDraft {
            trust,
            crl: crl.into_iter().collect(),
        }
    }

    pub(super) fn identity(
        &self,
        options: Options<'_>,
        line: &WordLine,
        global: &Global,
        context: &ImportContext,
        report: &mut ImportReport,
    ) -> Option<IdentityDraft> {
        if self.mode == ModeDraft::Passthrough {
            return None;
        }
        let mut files = options.iter().filter(|(name, _)| *name == "crt");
        // Of a server the last one counts; a listener chooses one of several by the server name.
        let file = match self.mode {
            ModeDraft::Originate => files.next_back(),
            _ => files.next(),
        };
        let Some((_, file)) = file else {
            let sentence = "both ends must present a certificate, and this line has none (crt): it uses that of [identity]. \
                `wardgate pki issue` makes one";
            report.add(&line.place, &line.text, Stricter, sentence);
            return None;
        };
        if self.mode != ModeDraft::Originate && files.next().is_some() {
            let sentence = "crt: a listener has one certificate; only the first one is used";
            report.add(&line.place, &line.text, NotCarried, sentence);
        }
        if file.is_empty() || file.ends_with('/') || file.starts_with('@') {
            let sentence = "crt: wardgate reads one file, not a folder; name the certificate and the key in [identity]";
            report.add(&line.place, &line.text, NotCarried, sentence);
            return None;
        }
        let certificate = based(global.crt_base.as_deref(), file, context);
        let file = shell_word(&certificate);
        let sentence = format!(
            "crt: certificate and key are in one file, which wardgate accepts if no other user can read it: `chgrp wardgate \
             {file} && chmod 0640 {file}`. If the key is in a file beside it, name that file in `key`"
        );
        report.add(&line.place, &line.text, Stricter, sentence);
        Some(IdentityDraft {
            key: certificate.clone(),
            certificate,
        })
    }

    /// The names that the peers must prove; the targets have theirs.
    pub(super) fn identities(
        &self,
        targets: &[TargetDraft],
        servers: &[&ServerLine<'_>],
        context: &ImportContext,
        report: &mut ImportReport,
    ) -> BTreeSet<String> {
        if self.mode == ModeDraft::Passthrough {
            return BTreeSet::new();
        }
        if let Some(given) = context.identities_of(&self.name) {
            return given;
        }
        let names = targets
            .iter()
            .filter_map(|target| target.identities.as_ref())
            .flatten();
        let mut names: BTreeSet<String> = names.cloned().collect();
        let hint = format!("import again with --peer {}=dns:NAME", self.name);
        let mut open = |line: &WordLine,
                        place: &str,
                        sentence: &str,
                        names: &mut BTreeSet<String>| {
            names.insert(fill_in(&format!(
                "write the name that the certificate of {place} must prove, for example \"dns:gw.partner.example\"; `wardgate \
                 pki show` prints the names in a certificate ({} {:?})",
                self.front.kind(),
                self.front.name()
            )));
            let sentence = format!("{sentence}: write it in `identity` of the peer, or {hint}");
            report.add(&line.place, &line.text, Stricter, sentence);
        };
        if self.mode == ModeDraft::Terminate {
            let sentence = "`verify` checks that a CA has issued the client's certificate, and wardgate also checks the name \
                in it";
            open(self.bind, "the client", sentence, &mut names);
            return names;
        }
        let nameless = servers
            .iter()
            .zip(targets)
            .filter(|(_, target)| target.identities.is_none());
        let nameless: Vec<_> = nameless.map(|(server, _)| server).collect();
        for server in &nameless {
            let sentence = "the server's certificate must prove a name, and this line has none (verifyhost, or sni with a \
                fixed name)";
            open(server.line, &server.address, sentence, &mut names);
        }
        for (server, target) in servers.iter().zip(targets) {
            let Some(own) = target.identities.iter().flatten().next() else {
                continue;
            };
            let sentence = format!(
                "identity {} of the peer, which must be a subject alternative name of its certificate",
                quoted(own)
            );
            report.add(&server.line.place, &server.line.text, Stricter, sentence);
        }
        names
    }

    pub(super) fn versions(
        &self,
        options: Options<'_>,
        global: &Global,
        keys: &mut BTreeMap<&'static str, String>,
    ) {
        let by_default = match self.mode {
            ModeDraft::Originate => global.is_server_13,
            ModeDraft::Terminate => global.is_bind_13,
            ModeDraft::Passthrough => return,
        };
        if by_default || options.iter().any(options::is_13_alone) {
            keys.insert("policy", quoted("hscn-tls13"));
        }
    }
}
