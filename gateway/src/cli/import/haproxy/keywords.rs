//! What becomes of keywords that need no value in the new configuration, or have no counterpart.

use super::super::report::{ImportClass, ImportReport};
use super::lines::{ProxySection, WordLine};

use ImportClass::{Carried, NotCarried, Stricter};

/// Reports the lines of a section that no route has reported.
pub(super) fn report_section(section: &ProxySection, report: &mut ImportReport) {
    let kind = section.header.word(0);
    let header = match kind {
        "global" | "defaults" => Some((Carried, "see its lines")),
        "frontend" | "backend" | "listen" => None,
        "resolvers" => Some((
            Carried,
            "wardgate asks the resolver of the system, and looks a name up again after 10 s",
        )),
        "program" => Some((
            NotCarried,
            "wardgate starts no programs; write a unit of systemd",
        )),
        "peers" => Some((
            NotCarried,
            "this section shares tables between HAProxy processes, which wardgate does not have; a [[peer]] table of \
             wardgate is a partner with a certificate",
        )),
        _ => Some((NotCarried, "wardgate has no counterpart of this section")),
    };
    if let Some((class, sentence)) = header {
        add(&section.header, class, sentence, report);
    }
    for line in &section.lines {
        if report.mentions(&line.place) {
            continue;
        }
        let found = match kind {
            "global" => global(line),
            "defaults" | "frontend" | "backend" | "listen" => proxy(line),
            _ => header.map(|(class, _)| (class, "part of this section")),
        };
        if let Some((class, sentence)) = found {
            add(line, class, sentence, report);
        }
    }
}

fn add(line: &WordLine, class: ImportClass, sentence: &str, report: &mut ImportReport) {
    report.add(&line.place, &line.text, class, sentence);
}

fn global(line: &WordLine) -> Option<(ImportClass, &'static str)> {
    Some(match line.word(0) {
        "user" | "group" | "uid" | "gid" | "chroot" | "daemon" | "pidfile" | "master-worker"
        | "quiet" | "set-dumpable" | "no-quick-exit" | "unix-bind" => (
            Carried,
            "the systemd unit runs wardgate as the user wardgate, without other rights; this user must be able to read the \
             key (group wardgate, mode 0640)",
        ),
        "log" | "log-tag" | "log-send-hostname" => (
            Carried,
            "wardgate writes one line for each connection to standard error, which the journal keeps and can forward",
        ),
        "stats" => (
            Carried,
            "`wardgate status` and the admin socket of the service show the state; `metrics` serves it to Prometheus",
        ),
        "nbproc" | "nbthread" | "cpu-map" | "thread-groups" | "numa-cpu-mapping" | "ulimit-n"
        | "maxsslconn" | "maxpipes" | "noepoll" | "nosplice" | "spread-checks" | "busy-polling" => {
            (
                Carried,
                "one worker runs on each core (`cores`), and the limits of the unit apply",
            )
        }
        word if word.starts_with("tune.") => (
            Carried,
            "wardgate sizes its buffers by the traffic; `wardgate tune` sets the host",
        ),
        "maxconnrate" | "maxsslrate" | "maxsessrate" => (
            NotCarried,
            "wardgate limits handshakes by source: `handshakes_per_second` in [gateway]",
        ),
        word if word.starts_with("ssl-default-") || word.starts_with("ssl-dh") => (
            Stricter,
            "policy = \"hscn\" of each route: TLS 1.2 and 1.3 with AES-256-GCM and ECDHE, no tickets, no compression",
        ),
        "ssl-server-verify" => (Stricter, "verification cannot be turned off"),
        "ssl-engine" | "ssl-provider" | "ssl-propquery" => (
            NotCarried,
            "wardgate loads no OpenSSL engine or provider; the key is a file",
        ),
        "crt-base" | "ca-base" => (Carried, "part of the paths in the new configuration"),
        "setenv" | "presetenv" | "resetenv" | "unsetenv" => (
            NotCarried,
            "wardgate.toml has no variables; the values are written in their places",
        ),
        _ => (
            NotCarried,
            "wardgate has no counterpart of this setting of the process",
        ),
    })
}

