//! The configuration of each program: the same for all where possible.
//!
//! TLS 1.3 with only AES-256-GCM, X25519 for programs without a post-quantum exchange, certificates requested
//! and checked at both ends, no resumption (each connection is a full handshake), one worker, TCP_NODELAY,
//! keepalive, no deadline that a run could reach, and no log line for a connection if this can be turned off
//! (wardgate writes one). *As shipped* is a program with its own buffer sizes.

use std::net::SocketAddr;

use gateway::tls::Cipher;

use super::certificates::Certificates;
use super::process::list;
use super::{End, Member, Program};

/// One end of a chain: its listen address and its target.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) end: End,
    pub(crate) listen: SocketAddr,
    pub(crate) target: SocketAddr,
    /// The cores of the end.
    pub(crate) cores: Vec<usize>,
    /// The connections that it must be able to hold.
    pub(crate) connections: u32,
}

/// The text of the configuration file; the plain relay has none.
pub(super) fn text(member: Member, leg: &Leg, files: &Certificates) -> Option<String> {
    match member.program {
        Program::Wardgate => Some(wardgate(leg, files, member)),
        Program::Haproxy => Some(haproxy(leg, files, member.tuned)),
        Program::Stunnel => Some(stunnel(leg, files)),
        Program::Nginx => Some(nginx(leg, files, member.tuned)),
        Program::Relay => None,
    }
}

fn wardgate(leg: &Leg, files: &Certificates, member: Member) -> String {
    let Leg {
        end,
        listen,
        target,
        ref cores,
        connections: _,
    } = *leg;
    format!(
        r#"[gateway]
cores = [{cores}]
{cipher}

[identity]
certificate = "{certificate}"
key = "{key}"

[[peer]]
name = "opposite"
identity = "dns:{peer}"
trust = "{trust}"

[[route]]
name = "bench"
mode = "{mode}"
protocol = "{protocol}"
listen = "{listen}"
targets = ["{target}"]
peers = ["opposite"]
policy = "hscn-tls13"

[route.timeouts]
handshake = "60s"
connect = "60s"
drain = "1s"
"#,
        cores = list(cores),
        cipher = if member.other_cipher {
            other_cipher()
        } else {
            String::new()
        },
        certificate = files.certificate(end).display(),
        key = files.key(end).display(),
        trust = files.trust().display(),
        mode = end.name(),
        protocol = if member.dicom { "dicom" } else { "tcp" },
        peer = end.opposite().host(),
    )
}

/// The key for the cipher that wardgate does not select here.
fn other_cipher() -> String {
    let fastest = Cipher::fastest();
    let other = Cipher::ALL.into_iter().find(|cipher| *cipher != fastest);
    other.map_or_else(String::new, |other| format!("cipher = \"{other}\""))
}

/// The suite that every program must use.
const SUITE: &str = "TLS_AES_256_GCM_SHA384";

fn haproxy(leg: &Leg, files: &Certificates, tuned: bool) -> String {
    let both = files.both(leg.end).display().to_string();
    let trust = files.trust().display().to_string();
    let tls = format!("ssl crt {both} ca-file {trust} verify required ssl-min-ver TLSv1.3");
    let (bind, server) = match leg.end {
        End::Originate => {
            let host = leg.end.opposite().host();
            let server = format!(
                "{tls} ciphersuites {SUITE} no-ssl-reuse no-tls-tickets sni str({host}) verifyhost {host}"
            );
            (String::new(), server)
        }
        End::Terminate => {
            let bind = format!("{tls} ciphersuites {SUITE} curves X25519 no-tls-tickets");
            (bind, String::new())
        }
    };
    let buffers = if tuned {
        "    tune.bufsize 131072\n"
    } else {
        ""
    };
    format!(
        "global
    maxconn {connections}
    nbthread 1
    tune.ssl.cachesize 0
{buffers}
defaults
    mode tcp
    option tcpka
    timeout connect 60s
    timeout client 1h
    timeout server 1h

listen bench
    bind {listen} {bind}
    server far {target} {server}
",
        connections = leg.connections,
        listen = leg.listen,
        target = leg.target,
    )
}

