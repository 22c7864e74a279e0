//! `wardgate check --against`: what does not fit between the configurations of two sites.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Outcome, Pki, Program, Site, wardgate};

use crate::pair::{A, B, local};

/// The configurations of two sites, in a folder each.
struct Both {
    folder: TempDir,
}

impl Both {
    fn new(here: &Site, there: &Site) -> Self {
        let both = Self {
            folder: TempDir::new().expect("the machine has a folder for temporary files"),
        };
        here.write(&both.file("here.toml"));
        there.write(&both.file("there.toml"));
        // Its paths are absolute, so the files beside it are read.
        let text = fs::read_to_string(both.file("there.toml")).expect("it was written");
        let paths = text.split('"').filter(|word| word.starts_with('/'));
        for path in paths.map(Path::new).filter(|path| path.is_file()) {
            let name = path.file_name().expect("a file has a name");
            let is_key = path.extension().is_some_and(|end| end == "key");
            if !is_key {
                fs::copy(path, both.folder.path().join(name)).expect("the folder is ours");
            }
        }
        both
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compare_twins(&self) -> Outcome {
        let program = Program::new(wardgate()).arg("check");
        let program = program.arg(self.file("here.toml")).arg("--against");
        program.arg(self.file("there.toml")).arg("--twin").run()
    }

    fn compare(&self) -> Outcome {
        let program = Program::new(wardgate()).arg("check");
        let program = program.arg(self.file("here.toml")).arg("--against");
        program.arg(self.file("there.toml")).run()
    }
}

/// Two sites that fit, for changes by a case.
struct Sites {
    pki: Pki,
    wan: SocketAddr,
}

impl Sites {
    fn new() -> Self {
        let (pki, wan) = (Pki::new(), local());
        Self { pki, wan }
    }

    fn here(&self) -> Site {
        self.here_as(&self.pki.leaf(A))
    }

    fn here_as(&self, identity: &Leaf) -> Site {
        Site::with_identity(identity)
            .originate(local(), self.wan, &[format!("dns:{B}")])
            .name("out")
    }

    fn there(&self) -> Site {
        Site::new(&self.pki, B)
            .terminate(self.wan, local(), &[format!("dns:{A}")])
            .name("in")
    }
}

fn code(outcome: &Outcome) -> Option<i32> {
    outcome.status.and_then(|status| status.code())
}

#[test]
fn two_sites_that_fit_are_reported_as_pairs_of_routes() {
    let sites = Sites::new();
    let both = Both::new(&sites.here(), &sites.there());
    let outcome = both.compare();
    assert_eq!(code(&outcome), Some(0), "{outcome}");
    let text = outcome.text();
    assert!(
        text.contains("here.toml: route \"out\" reaches route \"in\" of "),
        "{text}"
    );
    // The key of the other site never comes here, and its CPUs are its own.
    let there = sites.there().gateway("cores", "[0, 63]");
    let both = Both::new(&sites.here(), &there);
    let key = both.file("there.toml");
    let text = fs::read_to_string(&key).expect("it was written");
    let text = text.replace(".key\"", ".absent\"");
    fs::write(&key, text).expect("the folder is ours");
    assert_eq!(code(&both.compare()), Some(0), "{}", both.compare());
}

#[test]
fn a_missing_certificate_of_the_other_site_is_a_remark() {
    let sites = Sites::new();
    let mut identity = sites.pki.leaf(B);
    identity.certificate = sites.pki.path("absent.pem");
    let there = Site::with_identity(&identity)
        .terminate(sites.wan, local(), &[format!("dns:{A}")])
        .name("in");
    let outcome = Both::new(&sites.here(), &there).compare();
    assert_eq!(code(&outcome), Some(0), "{outcome}");
    let words = "absent.pem\" of the other site is not on this machine, so the certificate for route \"out\" of the \
                 other end was not compared; copy it beside ";
    assert!(outcome.text().contains(words), "{outcome}");
}

#[test]
fn a_file_of_this_site_with_the_same_path_is_not_taken_for_one_of_the_other_site() {
    let sites = Sites::new();
    let identity = sites.pki.leaf(A);
    let there = Site::with_identity(&identity)
        .terminate(sites.wan, local(), &[format!("dns:{A}")])
        .name("in");
    let both = Both::new(&sites.here(), &there);
    let name = identity.certificate.file_name().expect("a name");
    let copy = both.file(&name.to_string_lossy());
    // The path is that of this site's certificate; the file beside OTHER is that of the other site.
    fs::copy(sites.pki.leaf(B).certificate, &copy).expect("the folder is ours");
    assert_eq!(code(&both.compare()), Some(0), "{}", both.compare());
    fs::remove_file(&copy).expect("it was copied");
    let outcome = both.compare();
    assert_eq!(code(&outcome), Some(0), "{outcome}");
    assert!(
        outcome.text().contains("is not on this machine"),
        "{outcome}"
    );
}

#[test]
fn output_that_cannot_be_written_ends_a_command_without_a_panic() {
    let sites = Sites::new();
    let both = Both::new(&sites.here(), &sites.there());
    let compare = |output: Stdio| {
        let mut command = Command::new(wardgate());
        command.arg("check").arg(both.file("here.toml"));
        command.arg("--against").arg(both.file("there.toml"));
        let ended = command.stdout(output).output().expect("it runs");
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), text)
    };
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(compare(writer.into()), (Some(0), String::new()));
    let full = File::options().write(true).open("/dev/full");
    let (code, text) = compare(full.expect("Linux has it").into());
    assert_eq!(code, Some(1), "{text}");
    let line = "wardgate: standard output cannot be written: No space left on device";
    assert!(
        text.starts_with(line) && text.lines().count() == 1,
        "{text}"
    );
}

