//! Options of the whole process of stunnel: what the service of wardgate does in their place.

use super::super::report::{ImportClass, ImportReport};
use super::is_yes;
use super::lines::OptionLine;

/// Options that stunnel allows before the first section only, in lowercase. `debug` is also one of services.
const OPTIONS: [&str; 25] = [
    "chroot",
    "setuid",
    "setgid",
    "pid",
    "foreground",
    "syslog",
    "output",
    "log",
    "debug",
    "fips",
    "compression",
    "engine",
    "enginectrl",
    "enginedefault",
    "provider",
    "providerparameter",
    "egd",
    "rndfile",
    "rndbytes",
    "rndoverwrite",
    "service",
    "taskbar",
    "iconactive",
    "iconerror",
    "iconidle",
];

/// Whether stunnel allows the option before the first section only. `debug` is allowed in a section as well.
pub(super) fn has(line: &OptionLine) -> bool {
    OPTIONS.contains(&line.name())
}

/// Reports an option of the process. Returns false if it is none.
pub(super) fn report(line: &OptionLine, report: &mut ImportReport) -> bool {
    use ImportClass::{Carried, NotCarried, Stricter};
    let (class, sentence) = match line.name() {
        "chroot" => (
            Carried,
            "the systemd unit gives wardgate its own view of the file system (ProtectSystem=strict); paths in this file \
             that began at the chroot must be complete paths in the new configuration",
        ),
        "setuid" | "setgid" => (
            Carried,
            "the systemd unit runs wardgate as the user and group wardgate; this user must be able to read the key: \
             `install -o root -g wardgate -m 0640 KEY /etc/wardgate/pki/`",
        ),
        "pid" => (Carried, "systemd knows the process; no PID file is needed"),
        "foreground" => (
            Carried,
            "`wardgate run` stays in the foreground, as systemd expects",
        ),
        "syslog" | "output" | "log" | "debug" | "logid" => (
            Carried,
            "wardgate writes one line for each connection to standard error, which the journal keeps; log = \"json\" or \
             \"journald\" in [gateway] changes the form",
        ),
        "fips" if is_yes(line) => (
            NotCarried,
            "wardgate is not built with a validated module; its policies allow only AES-GCM and ECDHE, but this is no \
             FIPS certificate",
        ),
        "fips" => (Carried, "there is no FIPS mode to turn off"),
        "compression" => (
            Stricter,
            "wardgate never compresses: compression before encryption shows the content (CRIME)",
        ),
        "engine" | "enginectrl" | "enginedefault" | "provider" | "providerparameter" => (
            NotCarried,
            "wardgate loads no OpenSSL engine or provider, and reads the key from a file; issue a certificate for a \
             key in a file: `wardgate pki issue`, or `wardgate pki csr` for another CA",
        ),
        "egd" | "rndfile" | "rndbytes" | "rndoverwrite" => {
            (Carried, "random numbers come from the kernel")
        }
        "service" => (
            Carried,
            "the name of the inetd service has no use here; every route has a name",
        ),
        "taskbar" | "iconactive" | "iconerror" | "iconidle" => {
            (Carried, "this is for a Windows desktop; wardgate has none")
        }
        _ => return false,
    };
    report.add(&line.place, &line.text, class, sentence);
    true
}
