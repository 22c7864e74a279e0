//! The keywords of the configuration file, in both directions.

use std::fmt;

use super::{
    CipherSetting, Connect, Host, LogFormat, Mode, Observe, PeerName, Policy, Protocol,
    RecordLayer, SandboxSetting, Target,
};

impl LogFormat {
    /// The keywords of `log`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("journald", Self::Journald),
    ];
}

impl SandboxSetting {
    /// The keywords of `sandbox`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("require", Self::Require),
        ("try", Self::Try),
        ("off", Self::Off),
    ];
}

impl CipherSetting {
    /// The keywords of `cipher`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("aws-lc", Self::AwsLc),
        ("ring", Self::Ring),
    ];
}

impl Connect {
    /// The keywords of `connect`.
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("late", Self::Late), ("early", Self::Early)];
}

impl Mode {
    /// The keywords of `mode`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("originate", Self::Originate),
        ("terminate", Self::Terminate),
        ("passthrough", Self::Passthrough),
    ];

    /// Its keyword.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words
            .find(|(_, mode)| *mode == self)
            .map_or("", |(word, _)| word)
    }
}

impl Protocol {
    /// The keywords of `protocol`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("dicom", Self::Dicom),
        ("mllp", Self::Mllp),
        ("tcp", Self::Tcp),
    ];
}

impl Observe {
    /// The keywords of `observe`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("off", Self::Off),
        ("lenient", Self::Lenient),
        ("strict", Self::Strict),
    ];
}

impl Policy {
    /// The keywords of `policy`.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("hscn", Self::Hscn),
        ("hscn-tls13", Self::HscnTls13),
        ("dicom-b12", Self::DicomB12),
    ];
}

impl RecordLayer {
    /// The keywords of `record_layer`.
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("in-place", Self::InPlace), ("rustls", Self::Rustls)];
}

fn word_of<T: PartialEq>(meant: &T, words: &[(&'static str, T)]) -> &'static str {
    let word = words.iter().find(|(_, value)| value == meant);
    word.map_or("", |(word, _)| word)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(self, &Self::WORDS))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(self, &Self::WORDS))
    }
}

impl fmt::Display for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(self, &Self::WORDS))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(self, &Self::WORDS))
    }
}

/// `10.20.0.9:104`, `[fd00::9]:104` or `gw.region.example:2762`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => std::net::SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// With its prefix, as in `peers`; digests in lowercase without colons.
impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::Sha256(digest) => {
                f.write_str("sha256:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}
