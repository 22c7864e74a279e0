//! Whether a route reads the traffic that it forwards.

use super::file;
use super::problem::Problems;
use super::value;
use super::{Mode, Protocol};

/// How much of the traffic a route reads and checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// The route does not read.
    Off,
    /// The route reads. At bytes of another protocol it stops reading, and the connection continues.
    Lenient,
    /// The route reads. Bytes of another protocol end the connection.
    Strict,
}

/// The observer of a route: `observe`, or the safest value that does not surprise an application.
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
            "applies only to protocols \"dicom\" and \"mllp\": the protocol in a tcp stream is not known; remove it"
        }
        _ => return read.unwrap_or(default),
    };
    problems.wrong(text.line, format!("{}observe {reason}", route.scope));
    default
}

/// Why keys about the traffic are not available on passthrough routes.
pub(super) const BLIND: &str = "is not available in mode \"passthrough\", because the route does not read what \
    it forwards; remove it, or choose mode \"originate\" or \"terminate\"";
