//! What a partner that was paired by a person, or will be, cannot overwrite.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::args::{PairFiles, PairOptions, RenewArgs};
use super::edit::{Edited, PeerTable};
use super::replacement::Replacement;
use super::rotate::OwnAuthorities;
use super::site::OwnSite;
use super::write::PeerWriter;
use super::{EXIT_FAILED, EXIT_GOOD, renew, state};
use crate::config::access::UserIds;
use crate::pairing::conversation::{OfferHandler as _, WrittenPart, WrittenState};
use crate::pairing::offer::Offer;
use crate::pairing::state::StateFolder;
use crate::pairing::update::Update;
use crate::pki::authority::Authority;
use crate::pki::folder;
use crate::supervisor::prepare;

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
            "[gateway]\nstate = \"state\"\n\n[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n\n[[route]]\nname = \"in\"\nmode = \"terminate\"\n\
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

    /// `wardgate pair renew`: its exit code. No peer can be reached from here.
    fn renew(&self, is_early: bool) -> u8 {
        let args = RenewArgs {
            files: self.files(),
            early: is_early,
        };
        renew::run(&args, SystemTime::now()).expect("it runs")
    }

    fn files(&self) -> PairFiles {
        PairFiles {
            config: self.path("wardgate.toml"),
            dir: self.path("ca"),
            trust_dir: self.path("peers"),
        }
    }

    fn state(&self) -> StateFolder {
        StateFolder::new(&self.path("state"))
    }

    /// An update of this site, signed by its CA, or with these bytes in place of the signature.
    fn update(&self, sequence: u64, offer: &Offer, signature: Option<&[u8]>) -> Vec<u8> {
        let ca = Authority::open(&self.path("ca")).expect("it is here");
        let part = Update::signed_part(
            sequence,
            &self.own.offer.identity,
            &offer.authorities,
            ca.certificate(),
        );
        let part = part.expect("the certificate can be read");
        let signed = ca.sign(&Update::to_sign(&part)).expect("it has a key");
        Update::complete(&part, signature.unwrap_or(&signed))
    }

    /// An update of this site with a CA more.
    fn update_with_next_ca(&self) -> Vec<u8> {
        let mut next = self.own.offer.clone();
        next.authorities.extend(offer_of("clinic").authorities);
        self.update(seconds(), &next, None)
    }

    /// Stores an update of the clinic, as the gateway does.
    fn receive(&self, update: &[u8]) {
        let stored = self.state().store("clinic", update);
        stored.expect("the folder is ours");
    }

    /// Adds text at the end of the configuration.
    fn add(&self, text: &str) {
        let config = self.read("wardgate.toml") + text;
        fs::write(self.path("wardgate.toml"), config).expect("the folder is ours");
    }
}

/// The text of the CA certificates in an offer.
fn pem_of(offer: &Offer) -> String {
    let texts = offer.authorities.iter();
    texts
        .map(|ca| crate::pki::pem::of_certificate(ca))
        .collect()
}

/// Whether something is still going on after a time that is long for it.
fn goes_on<T>(thread: &thread::ScopedJoinHandle<'_, T>) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) && !thread.is_finished() {
        thread::sleep(Duration::from_millis(5));
    }
    !thread.is_finished()
}

/// What the site of this name offers.
fn offer_of(name: &str) -> Offer {
    TestSite::new(name, "[\"x\"]").own.offer
}

#[test]
fn the_name_of_a_paired_site_does_not_overwrite_the_ca_file_of_another_peer() {
    let mut site = TestSite::new("victim", "[\"northern-region\", \"region\", \"clinic\"]");
    site.options.yes = true;
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
    fs::write(site.path("peers/clinic.pem"), pem_of(&clinic)).expect("the folder is ours");
    site.pair(&clinic).expect("it is the same file");
    // A list of revoked certificates counts as well, and so does a table of another kind.
    site.add("\n[[peer]]\nname = \"other\"\nidentity = \"dns:other.example\"\ntrust = \"peers/clinic.pem\"\ncrl = [\"peers/list.pem\"]\n");
    let refused = site.pair(&offer_of("list")).expect_err("the file is used");
    assert!(refused.contains("crl of [[peer]] \"other\""), "{refused}");
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it is later").as_secs()
}