/// A contradiction: the two sites, the file to change, and words of the line.
type Contradiction = (&'static str, Site, Site, [&'static str; 2]);

#[test]
fn each_contradiction_names_the_file_to_change() {
    let sites = Sites::new();
    let pki = &sites.pki;
    let untrusted = Leaf {
        trust: pki.other_trust(),
        ..pki.leaf(B)
    };
    let cases: Vec<Contradiction> = vec![
        (
            "another port",
            sites.here(),
            sites.there().set("listen", format!("\"{}\"", local())),
            ["here.toml:", "no terminate route of"],
        ),
        (
            "another protocol",
            sites.here().protocol("mllp"),
            sites.there(),
            ["here.toml:", "write the same at both ends"],
        ),
        (
            "another service",
            sites.here().set("service", "\"archive\""),
            sites.there(),
            ["here.toml:", "service is \"archive\", and not set"],
        ),
        (
            "the address is carried by one end only",
            sites.here().set("carry_source", "true"),
            sites.there(),
            ["here.toml:", "carry_source is true, and false"],
        ),
        (
            "no common key exchange",
            sites.here().set("require_pq", "true"),
            sites.there().set("hybrid", "false"),
            ["there.toml:", "no key exchange is common"],
        ),
        (
            "this site is not listed",
            sites.here_as(&pki.leaf("gw.c.example")),
            sites.there(),
            ["there.toml:", "add \"dns:gw.c.example\""],
        ),
        (
            "the other site is not listed",
            sites.here().set("peers", "[\"dns:gw.c.example\"]"),
            sites.there(),
            ["here.toml:", "add \"dns:gw.b.example\""],
        ),
        (
            "the CA of this site is not trusted there",
            sites.here(),
            Site::with_identity(&untrusted)
                .terminate(sites.wan, local(), &[format!("dns:{A}")])
                .name("in"),
            ["there.toml:", "would refuse the other end"],
        ),
        (
            "the certificate of this site has expired",
            sites.here_as(&pki.odd(A, Kind::Expired)),
            sites.there(),
            ["there.toml:", "expired on"],
        ),
        (
            "the certificate of this site is revoked",
            sites.here_as(&pki.odd(A, Kind::Revoked)),
            sites.there().crl(&pki.crl()),
            ["there.toml:", "is revoked"],
        ),
        (
            "no called title in common",
            sites.here().set("called_ae", "[\"PACS\"]"),
            sites.there().set("called_ae", "[\"ARCHIVE\"]"),
            ["there.toml:", "called_ae does not have \"PACS\""],
        ),
    ];
    for (name, here, there, [file, words]) in cases {
        let outcome = Both::new(&here, &there).compare();
        assert_eq!(code(&outcome), Some(78), "{name}: {outcome}");
        let errors = String::from_utf8_lossy(&outcome.stderr).into_owned();
        let is_it = |line: &str| line.contains(file) && line.contains(words);
        assert!(errors.lines().any(is_it), "{name}: {outcome}");
    }
}

