//! Debian's Prometheus with the rules and the dashboard of `packaging`, at a pair of gateways under load.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wardgate_tests::stream::{bounded, connect};
use wardgate_tests::tier::{self, Need, workspace};
use wardgate_tests::{Background, Pki, Program, Site, dicom, free_port, http};

use crate::dicom_bytes::local;
use crate::pair::{A, B};
use crate::peers::{DCMTK, loopback, storescp, storescu};

const RULES: &str = "packaging/prometheus/wardgate.rules.yml";
const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rEVN|A01\r\x1c\r";
const ANSWER: &[u8] = b"\x0bMSH|^~\\&|C|D|A|B|20260101||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";
/// Until all queries have data: some are rates over several scrapes.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_rules_are_valid_and_each_alert_fires_once_and_has_its_chapter() {
    if !tier::ready("interop", &[Need::Program("promtool")]) {
        return;
    }
    let promtool = |arguments: &[&str]| {
        let folder = workspace().join("packaging/prometheus");
        let program = Program::new("promtool").args(arguments).current_dir(folder);
        program.run().expect_success().text()
    };
    promtool(&["check", "config", "prometheus.yml"]);
    let text = promtool(&["test", "rules", "wardgate.tests.yml"]);
    assert!(text.contains("SUCCESS"), "{text}");
    let read = |path: &str| fs::read_to_string(workspace().join(path)).expect("our file");
    let (rules, tests) = (read(RULES), read("packaging/prometheus/wardgate.tests.yml"));
    let guide = read("docs/src/guide/alerts.md");
    let alerts: BTreeSet<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 20, "{alerts:?}");
    for alert in &alerts {
        let fired = format!("{{alertname=\"{alert}\", severity=");
        assert!(tests.contains(&fired), "no test makes {alert} fire");
        assert!(guide.contains(&format!("\n## {alert}\n")), "{alert}");
        let link = format!("guide/alerts.html#{}\"", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} has no link");
    }
    let chapters = guide.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(chapters.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn every_query_of_the_dashboard_has_data_under_load_and_every_rule_can_be_evaluated() {
    let prometheus = [Need::Program("prometheus")];
    if !tier::ready("interop", &[&DCMTK[..], &prometheus].concat()) {
        return;
    }
    let folder = TempDir::new().expect("there is room");
    let load = Load::start(folder.path());
    let server = Prometheus::start(folder.path(), &load.metrics);
    let queries = queries();
    assert!(queries.len() > 40, "{queries:?}");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| load.sender.run(&is_over));
        let start = Instant::now();
        let mut without: Vec<_> = queries.iter().collect();
        while !without.is_empty() && start.elapsed() < WITHIN {
            std::thread::sleep(Duration::from_secs(1));
            without.retain(|query| server.samples(query) == 0);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(without.is_empty(), "without data: {without:#?}");
    });
    let rules = server.get("/api/v1/rules");
    let groups = rules["data"]["groups"].as_array().expect("groups").iter();
    let rules: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// Two gateways with a DICOM route and an HL7 route, and the applications at both ends.
struct Load {
    metrics: [SocketAddr; 2],
    sender: Sender,
    _gateways: [wardgate_tests::Gateway; 2],
    _archive: Background,
    _pki: Pki,
}

impl Load {
    fn start(folder: &Path) -> Self {
        let pki = Pki::new();
        let [entry, wan, archive, hl7_entry, hl7_wan] = [(); 5].map(|()| free_port());
        let received = folder.join("received");
        fs::create_dir(&received).expect("our folder");
        let health = "{ probe = \"connect\", interval = \"1s\" }";
        let b = Site::new(&pki, B)
            .terminate(loopback(wan), loopback(archive), &[format!("dns:{A}")])
            .set("health", health)
            .set("bandwidth", "\"1Gbit/s\"")
            .terminate(loopback(hl7_wan), receiver(), &[format!("dns:{A}")])
            .protocol("mllp")
            .start();
        let a = Site::new(&pki, A)
            .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
            .originate(
                loopback(hl7_entry),
                loopback(hl7_wan),
                &[format!("dns:{B}")],
            )
            .protocol("mllp")
            .start();
        Self {
            metrics: [a.metrics_address(), b.metrics_address()],
            sender: Sender {
                dicom: entry,
                hl7: local(hl7_entry),
                files: dicom::series(folder, "LOAD", 3, 64),
            },
            _archive: storescp(archive, &received),
            _gateways: [a, b],
            _pki: pki,
        }
    }
}

/// The modality and the sender of messages.
struct Sender {
    dicom: u16,
    hl7: SocketAddr,
    files: Vec<PathBuf>,
}

impl Sender {
    /// Sends objects and messages, each on new connections, until `is_over`.
    fn run(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            storescu(self.dicom, &[], &self.files)
                .run()
                .expect_success();
            let mut sender = bounded(connect(self.hl7));
            for _ in 0..3 {
                sender.write_all(MESSAGE).expect("it is connected");
                let mut answer = vec![0; ANSWER.len()];
                sender.read_exact(&mut answer).expect("it comes");
                assert_eq!(answer, ANSWER);
            }
        }
    }
}

/// An HL7 receiver that accepts every message. It ends with the process.
fn receiver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut message = vec![0; MESSAGE.len()];
            while stream.read_exact(&mut message).is_ok() {
                stream.write_all(ANSWER).expect("it is connected");
            }
        }
    });
    address
}

/// A running Prometheus with the rules of the package.
struct Prometheus {
    at: SocketAddr,
    _program: Background,
}

impl Prometheus {
    fn start(folder: &Path, gateways: &[SocketAddr]) -> Self {
        let port = free_port();
        let rules = workspace().join(RULES);
        let targets: Vec<_> = gateways
            .iter()
            .map(|at| format!("{:?}", at.to_string()))
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{rules:?}]\n\
             scrape_configs: [{{ job_name: wardgate, static_configs: [{{ targets: [{}] }}] }}]\n",
            targets.join(", ")
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).expect("our folder");
        let program = Program::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error");
        Self {
            at: local(port),
            _program: Background::listening(&program, port),
        }
    }

    fn get(&self, path: &str) -> Value {
        let text = http::get(self.at, path).text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The number of samples that a query returns now.
    fn samples(&self, query: &str) -> usize {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let reply = self.get(&format!("/api/v1/query?query={escaped}"));
        assert_eq!(reply["status"], "success", "{query}: {reply}");
        reply["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

/// The queries of the dashboard, for all gateways and routes, with rates over a few seconds.
fn queries() -> Vec<String> {
    let file = workspace().join("packaging/grafana/wardgate.json");
    let text = fs::read_to_string(file).expect("our file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().expect("a query");
        let query = query.replace("$__rate_interval", "5s");
        query.replace("$instance", ".*").replace("$route", ".*")
    });
    queries.collect()
}
