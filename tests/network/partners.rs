//! Two partners of a region, set up as the operator's guide describes: nobody can pass as the other one.
//!
//! ```text
//!   hospital A                    region                    hospital B
//! +------------+   wan-a   +-------------------+   wan-b   +------------+
//! |    gw-a    |===========|        hub        |===========|    gw-b    |
//! +------------+           +-------------------+           +------------+
//!  198.51.100.1             192.0.2.10                      203.0.113.1
//!  10.20.0.5, .9            10.30.0.5, .9                   10.20.0.5, .9
//! ```
//!
//! Each site has a CA of its own. The commands, the region's configuration and the hospitals' are the text of
//! the guide and of `packaging/etc/wardgate.toml`; only the folder, the hospitals' addresses and names, and
//! the form of the log are replaced. The applications of a site are in the namespace of its gateway.
//! An attack is hospital B's doing: it has its gateway, its CA, and may redirect what the region sends to A.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need, workspace};
use wardgate_tests::{Background, Gateway, Outcome, Program, dicom, wardgate};

use crate::namespaces;

const NEEDS: [Need; 4] = [
    Need::Namespaces,
    Need::Program("echoscu"),
    Need::Program("storescu"),
    Need::Program("storescp"),
];

/// A site, its names in the documents and its place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    A,
    B,
    Region,
}

impl Site {
    const ALL: [Self; 3] = [Self::A, Self::B, Self::Region];

    /// The end of its namespace's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::A => "part-a",
            Self::B => "part-b",
            Self::Region => "part-hub",
        }
    }

    /// The name by which the others call it in `[[peer]]`.
    fn peer(self) -> &'static str {
        match self {
            Self::A => "hospital-a",
            Self::B => "hospital-b",
            Self::Region => "region",
        }
    }

    /// The DNS name in its certificate.
    fn dns(self) -> String {
        format!("gw.{}.example", self.peer())
    }

    /// Its address on the WAN.
    fn wan(self) -> &'static str {
        match self {
            Self::A => "198.51.100.1",
            Self::B => "203.0.113.1",
            Self::Region => "192.0.2.10",
        }
    }

    /// Where its applications connect, and where its archive listens.
    fn lan(self) -> [&'static str; 2] {
        match self {
            Self::A | Self::B => ["10.20.0.5", "10.20.0.9"],
            Self::Region => ["10.30.0.5", "10.30.0.9"],
        }
    }
}

/// The namespaces and the folders of all sites. They go with the value.
struct Partners {
    prefix: String,
    folder: TempDir,
}

impl Partners {
    /// Makes the network, and at each site the certificates as the guide describes.
    fn new() -> Self {
        let partners = Self {
            prefix: namespaces::prefix(),
            folder: TempDir::new().expect("there is room"),
        };
        partners.connect();
        for site in Site::ALL {
            partners.make_certificates(site);
        }
        // Steps 3 and 4: each hospital and the region have exchanged the certificates of their CAs.
        for hospital in [Site::A, Site::B] {
            partners.send_ca(hospital, Site::Region);
            partners.send_ca(Site::Region, hospital);
        }
        partners
    }

    fn connect(&self) {
        for site in Site::ALL {
            ip(&["netns", "add", &self.namespace(site)]);
            self.ip(site, &["link set lo up"]);
            for address in site.lan().into_iter().chain([site.wan()]) {
                self.ip(site, &[&format!("addr add {address}/32 dev lo")]);
            }
            // `ip netns exec` shows the files of this folder in place of those in /etc.
            let folder = self.resolver_folder(site);
            let others = Site::ALL.map(|other| format!("{} {}\n", other.wan(), other.dns()));
            fs::create_dir_all(&folder).expect("who may make namespaces may write to /etc");
            fs::write(folder.join("hosts"), others.concat()).expect("the folder was made");
        }
        for (hospital, link) in [(Site::A, "wan-a"), (Site::B, "wan-b")] {
            let (own, hub) = (self.namespace(hospital), self.namespace(Site::Region));
            let make =
                format!("link add {link} netns {own} type veth peer name {link} netns {hub}");
            ip(&words(&make));
            for site in [hospital, Site::Region] {
                self.ip(site, &[&format!("link set {link} up")]);
            }
            let (near, far) = (hospital.wan(), Site::Region.wan());
            self.ip(
                hospital,
                &[&format!("route add {far} dev {link} src {near}")],
            );
            self.ip(
                Site::Region,
                &[&format!("route add {near} dev {link} src {far}")],
            );
        }
    }

