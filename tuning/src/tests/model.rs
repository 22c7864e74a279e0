//! A model of one network card and of the table of routes, which answers as `ethtool`, `tc` and `ip` do.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use crate::programs::{ProgramError, Programs};

/// The state behind the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    /// Lengths of the rings: receive, transmit; the largest is 4096.
    pub(crate) rings: [String; 2],
    pub(crate) adaptive: String,
    /// The features, in the order of `ethtool -k`, with what follows the value.
    pub(crate) features: Vec<(&'static str, &'static str, String)>,
    pub(crate) queues: (u32, u32),
    pub(crate) routes: [Vec<String>; 2],
    /// The output of `tc`: the discipline of the card and of its two queues.
    pub(crate) qdisc: String,
    /// The folder of the machine.
    pub(crate) root: PathBuf,
    /// Whether the driver sets interrupts and steering to its own values when a ring changes.
    pub(crate) forgets: bool,
    /// How many looks at the routes find none, after a ring changed.
    pub(crate) link_down: u32,
    /// How many of these are left.
    pub(crate) away: u32,
    /// Programs that are not installed.
    pub(crate) missing: Vec<&'static str>,
    /// Options that fail, as where the driver does not support them.
    pub(crate) failing: Vec<&'static str>,
    /// The file that must be there when a value changes.
    pub(crate) record: Option<PathBuf>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let features = [
            ("rx-checksumming", "rx", "off"),
            ("tx-checksumming", "tx", "off"),
            ("scatter-gather", "sg", "off"),
            ("tcp-segmentation-offload", "tso", "off"),
            ("generic-segmentation-offload", "gso", "off"),
            ("generic-receive-offload", "gro", "off"),
        ];
        let features = features.map(|(heading, word, value)| (heading, word, value.to_owned()));
        Self {
            rings: ["512".to_owned(), "512".to_owned()],
            adaptive: "off".to_owned(),
            features: features.into(),
            queues: (2, 8),
            routes: [
                vec![
                    "default via 192.0.2.1 dev eth0 proto static metric 100 ".to_owned(),
                    "10.20.0.0/24 dev eth0 proto kernel scope link src 10.20.0.5 ".to_owned(),
                    "10.99.0.0/24 dev wg0 proto kernel scope link src 10.99.0.1 ".to_owned(),
                    "10.30.0.0/24 dev eth0 proto kernel scope link src 10.30.0.5 linkdown "
                        .to_owned(),
                ],
                vec!["2001:db8::/64 dev eth0 proto kernel metric 256 pref medium".to_owned()],
            ],
            qdisc: by_the_kernel("pfifo_fast"),
            root: PathBuf::new(),
            forgets: false,
            link_down: 0,
            away: 0,
            missing: Vec::new(),
            failing: Vec::new(),
            record: None,
        }
    }

    fn ethtool(&mut self, arguments: &[&str]) -> Option<String> {
        match arguments {
            ["-g", "eth0"] => Some(format!(
                "Ring parameters for eth0:\nPre-set maximums:\nRX:\t\t4096\nRX Mini:\tn/a\nTX:\t\t4096\n\
                 Current hardware settings:\nRX:\t\t{}\nRX Mini:\tn/a\nTX:\t\t{}\n",
                self.rings[0], self.rings[1]
            )),
            ["-G", "eth0", "rx", value] => {
                self.rings[0] = (*value).to_owned();
                self.reset();
                Some(String::new())
            }
            ["-G", "eth0", "tx", value] => {
                self.rings[1] = (*value).to_owned();
                self.reset();
                Some(String::new())
            }
            ["-c", "eth0"] => Some(format!(
                "Coalesce parameters for eth0:\nAdaptive RX: {}  TX: off\nrx-usecs:\t3\n",
                self.adaptive
            )),
            ["-C", "eth0", "adaptive-rx", value] => {
                self.adaptive = (*value).to_owned();
                Some(String::new())
            }
            ["-k", "eth0"] => {
                let lines = self.features.iter();
                let lines = lines.map(|(heading, _, value)| format!("{heading}: {value}\n"));
                Some(format!("Features for eth0:\n{}", lines.collect::<String>()))
            }
            ["-K", "eth0", word, value] => {
                let feature = self
                    .features
                    .iter_mut()
                    .find(|(_, known, _)| known == word)?;
                feature.2 = (*value).to_owned();
                Some(String::new())
            }
            ["-l", "eth0"] => Some(format!(
                "Channel parameters for eth0:\nPre-set maximums:\nRX:\t\tn/a\nCombined:\t{}\n\
                 Current hardware settings:\nRX:\t\tn/a\nCombined:\t{}\n",
                self.queues.1, self.queues.0
            )),
            _ => None,
        }
    }

    /// What some drivers do when a ring changes.
    fn reset(&mut self) {
        self.away = self.link_down;
        if !self.forgets {
            return;
        }
        let write = |file: String, text: &str| {
            std::fs::write(self.root.join(file), text).expect("the file can be written");
        };
        for number in 40..43 {
            write(format!("proc/irq/{number}/smp_affinity_list"), "3\n");
        }
        for queue in 0..2 {
            let queues = "sys/class/net/eth0/queues";
            write(format!("{queues}/rx-{queue}/rps_cpus"), "8\n");
            write(format!("{queues}/tx-{queue}/xps_cpus"), "8\n");
        }
    }

    fn tc(&mut self, arguments: &[&str]) -> Option<String> {
        match arguments {
            ["qdisc", "show", "dev", "eth0"] => Some(self.qdisc.clone()),
            ["qdisc", "replace", "dev", "eth0", "root", kind] => {
                self.qdisc = format!("qdisc {kind} 8001: root refcnt 3 limit 1000p\n");
                Some(String::new())
            }
            ["qdisc", "del", "dev", "eth0", "root"] if !self.qdisc.contains(" 0: root") => {
                let kind =
                    std::fs::read_to_string(self.root.join("proc/sys/net/core/default_qdisc"))
                        .ok()?;
                self.qdisc = by_the_kernel(kind.trim());
                Some(String::new())
            }
            _ => None,
        }
    }

    fn ip(&mut self, arguments: &[&str]) -> Option<String> {
        let [family, "route", rest @ ..] = arguments else {
            return None;
        };
        let routes = &mut self.routes[usize::from(*family == "-6")];
        match rest {
            ["show"] if self.away > 0 => {
                self.away -= 1;
                Some(String::new())
            }
            ["show"] => Some(routes.iter().map(|line| format!("{line}\n")).collect()),
            // The kernel finds the route by its destination and metric.
            ["change", words @ ..] => {
                let ending = if *family == "-4" { " " } else { "" };
                let key = |line: &str| -> (String, Option<String>) {
                    let mut words = line.split_whitespace();
                    let first = words.next().unwrap_or_default().to_owned();
                    words.find(|word| *word == "metric");
                    (first, words.next().map(str::to_owned))
                };
                let line = words.join(" ") + ending;
                let found = routes.iter_mut().find(|known| key(known) == key(&line))?;
                *found = line;
                Some(String::new())
            }
            _ => None,
        }
    }
}

