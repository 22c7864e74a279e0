//! Whether a route looks at what passes.

use super::file;
use super::problem::Problems;
use super::value;
use super::{Mode, Protocol};

/// What a route does with what passes besides carrying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// Nothing.
    Off,
    /// It looks; what is not the protocol ends the looking, and goes on.
    Lenient,
    /// It looks; what is not the protocol ends the connection.
    Strict,
}

/// The observer of a route: `observe`, or what is safest without surprising an application.
pub(super) fn resolve(
    route: &file::Route,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
    problems: &mut Problems,
) -> Observe {
    let default = match (mode, protocol) {
        (Some(Mode::Passthrough), _) | (_, Some(Protocol::Tcp)) => Observe::Off,
        _ => Observe::Lenient,
    };
    let Some(text) = route.observe.value() else {
        return default;
    };
    let read = value::word(&text.value, &Observe::WORDS);
    let read = problems.accept(&route.scope, "observe", text, read);
    let reason = match (mode, protocol) {
        (Some(Mode::Passthrough), _) => BLIND,
        (_, Some(Protocol::Tcp)) => {
            "applies only to protocols \"dicom\" and \"mllp\": what a tcp stream carries is not known; remove it"
        }
        _ => return read.unwrap_or(default),
    };
    problems.wrong(text.line, format!("{}observe {reason}", route.scope));
    default
}

/// Why passthrough takes no key about what passes.
pub(super) const BLIND: &str = "cannot be kept in mode \"passthrough\", which never looks into what \
    passes; remove it, or choose mode \"originate\" or \"terminate\"";