fn stunnel(leg: &Leg, files: &Certificates) -> String {
    let only_here = match leg.end {
        End::Originate => format!(
            "client = yes\ncheckHost = {host}\nsni = {host}\n",
            host = leg.end.opposite().host()
        ),
        End::Terminate => "requireCert = yes\n".to_owned(),
    };
    format!(
        "foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
socket = l:SO_KEEPALIVE=1
socket = r:SO_KEEPALIVE=1

[bench]
accept = {listen}
connect = {target}
{only_here}cert = {certificate}
key = {key}
CAfile = {trust}
verifyChain = yes
sslVersion = TLSv1.3
ciphersuites = {SUITE}
curves = X25519
sessionResume = no
TIMEOUTbusy = 3600
TIMEOUTidle = 3600
TIMEOUTconnect = 60
",
        listen = leg.listen,
        target = leg.target,
        certificate = files.certificate(leg.end).display(),
        key = files.key(leg.end).display(),
        trust = files.trust().display(),
    )
}

fn nginx(leg: &Leg, files: &Certificates, tuned: bool) -> String {
    let certificate = files.certificate(leg.end).display().to_string();
    let key = files.key(leg.end).display().to_string();
    let trust = files.trust().display().to_string();
    let (listen, tls) = match leg.end {
        End::Originate => (
            "so_keepalive=on",
            format!(
                "proxy_ssl on;
        proxy_ssl_certificate {certificate};
        proxy_ssl_certificate_key {key};
        proxy_ssl_trusted_certificate {trust};
        proxy_ssl_verify on;
        proxy_ssl_name {host};
        proxy_ssl_server_name on;
        proxy_ssl_session_reuse off;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_conf_command Ciphersuites {SUITE};",
                host = leg.end.opposite().host()
            ),
        ),
        End::Terminate => (
            "so_keepalive=on ssl",
            format!(
                "ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {trust};
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites {SUITE};
        ssl_ecdh_curve X25519;
        ssl_session_cache off;
        ssl_session_tickets off;
        ssl_handshake_timeout 60s;"
            ),
        ),
    };
    let buffers = if tuned { "proxy_buffer_size 256k;" } else { "" };
    format!(
        "load_module {NGINX_STREAM};
daemon off;
user root;
worker_processes 1;
pid nginx-{end}.pid;
error_log stderr error;

events {{
    worker_connections {sockets};
}}

stream {{
    access_log off;
    server {{
        listen {address} {listen};
        proxy_pass {target};
        proxy_connect_timeout 60s;
        proxy_timeout 1h;
        proxy_socket_keepalive on;
        tcp_nodelay on;
        {buffers}
        {tls}
    }}
}}
",
        sockets = leg.connections * 2 + 100,
        end = leg.end.name(),
        address = leg.listen,
        target = leg.target,
    )
}

/// Debian's nginx has `stream` as a module of its own, in package libnginx-mod-stream.
pub(super) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [End; 2] = [End::Originate, End::Terminate];

    fn leg(end: End) -> Leg {
        Leg {
            end,
            listen: SocketAddr::from(([127, 0, 0, 1], 10_001)),
            target: SocketAddr::from(([127, 0, 0, 1], 10_002)),
            cores: vec![1],
            connections: 1000,
        }
    }

    fn texts(tuned: bool) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let files = Certificates::make(folder.path()).expect("certificates can be made");
        let programs = [
            Program::Wardgate,
            Program::Haproxy,
            Program::Stunnel,
            Program::Nginx,
        ];
        programs
            .iter()
            .map(|&program| Member {
                program,
                tuned,
                dicom: false,
                other_cipher: false,
            })
            .flat_map(|member| ENDS.map(|end| text(member, &leg(end), &files)))
            .map(|text| text.expect("it has a configuration"))
            .collect()
    }

    #[test]
    fn every_program_gets_addresses_certificates_and_trust() {
        for text in texts(false) {
            for part in ["127.0.0.1:10001", "127.0.0.1:10002", "trust.pem"] {
                assert!(text.contains(part), "{part} is missing in {text}");
            }
        }
    }

    #[test]
    fn the_originating_end_checks_the_name_of_the_other() {
        let host = End::Terminate.host();
        for text in texts(false).iter().step_by(2) {
            assert!(text.contains(host), "{host} is missing in {text}");
        }
    }

    #[test]
    fn tuned_ones_have_larger_buffers() {
        let tuned = texts(true).concat();
        assert!(tuned.contains("tune.bufsize 131072"));
        assert!(tuned.contains("proxy_buffer_size 256k"));
        let shipped = texts(false).concat();
        assert!(!shipped.contains("bufsize") && !shipped.contains("buffer_size"));
    }
}
