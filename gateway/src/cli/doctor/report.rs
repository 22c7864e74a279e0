//! The report of `wardgate doctor`: steps with their results, as text and as JSON.

use std::fmt;
use std::time::Instant;

use serde::Serialize;

use crate::cli::socket::clean;

/// What was examined and what was found.
///
/// This is the form of `--json`, which docs/src/reference/doctor.md describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorReport {
    /// Version of this form. It grows if a field changes its meaning or goes; new fields may come at any time.
    pub(crate) version: u32,
    /// The version of this program.
    pub(crate) program: String,
    /// The configuration file, as given.
    pub(crate) configuration: String,
    /// The worst result of all steps; `skipped` counts as `ok`.
    pub(crate) result: StepResult,
    /// The steps that concern the whole gateway.
    pub(crate) steps: Vec<DoctorStep>,
    /// The examined routes, in the order of the configuration.
    pub(crate) routes: Vec<RouteReport>,
}

/// The steps of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RouteReport {
    /// The name of the route.
    pub(crate) route: String,
    /// `originate`, `terminate` or `passthrough`.
    pub(crate) mode: String,
    /// Where it accepts connections.
    pub(crate) listen: String,
    /// Its steps, in the order in which bytes take the route.
    pub(crate) steps: Vec<DoctorStep>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorStep {
    /// What was examined.
    pub(crate) step: StepName,
    /// The target that was examined, as configured; null for steps that concern no target.
    pub(crate) target: Option<String>,
    /// The result.
    pub(crate) result: StepResult,
    /// The side at fault; null if the step is `ok` or `skipped`.
    pub(crate) side: Option<Side>,
    /// How long the step took, in milliseconds.
    pub(crate) ms: u64,
    /// What was found, as a sentence.
    pub(crate) text: String,
    /// What to do; null if there is nothing to do.
    pub(crate) remedy: Option<String>,
}

/// What a step examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepName {
    /// The text of the configuration.
    Configuration,
    /// Whether a gateway runs with this configuration.
    Gateway,
    /// io_uring of this kernel.
    IoUring,
    /// The limit of open files.
    Descriptors,
    /// The clock of this machine and its time synchronisation.
    Clock,
    /// The settings of this host.
    Tuning,
    /// Whether the files of the route exist and have the right permissions.
    Files,
    /// The certificate and the key of this site.
    Certificate,
    /// The CAs and the revocation lists of the route's peers.
    Trust,
    /// The listener of the route.
    Listener,
    /// The addresses of the target.
    Name,
    /// The route of this host to the target, and the source address.
    Source,
    /// The TCP connection to the target.
    Connect,
    /// The size of packets on the path to the target.
    Mtu,
    /// The TLS handshake, and the certificate of the other gateway.
    Tls,
    /// Whether the other gateway is one of the route's peers.
    Identity,
    /// Whether the other gateway accepts the certificate of this site.
    Acceptance,
    /// A C-ECHO or an HL7 probe message through the whole path.
    Probe,
    /// The route by which the associations of the other site arrive.
    Return,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepResult {
    /// Not examined, because an earlier step failed or because it does not apply.
    Skipped,
    /// Good.
    Ok,
    /// Connections pass; the operator should act, or something could not be examined.
    Warning,
    /// Connections do not pass.
    Failed,
}

/// The side at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// This machine or this gateway.
    ThisGateway,
    /// The applications of this site, and the network to them.
    OurLan,
    /// The network between the sites.
    Wan,
    /// The gateway of the other site.
    OtherGateway,
    /// The applications of the other site.
    OtherLan,
}

/// The maximum width of the column with the names of the steps.
const NAME_WIDTH: usize = "configuration".len();

impl StepName {
    /// The name in the table and in JSON.
    fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Gateway => "gateway",
            Self::IoUring => "io_uring",
            Self::Descriptors => "descriptors",
            Self::Clock => "clock",
            Self::Tuning => "tuning",
            Self::Files => "files",
            Self::Certificate => "certificate",
            Self::Trust => "trust",
            Self::Listener => "listener",
            Self::Name => "name",
            Self::Source => "source",
            Self::Connect => "connect",
            Self::Mtu => "mtu",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::Acceptance => "acceptance",
            Self::Probe => "probe",
            Self::Return => "return",
        }
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisGateway => "this gateway",
            Self::OurLan => "the LAN of this site",
            Self::Wan => "the network between the sites",
            Self::OtherGateway => "the gateway of the other site",
            Self::OtherLan => "the LAN of the other site",
        })
    }
}

