//! When a route connects to its target.

use super::file;
use super::problem::Problems;
use super::value;
use super::{Mode, Observe, Protocol};

/// When the route connects to its target.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// When the first bytes of the client are those of the route's protocol (`dicom`, `mllp`); on `tcp`
    /// routes at once.
    #[default]
    Late,
    /// As soon as the client has connected and, in mode `Terminate`, has authenticated. Only for `mllp`.
    Early,
}

/// Resolves the keyword of `connect`, if the route supports it.
pub(super) fn resolve(
    route: &file::Route,
    (mode, protocol): (Option<Mode>, Option<Protocol>),
    observe: Observe,
    problems: &mut Problems,
) -> Connect {
    let Some(text) = route.connect.value() else {
        return Connect::default();
    };
    let read = match value::duration(&text.value) {
        // The deadline `connect` has the same name.
        Ok(_) => Err(format!(
            "is a duration, and this key takes \"early\" or \"late\"; the deadline is in [route.timeouts]: connect \
             = \"{}\"",
            text.value
        )),
        Err(_) => value::word(&text.value, &Connect::WORDS),
    };
    let read = problems.accept(&route.scope, "connect", text, read);
    if read != Some(Connect::Early) {
        return read.unwrap_or_default();
    }
    let reason = match (mode, protocol) {
        (Some(Mode::Passthrough), _) => {
            "\"early\" applies only to modes \"originate\" and \"terminate\": a passthrough route forwards TLS, \
                in which the client always sends first; remove it"
        }
        (_, Some(Protocol::Tcp)) => {
            "\"early\" has no effect on a tcp route, which always connects at once; \
            remove it"
        }
        (_, Some(Protocol::Dicom)) => {
            "\"early\" applies only to protocol \"mllp\": the request of an association decides where it goes \
                and whether it is allowed; remove it"
        }
        _ if observe == Observe::Off => {
            "\"early\" needs observe = \"lenient\" or \"strict\": the route must check the first bytes, and \
                observe = \"off\" does not read them; remove one of the two"
        }
        _ => return Connect::Early,
    };
    problems.wrong(text.line, format!("{}connect {reason}", route.scope));
    Connect::default()
}
