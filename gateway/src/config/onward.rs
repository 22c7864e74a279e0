//! When a route connects to its target.

use super::file;
use super::problem::Problems;
use super::value;
use super::{Mode, Observe, Protocol};

/// When the connection to the target is made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// When what the connecting side sends begins as the route's protocol does (`dicom`, `mllp`), at once on `tcp`
    /// routes.
    #[default]
    Late,
    /// As soon as the connecting side has connected, and in mode `Terminate` has proved who it is. `mllp` alone.
    Early,
}

/// The word of `connect`, where the route can do what it says.
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
        // The deadline of the same name.
        Ok(_) => Err(format!(
            "is a duration, and this key takes \"early\" or \"late\"; the deadline stands in [route.timeouts]: connect \
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
            "\"early\" applies only to modes \"originate\" and \"terminate\": what passes here is TLS, which the \
             connecting side begins at once; remove it"
        }
        (_, Some(Protocol::Tcp)) => "\"early\" is what a tcp route does in any case; remove it",
        (_, Some(Protocol::Dicom)) => {
            "\"early\" applies only to protocol \"mllp\": where an association leads, and whether it may, is known \
             from its request; remove it"
        }
        _ if observe == Observe::Off => {
            "\"early\" needs observe = \"lenient\" or \"strict\": what comes is judged as it passes, and observe = \
             \"off\" does not look; remove one of the two"
        }
        _ => return Connect::Early,
    };
    problems.wrong(text.line, format!("{}connect {reason}", route.scope));
    Connect::default()
}
