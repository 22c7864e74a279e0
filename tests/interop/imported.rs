//! Configurations of a working pair of stunnel and of HAProxy are imported: wardgate takes over each end, and both.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;
use wardgate_tests::pki::Leaf;
use wardgate_tests::stream::connect;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, Outcome, Pki, Program, free_port, wardgate};

use crate::pair::{A, B};

#[test]
fn a_stunnel_pair_is_imported_and_each_end_is_replaced_alone() {
    if tier::ready("interop", &[Need::Program("stunnel4")]) {
        let pair = OtherPair::new("stunnel", |site, leaf| {
            let head = format!(
                "foreground = yes\npid =\nsyslog = no\ncert = {}\nkey = {}\nCAfile = {}\nverifyChain = yes\n",
                leaf.certificate.display(),
                leaf.key.display(),
                leaf.trust.display()
            );
            match site.peer {
                Some(peer) => format!(
                    "{head}[to-region]\nclient = yes\naccept = 127.0.0.1:{}\nconnect = 127.0.0.1:{}\ncheckHost = {peer}\n",
                    site.listen, site.target
                ),
                None => format!(
                    "{head}[from-hospital]\naccept = 127.0.0.1:{}\nconnect = {}\n",
                    site.listen, site.target
                ),
            }
        });
        pair.replace(|file| Program::new("stunnel4").arg(file));
    }
}

#[test]
fn a_haproxy_pair_is_imported_and_each_end_is_replaced_alone() {
    if tier::ready("interop", &[Need::Program("haproxy")]) {
        let pair = OtherPair::new("haproxy", |site, leaf| {
            let head = "defaults\n  mode tcp\n  timeout connect 4s\n  timeout client 1m\n  timeout server 1m\n";
            let files = format!(
                "crt {} ca-file {} verify required",
                leaf.both.display(),
                leaf.trust.display()
            );
            match site.peer {
                Some(peer) => format!(
                    "{head}listen to-region\n  bind 127.0.0.1:{}\n  server region 127.0.0.1:{} ssl {files} \
                     verifyhost {peer}\n",
                    site.listen, site.target
                ),
                None => format!(
                    "{head}frontend from-hospital\n  bind 127.0.0.1:{} ssl {files}\n  default_backend app\nbackend app\n  \
                     server app 127.0.0.1:{}\n",
                    site.listen, site.target
                ),
            }
        });
        pair.replace(|file| Program::new("haproxy").args(["-db", "-f"]).arg(file));
    }
}

/// One end: its ports, and the name of the peer, which only the end that connects has in its file.
struct End<'a> {
    listen: u16,
    target: u16,
    peer: Option<&'a str>,
}

/// Both ends of the other program, with what the importer made of them.
struct OtherPair {
    originate: [PathBuf; 2],
    terminate: [PathBuf; 2],
    entry: u16,
    wan: u16,
    echo: SocketAddr,
    // Dropping them removes the files.
    _folder: TempDir,
    _pki: Pki,
}

impl OtherPair {
    fn new(program: &str, text: impl Fn(&End<'_>, &Leaf) -> String) -> Self {
        let pki = Pki::new();
        let folder = TempDir::new().expect("there is room");
        let echo = echo();
        let [entry, wan] = [(); 2].map(|()| free_port());
        let [originate, terminate] = [
            (
                A,
                End {
                    listen: entry,
                    target: wan,
                    peer: Some(B),
                },
            ),
            (
                B,
                End {
                    listen: wan,
                    target: echo.port(),
                    peer: None,
                },
            ),
        ]
        .map(|(name, end)| {
            let old = folder.path().join(format!("{name}.conf"));
            std::fs::write(&old, text(&end, &pki.leaf(name))).expect("there is room");
            let new = folder.path().join(format!("{name}.toml"));
            let import = |options: &[&str]| import(program, &old, &new, options);
            if end.peer.is_none() {
                // The peer's name is not in the file: the result is refused until it is given.
                import(&[]).expect_success();
                let refused = check(&new).expect_failure();
                assert!(
                    refused.text().contains("identity is not filled in yet"),
                    "{refused}"
                );
                let exists = import(&["--peer", &format!("from-hospital=dns:{A}")]);
                assert!(exists.expect_failure().text().contains("--force"));
                import(&["--force", "--peer", &format!("from-hospital=dns:{A}")]).expect_success();
            } else {
                import(&[]).expect_success();
            }
            check(&new).expect_success();
            [old, new]
        });
        Self {
            originate,
            terminate,
            entry,
            wan,
            echo,
            _folder: folder,
            _pki: pki,
        }
    }

    /// Sends bytes through the pair as it was, with one end replaced, and with both.
    fn replace(&self, other: impl Fn(&Path) -> Program) {
        let run = |[old, new]: &[PathBuf; 2], is_new: bool, port| {
            let program = if is_new {
                Program::new(wardgate()).args(["run", "--config"]).arg(new)
            } else {
                other(old)
            };
            Background::listening(&program, port)
        };
        // Which end is new: that with the originate route, that with the terminate route.
        for is_new in [[false, false], [false, true], [true, false], [true, true]] {
            let terminate = run(&self.terminate, is_new[1], self.wan);
            let originate = run(&self.originate, is_new[0], self.entry);
            let sent: Vec<u8> = (0..50_000_u32).map(|number| (number % 251) as u8).collect();
            let received = exchange(self.entry, &sent);
            let outputs = || format!("{}\n{}", originate.output(), terminate.output());
            let is_same = received.as_ref().is_ok_and(|received| *received == sent);
            assert!(
                is_same,
                "new: {is_new:?}, echo {}: {:?}\n{}",
                self.echo,
                received.map(|received| received.len()),
                outputs()
            );
            originate.stop();
            terminate.stop();
        }
    }
}

fn import(program: &str, old: &Path, new: &Path, options: &[&str]) -> Outcome {
    let command = Program::new(wardgate()).args(["import", program]);
    command
        .arg(old)
        .arg("--output")
        .arg(new)
        .args(options)
        .run()
}

fn check(file: &Path) -> Outcome {
    Program::new(wardgate())
        .args(["check", "--config"])
        .arg(file)
        .run()
}

/// Sends bytes and returns what comes back.
fn exchange(entry: u16, sent: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(SocketAddr::from(([127, 0, 0, 1], entry)));
    stream.write_all(sent)?;
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(received)
}

/// A server that sends back what it receives, until the test ends.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let Ok(mut back) = stream.try_clone() else {
                    return;
                };
                // A connection that breaks ends its thread.
                let _ = io::copy(&mut stream, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
        }
    });
    address
}
