//! `wardgate pki crl fetch` against HTTP servers, good and bad: what is accepted replaces the file in one step, and
//! nothing else does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wardgate_tests::{Outcome, Program, free_port, wardgate};

/// A site whose peer `region` has a CA with a published list.
struct Fetching {
    folder: TempDir,
    /// `--timeout`: more than a good server needs on a busy machine.
    seconds: u64,
}

impl Fetching {
    fn new() -> Self {
        let fetching = Self {
            folder: TempDir::new().expect("the machine has a folder for temporary files"),
            seconds: 20,
        };
        fetching.pki("init --dir own --name Own --key p256");
        fetching.pki("issue --dir own --dns gw.a.example --out site.pem --key-out site.key");
        fetching.pki("init --dir region --name Region --key p256");
        fs::create_dir(fetching.path("lists")).expect("the folder is ours");
        fetching
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pki(&self, line: &str) -> String {
        let program = Program::new(wardgate()).arg("pki").args(line.split(' '));
        program
            .current_dir(self.folder.path())
            .run()
            .expect_success()
            .text()
    }

    /// The next list of a CA as it is published.
    fn publish(&self, ca: &str) -> Vec<u8> {
        self.pki(&format!("renew --dir {ca} --crl --crl-out published.crl"));
        fs::read(self.path("published.crl")).expect("it was written")
    }

    fn fetch_from(&self, url: &str) -> Outcome {
        let text = format!(
            "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\n[[peer]]\nname = \"region\"\n\
             identity = \"dns:gw.region.example\"\ntrust = \"region/ca.pem\"\ncrl = [\"lists/region.crl\"]\n\
             crl_url = \"{url}\"\n\n[[route]]\nname = \"in\"\nmode = \"terminate\"\nprotocol = \"dicom\"\n\
             listen = \"127.0.0.1:{}\"\ntargets = [\"127.0.0.1:104\"]\npeers = [\"region\"]\n",
            free_port()
        );
        fs::write(self.path("wardgate.toml"), text).expect("the folder is ours");
        Program::new(wardgate())
            .args(["pki", "crl", "fetch", "--timeout"])
            .args([self.seconds.to_string().as_str(), "--config"])
            .arg(self.path("wardgate.toml"))
            // Only the configured address is asked.
            .env("http_proxy", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", "")
            .run()
    }

    fn check(&self) -> Outcome {
        let program = Program::new(wardgate()).arg("check");
        program.arg(self.path("wardgate.toml")).run()
    }

    fn file(&self) -> Option<Vec<u8>> {
        fs::read(self.path("lists/region.crl")).ok()
    }

    /// Expects a failure that names `why`, and that no file changed.
    #[track_caller]
    fn assert_refused(&self, server: &Server, why: &str) {
        self.assert_refused_at(&server.url(), why);
    }

    #[track_caller]
    fn assert_refused_at(&self, url: &str, why: &str) {
        let before = self.file();
        let outcome = self.fetch_from(url);
        let (code, text) = (
            outcome.status.and_then(|status| status.code()),
            outcome.text(),
        );
        assert_eq!(code, Some(1), "{why}: {text}");
        assert!(text.contains(why), "{why}: {text}");
        assert!(
            text.contains("peer \"region\": ") && text.contains(url),
            "{text}"
        );
        assert!(text.contains("region.crl\" is as before"), "{text}");
        assert_eq!(self.file(), before, "{why}");
        let names = fs::read_dir(self.path("lists")).expect("a folder").count();
        assert_eq!(
            names,
            usize::from(before.is_some()),
            "{why}: another file is left"
        );
    }
}

/// An HTTP server of a test: each connection is handed to a function after its request was read.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn new(serve: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens");
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read(&mut byte).is_ok_and(|n| n == 1)
                {
                    request.push(byte[0]);
                }
                counted.fetch_add(1, Ordering::Relaxed);
                serve(&mut stream);
            }
        });
        Self { address, requests }
    }

    /// Sends a head and a body.
    fn sending(head: &str, body: &[u8]) -> Self {
        let answer = [head.replace('\n', "\r\n").as_bytes(), b"\r\n", body].concat();
        Self::new(move |stream| {
            // The client may have enough before all is sent.
            let _ = stream.write_all(&answer);
        })
    }

    fn ok(body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\nContent-Length: {}\n", body.len());
        Self::sending(&head, body)
    }

    fn url(&self) -> String {
        format!("http://{}/region.crl", self.address)
    }
}

#[test]
fn a_published_list_is_fetched_and_revokes() {
    let fetching = Fetching::new();
    fetching
        .pki("issue --dir region --dns gw.region.example --out region.pem --key-out region.key");
    let first = fetching.publish("region");
    let outcome = fetching
        .fetch_from(&Server::ok(&first).url())
        .expect_success();
    assert!(
        outcome.text().contains("peer \"region\": wrote "),
        "{outcome}"
    );
    assert_eq!(fetching.file(), Some(first.clone()));
    fetching.check().expect_success();
    let outcome = fetching
        .fetch_from(&Server::ok(&first).url())
        .expect_success();
    assert!(
        outcome
            .text()
            .contains("region.crl is current: valid until "),
        "{outcome}"
    );
    // The same in chunks, after a revocation.
    fetching.pki("revoke --dir region --certificate region.pem --reason key-compromise");
    let second = fetching.publish("region");
    let (begin, end) = second.split_at(second.len() / 2);
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let chunked = [chunk(begin), chunk(end), b"0\r\n\r\n".to_vec()].concat();
    let server = Server::sending("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n", &chunked);
    fetching.fetch_from(&server.url()).expect_success();
    assert!(
        fetching
            .pki("show lists/region.crl")
            .contains("key-compromise")
    );
    // PEM, from a server that ends the body by closing.
    fetching.publish("region");
    let pem = fs::read(fetching.path("region/ca.crl")).expect("a list");
    fetching
        .fetch_from(&Server::sending("HTTP/1.0 200 OK\n", &pem).url())
        .expect_success();
    assert_eq!(fetching.file(), Some(pem));
}