#[test]
fn settings_that_work_badly_together_are_remarks() {
    let sites = Sites::new();
    let here = sites
        .here()
        .set("called_ae", "[\"PACS\", \"ARCHIVE\"]")
        .set("policy", "\"hscn-tls13\"")
        .set("connections", "100");
    let there = sites
        .there()
        .set("called_ae", "[\"ARCHIVE\"]")
        .set("connections_per_peer", "10");
    let outcome = Both::new(&here, &there).compare();
    assert_eq!(code(&outcome), Some(0), "{outcome}");
    for words in [
        "remark: the other site: route \"in\": called_ae does not have \"PACS\"",
        "remark: this site: route \"out\": policy is \"hscn-tls13\"",
        "remark: the other site: route \"in\": connections_per_peer is 10",
        "remark: the other site: route \"in\": no crl is configured",
    ] {
        assert!(outcome.text().contains(words), "{words}: {outcome}");
    }
}

/// A machine of a site, whose key is its own.
fn twin(sites: &Sites, entry: SocketAddr) -> Site {
    Site::new(&sites.pki, A)
        .originate(entry, sites.wan, &[format!("dns:{B}")])
        .name("out")
        .gateway("metrics", format!("\"{}\"", local()))
}

#[test]
fn two_machines_of_a_site_that_are_configured_alike_are_good() {
    let (sites, entry) = (Sites::new(), local());
    let both = Both::new(&twin(&sites, entry), &twin(&sites, entry));
    let outcome = both.compare_twins();
    assert_eq!(code(&outcome), Some(0), "{outcome}");
    let text = outcome.text();
    assert!(
        text.contains("both machines have the same routes"),
        "{text}"
    );
    assert!(!text.contains("remark"), "{text}");
}

#[test]
fn settings_that_differ_between_two_machines_of_a_site_are_mistakes() {
    let (sites, entry) = (Sites::new(), local());
    let here = twin(&sites, entry);
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], entry.port()));
    for (there, words, expected) in [
        (twin(&sites, local()), "write the same port on both", 78),
        (twin(&sites, elsewhere), "wrong if one address moves", 0),
        (
            twin(&sites, entry).set("policy", "\"dicom-b12\""),
            "route \"out\": policy is not written, and \"dicom-b12\" on the other machine",
            78,
        ),
        (
            twin(&sites, entry).timeout("drain", "\"1min\""),
            "[timeouts]: drain is not written, and \"1min\"",
            78,
        ),
        (
            twin(&sites, entry).name("outward"),
            "route \"out\": is not in the other file",
            78,
        ),
    ] {
        let outcome = Both::new(&here, &there).compare_twins();
        assert_eq!(code(&outcome), Some(expected), "{outcome}");
        assert!(outcome.text().contains(words), "no {words:?}: {outcome}");
    }
}

#[test]
fn certificates_and_lists_of_two_machines_of_a_site_are_compared() {
    let (sites, entry) = (Sites::new(), local());
    let site = |identity: &Leaf| {
        Site::with_identity(identity)
            .originate(entry, sites.wan, &[format!("dns:{B}")])
            .name("out")
    };
    let own = sites.pki.leaf(A);
    let here = site(&own);
    let expired = sites.pki.odd(A, Kind::Expired);
    let mut other_trust = sites.pki.leaf(A);
    other_trust.trust = sites.pki.other_trust();
    for (there, words, expected) in [
        (site(&own), "both machines have the same key", 0),
        (
            site(&sites.pki.leaf("gw2.a.example")),
            "issue both for the same names",
            78,
        ),
        (site(&expired), "that of the other machine expired on ", 78),
        (site(&other_trust), "copy the file of CAs to both", 78),
        (
            site(&sites.pki.leaf(A)).crl(&sites.pki.crl()),
            "the revocation list is absent, and of ",
            78,
        ),
    ] {
        let outcome = Both::new(&here, &there).compare_twins();
        assert!(outcome.text().contains(words), "no {words:?}: {outcome}");
        assert_eq!(code(&outcome), Some(expected), "{outcome}");
    }
}
