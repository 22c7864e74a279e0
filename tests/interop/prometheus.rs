//! Debian's Prometheus with the rules and the dashboard of `packaging`, at a pair of gateways under load.

use std::collections::{BTreeMap, BTreeSet};
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
const TESTS: &str = "packaging/prometheus/wardgate.tests.yml";
const DASHBOARD: &str = "packaging/grafana/wardgate.json";
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
    let (rules, tests) = (read(RULES), read(TESTS));
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

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).expect("our file")
}

/// Labels whose values come from the configuration, the machine, Prometheus, or the boundaries of a histogram.
const ANY_VALUE: [&str; 7] = ["route", "target", "peer", "cpu", "instance", "job", "le"];
/// Labels that Prometheus adds to every sample, and that of a histogram's rows.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// The labels of a metric, each with all its values.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// A renamed metric or label value would leave an alert that never fires and a panel that stays empty.
#[test]
fn the_rules_their_tests_and_the_dashboard_name_only_metrics_and_labels_that_exist() {
    let mut known: BTreeMap<String, Labels> = BTreeMap::new();
    let golden = read("tests/data/metrics.expected");
    let samples = golden.lines().filter(|line| !line.starts_with('#'));
    for (name, pairs) in samples.flat_map(selectors) {
        let labels = known.entry(name.to_owned()).or_default();
        for (label, value) in pairs {
            let values = labels.entry(label.to_owned()).or_default();
            values.insert(value.to_owned());
        }
    }
    let rules = read(RULES);
    let rules: Vec<_> = rules.split("\n      - ").map(str::to_owned).collect();
    for rule in &rules {
        let Some((name, expression)) = rule
            .strip_prefix("record: ")
            .and_then(|rule| rule.split_once('\n'))
        else {
            continue;
        };
        let sources = selectors(expression).into_iter();
        let labels = sources.filter_map(|(name, _)| known.get(&stored(name)).cloned());
        let labels = labels.flatten().collect();
        known.insert(name.to_owned(), labels);
    }
    let mut dashboard = Vec::new();
    strings(
        &serde_json::from_str(&read(DASHBOARD)).expect("JSON"),
        &mut dashboard,
    );
    let tests: Vec<_> = read(TESTS).lines().map(str::to_owned).collect();
    for (what, pieces, least) in [
        ("the rules", &rules, 25),
        ("the tests of the rules", &tests, 25),
        ("the dashboard", &dashboard, 50),
    ] {
        let wrong: Vec<_> = pieces
            .iter()
            .flat_map(|piece| unknown(piece, &known))
            .collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
        let count = pieces.iter().flat_map(|piece| selectors(piece)).count();
        assert!(count >= least, "{what} name {count} metrics");
    }
}

/// What a rule, or a panel's expression with its legend, names and no gateway has.
fn unknown(piece: &str, known: &BTreeMap<String, Labels>) -> Vec<String> {
    let mut wrong = Vec::new();
    let named = selectors(piece);
    for (name, pairs) in &named {
        let Some(labels) = known.get(&stored(name)) else {
            wrong.push(format!("no metric {name}"));
            continue;
        };
        for (label, pattern) in pairs {
            match labels.get(*label) {
                None if !ADDED.contains(label) => {
                    wrong.push(format!("{name} has no label {label}"));
                }
                Some(values) if !ANY_VALUE.contains(label) => {
                    let absent = pattern.split('|').filter(|value| !values.contains(*value));
                    wrong.extend(absent.map(|value| format!("{name} has no {label}=\"{value}\"")));
                }
                _ => {}
            }
        }
    }
    let has = |label: &str| {
        let mut of_named = named
            .iter()
            .filter_map(|(name, _)| known.get(&stored(name)));
        ADDED.contains(&label) || of_named.any(|labels| labels.contains_key(label))
    };
    // Other metrics are those of Prometheus.
    let is_ours = !named.is_empty();
    let used = used_labels(piece).into_iter();
    let used = used.filter(|label| is_ours && !has(label));
    wrong.extend(used.map(|label| format!("no metric has the label {label}: {piece}")));
    wrong
}

/// The metrics in a text, each with its pairs of a label and its value or pattern.
fn selectors(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("wardgate") {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c| !is_of_name(c)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        rest = after;
        if before.ends_with(is_of_name)
            || !["wardgate_", "wardgate:"]
                .iter()
                .any(|start| name.starts_with(start))
        {
            continue;
        }
        let inside = after.strip_prefix('{').and_then(|it| it.split_once('}'));
        let pairs = inside.map_or("", |(inside, _)| inside).split("\",");
        let pairs = pairs.filter_map(|pair| {
            let (label, value) = pair.split_once('=')?;
            let value = value.trim_start_matches('~').trim_matches('"');
            Some((label.trim().trim_end_matches('!'), value))
        });
        found.push((name, pairs.collect()));
    }
    found
}

/// The name under which the catalogue has a metric: of a histogram, it has the count alone.
fn stored(name: &str) -> String {
    let of_histogram = name
        .strip_suffix("_bucket")
        .map(|stem| format!("{stem}_count"));
    of_histogram.unwrap_or_else(|| name.to_owned())
}

/// The labels by which an expression groups, and those that its sentence or legend shows.
fn used_labels(piece: &str) -> BTreeSet<&str> {
    let between = |start: &'static str, end: char| {
        piece
            .split(start)
            .skip(1)
            .filter_map(move |rest| Some(rest.split_once(end)?.0))
    };
    let grouped = ["by (", "on ("]
        .into_iter()
        .flat_map(|start| between(start, ')'));
    let mut used: BTreeSet<_> = grouped.flat_map(|list| list.split(", ")).collect();
    used.extend(between("$labels.", ' '));
    used.extend(between("{{", '}').filter(|name| !name.starts_with(' ')));
    used
}

/// All texts of a JSON document; those of one target of a panel are one text, because its legend shows the labels of
/// its expression.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => match (fields.get("expr"), fields.get("legendFormat")) {
            (Some(Value::String(query)), Some(Value::String(legend))) => {
                found.push(format!("{query}\n{legend}"));
            }
            _ => fields.values().for_each(|value| strings(value, found)),
        },
        _ => {}
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
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
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
