//! The `openssl` command as a TLS client and as a TLS server.

use std::io::{Read, Write};
use std::net::TcpStream;

use wardgate_tests::pki::Leaf;
use wardgate_tests::{Background, DEADLINE, Program, until};

use crate::peers::loopback;

/// The text of the tests' clients; no line begins with a letter that is a command of `s_client`.
const SAID: &[u8] = b"ping through the tunnel\n";
/// The answer of `s_server -rev`.
const REVERSED: &[u8] = b"lennut eht hguorht gnip\n";

/// A version and suites to be offered, as options of `s_client` and `s_server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// `-tls1_2` and the like.
    pub(crate) version: &'static str,
    /// The name that openssl gives the suite, or a list of them.
    pub(crate) suites: String,
}

impl Offer {
    /// The options. Security level 0 lets openssl offer what its defaults would hold back.
    pub(crate) fn options(&self) -> Vec<String> {
        let (option, list) = match self.version {
            "-tls1_3" => ("-ciphersuites", self.suites.clone()),
            _ => ("-cipher", format!("{}:@SECLEVEL=0", self.suites)),
        };
        vec![self.version.into(), option.into(), list]
    }

    /// Each suite that the installed openssl knows, alone, and each version that is too old with all
    /// of its suites.
    pub(crate) fn all() -> Vec<Self> {
        let ciphers = Program::new("openssl")
            .args([
                "ciphers",
                "-s",
                "-tls1_2",
                "ALL:COMPLEMENTOFALL:@SECLEVEL=0",
            ])
            .run()
            .expect_success();
        let text = ciphers.text();
        let offer = |version, suites: &str| Self {
            version,
            suites: suites.into(),
        };
        let mut offers: Vec<_> = text
            .trim()
            .split(':')
            .map(|suite| offer("-tls1_2", suite))
            .collect();
        for suite in [
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_128_CCM_SHA256",
            "TLS_AES_128_CCM_8_SHA256",
        ] {
            offers.push(offer("-tls1_3", suite));
        }
        offers.push(offer("-tls1", "ALL"));
        offers.push(offer("-tls1_1", "ALL"));
        offers
    }
}

/// `s_client` to a port on loopback, with a certificate or without.
pub(crate) fn client(port: u16, leaf: Option<&Leaf>) -> Program {
    let mut program = Program::new("openssl")
        .args(["s_client", "-connect", &loopback(port)])
        .args(["-servername", crate::pair::B, "-ign_eof"]);
    if let Some(leaf) = leaf {
        program = program.arg("-cert").arg(&leaf.certificate);
        program = program.arg("-key").arg(&leaf.key);
    }
    program
}

/// `s_server` on loopback that returns each line reversed. It requires a client certificate.
pub(crate) fn server(port: u16, leaf: &Leaf) -> Program {
    lax_server(port, leaf)
        .args(["-Verify", "2", "-verify_return_error", "-CAfile"])
        .arg(&leaf.trust)
}

/// The same without a request for a client certificate.
pub(crate) fn lax_server(port: u16, leaf: &Leaf) -> Program {
    Program::new("openssl")
        .args(["s_server", "-rev", "-accept", &loopback(port)])
        .arg("-cert")
        .arg(&leaf.certificate)
        .arg("-key")
        .arg(&leaf.key)
}

/// Runs an `s_client` against a server that returns the text or its reverse. Returns the output when the
/// answer came, or the output at the end without an answer.
pub(crate) fn run_client(client: &Program) -> Result<String, String> {
    let mut client = Background::start(client);
    client.try_write(SAID);
    let answers = [SAID, REVERSED].map(|answer| String::from_utf8_lossy(answer).trim().to_owned());
    until(
        "s_client has neither an answer nor an end",
        DEADLINE,
        || {
            let ended = client.has_ended();
            let output = client.output();
            if answers.iter().any(|answer| output.contains(answer)) {
                return Some(Ok(output));
            }
            ended.then_some(Err(output))
        },
    )
}

/// Sends a line of plaintext to a port and reads the answer of `s_server -rev`; `false` if the connection
/// ended instead. Anything else fails.
pub(crate) fn reversed(port: u16) -> bool {
    let mut stream = TcpStream::connect(loopback(port)).expect("the gateway listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("the deadline is not zero");
    // The gateway may have closed already.
    let _ = stream.write_all(SAID);
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while answer.len() < REVERSED.len() {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the gateway neither answered nor closed")
            }
            Err(_) => break,
        }
    }
    assert!(answer.is_empty() || answer == REVERSED, "got {answer:?}");
    !answer.is_empty()
}