    /// Leads what the region sends to hospital A to hospital B, which takes it as its own.
    fn redirect(&self) {
        let address = Site::A.wan();
        self.ip(
            Site::Region,
            &[&format!(
                "route replace {address} dev wan-b src {}",
                Site::Region.wan()
            )],
        );
        self.ip(Site::B, &[&format!("addr add {address}/32 dev lo")]);
    }

    fn make_certificates(&self, site: Site) {
        for folder in ["ca", "pki"].map(|name| self.path(site, name)) {
            // `pki init` makes that of the CA.
            if folder.ends_with("pki") {
                fs::create_dir_all(folder).expect("there is room");
            }
        }
        for command in guide_commands() {
            let command = command.replace("/etc/wardgate", &self.home(site));
            let command = command
                .replace("gw.hospital-a.example", &site.dns())
                .replace("Hospital A", site.peer());
            self.pki(&command);
        }
    }

    /// Runs a command line of `wardgate`, whose quotes are those of a shell.
    fn pki(&self, command: &str) {
        let words = command
            .split('"')
            .enumerate()
            .flat_map(|(number, part)| match number % 2 {
                0 => words(part),
                _ => vec![part],
            });
        let program = Program::new(wardgate()).args(words.skip(1));
        program.run().expect_success();
    }

    fn send_ca(&self, from: Site, to: Site) {
        let name = format!("pki/{}-ca.pem", from.peer());
        fs::copy(self.path(from, "ca/ca.pem"), self.path(to, &name)).expect("both are made");
    }

    /// The configuration of a site as the documents have it.
    fn config(&self, site: Site) -> String {
        let text = match site {
            Site::Region => format!("[gateway]\nlog = \"json\"\n\n{}", guide_region()),
            Site::A | Site::B => read("packaging/etc/wardgate.toml")
                .replace("#log = \"text\"", "log = \"json\"")
                .replace("198.51.100.7:2762", &format!("{}:2762", site.wan())),
        };
        text.replace("/etc/wardgate", &self.home(site))
    }

    fn start(&self, site: Site) -> Gateway {
        self.start_with(site, &self.config(site))
    }

    fn start_with(&self, site: Site, config: &str) -> Gateway {
        Gateway::with_config(config, &self.namespace(site))
    }

    /// An archive at a site, and the folder of what it received.
    fn archive(&self, site: Site) -> (Background, PathBuf) {
        let folder = self.path(site, "received");
        fs::create_dir_all(&folder).expect("there is room");
        let program = self.program(site, "storescp");
        let program = program.args(["-dhl", "+B", "-od"]).arg(&folder).arg("104");
        (Background::listening(&program, 104), folder)
    }

    /// Sends a series from a site, as this AE title, to a port of its gateway.
    fn store(&self, site: Site, title: &str, port: u16, files: &[PathBuf]) -> Outcome {
        let host = site.lan()[0];
        let program = self.program(site, "storescu");
        let program = program.args(["-v", "-R", "-aet", title, "-aec", "ARCHIVE", host]);
        program.arg(port.to_string()).args(files).run()
    }

    /// Asks for an association from a site, as this AE title, on a port of its gateway.
    fn echo(&self, site: Site, title: &str, port: u16) -> Outcome {
        let host = site.lan()[0];
        let program = self.program(site, "echoscu");
        let program = program.args(["-v", "-aet", title, "-aec", "ARCHIVE", host]);
        program.arg(port.to_string()).run()
    }

    fn program(&self, site: Site, name: &str) -> Program {
        Program::new(name).netns(self.namespace(site))
    }

    fn namespace(&self, site: Site) -> String {
        format!("{}-{}", self.prefix, site.suffix())
    }

    fn resolver_folder(&self, site: Site) -> PathBuf {
        Path::new("/etc/netns").join(self.namespace(site))
    }

    /// What stands for `/etc/wardgate` at a site.
    fn home(&self, site: Site) -> String {
        self.folder.path().join(site.suffix()).display().to_string()
    }

    fn path(&self, site: Site, name: &str) -> PathBuf {
        Path::new(&self.home(site)).join(name)
    }

