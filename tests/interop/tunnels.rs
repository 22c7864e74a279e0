//! stunnel and HAProxy as the other end of the tunnel, in both modes, with mutual TLS.

use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::pki::Leaf;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, Gateway, Pki, Program, dicom, free_port};

use crate::pair::{A, ALLOWED, B, originate, terminate};
use crate::peers::{DCMTK, storescp, storescu};

#[test]
fn originate_reaches_stunnel() {
    far_end_is("stunnel4", "1.3", |files| {
        let text = format!("accept = {}\nconnect = {}\n", files.listen, files.target);
        files.stunnel(&text, A)
    });
}

#[test]
fn terminate_serves_stunnel() {
    near_end_is("stunnel4", "1.3", |files| {
        let text = format!(
            "client = yes\naccept = {}\nconnect = 127.0.0.1:{}\nsni = {B}\n",
            files.listen, files.target
        );
        files.stunnel(&text, B)
    });
}

/// TLS 1.2 has record layers and keys of its own.
#[test]
fn originate_reaches_stunnel_that_knows_tls12_alone() {
    far_end_is("stunnel4", "1.2", |files| {
        let text = format!(
            "sslVersionMax = TLSv1.2\naccept = {}\nconnect = {}\n",
            files.listen, files.target
        );
        files.stunnel(&text, A)
    });
}

#[test]
fn terminate_serves_stunnel_that_knows_tls12_alone() {
    near_end_is("stunnel4", "1.2", |files| {
        let text = format!(
            "sslVersionMax = TLSv1.2\nclient = yes\naccept = {}\nconnect = 127.0.0.1:{}\nsni = {B}\n",
            files.listen, files.target
        );
        files.stunnel(&text, B)
    });
}

#[test]
fn originate_reaches_haproxy() {
    far_end_is("haproxy", "1.3", |files| {
        files.haproxy(&format!(
            "bind 127.0.0.1:{} ssl crt {} ca-file {} verify required ssl-min-ver TLSv1.2\n  \
             server far 127.0.0.1:{}\n",
            files.listen,
            files.leaf.both.display(),
            files.leaf.trust.display(),
            files.target
        ))
    });
}

#[test]
fn terminate_serves_haproxy() {
    near_end_is("haproxy", "1.3", |files| {
        files.haproxy(&format!(
            "bind 127.0.0.1:{}\n  \
             server far 127.0.0.1:{} ssl crt {} ca-file {} verify required sni str({B}) verifyhost {B}\n",
            files.listen,
            files.target,
            files.leaf.both.display(),
            files.leaf.trust.display()
        ))
    });
}

/// What the other program's configuration is made of.
pub(crate) struct Files<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) leaf: Leaf,
    pub(crate) listen: u16,
    pub(crate) target: u16,
}

impl Files<'_> {
    pub(crate) fn stunnel(&self, service: &str, peer: &str) -> Program {
        let file = self.folder.join("stunnel.conf");
        let text = format!(
            "foreground = yes\npid =\nsyslog = no\n[tunnel]\n{service}cert = {}\nkey = {}\n\
             CAfile = {}\nverifyChain = yes\ncheckHost = {peer}\nsslVersionMin = TLSv1.2\n",
            self.leaf.certificate.display(),
            self.leaf.key.display(),
            self.leaf.trust.display(),
        );
        std::fs::write(&file, text).expect("there is room");
        Program::new("stunnel4").arg(file)
    }

    pub(crate) fn haproxy(&self, lines: &str) -> Program {
        let file = self.folder.join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
             timeout client 1m\n  timeout server 1m\nlisten tunnel\n  {lines}"
        );
        std::fs::write(&file, text).expect("there is room");
        Program::new("haproxy").args(["-db", "-f"]).arg(file)
    }
}

/// storescu -> A originate ===> the other program -> storescp
fn far_end_is(name: &'static str, version: &str, program: impl Fn(&Files<'_>) -> Program) {
    if !tier::ready(
        "interop",
        &[DCMTK.as_slice(), &[Need::Program(name)]].concat(),
    ) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let [entry, wan, target] = [(); 3].map(|()| free_port());
    let files = Files {
        folder: folder.path(),
        leaf: pki.leaf(B),
        listen: wan,
        target,
    };
    let _other = Background::listening(&program(&files), wan);
    let site = originate(&pki, "dicom", entry, wan).start();
    store(entry, target, &site, (version, B));
    site.stop();
}

/// storescu -> the other program ===> B terminate -> storescp
fn near_end_is(name: &'static str, version: &str, program: impl Fn(&Files<'_>) -> Program) {
    if !tier::ready(
        "interop",
        &[DCMTK.as_slice(), &[Need::Program(name)]].concat(),
    ) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let [entry, wan, target] = [(); 3].map(|()| free_port());
    let site = terminate(&pki, "dicom", wan, target).start();
    let files = Files {
        folder: folder.path(),
        leaf: pki.leaf(A),
        listen: entry,
        target: wan,
    };
    let _other = Background::listening(&program(&files), entry);
    store(entry, target, &site, (version, A));
    site.stop();
}

/// Sends a series on two associations, one after the other; it must arrive bit for bit.
fn store(entry: u16, target: u16, site: &Gateway, (version, peer): (&str, &str)) {
    let sent = TempDir::new().expect("there is room");
    let received = TempDir::new().expect("there is room");
    let files = dicom::series(sent.path(), "WARDGATE", 8, 512);
    let _scp = storescp(target, received.path());
    for part in files.chunks(4) {
        storescu(entry, &["-R"], part).run().expect_success();
    }
    assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
    for line in site.wait_for_connections(2) {
        assert_eq!(line.text("tls.protocol.version"), version, "{line:?}");
        assert_eq!(line.text("peer"), format!("dns:{peer}"), "{line:?}");
        assert!(ALLOWED.contains(&line.text("tls.cipher")), "{line:?}");
    }
}
