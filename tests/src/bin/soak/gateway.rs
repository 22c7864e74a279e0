//! The two gateways: their configurations, files and processes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wardgate_tests::pki::Leaf;
use wardgate_tests::{DEADLINE, Outcome, Pki, Process, Program, Site, http, wardgate};

use crate::clock::Clock;
use crate::net::{Net, Place, loopback};

/// A route through both gateways: from `entry` over `wan` to `target`.
#[derive(Debug)]
pub(crate) struct Link {
    name: &'static str,
    protocol: &'static str,
    from: Place,
    pub(crate) entry: u16,
    /// Where the gateway of the client's site connects.
    pub(crate) dialled: u16,
    /// Where the gateway of the server's site listens; another port if a relay is between them.
    pub(crate) wan: u16,
    pub(crate) target: u16,
}

impl Link {
    // The namespaces are empty, so the ports may be fixed.
    fn new(number: u16, name: &'static str, protocol: &'static str) -> Self {
        Self {
            name,
            protocol,
            from: Place::A,
            entry: 11_100 + number,
            dialled: 2700 + number,
            wan: 2700 + number,
            target: 10_400 + number,
        }
    }

    fn add(&self, site: Site, place: Place) -> Site {
        let (client, server) = (self.from, self.from.other());
        let peers = [format!("dns:{}", host(place.other()))];
        let site = if place == client {
            site.originate(loopback(self.entry), server.wan(self.dialled), &peers)
        } else {
            site.terminate(server.wan(self.wan), loopback(self.target), &peers)
        };
        site.name(self.name).protocol(self.protocol)
    }
}

/// All routes.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) store: Link,
    /// Opened by site B.
    pub(crate) back: Link,
    pub(crate) messages: Link,
    pub(crate) bulk: Link,
    pub(crate) short: Link,
    pub(crate) idle: Link,
    /// Through a relay between the gateways that makes faults.
    pub(crate) relayed: Link,
}

impl Links {
    pub(crate) fn new() -> Self {
        let back = Link {
            from: Place::B,
            ..Link::new(1, "back", "dicom")
        };
        let relayed = Link {
            dialled: 2800,
            ..Link::new(6, "relayed", "tcp")
        };
        Self {
            store: Link::new(0, "store", "dicom"),
            back,
            messages: Link::new(2, "messages", "mllp"),
            bulk: Link::new(3, "bulk", "tcp"),
            short: Link::new(4, "short", "tcp"),
            idle: Link::new(5, "idle", "tcp"),
            relayed,
        }
    }

    pub(crate) fn all(&self) -> [&Link; 7] {
        let Self {
            store,
            back,
            messages,
            bulk,
            short,
            idle,
            relayed,
        } = self;
        [store, back, messages, bulk, short, idle, relayed]
    }

    /// The routes that carry each kind of transfer that clients count.
    pub(crate) fn of_kinds(&self) -> [(&'static str, Vec<&Link>); 6] {
        [
            ("dicom", vec![&self.store, &self.back]),
            ("message", vec![&self.messages]),
            ("bulk", vec![&self.bulk]),
            ("short", vec![&self.short]),
            ("idle", vec![&self.idle]),
            ("relayed", vec![&self.relayed]),
        ]
    }
}

impl Link {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn from(&self) -> Place {
        self.from
    }
}

fn host(place: Place) -> &'static str {
    match place {
        Place::A => "gw.a.example",
        Place::B => "gw.b.example",
    }
}

/// Silence and unacknowledged data after which a gateway counts a peer as dead.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: &str = "{ idle = \"5s\", interval = \"1s\", probes = 3 }";
/// The metrics' port in both namespaces.
const METRICS: u16 = 9464;

/// What a process needs at rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
}

/// One gateway.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) place: Place,
    folder: PathBuf,
    identity: Leaf,
    crl: PathBuf,
    namespace: String,
    variables: Vec<(String, PathBuf)>,
    started: Option<Child>,
    /// The process that serves.
    pub(crate) process: Process,
    /// Earlier processes that have not been seen to end.
    earlier: Vec<Process>,
    pub(crate) starts: u32,
}