fn proxy(line: &WordLine) -> Option<(ImportClass, &'static str)> {
    Some(match (line.word(0), line.word(1)) {
        ("mode", "tcp") => (Carried, "wardgate carries streams of TCP"),
        ("mode", _) => (
            NotCarried,
            "wardgate does not read HTTP; keep HAProxy for it",
        ),
        ("log" | "log-format" | "log-tag" | "error-log-format", _)
        | (
            "option",
            "tcplog"
            | "dontlognull"
            | "dontlog-normal"
            | "logasap"
            | "log-separate-errors"
            | "log-health-checks",
        ) => (
            Carried,
            "wardgate writes one line when a connection ends, and names the peer, the reason and the bytes",
        ),
        ("option", "tcpka" | "clitcpka" | "srvtcpka")
        | (
            "clitcpka-cnt" | "clitcpka-idle" | "clitcpka-intvl" | "srvtcpka-cnt" | "srvtcpka-idle"
            | "srvtcpka-intvl",
            _,
        ) => (
            Carried,
            "TCP keepalive is always on, on both sides; timeouts.keepalive sets its times",
        ),
        (
            "option",
            "redispatch"
            | "tcp-smart-accept"
            | "tcp-smart-connect"
            | "nolinger"
            | "splice-auto"
            | "splice-request"
            | "splice-response"
            | "contstats"
            | "socket-stats"
            | "abortonclose"
            | "allbackups"
            | "independent-streams",
        )
        | ("retries", _) => (
            Carried,
            "wardgate does this in its own way: another target is tried as long as no byte was forwarded",
        ),
        ("option", "tcp-check") => (
            Carried,
            "health = \"connect\" where a server has `check`; for DICOM, health = \"c-echo\" asks the archive itself",
        ),
        (
            "option",
            "httpchk" | "mysql-check" | "pgsql-check" | "redis-check" | "smtpchk" | "ldap-check"
            | "ssl-hello-chk" | "external-check" | "spop-check",
        )
        | ("tcp-check" | "http-check" | "external-check", _) => (
            NotCarried,
            "probes are a connection, a TLS handshake, a C-ECHO or an HL7 message; write the one that fits in `health`",
        ),
        (
            "option",
            "forwardfor" | "httplog" | "httpclose" | "http-server-close" | "http-keep-alive"
            | "forceclose" | "httpslog",
        ) => (Carried, "this is for HTTP and has no effect in mode tcp"),
        ("option", _) => (NotCarried, "wardgate has no counterpart of this option"),
        ("no", "option") => (
            Carried,
            "this turns off what wardgate does not do, or does in its own way",
        ),
        ("timeout", "queue" | "tarpit") => (
            Carried,
            "connections do not queue: a full DICOM route sends a transient rejection",
        ),
        ("timeout", "check") => (
            Carried,
            "timeout of [route.health]; the default is 5 s, and half the interval where that is short",
        ),
        ("timeout", "client-fin" | "server-fin") => (
            Carried,
            "a connection that is closed on one side ends after 15 min of silence",
        ),
        ("timeout", "http-request" | "http-keep-alive") => {
            (Carried, "this is for HTTP and has no effect in mode tcp")
        }
        ("acl", _) => (
            NotCarried,
            "a route has no conditions; `from` lists the networks of clients, `peers` the partners, [[route.ae]] chooses \
             an archive by the called AE title",
        ),
        ("use_backend" | "use-server", _) => (
            NotCarried,
            "a route does not choose by conditions; give each backend a listener of its own, or use [[route.ae]] for \
             called AE titles",
        ),
        ("tcp-request" | "tcp-response", _) => (
            NotCarried,
            "a route has no rules for streams; `from` and `connections_per_source` limit clients",
        ),
        ("stick-table" | "stick" | "hash-type" | "hash-balance-factor", _) => (
            NotCarried,
            "targets are chosen for each connection; an association stays where it begins",
        ),
        (
            "http-request"
            | "http-response"
            | "errorfile"
            | "errorloc"
            | "redirect"
            | "cookie"
            | "compression"
            | "capture"
            | "monitor-uri"
            | "http-reuse"
            | "http-after-response"
            | "http-error"
            | "email-alert",
            _,
        ) => (NotCarried, "wardgate does not read HTTP"),
        ("stats", _) => (
            NotCarried,
            "`web = true` in [gateway] serves a page with the state; `wardgate status` prints it",
        ),
        (
            "backlog" | "fullconn" | "bind-process" | "id" | "description" | "grace" | "guid"
            | "maxconn",
            _,
        ) => (Carried, "wardgate needs no such setting"),
        ("disabled", _) => (
            NotCarried,
            "remove the route, or drain it: `wardgate drain ROUTE`",
        ),
        ("rate-limit", _) => (
            NotCarried,
            "wardgate limits handshakes by source: `handshakes_per_second` in [gateway]",
        ),
        ("enabled" | "dispatch", _) => (Carried, "routes are always enabled"),
        (
            "server" | "bind" | "default_backend" | "balance" | "timeout" | "source"
            | "default-server" | "server-template",
            _,
        ) => {
            return None;
        }
        _ => (NotCarried, "wardgate has no counterpart of this line"),
    })
}