/// What a step has found, before its name and its time are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepFinding {
    result: StepResult,
    side: Option<Side>,
    text: String,
    remedy: Option<String>,
}

impl StepFinding {
    /// What was found, and what to do.
    pub(super) fn sentence(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.text),
            None => self.text.clone(),
        }
    }

    /// All is well.
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self::without_side(StepResult::Ok, text.into())
    }

    /// The step was not examined.
    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self::without_side(StepResult::Skipped, reason.into())
    }

    /// Something to act on, although connections pass.
    pub(super) fn warning(side: Side, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::at(StepResult::Warning, side, text.into(), remedy.into())
    }

    /// A fault because of which connections do not pass.
    pub(super) fn failed(side: Side, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::at(StepResult::Failed, side, text.into(), remedy.into())
    }

    /// A fault from a sentence of this program: the cause, a semicolon, and the remedy.
    pub(super) fn failed_sentence(side: Side, sentence: &str) -> Self {
        Self::from_sentence(StepResult::Failed, side, sentence)
    }

    /// The same for something that connections survive.
    pub(super) fn warning_sentence(side: Side, sentence: &str) -> Self {
        Self::from_sentence(StepResult::Warning, side, sentence)
    }

    fn from_sentence(result: StepResult, side: Side, sentence: &str) -> Self {
        let (text, remedy) = match sentence.split_once("; ") {
            Some((text, remedy)) => (text, Some(remedy.to_owned())),
            None => (sentence, None),
        };
        Self {
            result,
            side: Some(side),
            text: text.to_owned(),
            remedy,
        }
    }

    fn at(result: StepResult, side: Side, text: String, remedy: String) -> Self {
        Self {
            result,
            side: Some(side),
            text,
            remedy: Some(remedy),
        }
    }

    fn without_side(result: StepResult, text: String) -> Self {
        Self {
            result,
            side: None,
            text,
            remedy: None,
        }
    }

    /// Whether there is nothing to act on.
    pub(super) fn is_good(&self) -> bool {
        self.result == StepResult::Ok
    }

    /// Whether later steps that need this one cannot be examined.
    pub(super) fn has_failed(&self) -> bool {
        self.result == StepResult::Failed
    }

    /// The step with this name, which began at `begun`.
    pub(super) fn step(self, step: StepName, target: Option<&str>, begun: Instant) -> DoctorStep {
        DoctorStep {
            step,
            target: target.map(str::to_owned),
            result: self.result,
            side: self.side,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            // Names of processes, certificates and replies come from outside.
            text: clean(&self.text),
            remedy: self.remedy.as_deref().map(clean),
        }
    }
}

impl DoctorStep {
    /// Whether connections do not pass.
    pub(super) fn has_failed(&self) -> bool {
        self.result == StepResult::Failed
    }

    /// What the step has found.
    pub(super) fn into_finding(self) -> StepFinding {
        StepFinding {
            result: self.result,
            side: self.side,
            text: self.text,
            remedy: self.remedy,
        }
    }
}

impl DoctorReport {
    /// The report of these steps.
    pub(super) fn new(
        configuration: String,
        steps: Vec<DoctorStep>,
        routes: Vec<RouteReport>,
    ) -> Self {
        let all = steps
            .iter()
            .chain(routes.iter().flat_map(|route| &route.steps));
        let worst = all.map(|step| step.result).max().unwrap_or(StepResult::Ok);
        Self {
            version: 1,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            configuration,
            result: worst.max(StepResult::Ok),
            steps,
            routes,
        }
    }

    /// Whether the text of the configuration is not valid.
    pub(crate) fn is_configuration_invalid(&self) -> bool {
        let is_it = |step: &DoctorStep| {
            step.step == StepName::Configuration && step.result == StepResult::Failed
        };
        self.steps.iter().any(is_it)
    }

    /// The report as JSON, on several lines.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// All steps that have this result, each with the name of its route.
    fn having(&self, result: StepResult) -> Vec<(Option<&str>, &DoctorStep)> {
        let own = self.steps.iter().map(|step| (None, step));
        let routes = self.routes.iter();
        let of_routes = routes.flat_map(|route| {
            let name = Some(route.route.as_str());
            route.steps.iter().map(move |step| (name, step))
        });
        let all = own.chain(of_routes);
        all.filter(|(_, step)| step.result == result).collect()
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "this machine")?;
        for step in &self.steps {
            step.fmt(f)?;
        }
        for route in &self.routes {
            writeln!(
                f,
                "\nroute \"{}\" ({}, listens on {})",
                route.route, route.mode, route.listen
            )?;
            for step in &route.steps {
                step.fmt(f)?;
            }
        }
        self.verdict(f)
    }
}