impl Machine {
    /// Starts a gateway and waits until it is ready.
    pub(crate) fn start(
        place: Place,
        net: &Net,
        folder: &Path,
        pki: &Pki,
        links: &Links,
        clock: &Clock,
    ) -> Result<Self, String> {
        let folder = folder.join(format!("{place:?}").to_lowercase());
        let files = folder.join("identity");
        fs::create_dir_all(&files).expect("our folder");
        let made = pki.leaf(host(place));
        let identity = Leaf {
            certificate: files.join("site.pem"),
            key: files.join("site.key"),
            trust: files.join("ca.pem"),
            ..made.clone()
        };
        let crl = files.join("ca.crl");
        for (from, to) in [
            (&made.certificate, &identity.certificate),
            (&made.key, &identity.key),
            (&made.trust, &identity.trust),
            (&pki.crl(), &crl),
        ] {
            replace(from, to);
        }
        let variables = clock.variables();
        let mut machine = Self {
            place,
            folder,
            identity,
            crl,
            namespace: net.name(place),
            variables: variables
                .map(|(name, file)| (name.to_owned(), file.to_owned()))
                .into(),
            started: None,
            process: Process::new(std::process::id()),
            earlier: Vec::new(),
            starts: 0,
        };
        machine.write_config(links, 0);
        machine.spawn()?;
        Ok(machine)
    }

    /// Starts a process, as a service manager does: once more if it ends at once, because the kernel still closes
    /// the listeners of a killed one.
    fn spawn(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let log = self.spawn_once()?;
            let is_ready = || {
                let text = fs::read_to_string(&log).unwrap_or_default();
                text.contains("\"ready\"")
            };
            let child = self.started.as_mut().expect("it was started");
            while child.try_wait().is_ok_and(|status| status.is_none()) {
                if is_ready() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(20));
                if start.elapsed() > 3 * DEADLINE {
                    break;
                }
            }
            if start.elapsed() > 3 * DEADLINE {
                let text = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("a gateway is not ready\n{text}"));
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn spawn_once(&mut self) -> Result<PathBuf, String> {
        self.starts += 1;
        let log = self.log(self.starts);
        let file = File::create(&log).expect("our folder");
        let variables = self.variables.iter();
        let variables = variables.map(|(name, file)| format!("{name}={}", file.display()));
        let child = Command::new("/usr/sbin/ip")
            .args(["netns", "exec", &self.namespace, "env"])
            .args(variables)
            .arg(wardgate())
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .spawn();
        let child = child.map_err(|error| format!("cannot start a gateway: {error}"))?;
        // `ip` and `env` replace themselves by the program.
        self.process = Process::new(child.id());
        self.started = Some(child);
        Ok(log)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("wardgate.toml")
    }

    /// Configuration number `variant`. All are good and have the same routes.
    pub(crate) fn write_config(&self, links: &Links, variant: u32) {
        let site = Site::with_identity(&self.identity)
            .crl(&self.crl)
            .gateway("metrics", format!("\"{}\"", loopback(METRICS)))
            .gateway("admin", "\"admin.sock\"")
            .timeout("user", format!("\"{}s\"", USER_TIMEOUT.as_secs()))
            .timeout("keepalive", KEEPALIVE)
            .timeout("drain", "\"2min\"")
            .timeout("handshake", "\"10s\"")
            // Another value changes every route.
            .timeout("connect", format!("\"{}s\"", 5 + variant % 3));
        let all = links.all().into_iter();
        let site = all.fold(site, |site, link| link.add(site, self.place));
        site.write(&self.config());
    }

    fn command(&self, arguments: &[&str]) -> Outcome {
        let socket = self.folder.join("admin.sock");
        Program::new(wardgate())
            .args(arguments)
            .arg("--socket")
            .arg(socket)
            .run()
    }

    /// A reload that changes something.
    pub(crate) fn reload(&self, links: &Links, variant: u32) -> Result<(), String> {
        self.write_config(links, variant);
        success(&self.command(&["reload"]), "is in use")
    }

    /// A reload that must be refused.
    pub(crate) fn reload_wrong(&self, links: &Links, variant: u32) -> Result<(), String> {
        fs::write(self.config(), "[gateway\n").expect("our file");
        let outcome = self.command(&["reload"]);
        self.write_config(links, variant);
        match outcome.succeeded() {
            false if outcome.text().contains("nothing was changed") => Ok(()),
            _ => Err(format!("an invalid reload was not refused: {outcome}")),
        }
    }

