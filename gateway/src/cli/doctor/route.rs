//! The steps of one route: its listener, its targets, the probe through the listener, and the returning route.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::probe::{self, ProbeChannel};
use super::report::{DoctorStep, Side, StepFinding, StepName};
use super::running::RunningGateway;
use super::target::TargetExamination;
use super::wire::Wire;
use super::{files, machine};
use crate::cli::limits::{DOCTOR_STEP, DOCTOR_TARGETS_MAX};
use crate::config::{Config, HealthCheck, Mode, RouteConfig, Target};
use crate::route::{Route, Transport};

/// A route, and what is known about this machine.
pub(super) struct RouteExamination<'a> {
    pub(super) config: &'a Config,
    pub(super) route: &'a Arc<RouteConfig>,
    /// The routes that a start would open, by name.
    pub(super) usable: &'a HashMap<String, Arc<Route>>,
    pub(super) running: &'a RunningGateway,
    /// When the whole run ends.
    pub(super) until: Instant,
}

impl RouteExamination<'_> {
    /// Takes all steps on the network.
    pub(super) fn steps(&self) -> Vec<DoctorStep> {
        let begun = Instant::now();
        let listener = machine::listener(self.config, self.route, self.running);
        let is_listening = !listener.has_failed();
        let mut steps = vec![listener.step(StepName::Listener, None, begun)];
        if self.route.mode == Mode::Terminate {
            let text = "the other gateway opens this connection; `wardgate doctor` at the other site examines it";
            steps.push(StepFinding::skipped(text).step(StepName::Tls, None, Instant::now()));
        }
        let entry = self.entry().filter(|_| is_listening);
        let targets = self.targets();
        for target in targets.iter().take(DOCTOR_TARGETS_MAX) {
            steps.extend(self.target(self.route, target, entry.is_none()).steps());
        }
        // LIMIT: DOCTOR_TARGETS_MAX.
        let left = targets.len().saturating_sub(DOCTOR_TARGETS_MAX);
        if left > 0 {
            let text = format!("{left} more targets were not examined");
            steps.push(StepFinding::skipped(text).step(StepName::Name, None, Instant::now()));
        }
        if let (Some(entry), Some(health), Some(target)) =
            (entry, &self.route.health, targets.first())
        {
            let begun = Instant::now();
            let has_failed = steps.iter().any(DoctorStep::has_failed);
            let finding = match has_failed {
                true => StepFinding::skipped("a step before failed"),
                false => self.through(entry, health, target),
            };
            steps.push(finding.step(StepName::Probe, None, begun));
        }
        steps.extend(self.returning());
        steps
    }

    fn target<'s>(
        &'s self,
        route: &'s Arc<RouteConfig>,
        target: &'s Target,
        probes: bool,
    ) -> TargetExamination<'s> {
        let transport = self.usable.get(&route.name).map(|route| &route.transport);
        TargetExamination {
            route,
            target,
            connector: match transport {
                Some(Transport::Originate(connector)) => Some(&**connector),
                _ => None,
            },
            until: self.until,
            probes,
        }
    }

    /// All targets of the route, each once.
    fn targets(&self) -> Vec<Target> {
        let by_title = self.route.dicom.iter().flat_map(|dicom| &dicom.by_title);
        let by_title = by_title.flat_map(|table| &table.targets);
        let mut targets: Vec<Target> = Vec::new();
        for target in self.route.targets.iter().chain(by_title) {
            if !targets.iter().any(|known| known.has_address_of(target)) {
                targets.push(target.clone());
            }
        }
        targets
    }

    /// Where the probe enters the running gateway; `None` if it cannot or must not.
    fn entry(&self) -> Option<SocketAddr> {
        let route = self.route;
        let health = route
            .health
            .as_ref()
            .filter(|health| probe::is_of_application(health))?;
        let is_open = self.running.route(&route.name)?.state == "open";
        let needs_proxy = route.source.accept_proxy.is_some();
        if route.mode != Mode::Originate || !is_open || route.interface.is_some() || needs_proxy {
            return None;
        }
        let ip = match route.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // A connection of this machine to one of its addresses has this address as its source.
        let may_enter = route
            .from
            .as_ref()
            .is_none_or(|networks| networks.iter().any(|network| network.contains(ip)));
        (may_enter && self.may_call(health)).then(|| SocketAddr::new(ip, route.listen.port()))
    }

    /// Whether the route's own rules let the gateway's title pass.
    fn may_call(&self, health: &HealthCheck) -> bool {
        let Some(dicom) = &self.route.dicom else {
            return true;
        };
        let own = &health.calling;
        let is_listed = dicom
            .calling
            .as_ref()
            .is_none_or(|titles| titles.contains(own));
        is_listed && !dicom.bound.iter().any(|(title, _)| title == own)
    }

    /// The probe through the listener of the running gateway. If it fails, the same probe without the gateway shows
    /// which side is at fault.
    fn through(&self, entry: SocketAddr, health: &HealthCheck, target: &Target) -> StepFinding {
        let called = self.route.echo_title(target);
        let through = match Wire::connect(entry, DOCTOR_STEP, None) {
            Ok(wire) => {
                let mut channel = ProbeChannel::Plain(wire.within(DOCTOR_STEP));
                probe::ask(&mut channel, health, called, Side::OtherLan, false)
            }
            Err(error) => StepFinding::failed(
                Side::ThisGateway,
                format!("the listener {entry} does not accept the connection: {error}"),
                "look at the log of the gateway for this time",
            ),
        };
        if !through.has_failed() {
            return through;
        }
        let direct = self.target(self.route, target, true).steps();
        let direct = direct.into_iter().find(|step| step.step == StepName::Probe);
        match direct {
            Some(step) if step.has_failed() => step.into_finding(),
            Some(_) => StepFinding::failed(
                Side::ThisGateway,
                "the probe fails through the running gateway, and succeeds without it",
                "look at the log of the gateway for this time: it has the reason, for example a limit or a rule",
            ),
            None => through,
        }
    }

    /// The step `return`: the route by which the images of a C-MOVE come back.
    fn returning(&self) -> Option<DoctorStep> {
        let name = self.route.dicom.as_ref()?.returns.as_ref()?;
        let begun = Instant::now();
        let back = self
            .config
            .routes
            .iter()
            .find(|route| route.name == *name)?;
        Some(
            self.of_return(back)
                .step(StepName::Return, Some(name), begun),
        )
    }

    fn of_return(&self, back: &Arc<RouteConfig>) -> StepFinding {
        if !self.usable.contains_key(&back.name) {
            if back.tls.as_ref().is_some_and(files::are_hidden) {
                return StepFinding::skipped(
                    "this command may not read a file of that route; run it as root",
                );
            }
            return StepFinding::failed(
                Side::ThisGateway,
                "this route cannot be opened, so images of a C-MOVE do not come back",
                format!("`wardgate doctor {}` names the file at fault", back.name),
            );
        }
        let listener = machine::listener(self.config, back, self.running);
        if listener.has_failed() {
            return listener;
        }
        let Some(target) = back.targets.first() else {
            return StepFinding::ok("it is open");
        };
        let examined = self.target(back, target, false).steps();
        match examined.into_iter().find(DoctorStep::has_failed) {
            Some(step) => step.into_finding(),
            None => StepFinding::ok(format!("it is open, and its target {target} answers")),
        }
    }
}
