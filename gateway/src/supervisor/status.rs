//! The state of the running gateway: what the supervisor knows, and what the workers answer.
//!
//! A worker answers between two turns of its loop. The supervisor does not wait: a task collects the answers, and a
//! worker without one is reported as silent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::expiries::DatedFile;
use super::running::Running;
use super::samples::RouteRates;
use crate::admin::Answer;
use crate::audit::LastRefusal;
use crate::config::RouteConfig;
use crate::control::limits::{CERTIFICATES_SHOWN_MAX, CONNECTIONS_SHOWN_MAX, TYPES_SHOWN_MAX};
use crate::control::{
    CertificateStatus, CommandReply, ConnectionStatus, CoreStatus, GatewayStatus, HealthLevel,
    LinkLoad, RefusalStatus, RouteFacts, RouteStatus, SandboxStatus, TargetStatus, gateway_health,
    route_health,
};
use crate::hardening::PartReport;
use crate::pki::expiry::{moment, unix};
use crate::relay::ConnectionView;
use crate::route::Route;
use crate::supervisor::limits::{PEER_WARNING_DAYS, REFUSAL_WARNS_FOR, VIEWS_WITHIN};
use crate::upstream::RouteTarget;
use crate::worker::CoreView;

impl Running {
    /// Answers `status` when the workers have answered, at the latest after `limits::VIEWS_WITHIN`.
    pub(super) fn answer_status(&self, answer: oneshot::Sender<Answer>) {
        let (mut status, own) = self.status();
        let views = self.workers.views(CONNECTIONS_SHOWN_MAX);
        tokio::task::spawn_local(async move {
            let views = collect(views, status.cores.len()).await;
            add_views(&mut status, views);
            let silent = silent_cores(&status);
            status.health = gateway_health(&status.routes, own.into_iter().chain(silent));
            let reply = CommandReply {
                status: Some(status),
                ..CommandReply::done([])
            };
            // The client may be gone.
            let _ = answer.send(reply.into());
        });
    }

    /// Brings the web page up to date when the workers have answered.
    pub(super) fn update_web(&self) {
        let Some(web) = self.view.web.clone() else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        self.answer_status(answer);
        tokio::task::spawn_local(async move {
            let answer = answered.await.ok();
            if let Some(status) = answer.and_then(|answer| answer.reply.status) {
                web.update(&status);
            }
        });
    }