#[test]
fn a_signed_update_that_makes_the_configuration_invalid_is_not_used() {
    let site = TestSite::new("victim", "[\"region\", \"clinic\"]");
    // The region has two CAs of two names, and the clinic offers the same two: their certificates are public.
    let (mut region, clinic) = (offer_of("region"), TestSite::new("clinic", "[\"x\"]"));
    region.authorities.extend(offer_of("other").authorities);
    site.pair(&region).expect("it is paired");
    site.pair(&clinic.own.offer).expect("it is paired");
    let trust = site.read("peers/clinic.pem");
    let bad = clinic.update(seconds(), &region, None);
    site.receive(&bad);
    assert_eq!(site.renew(false), EXIT_FAILED);
    assert_eq!(site.read("peers/clinic.pem"), trust);
    prepare(&site.path("wardgate.toml"), SystemTime::now()).expect("the gateway starts");
    // One without the CAs of another peer is used.
    let good = clinic.update_with_next_ca();
    site.receive(&good);
    assert_eq!(site.renew(false), EXIT_GOOD);
    assert_ne!(site.read("peers/clinic.pem"), trust);
}

/// A site, with an update of the clinic that has the CAs of the region, and one with its own next CA. The region has two
/// CAs of two names.
fn with_updates() -> (TestSite, TestSite, [Vec<u8>; 2]) {
    let site = TestSite::new("victim", "[\"region\", \"clinic\"]");
    let (mut region, clinic) = (offer_of("region"), TestSite::new("clinic", "[\"x\"]"));
    region.authorities.extend(offer_of("other").authorities);
    site.pair(&region).expect("it is paired");
    site.pair(&clinic.own.offer).expect("it is paired");
    let updates = [
        clinic.update(seconds(), &region, None),
        clinic.update_with_next_ca(),
    ];
    (site, clinic, updates)
}

#[test]
fn a_signed_update_is_compared_with_other_peers_also_while_a_list_cannot_be_used() {
    for (peer, is_good_used) in [("clinic", false), ("region", true)] {
        let (site, _clinic, [bad, good]) = with_updates();
        let table = format!("[[peer]]\nname = \"{peer}\"\n");
        let with_list = format!("{table}crl = [\"none.crl\"]\n");
        let config = site.read("wardgate.toml");
        assert!(config.contains(&table), "{config}");
        let config = config.replace(&table, &with_list);
        fs::write(site.path("wardgate.toml"), config).expect("the folder is ours");
        let trust = site.read("peers/clinic.pem");
        site.receive(&bad);
        assert_eq!(site.renew(false), EXIT_FAILED);
        assert_eq!(site.read("peers/clinic.pem"), trust, "{peer}");
        // The peer's own list must be there, so that all of the update is checked.
        site.receive(&good);
        site.renew(false);
        let is_used = site.read("peers/clinic.pem") != trust;
        assert_eq!(is_used, is_good_used, "{peer}");
    }
}

#[test]
fn a_list_of_the_user_of_the_service_hides_no_update_from_its_check() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (site, clinic, [bad, good]) = with_updates();
    fs::create_dir(site.path("crl")).expect("the folder is ours");
    let list = site.path("crl/clinic.crl");
    fs::copy(clinic.path("ca/ca.crl"), &list).expect("the folder is ours");
    let daemon = UserIds::read(Path::new("/"), "daemon").expect("there is such a user");
    for path in [site.path("crl"), list] {
        chown(path, Some(daemon.user), Some(daemon.group)).expect("we are root");
    }
    let config = site.read("wardgate.toml");
    let config = config.replace("[gateway]\n", "[gateway]\nrun_as = \"daemon\"\n");
    let table = "[[peer]]\nname = \"clinic\"\n";
    let config = config.replace(table, &format!("{table}crl = [\"crl/clinic.crl\"]\n"));
    fs::write(site.path("wardgate.toml"), config).expect("the folder is ours");
    let trust = site.read("peers/clinic.pem");
    site.receive(&bad);
    assert_eq!(site.renew(false), EXIT_FAILED);
    assert_eq!(site.read("peers/clinic.pem"), trust);
    let prepared = prepare(&site.path("wardgate.toml"), SystemTime::now());
    assert_eq!(prepared.expect("the gateway starts").problems, [""; 0]);
    // This one is used, and the list of the next CA is missing.
    site.receive(&good);
    assert_eq!(site.renew(false), EXIT_FAILED);
    assert_ne!(site.read("peers/clinic.pem"), trust);
    assert!(!site.path("state/clinic.used").exists());
}