impl DoctorReport {
    /// The last lines: which sides are at fault. The reader needs no other line.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let (failed, warnings) = (
            self.having(StepResult::Failed),
            self.having(StepResult::Warning),
        );
        if failed.is_empty() {
            match warnings.len() {
                0 => writeln!(f, "no fault found")?,
                count => writeln!(f, "no fault found; warnings: {count}, see above")?,
            }
            if self.routes.is_empty() {
                return Ok(());
            }
            let start = match warnings.len() {
                0 => "this side is in order; ",
                _ => "",
            };
            return writeln!(
                f,
                "{start}what is behind the other gateway, `wardgate doctor` shows there"
            );
        }
        for (route, step) in failed {
            let route = route.map_or_else(String::new, |name| format!("route \"{name}\": "));
            let side = step.side.unwrap_or(Side::ThisGateway);
            writeln!(f, "{route}the fault is at {side}: {}", step.text)?;
            if let Some(remedy) = &step.remedy {
                writeln!(f, "  what to do: {remedy}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DoctorStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self
            .target
            .as_ref()
            .map_or_else(String::new, |target| format!("{target}: "));
        writeln!(
            f,
            "  {:7}  {:NAME_WIDTH$}  {:>5} ms  {target}{}",
            self.result,
            self.step.word(),
            self.ms,
            self.text
        )?;
        if let (Some(side), Some(remedy)) = (self.side, &self.remedy) {
            writeln!(f, "{:27}  at {side}: {remedy}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: StepName, finding: StepFinding) -> DoctorStep {
        DoctorStep {
            ms: 3,
            ..finding.step(name, None, Instant::now())
        }
    }

    fn report() -> DoctorReport {
        let fault = StepFinding::failed_sentence(
            Side::OtherGateway,
            "the connection is refused; start the gateway there",
        );
        let route = RouteReport {
            route: "ct".to_owned(),
            mode: "originate".to_owned(),
            listen: "10.20.0.5:11112".to_owned(),
            steps: vec![
                step(StepName::Connect, fault),
                step(
                    StepName::Tls,
                    StepFinding::skipped("there is no connection"),
                ),
            ],
        };
        let steps = vec![step(StepName::IoUring, StepFinding::ok("it works"))];
        DoctorReport::new("wardgate.toml".to_owned(), steps, vec![route])
    }

    #[test]
    fn the_last_lines_name_the_side_at_fault_and_the_remedy() {
        let text = report().to_string();
        let end = "\nroute \"ct\": the fault is at the gateway of the other site: the connection is refused\n  \
                   what to do: start the gateway there\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn text_from_outside_cannot_control_the_terminal() {
        let finding = StepFinding::failed(Side::OurLan, "process 7 (\u{1b}[2J)", "end \u{9b}it");
        let step = step(StepName::Listener, finding);
        assert_eq!(step.text, "process 7 (?[2J)");
        assert_eq!(step.remedy.as_deref(), Some("end ?it"));
    }

    #[test]
    fn the_json_form_has_every_field_of_the_reference() {
        let json = serde_json::to_value(report()).expect("texts and numbers");
        assert_eq!(json["version"], 1);
        assert_eq!(json["result"], "failed");
        assert_eq!(json["steps"][0]["step"], "io_uring");
        assert_eq!(json["steps"][0]["side"], serde_json::Value::Null);
        let fault = &json["routes"][0]["steps"][0];
        assert_eq!(fault["side"], "other_gateway");
        assert_eq!(fault["remedy"], "start the gateway there");
        let fields = ["step", "target", "result", "side", "ms", "text", "remedy"];
        let object = fault.as_object().expect("an object");
        assert_eq!(object.len(), fields.len());
        assert!(fields.iter().all(|field| object.contains_key(*field)));
    }

    #[test]
    fn the_names_of_steps_are_the_same_in_the_table_and_in_json() {
        for name in [StepName::IoUring, StepName::Mtu, StepName::Return] {
            let json = serde_json::to_value(name).expect("a word");
            assert_eq!(json, name.word());
        }
    }
}