    /// What is known without the workers, and the reasons of the gateway itself.
    fn status(&self) -> (GatewayStatus, Vec<(HealthLevel, String)>) {
        let (now, table) = (SystemTime::now(), self.workers.table());
        let refused = self.journal.refusals();
        let files = self.expiries.dates(&self.config.routes, now);
        let dates = warnings(&files);
        let routes = self.config.routes.iter().map(|config| {
            let open = table.by_name(&config.name);
            let status = match open {
                Some(route) => self.route_status(route),
                None => RouteStatus {
                    state: "closed".to_owned(),
                    ..of_config(config)
                },
            };
            self.with_health(status, config, open, &refused, &dates)
        });
        let mut routes: Vec<_> = routes.collect();
        routes.extend(self.drains.removed().map(|route| {
            let status = self.route_status(route);
            self.with_health(status, &route.config, None, &refused, &dates)
        }));
        let cores = self.workers.counters.iter().enumerate();
        let cores = cores.map(|(core, counters)| CoreStatus {
            cpu: counters.cpu,
            is_silent: true,
            busy_percent: self.samples.busy_percent(core),
            connections: counters.open.get(),
        });
        let status = GatewayStatus {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            generation: table.generation,
            connections: self.workers.open(),
            stopping: self.is_stopping(),
            routes,
            problems: self.problems.clone(),
            restart: self.restart.clone(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            at: seconds(now),
            uptime_seconds: self.began.elapsed().as_secs(),
            cores: cores.collect(),
            sandbox: self.sandbox.parts().iter().map(part).collect(),
            certificates: self.certificates(files, now),
            refusals: refused.iter().map(refusal).collect(),
            ..GatewayStatus::default()
        };
        (status, self.own_reasons())
    }

    fn own_reasons(&self) -> Vec<(HealthLevel, String)> {
        let mut found = Vec::new();
        let mut warn = |text: String| found.push((HealthLevel::Warning, text));
        if self.is_stopping() {
            warn("the gateway is stopping and accepts no new connections".to_owned());
        }
        // The reasons of a closed route are among its own.
        let is_of_closed = |text: &&String| {
            let table = self.workers.table();
            let mut closed = self.config.routes.iter();
            closed.any(|route| table.by_name(&route.name).is_none() && is_about(text, &route.name))
        };
        let problems = self.problems.iter().filter(|text| !is_of_closed(text));
        problems.cloned().for_each(&mut warn);
        let (folder, file) = (Path::new(TIME_SERVICE), Path::new(SYNCHRONISED));
        if folder.exists() && !file.exists() {
            warn(
                "no time server has set this machine's clock since it booted, and certificates depend on the time; see \
                 `timedatectl timesync-status`"
                    .to_owned(),
            );
        }
        found
    }

    fn route_status(&self, route: &Arc<Route>) -> RouteStatus {
        let now = Instant::now();
        let (state, drain) = self.drains.status(route.id(), now).unzip();
        let rates = self.samples.of(route.id(), now);
        let RouteRates {
            bytes: [sealed_bytes, opened_bytes],
            per_second: [sealed_per_second, opened_per_second],
            latency_us,
            ..
        } = rates;
        RouteStatus {
            state: state.unwrap_or("open").to_owned(),
            connections: route.state.open(),
            targets: route.targets.all.iter().map(|one| target(one)).collect(),
            drain,
            sealed_bytes,
            opened_bytes,
            sealed_per_second,
            opened_per_second,
            latency_us,
            ..of_config(&route.config)
        }
    }

    fn with_health(
        &self,
        mut status: RouteStatus,
        config: &RouteConfig,
        open: Option<&Arc<Route>>,
        refused: &[LastRefusal],
        dates: &HashMap<String, Vec<(HealthLevel, String)>>,
    ) -> RouteStatus {
        let closed = self.problems.iter();
        let closed = closed.filter(|text| is_about(text, &config.name));
        let closed: Vec<_> = closed.cloned().collect();
        let now = SystemTime::now();
        let mut dates = dates.get(&config.name).cloned().unwrap_or_default();
        let peers = open.map_or_else(Vec::new, |route| route.accepted_peers());
        dates.extend(peers.iter().filter_map(|peer| peer_date(peer, unix(now))));
        let rates = open.map(|route| self.samples.of(route.id(), Instant::now()));
        let rates = rates.unwrap_or_default();
        let load = config.bandwidth.map(|bandwidth| LinkLoad {
            bytes: rates.highest_second.into_iter().max().unwrap_or_default(),
            bandwidth: bandwidth.bytes_per_second(),
        });
        let of_peer = |one: &&LastRefusal| one.route == config.name && one.is_of_peer();
        let last = refused.iter().find(of_peer);
        let age = last.and_then(|last| now.duration_since(last.at).ok());
        let is_refused_recently = age.is_some_and(|age| age < REFUSAL_WARNS_FOR);
        let refused_peer = last.map(refusal);
        status.health = route_health(&RouteFacts {
            route: &status,
            closed: &closed,
            dates: &dates,
            load,
            limits: &rates.limits,
            refused_peer: refused_peer.as_ref(),
            is_refused_recently,
            has_accepted: !peers.is_empty(),
        });
        status
    }

    fn certificates(&self, files: Vec<DatedFile>, now: SystemTime) -> Vec<CertificateStatus> {
        let mut known = HashMap::new();
        let mut all: Vec<CertificateStatus> = Vec::new();
        for file in files {
            let key = (file.kind, file.name.clone(), file.ends);
            let place = *known.entry(key).or_insert_with(|| {
                all.push(certificate(
                    file.kind,
                    file.name.clone(),
                    Vec::new(),
                    file.ends,
                    now,
                ));
                all.len() - 1
            });
            if let Some(one) = all.get_mut(place) {
                one.routes.extend(file.routes);
            }
        }
        for one in &mut all {
            one.routes.sort();
            one.routes.dedup();
        }
        for route in &self.workers.table().routes {
            for (identity, ends) in route.accepted_peers() {
                let routes = vec![route.config.name.clone()];
                all.push(certificate("peer", identity, routes, ends, now));
            }
        }
        all.sort_by_key(|one| one.expires);
        // LIMIT: CERTIFICATES_SHOWN_MAX.
        all.truncate(CERTIFICATES_SHOWN_MAX);
        all
    }
}

/// The folder of systemd's time service, and its file once a time server has set the clock.
const TIME_SERVICE: &str = "/run/systemd/timesync";
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

// What to warn of, by route.
fn warnings(files: &[DatedFile]) -> HashMap<String, Vec<(HealthLevel, String)>> {
    let mut by_route = HashMap::<_, Vec<_>>::new();
    for file in files {
        let Some(level) = file.level else { continue };
        for route in &file.routes {
            let of_route = by_route.entry(route.clone()).or_default();
            of_route.push((level, file.sentence.clone()));
        }
    }
    by_route
}

fn is_about(text: &str, route: &str) -> bool {
    text.starts_with(&format!("route \"{route}\" "))
}

fn of_config(config: &RouteConfig) -> RouteStatus {
    let peers = config.tls.iter().flat_map(|tls| &tls.peers);
    let peers = peers.flat_map(|peer| &peer.identities);
    RouteStatus {
        name: config.name.clone(),
        mode: config.mode.name().to_owned(),
        listen: config.listen,
        protocol: config.protocol.to_string(),
        peers: peers.map(ToString::to_string).collect(),
        ..RouteStatus::default()
    }
}

fn target(target: &RouteTarget) -> TargetStatus {
    let state = match (target.state.is_in_maintenance(), target.state.is_down()) {
        (true, _) => "maintenance",
        (false, true) => "down",
        (false, false) => "up",
    };
    let trouble = target.state.trouble();
    TargetStatus {
        address: target.target.to_string(),
        state: state.to_owned(),
        connections: target.state.open(),
        failing_since: trouble.as_ref().map(|trouble| seconds(trouble.since)),
        failure: trouble.map(|trouble| trouble.why),
    }
}

fn certificate(
    kind: &str,
    name: String,
    routes: Vec<String>,
    expires: i64,
    now: SystemTime,
) -> CertificateStatus {
    let days_left = expires.saturating_sub(unix(now)).div_euclid(24 * 60 * 60);
    CertificateStatus {
        kind: kind.to_owned(),
        name,
        routes,
        expires,
        days_left,
    }
}

// The certificate that the peer showed last; it may have a newer one by now.
fn peer_date((identity, ends): &(String, i64), now: i64) -> Option<(HealthLevel, String)> {
    let left = ends.saturating_sub(now);
    if left > PEER_WARNING_DAYS * 24 * 60 * 60 {
        return None;
    }
    let verb = if left > 0 { "expires" } else { "expired" };
    let text = format!(
        "the certificate of peer {identity} {verb} on {}, as its last connection showed; ask the other site to renew it",
        moment(*ends)
    );
    Some((HealthLevel::Warning, text))
}

fn part(report: &PartReport) -> SandboxStatus {
    SandboxStatus {
        part: report.part.name().to_owned(),
        state: report.state.word().to_owned(),
        detail: report.state.detail().to_owned(),
    }
}

// A sentence of the log ends with its remedy.
fn refusal(refused: &LastRefusal) -> RefusalStatus {
    let (reason, remedy) = refused
        .reason
        .split_once("; ")
        .unwrap_or((&refused.reason, ""));
    RefusalStatus {
        at: seconds(refused.at),
        route: refused.route.clone(),
        source: refused.source.to_string(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
        count: refused.count,
    }
}

async fn collect(mut views: mpsc::Receiver<CoreView>, cores: usize) -> Vec<CoreView> {
    let mut all = Vec::with_capacity(cores);
    let each = async {
        while let Some(view) = views.recv().await {
            all.push(view);
        }
    };
    // The channel closes when each worker has answered, or ended.
    let _ = timeout(VIEWS_WITHIN, each).await;
    all
}

fn add_views(status: &mut GatewayStatus, views: Vec<CoreView>) {
    let (mut open, mut shown) = (0, Vec::new());
    for view in views {
        if let Some(core) = status.cores.get_mut(view.core) {
            core.is_silent = false;
        }
        open += view.open;
        shown.extend(view.connections);
    }
    shown.sort_by_key(|one| std::cmp::Reverse(one.sealed_bytes.saturating_add(one.opened_bytes)));
    // LIMIT: CONNECTIONS_SHOWN_MAX.
    shown.truncate(CONNECTIONS_SHOWN_MAX);
    let left_out = open.saturating_sub(shown.len());
    status.open_left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
    let now = Instant::now();
    status.open = shown.into_iter().map(|one| connection(one, now)).collect();
}

fn connection(view: ConnectionView, now: Instant) -> ConnectionStatus {
    let live = view.live.unwrap_or_default();
    let (calling, called) = live.titles.unzip();
    let mut types = live.types;
    types.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    // LIMIT: TYPES_SHOWN_MAX.
    types.truncate(TYPES_SHOWN_MAX);
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    ConnectionStatus {
        id: view.id.to_string(),
        tunnel: view.tunnel.map(|id| id.to_string()),
        route: view.route.name.clone(),
        source: view.source.to_string(),
        forwarded_for: view.client.map(|client| client.to_string()),
        target: view.target.map(|target| target.to_string()),
        peer: view.peer.map(|peer| peer.identity.clone()),
        calling: calling.map(|title| title.to_string()),
        called: called.map(|title| title.to_string()),
        types: types
            .into_iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect(),
        sealed_bytes: view.sealed_bytes,
        opened_bytes: view.opened_bytes,
        seconds: now.saturating_duration_since(view.began).as_secs(),
        latency_us: live.latency.map(micros),
    }
}

fn silent_cores(status: &GatewayStatus) -> Vec<(HealthLevel, String)> {
    let silent = status.cores.iter().filter(|core| core.is_silent);
    let text = |core: &CoreStatus| {
        format!(
            "the worker of CPU {} does not answer; if this lasts, restart the service, and report it with the log",
            core.cpu
        )
    };
    silent
        .map(|core| (HealthLevel::Failed, text(core)))
        .collect()
}

fn seconds(at: SystemTime) -> u64 {
    unix(at).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::audit::ConnectionIds;
    use crate::config;

    /// A core with this many connections, each with more bytes than the one before.
    fn view(core: usize, count: u64) -> CoreView {
        let text = "[[route]]\nname = \"r\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:2762\"\n\
                    targets = [\"127.0.0.1:104\"]\n";
        let config = config::parse(text, Path::new("wardgate.toml")).expect("a good route");
        let ids = ConnectionIds::new(core, SystemTime::UNIX_EPOCH);
        let connections = (0..count).map(|number| ConnectionView {
            client: None,
            tunnel: None,
            id: ids.next(),
            route: Arc::clone(&config.routes[0]),
            source: SocketAddr::from(([192, 0, 2, 1], 5)),
            target: None,
            peer: None,
            sealed_bytes: number,
            opened_bytes: u64::MAX / 2,
            began: Instant::now(),
            live: None,
        });
        let connections: Vec<_> = connections.collect();
        CoreView {
            core,
            open: connections.len() + 5,
            connections,
        }
    }

    fn core(cpu: usize) -> CoreStatus {
        CoreStatus {
            cpu,
            is_silent: true,
            busy_percent: 0,
            connections: 0,
        }
    }

    #[test]
    fn connections_of_all_cores_are_bounded_and_a_silent_core_is_named() {
        let mut status = GatewayStatus {
            cores: vec![core(2), core(4), core(6)],
            ..GatewayStatus::default()
        };
        add_views(&mut status, vec![view(0, 800), view(1, 700)]);
        assert_eq!(status.open.len(), CONNECTIONS_SHOWN_MAX);
        assert_eq!(status.open_left_out, 510);
        let bytes = |place: usize| status.open[place].sealed_bytes;
        assert_eq!((bytes(0), bytes(CONNECTIONS_SHOWN_MAX - 1)), (799, 250));
        let silent = silent_cores(&status);
        assert_eq!(silent.len(), 1);
        assert!(
            silent[0]
                .1
                .starts_with("the worker of CPU 6 does not answer")
        );
        // The client reads 16 MiB at most.
        let reply = CommandReply {
            status: Some(status),
            ..CommandReply::done([])
        };
        assert!(reply.to_line().len() < 1 << 20);
    }
}