#[test]
fn an_update_does_not_change_a_file_that_is_also_the_trust_of_another_table() {
    let site = TestSite::new("victim", "[\"clinic\"]");
    let clinic = TestSite::new("clinic", "[\"x\"]");
    site.pair(&clinic.own.offer).expect("it is paired");
    let trust = site.read("peers/clinic.pem");
    site.add(&format!(
        "\n[[peer]]\nname = \"second\"\nidentity = \"dns:second.example\"\ntrust = {:?}\n",
        site.path("peers/clinic.pem").display().to_string()
    ));
    let update = clinic.update_with_next_ca();
    site.receive(&update);
    assert_eq!(site.renew(false), EXIT_FAILED);
    assert_eq!(site.read("peers/clinic.pem"), trust);
}

#[test]
fn a_pairing_and_a_renewal_wait_for_each_other() {
    let mut site = TestSite::new("victim", "[\"clinic\"]");
    // The key of the first clinic's CA was stolen, and the clinic has a new CA.
    let stolen = TestSite::new("clinic", "[\"x\"]");
    let clinic = offer_of("clinic");
    site.pair(&stolen.own.offer).expect("it is paired");
    let before = site.read("peers/clinic.pem");
    site.receive(&stolen.update_with_next_ca());
    let pairing = folder::lock_trust(&site.path("peers")).expect("it is free");
    thread::scope(|scope| {
        let renewing = scope.spawn(|| site.renew(false));
        assert!(goes_on(&renewing), "the renewal does not wait");
        fs::write(site.path("peers/clinic.pem"), pem_of(&clinic)).expect("the folder is ours");
        drop(pairing);
        assert_eq!(renewing.join().expect("no panic"), EXIT_FAILED);
    });
    assert_eq!(site.read("peers/clinic.pem"), pem_of(&clinic));

    fs::write(site.path("peers/clinic.pem"), &before).expect("the folder is ours");
    let renewing = folder::lock_trust(&site.path("peers")).expect("it is free");
    site.options.yes = true;
    site.options.peer = Some("clinic".to_owned());
    thread::scope(|scope| {
        let pairing = scope.spawn(|| site.pair(&clinic));
        assert!(goes_on(&pairing), "the pairing does not wait");
        assert_eq!(site.read("peers/clinic.pem"), before);
        drop(renewing);
        assert_eq!(pairing.join().expect("no panic"), Ok(()));
    });
    assert_eq!(site.read("peers/clinic.pem"), pem_of(&clinic));
}