    /// A new certificate with its key, and a new revocation list.
    pub(crate) fn rotate(&self, net: &Net, pki: &Pki, number: u32) -> Result<(), String> {
        let next = pki.leaf(host(self.place));
        let list = pki.large_crl(&format!("{:?}-{number}.crl", self.place), number % 50 + 1);
        let rotations = || -> Result<u64, String> {
            let metrics = self.metrics(net)?;
            Ok(sum(
                &metrics,
                "wardgate_file_rotations_total{result=\"good\"",
            ))
        };
        for pairs in [
            vec![
                (&next.certificate, &self.identity.certificate),
                (&next.key, &self.identity.key),
            ],
            vec![(&list, &self.crl)],
        ] {
            let before = rotations()?;
            for (new, old) in pairs {
                replace(new, old);
            }
            wait_for("a rotated file is not in use", || {
                (rotations().ok()? > before).then_some(())
            })?;
        }
        for file in [&next.certificate, &next.key, &next.both, &list] {
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    /// Another process takes over.
    pub(crate) fn upgrade(&mut self) -> Result<(), String> {
        success(&self.command(&["upgrade"]), "serves now")?;
        let status = self.status()?;
        let id = status["pid"].as_u64().and_then(|id| u32::try_from(id).ok());
        let now = Process::new(id.ok_or("the status has no pid")?);
        if now.id() == self.process.id() {
            return Err("the old process still serves".into());
        }
        self.earlier.push(self.process);
        self.process = now;
        Ok(())
    }

    /// Kills the process, and starts another one.
    pub(crate) fn kill_and_start(&mut self) -> Result<(), String> {
        self.process.signal(Signal::KILL);
        wait_for("a killed process does not end", || {
            self.reap();
            self.process.has_ended().then_some(())
        })?;
        self.spawn()
    }

    fn reap(&mut self) {
        if let Some(child) = &mut self.started {
            let _ = child.try_wait();
        }
    }

    /// Connections that are open, after waiting until none is.
    pub(crate) fn wait_for_rest(&mut self) -> Result<Resources, String> {
        wait_for("connections stay open", || {
            let status = self.status().ok()?;
            (status["connections"] == 0).then_some(())
        })
        .map_err(|text| format!("{text}: {}", self.command(&["status"])))?;
        for process in std::mem::take(&mut self.earlier) {
            wait_for("an earlier process does not end", || {
                self.reap();
                process.has_ended().then_some(())
            })?;
        }
        Ok(Resources {
            memory: self.process.resident_bytes(),
            descriptors: self.process.descriptors(),
            threads: self.process.threads(),
        })
    }

    /// Checks that the process has not ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        self.reap();
        match self.process.has_ended() {
            true => Err(format!("the gateway of {:?} has ended", self.place)),
            false => Ok(()),
        }
    }

    fn status(&self) -> Result<serde_json::Value, String> {
        let outcome = self.command(&["status", "--json"]);
        let reply: serde_json::Value =
            serde_json::from_slice(&outcome.stdout).map_err(|_| outcome.to_string())?;
        Ok(reply["status"].clone())
    }

    pub(crate) fn metrics(&self, net: &Net) -> Result<String, String> {
        let get = net.spawn(self.place, || {
            http::get(loopback(METRICS), "/metrics").text()
        });
        get.join()
            .map_err(|_| "the metrics cannot be read".to_owned())
    }

    /// Ends it. Expects success from it, and no panic and no refused system call from any process before it.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.process.signal(Signal::TERM);
        wait_for("a gateway does not end on SIGTERM", || {
            self.reap();
            self.process.has_ended().then_some(())
        })?;
        // After an upgrade, the process is a child of the gateway's launcher, which takes its status.
        if let Some(child) = &mut self.started
            && child.id() == self.process.id()
        {
            let status = child.wait().map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("the gateway of {:?}: {status}", self.place));
            }
        }
        for start in 1..=self.starts {
            let log = File::open(self.log(start)).map_err(|error| error.to_string())?;
            let is_wrong = |line: &String| line.contains("panicked") || line.contains("seccomp:");
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            if let Some(line) = lines.find(is_wrong) {
                return Err(format!("the gateway of {:?}: {line}", self.place));
            }
        }
        Ok(())
    }

    /// The log of all processes from one start to the next.
    fn log(&self, start: u32) -> PathBuf {
        self.folder.join(format!("log-{start:03}.json"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for process in self.earlier.iter().chain([&self.process]) {
            if process.is_running() {
                process.signal(Signal::CONT);
                process.signal(Signal::KILL);
            }
        }
        if let Some(child) = &mut self.started {
            let _ = child.wait();
        }
    }
}

/// The sum of all series that begin with `name`.
pub(crate) fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

/// Puts a copy of a file in the place of another, as `mv` does.
fn replace(new: &Path, old: &Path) {
    let beside = old.with_added_extension("new");
    fs::copy(new, &beside).expect("our folder");
    fs::rename(&beside, old).expect("our folder");
}

fn success(outcome: &Outcome, text: &str) -> Result<(), String> {
    match outcome.succeeded() && outcome.text().contains(text) {
        true => Ok(()),
        false => Err(outcome.to_string()),
    }
}

/// Asks until there is an answer, or three times the tests' deadline has passed: the machine may be busy.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if start.elapsed() > 3 * DEADLINE {
            return Err(format!("waited {} s: {what}", start.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