#[test]
fn a_bad_answer_leaves_the_file_as_it_was_and_names_the_reason() {
    let fetching = Fetching::new();
    let [older, present, newer] = [0; 3].map(|_| fetching.publish("region"));
    fetching
        .fetch_from(&Server::ok(&present).url())
        .expect_success();
    fetching.assert_refused(
        &Server::ok(&older),
        "it is older than the list of \"CN=Region\"",
    );
    let wrong = Server::ok(&fetching.publish("own"));
    fetching.assert_refused(&wrong, "belongs to no CA in \"trust\"");
    fetching.assert_refused(
        &Server::ok(b"<html>Please sign in</html>"),
        "holds no revocation list",
    );
    let half = &newer[..newer.len() / 2];
    let head = format!("HTTP/1.1 200 OK\nContent-Length: {}\n", newer.len());
    fetching.assert_refused(&Server::sending(&head, half), "cannot be fetched: ");
    fetching.assert_refused(
        &Server::sending("HTTP/1.1 200 OK\n", half),
        "is not a revocation list that can be read",
    );
    let missing = Server::sending("HTTP/1.1 404 Not Found\nContent-Length: 0\n", b"");
    fetching.assert_refused(&missing, "was answered with status 404");
    fetching.assert_refused(
        &Server::sending("SSH-2.0-OpenSSH_9\n", b""),
        "cannot be fetched: ",
    );
    let closed = format!("http://127.0.0.1:{}/region.crl", free_port());
    fetching.assert_refused_at(&closed, "cannot be fetched: ");
    // The list itself is good.
    fetching
        .fetch_from(&Server::ok(&newer).url())
        .expect_success();
}

#[test]
fn a_redirect_is_not_followed() {
    let fetching = Fetching::new();
    let elsewhere = Server::ok(&fetching.publish("region"));
    let head = format!(
        "HTTP/1.1 302 Found\nLocation: {}\nContent-Length: 0\n",
        elsewhere.url()
    );
    let server = Server::sending(&head, b"");
    fetching.assert_refused(
        &server,
        &format!("redirects to {:?}, which is not followed", elsewhere.url()),
    );
    assert_eq!(server.requests.load(Ordering::Relaxed), 1);
    assert_eq!(elsewhere.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn an_answer_without_an_end_is_given_up_for_its_size_or_its_time() {
    let fetching = Fetching::new();
    // With and without an announced length.
    for head in ["Content-Length: 70000000\r\n", ""] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let endless = Server::new(move |stream| {
            let mut sent = stream.write_all(head.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(&[0x30; 1 << 16]);
            }
        });
        fetching.assert_refused(&endless, "sends more than 64 MiB");
    }
    let long_head = Server::new(|stream| {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while sent.is_ok() {
            sent = stream.write_all(b"X-Padding: 0123456789012345678901234567890123456789\r\n");
        }
    });
    fetching.assert_refused(&long_head, "cannot be fetched: ");
    let drip = |head: &'static [u8]| {
        Server::new(move |stream| {
            let mut sent = stream.write_all(head);
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(100));
                sent = stream.write_all(b"0");
            }
        })
    };
    let silent = Server::new(|_| thread::sleep(Duration::from_secs(30)));
    let slow = [
        silent,
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX: "),
    ];
    let fetching = Fetching {
        seconds: 2,
        ..fetching
    };
    for server in slow {
        let begun = Instant::now();
        fetching.assert_refused(&server, "did not send the list within 2 s");
        let time = begun.elapsed();
        assert!(time < Duration::from_secs(20), "{time:?}");
    }
}

#[test]
fn a_fetch_without_an_address_or_with_a_bad_configuration_fails() {
    let fetching = Fetching::new();
    let code = |outcome: &Outcome| outcome.status.and_then(|status| status.code());
    let outcome = fetching.fetch_from("https://crl.region.example/region.crl");
    assert_eq!(code(&outcome), Some(78), "{outcome}");
    assert!(
        outcome
            .text()
            .contains("is HTTPS, which is not supported here"),
        "{outcome}"
    );
    let text = fs::read_to_string(fetching.path("wardgate.toml")).expect("it was written");
    let lines = text.lines().filter(|line| !line.starts_with("crl"));
    let text = lines.collect::<Vec<_>>().join("\n");
    fs::write(fetching.path("wardgate.toml"), text).expect("the folder is ours");
    let outcome = Program::new(wardgate())
        .args(["pki", "crl", "fetch"])
        .arg(fetching.path("wardgate.toml"))
        .run();
    assert_eq!(code(&outcome), Some(1), "{outcome}");
    assert!(
        outcome.text().contains("no [[peer]] has crl_url"),
        "{outcome}"
    );
}