#[test]
fn the_record_of_an_update_takes_the_place_of_no_other_file() {
    let site = TestSite::new("victim", "[\"clinic\"]");
    let clinic = TestSite::new("clinic", "[\"x\"]");
    site.pair(&clinic.own.offer).expect("it is paired");
    let (before, config) = (site.read("peers/clinic.pem"), site.read("wardgate.toml"));
    let record = site.path("peers/clinic.pem.update");
    let update = clinic.update_with_next_ca();
    let is_refused = || {
        site.receive(&update);
        assert_eq!(site.renew(false), EXIT_FAILED);
        assert_eq!(site.read("peers/clinic.pem"), before);
        // The update is not at fault.
        assert_eq!(site.state().received("clinic").as_ref(), Some(&update));
    };
    // The peer's own list has this name, and does not exist yet.
    let lists = "renew = true\ncrl = [\"peers/clinic.pem.update\"]\n";
    let with_list = config.replace("renew = true\n", lists);
    fs::write(site.path("wardgate.toml"), with_list).expect("the folder is ours");
    is_refused();
    assert!(!record.exists());
    fs::write(site.path("wardgate.toml"), config).expect("the folder is ours");
    // Without the sequence of the last update, an older one could be used.
    fs::write(&record, "something else").expect("the folder is ours");
    is_refused();
    assert_eq!(site.read("peers/clinic.pem.update"), "something else");
    fs::remove_file(&record).expect("it is there");
    fs::create_dir(&record).expect("the folder is ours");
    is_refused();
    fs::remove_dir(&record).expect("it is there");
    assert_eq!(site.renew(false), EXIT_GOOD);
    assert_eq!(fs::read(&record).expect("it was written"), update);
    assert_ne!(site.read("peers/clinic.pem"), before);
}

#[test]
fn an_update_that_fails_its_check_is_removed_and_so_is_one_from_before_a_pairing() {
    let site = TestSite::new("victim", "[\"clinic\"]");
    let clinic = TestSite::new("clinic", "[\"x\"]");
    site.pair(&clinic.own.offer).expect("it is paired");
    let bad = clinic.update(u64::MAX, &clinic.own.offer, Some(b"garbage"));
    site.receive(&bad);
    assert_eq!(site.renew(false), EXIT_FAILED);
    assert_eq!(site.state().received("clinic"), None);
    assert_eq!(site.renew(false), EXIT_GOOD);
    site.receive(&bad);
    site.pair(&clinic.own.offer).expect("it is paired again");
    assert_eq!(site.state().received("clinic"), None);
}

#[test]
fn root_signs_no_update_on_the_base_of_one_that_the_gateway_could_have_written() {
    let site = TestSite::new("victim", "[\"clinic\"]");
    site.pair(&offer_of("clinic")).expect("it is paired");
    // Before the first update, and with a sequence behind which no other fits.
    let forged = site.update(u64::MAX - 1, &site.own.offer, Some(b"garbage"));
    fs::create_dir_all(site.path("state")).expect("the folder is ours");
    site.state().set_own(&forged).expect("the folder is ours");
    assert_eq!(site.renew(false), EXIT_GOOD);
    assert_eq!(site.state().own(), None, "the forged one is not published");
    site.state().set_own(&forged).expect("the folder is ours");
    assert_eq!(site.renew(true), EXIT_GOOD);
    let signed = site.state().own().expect("there is a next CA");
    let update = Update::read(&signed).expect("it is one");
    assert!(
        !update.is_in_future(SystemTime::now()),
        "{}",
        update.sequence
    );
    assert!(update.is_signed_by(&signed, &site.own.offer.authorities));
    // The right certificates with a wrong signature: the copy in the folder of the CA is published again.
    let mut broken = signed.clone();
    *broken.last_mut().expect("it has a signature") ^= 1;
    site.state().set_own(&broken).expect("the folder is ours");
    assert_eq!(site.renew(false), EXIT_GOOD);
    assert_eq!(site.state().own(), Some(signed));
    // A peer that "uses" an update which was never made does not let the next CA take over.
    site.state()
        .note_in_use("clinic", u64::MAX)
        .expect("the folder is ours");
    assert_eq!(site.renew(true), EXIT_GOOD);
    assert!(site.path("ca/next/ca.pem").exists());
    let own = OwnAuthorities::open(&site.path("ca"), false, SystemTime::now());
    let own = own.expect("it is free").expect("it has a key");
    assert_eq!(own.last_update(Some(forged)), site.state().own());
}

/// The outcome of the question whether `offer` becomes `table`, and the questions; `answer` is that of the person.
fn confirm(
    options: &PairOptions,
    (old, table): (Option<&PeerTable>, &PeerTable),
    offer: &Offer,
    answer: Option<&str>,
) -> (Result<(), String>, usize) {
    let mut asked = 0;
    let replacement = Replacement {
        options,
        table,
        offer,
    };
    let outcome = replacement.confirm(old.cloned(), &mut |_| {
        asked += 1;
        Ok(answer.map(str::to_owned))
    });
    (outcome.map_err(|error| error.to_string()), asked)
}