    fn ip(&self, site: Site, arguments: &[&str]) {
        let namespace = self.namespace(site);
        let arguments = arguments.iter().flat_map(|text| words(text));
        let all: Vec<_> = ["-n", &namespace].into_iter().chain(arguments).collect();
        ip(&all);
    }
}

impl Drop for Partners {
    fn drop(&mut self) {
        for site in Site::ALL {
            namespaces::remove(&self.namespace(site));
        }
    }
}

fn ip(arguments: &[&str]) {
    Program::new("ip").args(arguments).run().expect_success();
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).expect("it is in the repository")
}

/// The first step of "By hand" in "Two sites, step by step": the commands of the hospital.
fn guide_commands() -> Vec<String> {
    let guide = read("docs/src/guide/two-sites.md");
    let (_, by_hand) = guide
        .split_once("\n## By hand\n")
        .expect("it has this section");
    let (_, step) = by_hand.split_once("\n1. ").expect("it has steps");
    let commands = step.split("```").nth(1).expect("it has commands");
    let made = |line: &&str| line.starts_with("wardgate pki ");
    let commands = commands.lines().map(str::trim).filter(made);
    let commands: Vec<_> = commands.map(str::to_owned).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    commands
}

/// The configuration of the region with two hospitals.
fn guide_region() -> String {
    let page = read("docs/src/guide/routes.md");
    let (_, section) = page
        .split_once("## More than one partner")
        .expect("it is there");
    let (_, block) = section.split_once("```toml\n").expect("it has an example");
    block.split("```").next().expect("it ends").to_owned()
}

/// A few slices, and the folder that they are in.
fn series() -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().expect("there is room");
    let files = dicom::series(folder.path(), "WGT-PARTNERS", 3, 64);
    (folder, files)
}

#[test]
fn partners_set_up_as_the_guide_describes_reach_each_other() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let partners = Partners::new();
    let (_folder, files) = series();
    for site in Site::ALL {
        let file = partners.path(site, "wardgate.toml");
        fs::write(&file, partners.config(site)).expect("there is room");
        let check = Program::new(wardgate())
            .args(["check", "--config"])
            .arg(file);
        println!("{}", check.run().expect_success().text());
    }
    let gateways = Site::ALL.map(|site| partners.start(site));
    let archives = Site::ALL.map(|site| partners.archive(site));
    let sent = dicom::objects_in(&files);
    for (from, title, port, to) in [
        (Site::A, "CT_A", 11112, Site::Region),
        (Site::B, "MR_B", 11112, Site::Region),
        (Site::Region, "ANY", 11112, Site::A),
        (Site::Region, "ANY", 11113, Site::B),
    ] {
        partners.store(from, title, port, &files).expect_success();
        let archive = Site::ALL.iter().position(|site| *site == to);
        let folder = &archives[archive.expect("it is a site")].1;
        assert_eq!(dicom::objects(folder), sent, "{from:?} to {to:?}");
        fs::read_dir(folder)
            .expect("it is there")
            .for_each(|file| fs::remove_file(file.expect("listed").path()).expect("ours"));
    }
    for gateway in gateways {
        gateway.stop();
    }
}

/// Makes a certificate for these names by hospital B's own CA, and returns the configuration of B with it.
fn forged(partners: &Partners, names: &[Site]) -> String {
    let stem = names.iter().map(|site| site.suffix()).collect::<String>();
    let names: String = names
        .iter()
        .map(|site| format!(" --dns {}", site.dns()))
        .collect();
    let home = partners.home(Site::B);
    let command = format!(
        "wardgate pki issue --dir {home}/ca{names} --out {home}/pki/{stem}.pem \
         --key-out {home}/pki/{stem}.key"
    );
    partners.pki(&command);
    partners
        .config(Site::B)
        .replace("/pki/site.", &format!("/pki/{stem}."))
}

/// Whether an association was asked for and refused, rather than not reached at all.
fn assert_rejected(echo: Outcome, what: &str) {
    let echo = echo.expect_failure();
    assert!(
        echo.text().contains("Association Rejected"),
        "{what}: {echo}"
    );
}

/// Checks why the last connection of a gateway's, the one of this number, has ended.
fn assert_reason(gateway: &Gateway, number: usize, reason: &str) {
    let lines = gateway.wait_for_connections(number);
    let last = lines.last().expect("there are some").text("reason");
    assert!(last.contains(reason), "no {reason:?} in {last:?}");
    assert_eq!(lines.len(), number, "{lines:?}");
}

