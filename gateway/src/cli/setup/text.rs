//! The text of a new configuration, with the reason beside each line.

use std::path::{Path, PathBuf};

use toml_edit::{Array, Value};

use super::draft::{Carried, Question, SetupAnswers, SiteSide};

/// The files of this site's certificate, as `[identity]` names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// A `[[peer]]` table for a site whose CA certificate is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownPeer {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) trust: PathBuf,
}

/// The column at which a comment begins.
const COMMENT_COLUMN: usize = 40;

/// A whole configuration. A question without an answer has an example as its value, so that the others can be checked.
pub(super) fn configuration(
    draft: &SetupAnswers,
    files: &SiteFiles,
    peer: Option<&KnownPeer>,
) -> String {
    let side = draft.side().unwrap_or(SiteSide::Modalities);
    let is_hl7 = draft.carried() == Some(Carried::Hl7);
    let (senders, archive) = match is_hl7 {
        true => ("sending systems", "receiving system"),
        false => ("modalities", "archive"),
    };
    let named = draft.list(Question::OtherName);
    let peers = match named.as_slice() {
        [] => vec!["other-site".to_owned()],
        _ => named,
    };
    let text = |question, example: &str| draft.get(question).unwrap_or(example).to_owned();
    let list = |question, example: &str| match draft.list(question) {
        empty if empty.is_empty() => vec![example.to_owned()],
        list => list,
    };
    let mut out = String::from(HEAD);
    out.push_str("\n[gateway]\n");
    out.push_str(&line(
        "sandbox",
        "require".into(),
        "the gateway does not start if a part of the sandbox fails",
    ));
    out.push_str(&line(
        "metrics",
        "127.0.0.1:9464".into(),
        "Prometheus metrics and health checks, on this machine only",
    ));
    out.push_str("\n# This site's own certificate.\n[identity]\n");
    out.push_str(&line(
        "certificate",
        path(&files.certificate),
        "proves this gateway to the other site",
    ));
    out.push_str(&line(
        "key",
        path(&files.key),
        "its private key, which never leaves this machine",
    ));
    if let Some(peer) = peer {
        out.push_str("\n# The other site.\n[[peer]]\n");
        out.push_str(&line(
            "name",
            peer.name.as_str().into(),
            "the name that routes list in `peers`",
        ));
        out.push_str(&line(
            "identity",
            peer.identity.as_str().into(),
            "what its certificate must prove",
        ));
        out.push_str(&line(
            "trust",
            path(&peer.trust),
            "the CA that may issue certificates for this partner",
        ));
    }
    out.push_str(match side {
        SiteSide::Modalities => "\n# From this site to the other one. The other gateway has a route with mode \"terminate\".\n[[route]]\n",
        SiteSide::Archive => "\n# From the other site to this one. The other gateway has a route with mode \"originate\".\n[[route]]\n",
    });
    let (mode, why_mode) = match side {
        SiteSide::Modalities => (
            "originate",
            format!("plaintext from the {senders} in, TLS out"),
        ),
        SiteSide::Archive => (
            "terminate",
            format!("TLS from the other gateway in, plaintext to the {archive} out"),
        ),
    };
    let (protocol, why_protocol) = match is_hl7 {
        true => (
            "mllp",
            "HL7 version 2: the gateway reads message types and acknowledgements, and changes nothing",
        ),
        false => (
            "dicom",
            "the gateway reads who calls whom, for the log and for rules, and changes nothing",
        ),
    };
    out.push_str(&line(
        "name",
        text(Question::Route, "to-other-site").into(),
        "the name in the log, in the metrics and in commands",
    ));
    out.push_str(&line("mode", mode.into(), &why_mode));
    out.push_str(&line("protocol", protocol.into(), why_protocol));
    let why_listen = match side {
        SiteSide::Modalities => format!("the {senders} send here, as if it were the {archive}"),
        SiteSide::Archive => {
            "the other gateway connects here; its firewall and yours must allow it".to_owned()
        }
    };
    out.push_str(&line(
        "listen",
        text(Question::Listen, "192.0.2.1:9").into(),
        &why_listen,
    ));
    match side {
        SiteSide::Modalities => {
            let targets = list(Question::OtherSite, "gw.region.example:2762");
            out.push_str(&line(
                "targets",
                array(&targets),
                "the other site's gateway",
            ));
        }
        SiteSide::Archive => {
            let targets = list(Question::Archive, "192.0.2.9:104");
            out.push_str(&line("targets", array(&targets), &format!("the {archive}")));
            let from = list(Question::OtherSite, "any");
            if from != ["any"] {
                out.push_str(&line(
                    "from",
                    array(&from),
                    "only these addresses may connect",
                ));
            }
        }
    }
    out.push_str(&line(
        "peers",
        array(&peers),
        why_peers(peer.is_some(), side),
    ));
    out
}

fn why_peers(is_known: bool, side: SiteSide) -> &'static str {
    match (is_known, side) {
        (false, _) => "the other site; `wardgate pair` writes its [[peer]] table",
        (true, SiteSide::Modalities) => "the partner that must answer there",
        (true, SiteSide::Archive) => "the partner that may connect",
    }
}

const HEAD: &str = "\
# The configuration of wardgate, written by `wardgate setup`. To change an answer, run it again: it shows the difference
# first, and keeps what you have written yourself.
#
# After a change by hand:
#
#   runuser -u wardgate -- wardgate check && systemctl reload wardgate
#
# Every key with its default and the reason to change it: man wardgate.toml, or
# /usr/share/doc/wardgate/examples/wardgate.toml
";

/// `key = value`, with the reason beside it.
fn line(key: &str, value: Value, reason: &str) -> String {
    let assignment = format!("{key} = {value}");
    format!(
        "{assignment:<width$}# {reason}\n",
        width = COMMENT_COLUMN.max(assignment.chars().count().saturating_add(3))
    )
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

fn array(elements: &[String]) -> Value {
    elements.iter().collect::<Array>().into()
}