#[test]
fn a_site_takes_the_place_of_another_peer_only_if_a_person_names_that_peer() {
    let mut site = TestSite::new("victim", "[\"region\"]");
    let region = offer_of("region");
    site.pair(&region).expect("it is paired");
    let text = site.read("wardgate.toml");
    let edited = Edited::parse(&site.options.files.config, &text).expect("it is TOML");
    let old = edited.peer("region").expect("it was written");
    // The same identity with a CA of its own, and the CA of the region with another identity.
    let mut takeover = offer_of("region");
    takeover.site = "clinic-m".to_owned();
    let mut other = old.clone();
    other.identity = "dns:gw.m.example".to_owned();
    for (table, offer) in [(&old, &takeover), (&other, &region)] {
        for (yes, peer, answer, expected) in [
            (true, None, None, false),
            (true, None, Some("n"), false),
            (true, Some("region"), None, true),
            (false, Some("region"), None, false),
            (false, None, Some("y"), true),
        ] {
            site.options.yes = yes;
            site.options.peer = peer.map(str::to_owned);
            let (outcome, _) = confirm(&site.options, (Some(&old), table), offer, answer);
            assert_eq!(
                outcome.is_ok(),
                expected,
                "{yes} {peer:?} {answer:?}: {outcome:?}"
            );
        }
    }
    site.options.peer = None;
    let (refused, _) = confirm(&site.options, (Some(&old), &old), &takeover, None);
    let refused = refused.expect_err("there is no terminal");
    assert!(
        refused.contains("site \"clinic-m\", dns:gw.region.example"),
        "{refused}"
    );
    assert!(refused.contains("--yes --peer region"), "{refused}");
    // Nothing changes: nothing is asked.
    let (outcome, asked) = confirm(&site.options, (Some(&old), &old), &region, None);
    assert_eq!((outcome, asked), (Ok(()), 0));
}

#[test]
fn a_site_gets_the_name_that_a_route_lists_only_if_it_has_it_or_a_person_says_so() {
    let mut site = TestSite::new("victim", "[\"region\"]");
    let clinic = offer_of("clinic");
    let table = PeerTable {
        name: "region".to_owned(),
        identity: clinic.identity.clone(),
        trust: site.path("peers/region.pem"),
        renews: true,
    };
    site.options.yes = true;
    let ask = |site: &TestSite, offer: &Offer, answer| {
        let (outcome, asked) = confirm(&site.options, (None, &table), offer, answer);
        (outcome.is_ok(), asked)
    };
    assert_eq!(ask(&site, &clinic, None), (false, 1));
    assert_eq!(ask(&site, &clinic, Some("no")), (false, 1));
    assert_eq!(ask(&site, &clinic, Some("yes")), (true, 1));
    assert_eq!(ask(&site, &offer_of("region"), None), (true, 0));
    site.options.peer = Some("region".to_owned());
    assert_eq!(ask(&site, &clinic, None), (true, 0));
}

#[test]
fn an_early_end_is_reported_without_a_claim_that_nothing_was_written_where_something_may_be() {
    use WrittenPart::{All, Maybe, Nothing};
    for own in [Nothing, Maybe, All] {
        for other in [Nothing, Maybe, All] {
            let text = state(WrittenState { own, other });
            let is_nothing = |at: &str| text.contains(&format!("nothing was written at {at}"));
            assert_eq!(
                is_nothing("either site"),
                own == Nothing && other == Nothing,
                "{text}"
            );
            let of_one = is_nothing("this site") || is_nothing("either site");
            assert_eq!(of_one, own == Nothing, "{text}");
            let of_other = is_nothing("the other site") || is_nothing("either site");
            assert_eq!(of_other, other == Nothing, "{text}");
        }
    }
}
