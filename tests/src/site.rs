//! One site's configuration, written as an operator would write it.

use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::pki::Leaf;
use crate::{Pki, Program};

/// A site: who it is and which routes it has.
#[derive(Debug, Clone)]
pub struct Site {
    identity: Leaf,
    crl: Option<PathBuf>,
    peers: String,
    gateway: Vec<(String, String)>,
    timeouts: Vec<(String, String)>,
    routes: Vec<Route>,
    namespace: Option<String>,
    descriptors: Option<u64>,
    variables: Vec<(String, OsString)>,
}

/// A route as lines of TOML.
#[derive(Debug, Clone)]
struct Route {
    name: String,
    protocol: String,
    keys: Vec<(String, String)>,
    timeouts: Vec<(String, String)>,
    identity: Option<Leaf>,
}

impl Site {
    /// A site with a good certificate for this DNS name, logging in JSON, on all cores.
    pub fn new(pki: &Pki, name: &str) -> Self {
        Self::with_identity(&pki.leaf(name))
    }

    /// A site with this certificate, key and trust.
    pub fn with_identity(identity: &Leaf) -> Self {
        Self {
            identity: identity.clone(),
            crl: None,
            peers: String::new(),
            gateway: vec![("log".into(), quoted("json"))],
            timeouts: Vec::new(),
            routes: Vec::new(),
            namespace: None,
            descriptors: None,
            variables: Vec::new(),
        }
    }

    /// Adds a route: plaintext in, TLS out.
    pub fn originate(
        self,
        listen: impl Display,
        target: impl Display,
        peers: &[impl AsRef<str>],
    ) -> Self {
        self.route("originate", &listen, &target)
            .set("peers", list(peers))
    }

    /// Adds a route: TLS in, plaintext out.
    pub fn terminate(
        self,
        listen: impl Display,
        target: impl Display,
        peers: &[impl AsRef<str>],
    ) -> Self {
        self.route("terminate", &listen, &target)
            .set("peers", list(peers))
    }

    /// Adds a route: TCP in, TCP out.
    pub fn passthrough(self, listen: impl Display, target: impl Display) -> Self {
        self.route("passthrough", &listen, &target).protocol("tcp")
    }

    /// Gives the last route another name than `mode-n`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.last().name);
        self
    }

    /// Gives the last route another protocol than `dicom`.
    pub fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.last().protocol);
        self
    }

    /// Sets any key of the last route to a value in TOML's own syntax: `set("policy", "\"hscn\"")`.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        replace(&mut self.last().keys, key, value.into());
        self
    }

    /// Leaves a key of the last route out.
    pub fn unset(mut self, key: &str) -> Self {
        self.last().keys.retain(|(old, _)| old != key);
        self
    }

    /// Sets a key of `[route.timeouts]` of the last route, in TOML's own syntax.
    pub fn route_timeout(mut self, key: &str, value: impl Into<String>) -> Self {
        replace(&mut self.last().timeouts, key, value.into());
        self
    }

    /// Gives the last route its own certificate, key and trust.
    pub fn route_identity(mut self, identity: &Leaf) -> Self {
        self.last().identity = Some(identity.clone());
        self
    }

    /// Sets a key of `[gateway]`, in TOML's own syntax.
    pub fn gateway(mut self, key: &str, value: impl Into<String>) -> Self {
        replace(&mut self.gateway, key, value.into());
        self
    }

    /// Lets a later reload use the ports of these addresses, which the sandbox would refuse otherwise.
    pub fn reload_ports(self, addresses: &[SocketAddr]) -> Self {
        let ports: Vec<_> = addresses.iter().map(|at| at.port().to_string()).collect();
        self.gateway("reload_ports", list(&ports))
    }

    /// The ports for later reloads, in TOML's own syntax.
    pub(crate) fn later_ports(&self) -> Option<&str> {
        let mut keys = self.gateway.iter();
        keys.find(|(key, _)| key == "reload_ports")
            .map(|(_, value)| value.as_str())
    }

    /// Sets a key of `[timeouts]`, in TOML's own syntax.
    pub fn timeout(mut self, key: &str, value: impl Into<String>) -> Self {
        replace(&mut self.timeouts, key, value.into());
        self
    }

    /// Names a revocation list in `[identity]`.
    pub fn crl(mut self, file: &Path) -> Self {
        self.crl = Some(file.to_owned());
        self
    }

    /// Adds a `[[peer]]` table: these identities, for which the CAs in `trust` may issue certificates.
    pub fn peer(self, name: &str, identities: &[impl AsRef<str>], trust: &Path) -> Self {
        self.peer_with_crls(name, identities, trust, &[])
    }

    /// The same with revocation lists.
    pub fn peer_with_crls(
        mut self,
        name: &str,
        identities: &[impl AsRef<str>],
        trust: &Path,
        crls: &[&Path],
    ) -> Self {
        let _ = write!(
            self.peers,
            "\n[[peer]]\nname = {}\nidentity = {}\ntrust = {}\n",
            quoted(name),
            list(identities),
            quoted(&trust.display().to_string()),
        );
        if !crls.is_empty() {
            let crls: Vec<_> = crls.iter().map(|crl| crl.display().to_string()).collect();
            let _ = writeln!(self.peers, "crl = {}", list(&crls));
        }
        self
    }

    /// Runs the gateway in this network namespace.
    pub fn netns(mut self, namespace: impl Into<Option<String>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Lets the gateway have this many open files at most.
    pub fn descriptors(mut self, most: u64) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Sets an environment variable of the gateway.
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((key.to_owned(), value.into()));
        self
    }

    /// Gives the last route these targets instead of its one.
    pub fn targets(self, targets: &[impl Display]) -> Self {
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        self.set("targets", list(&targets))
    }

    /// The configuration as TOML.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        table(&mut text, "[gateway]", &self.gateway);
        table(&mut text, "[timeouts]", &self.timeouts);
        identity(&mut text, "[identity]", &self.identity);
        if let Some(crl) = &self.crl {
            let _ = writeln!(text, "crl = [{}]", quoted(&crl.display().to_string()));
        }
        text.push_str(&self.peers);
        for route in &self.routes {
            route.write(&mut text);
        }
        text
    }

    /// Writes the configuration to a file.
    pub fn write(&self, file: &Path) {
        fs::write(file, self.toml()).expect("the folder of the test can be written");
    }

    /// `wardgate run` on a configuration file, in the namespace of the site.
    pub fn program(&self, file: &Path) -> Program {
        let program = match self.descriptors {
            // The shell becomes the program, so the process id is the program's.
            Some(most) => Program::new("sh")
                .args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")])
                .arg(wardgate()),
            None => Program::new(wardgate()),
        };
        let program = program
            .args(["run", "--config"])
            .arg(file)
            .netns(self.namespace.clone());
        let variables = self.variables.iter();
        variables.fold(program, |program, (key, value)| program.env(key, value))
    }

    fn route(mut self, mode: &str, listen: &dyn Display, target: &dyn Display) -> Self {
        self.routes.push(Route {
            name: format!("{mode}-{}", self.routes.len() + 1),
            protocol: "dicom".into(),
            keys: vec![
                ("mode".into(), quoted(mode)),
                ("listen".into(), quoted(&listen.to_string())),
                ("targets".into(), list(&[target.to_string()])),
            ],
            timeouts: Vec::new(),
            identity: None,
        });
        self
    }

    fn last(&mut self) -> &mut Route {
        self.routes
            .last_mut()
            .expect("the site was given a route before its keys")
    }
}