/// What the kernel attaches to a card with two transmit queues.
fn by_the_kernel(kind: &str) -> String {
    format!("qdisc mq 0: root \nqdisc {kind} 0: parent :2\nqdisc {kind} 0: parent :1\n")
}

/// The programs, sharing the model with the test.
#[derive(Debug, Clone)]
pub(crate) struct Modelled(pub(crate) Rc<RefCell<Model>>);

impl Programs for Modelled {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, ProgramError> {
        let mut model = self.0.borrow_mut();
        if model.missing.contains(&program) {
            return Err(ProgramError::NotInstalled(program.to_owned()));
        }
        let fails = arguments
            .iter()
            .any(|argument| model.failing.contains(argument));
        let is_change = ["-G", "-C", "-K", "change", "replace", "del"]
            .iter()
            .any(|word| arguments.contains(word));
        if let Some(record) = model.record.as_ref().filter(|_| is_change) {
            assert!(
                record.exists(),
                "the record is written before a value changes"
            );
        }
        let output = match program {
            _ if fails => None,
            "ethtool" => model.ethtool(arguments),
            "ip" => model.ip(arguments),
            "tc" => model.tc(arguments),
            _ => None,
        };
        let failed =
            || ProgramError::Failed(program.to_owned(), "Operation not supported".to_owned());
        output.ok_or_else(failed)
    }
}