/// What the region says of a certificate in the name of hospital A that hospital B's CA has issued.
const OTHER_CA: &str = "was issued by \"CN=hospital-b\", which may not issue certificates for \
                        \"dns:gw.hospital-a.example\"";

#[test]
fn region_refuses_a_partner_whose_ca_issued_another_partners_name() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let partners = Partners::new();
    let region = partners.start(Site::Region);
    let _archive = partners.archive(Site::Region);
    let a = partners.start(Site::A);
    partners.echo(Site::A, "CT_A", 11112).expect_success();
    a.stop();

    let names_a = partners.start_with(Site::B, &forged(&partners, &[Site::A]));
    for (number, title) in (2..).zip(["CT_A", "MR_B", "ANY"]) {
        assert_rejected(partners.echo(Site::B, title, 11112), title);
        assert_reason(&region, number, OTHER_CA);
    }
    names_a.stop();

    // Accepted as hospital B, whatever else its certificate says.
    let names_both = partners.start_with(Site::B, &forged(&partners, &[Site::B, Site::A]));
    assert_rejected(partners.echo(Site::B, "CT_A", 11112), "two names");
    let bound = "AE title \"CT_A\" came from \"dns:gw.hospital-b.example\"";
    assert_reason(&region, 5, bound);
    partners.echo(Site::B, "MR_B", 11112).expect_success();
    names_both.stop();

    let b = partners.start(Site::B);
    assert_rejected(partners.echo(Site::B, "CT_A", 11112), "its own certificate");
    assert_reason(&region, 7, bound);
    partners.echo(Site::B, "MR_B", 11112).expect_success();
    b.stop();
    region.stop();
}

#[test]
fn region_refuses_another_partners_gateway_at_a_partners_address() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let partners = Partners::new();
    let unknown = "was issued by no trusted CA of this route";
    let region = partners.config(Site::Region);
    refuses_hospital_b_as_a(&partners, &region, [unknown; 3]);
}

/// Here hospital B is a peer of the route, and only its targets tell the hospitals apart.
#[test]
fn region_refuses_another_partner_at_a_target_of_a_route_to_both() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let partners = Partners::new();
    let region = partners.config(Site::Region);
    let (before, _) = region
        .split_once("[[route]]\nname = \"to-hospital-a\"")
        .expect("the guide has this route");
    let region = format!("{before}{TO_BOTH}");
    let other_target = "expected at target";
    let reasons = [other_target, OTHER_CA, OTHER_CA];
    refuses_hospital_b_as_a(&partners, &region, reasons);
}

/// One route to both hospitals; the called title chooses.
const TO_BOTH: &str = r#"
[[route]]
name = "to-hospitals"
mode = "originate"
protocol = "dicom"
listen = "10.30.0.5:11112"
peers = ["hospital-a", "hospital-b"]

[[route.ae]]
called = "ARCHIVE"
targets = ["gw.hospital-a.example:2762"]

[[route.ae]]
called = "ARCHIVE_B"
targets = ["gw.hospital-b.example:2762"]
"#;

/// Leads what the region sends to hospital A to hospital B's gateway, with its own certificate, with one in
/// the name of A, and with one in both names; each is refused for its reason.
fn refuses_hospital_b_as_a(partners: &Partners, region: &str, reasons: [&str; 3]) {
    let region = partners.start_with(Site::Region, region);
    let _archives = [Site::A, Site::B].map(|site| partners.archive(site));
    let a = partners.start(Site::A);
    partners.echo(Site::Region, "ANY", 11112).expect_success();
    a.stop();

    partners.redirect();
    let configs = [
        partners.config(Site::B),
        forged(partners, &[Site::A]),
        forged(partners, &[Site::B, Site::A]),
    ];
    for (number, (config, reason)) in (2..).zip(configs.iter().zip(reasons)) {
        // Hospital B takes TLS at the address that is hospital A's.
        let address = |site: Site| format!("{}:2762", site.wan());
        let config = config.replace(&address(Site::B), &address(Site::A));
        let b = partners.start_with(Site::B, &config);
        assert_rejected(partners.echo(Site::Region, "ANY", 11112), reason);
        assert_reason(&region, number, reason);
        b.stop();
    }
    region.stop();
}
