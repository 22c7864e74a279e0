//! What a partner that was paired by a person, or will be, cannot overwrite.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use tempfile::TempDir;

use super::args::{PairFiles, PairOptions};
use super::edit::Edited;
use super::site::OwnSite;
use super::write::PeerWriter;
use crate::pairing::conversation::Partner as _;
use crate::pairing::offer::Offer;

/// A site in a folder, with a CA and a certificate of its own.
struct TestSite {
    folder: TempDir,
    options: PairOptions,
    own: OwnSite,
}

impl TestSite {
    /// A site with this name, the DNS name `gw.{name}.example`, and a route to these peers.
    fn new(name: &str, peers: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\n[[route]]\nname = \"in\"\nmode = \"terminate\"\n\
             protocol = \"tcp\"\nlisten = \"127.0.0.1:2762\"\ntargets = [\"127.0.0.1:104\"]\npeers = {peers}\n"
        );
        fs::write(path("wardgate.toml"), &config).expect("the folder is ours");
        let options = PairOptions {
            files: PairFiles {
                config: path("wardgate.toml"),
                dir: path("ca"),
                trust_dir: path("peers"),
            },
            listen: None,
            connect: None,
            code_file: None,
            peer: None,
            site: Some(name.to_owned()),
            dns: Some(format!("gw.{name}.example")),
            ca: None,
            route: Vec::new(),
            no_renew: false,
            yes: false,
        };
        let edited = Edited::parse(&options.files.config, &config).expect("it is TOML");
        let own = OwnSite::new(&options, &edited, SystemTime::now()).expect("it is made");
        Self {
            folder,
            options,
            own,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }

    /// Pairs with a site that sends this offer, as far as this side goes.
    fn pair(&self, offer: &Offer) -> Result<(), String> {
        let before = self.read("wardgate.toml");
        let mut writer = PeerWriter::new(&self.options, &self.own, before);
        writer
            .prepare(offer)
            .and_then(|()| writer.commit())
            .map_err(|error| error.to_string())
    }

    /// Adds text at the end of the configuration.
    fn add(&self, text: &str) {
        let config = self.read("wardgate.toml") + text;
        fs::write(self.path("wardgate.toml"), config).expect("the folder is ours");
    }
}

/// What the site of this name offers.
fn offer_of(name: &str) -> Offer {
    TestSite::new(name, "[\"x\"]").own.offer
}

#[test]
fn the_name_of_a_paired_site_does_not_overwrite_the_ca_file_of_another_peer() {
    let site = TestSite::new("victim", "[\"northern-region\", \"region\", \"clinic\"]");
    let region = offer_of("northern-region");
    site.pair(&region).expect("it is paired");
    // An administrator wrote this table; its file has the name that another site may give itself.
    let file = site.path("peers/northern-region.pem");
    fs::rename(file, site.path("peers/region.pem")).expect("the folder is ours");
    let config = site.read("wardgate.toml");
    let config = config.replace("peers/northern-region.pem", "peers/../peers/region.pem");
    fs::write(site.path("wardgate.toml"), &config).expect("the folder is ours");
    let trust = site.read("peers/region.pem");
    let refused = site
        .pair(&offer_of("region"))
        .expect_err("the file is used");
    let sentence = "trust of [[peer]] \"northern-region\" names this file already";
    assert!(refused.contains(sentence), "{refused}");
    assert!(refused.contains("--peer NAME"), "{refused}");
    assert_eq!(site.read("peers/region.pem"), trust);
    assert_eq!(site.read("wardgate.toml"), config);
    // The peer itself may be paired again, and its file is written.
    site.pair(&region).expect("nothing changes");
}

#[test]
fn a_pairing_overwrites_no_file_that_no_table_of_the_peer_names() {
    let site = TestSite::new("victim", "[\"clinic\"]");
    fs::create_dir(site.path("peers")).expect("the folder is ours");
    let clinic = offer_of("clinic");
    fs::write(site.path("peers/clinic.pem"), "by hand").expect("the folder is ours");
    let refused = site.pair(&clinic).expect_err("the file is there");
    assert!(refused.contains("exists already"), "{refused}");
    assert_eq!(site.read("peers/clinic.pem"), "by hand");
    // What an interrupted pairing with the same site has left is completed.
    let pem: String = clinic
        .authorities
        .iter()
        .map(|ca| crate::pki::pem::of_certificate(ca))
        .collect();
    fs::write(site.path("peers/clinic.pem"), &pem).expect("the folder is ours");
    site.pair(&clinic).expect("it is the same file");
    // A list of revoked certificates counts as well, and so does a table of another kind.
    site.add("\n[[peer]]\nname = \"other\"\nidentity = \"dns:other.example\"\ntrust = \"peers/clinic.pem\"\ncrl = [\"peers/list.pem\"]\n");
    let refused = site.pair(&offer_of("list")).expect_err("the file is used");
    assert!(refused.contains("crl of [[peer]] \"other\""), "{refused}");
}