impl Route {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\n[[route]]\nname = {}", quoted(&self.name));
        let _ = writeln!(text, "protocol = {}", quoted(&self.protocol));
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        table(text, "[route.timeouts]", &self.timeouts);
        if let Some(own) = &self.identity {
            identity(text, "[route.identity]", own);
        }
    }
}

/// The program under test: the file that `WARDGATE_PROGRAM` names (an installed package, say), or else the
/// one beside the test's own executable.
pub fn wardgate() -> PathBuf {
    match std::env::var_os("WARDGATE_PROGRAM") {
        Some(file) => file.into(),
        None => built("wardgate"),
    }
}

/// Copies the program under test to a file that is executed later. Another process copies: if this one did, a program
/// that another thread starts would hold the file open for writing for a moment, and nobody could execute it (ETXTBSY).
pub fn copy_wardgate(to: &Path) {
    let cp = Program::new("cp").arg(wardgate()).arg(to);
    cp.run().expect_success();
}

/// A program of the workspace, beside the test's own executable.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the kernel knows what it runs");
    let file = own
        .parent()
        .and_then(Path::parent)
        .expect("tests run from target/<profile>/deps")
        .join(name);
    assert!(
        file.is_file(),
        "{} is missing; build it first: cargo build -p {name}",
        file.display()
    );
    file
}

fn table(text: &mut String, header: &str, keys: &[(String, String)]) {
    if keys.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{header}");
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn identity(text: &mut String, header: &str, leaf: &Leaf) {
    let _ = writeln!(text, "\n{header}");
    for (key, file) in [
        ("certificate", &leaf.certificate),
        ("key", &leaf.key),
        ("trust", &leaf.trust),
    ] {
        let _ = writeln!(text, "{key} = {}", quoted(&file.display().to_string()));
    }
}

fn replace(keys: &mut Vec<(String, String)>, key: &str, value: String) {
    keys.retain(|(old, _)| old != key);
    keys.push((key.into(), value));
}

/// A TOML string. Test data holds neither quotes nor control characters.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_reads_as_an_operator_would_write_it() {
        let pki = Pki::new();
        let text = Site::new(&pki, "gw.a.example")
            .originate("127.0.0.1:1", "gw.b.example:2", &["dns:gw.b.example"])
            .name("out")
            .protocol("tcp")
            .set("targets", r#"["one:1", "two:2"]"#)
            .route_timeout("user", "\"2s\"")
            .toml();
        let route = text.split_once("[[route]]").expect("there is a route").1;
        let expected = "\nname = \"out\"\nprotocol = \"tcp\"\nmode = \"originate\"\n\
            listen = \"127.0.0.1:1\"\npeers = [\"dns:gw.b.example\"]\n\
            targets = [\"one:1\", \"two:2\"]\n\n[route.timeouts]\nuser = \"2s\"\n";
        assert_eq!(route, expected);
    }
}
