//! `wardgate doctor`: walks routes end to end, and names the side at fault with what to do.
//!
//! `machine`, `files` and `running` examine this machine, `target` the path to one target, and `report` holds the
//! result. All network code blocks and has deadlines: nothing here runs in the gateway.

mod files;
mod holder;
mod machine;
mod mtu;
mod probe;
mod report;
mod route;
mod running;
mod target;
pub(super) mod tls;
mod user;
pub(super) mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Instant, SystemTime};

use clap::Args;

use self::report::{DoctorReport, DoctorStep, RouteReport, Side, StepFinding, StepName};
use self::route::RouteExamination;
use self::running::RunningGateway;
use self::user::User;
use super::admin::{CONFIG, OnlyConfig, SOCKET};
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD, EXIT_USAGE};
use crate::cli::limits::{DOCTOR_ALL, DOCTOR_ROUTES_AT_A_TIME};
use crate::config::{self, Config, RouteConfig};
use crate::pki::store::Store;
use crate::route::Route;
use crate::supervisor::prepare;

/// The options of `wardgate doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The route to examine; all routes without it
    route: Option<String>,
    #[command(flatten)]
    config: OnlyConfig,
    /// The admin socket of the gateway, instead of the one that the configuration names
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// The user of the service, who must be able to read the files. By default the user of the running gateway; if
    /// none runs, `wardgate` for a configuration in /etc/wardgate, else the user of this command
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Examines, prints the report and returns the exit code.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<u8> {
    let file = args.config.file();
    let report = match examine(
        file,
        args.route.as_deref(),
        args.socket.as_deref(),
        args.user.as_deref(),
    ) {
        Ok(report) => report,
        Err(usage) => {
            eprintln!("wardgate: {usage}");
            return Ok(EXIT_USAGE);
        }
    };
    match args.json {
        true => println!("{}", report.json()),
        false => print!("{report}"),
    }
    Ok(match report.result {
        report::StepResult::Failed if report.is_configuration_invalid() => EXIT_CONFIG,
        report::StepResult::Failed => EXIT_FAILED,
        _ => EXIT_GOOD,
    })
}

/// Examines one route of the configuration in `file`, or all of them.
///
/// # Errors
/// If the configuration has no such route, or this machine has no such user.
pub(crate) fn examine(
    file: &Path,
    route: Option<&str>,
    socket: Option<&Path>,
    user: Option<&str>,
) -> Result<DoctorReport, String> {
    let begun = Instant::now();
    let shown = file.display().to_string();
    let found = config::load(file);
    let config = match found.config {
        Ok(config) => config,
        Err(problems) => {
            let problem = problems
                .first()
                .map(|problem| problem.display(file).to_string());
            let finding =
                StepFinding::failed_sentence(Side::ThisGateway, &problem.unwrap_or_default());
            let steps = vec![finding.step(StepName::Configuration, None, begun)];
            return Ok(DoctorReport::new(shown, steps, Vec::new()));
        }
    };
    let chosen = chosen(&config, route)?;
    let begun_running = Instant::now();
    let running = match admin_socket(&config, socket) {
        Some(socket) => RunningGateway::at(socket),
        None => RunningGateway::Unknown(format!(
            "{shown} names no admin socket (the key `admin` of [gateway]), so it is not known whether its gateway runs; \
             name the socket with --socket SOCKET"
        )),
    };
    let gateway = running
        .finding()
        .step(StepName::Gateway, None, begun_running);
    let user = service_user(file, &running, user)?;

    let now = SystemTime::now();
    let mut store = Store::new(now).of_service(&config.gateway.run_as);
    let (configuration, usable) = prepared(&config, file, now, &mut store, begun);
    let mut steps = vec![configuration, gateway];
    steps.extend(machine_steps(&config, &running));
    let of_files: Vec<_> = chosen
        .iter()
        .map(|route| file_steps(&mut store, route, user.as_ref(), now))
        .collect();
    let examinations = chosen.iter().zip(of_files).map(|(route, steps)| {
        let examination = RouteExamination {
            config: &config,
            route,
            usable: &usable,
            running: &running,
            until: begun + DOCTOR_ALL,
        };
        (examination, steps)
    });
    let routes = examine_routes(examinations.collect());
    Ok(DoctorReport::new(shown, steps, routes))
}

/// The admin socket of the gateway with this configuration; `None` if it is not known. That of the packaged service
/// belongs to the packaged configuration alone.
fn admin_socket<'s>(config: &'s Config, given: Option<&'s Path>) -> Option<&'s Path> {
    let of_package = || (config.file == Path::new(CONFIG)).then_some(Path::new(SOCKET));
    given
        .or(config.gateway.admin.as_deref())
        .or_else(of_package)
}

/// The routes to examine.
fn chosen(config: &Config, name: Option<&str>) -> Result<Vec<Arc<RouteConfig>>, String> {
    let Some(name) = name else {
        return Ok(config.routes.clone());
    };
    let found = config.routes.iter().find(|route| route.name == name);
    let Some(found) = found else {
        let names: Vec<_> = config
            .routes
            .iter()
            .map(|route| route.name.as_str())
            .collect();
        return Err(format!(
            "{} has no route \"{name}\"; its routes are {}",
            config.file.display(),
            names.join(", ")
        ));
    };
    Ok(vec![Arc::clone(found)])
}

/// The user whose rights on files are examined; `None` is the user of this command.
fn service_user(
    file: &Path,
    running: &RunningGateway,
    named: Option<&str>,
) -> Result<Option<User>, String> {
    let etc = Path::new("/etc");
    if let Some(name) = named {
        let user = User::named(name, etc);
        return user
            .map(Some)
            .ok_or_else(|| format!("--user: this machine has no user \"{name}\" in /etc/passwd"));
    }
    let of_process = running.process().and_then(User::of_process);
    let of_package = || {
        let is_packaged = file.starts_with("/etc/wardgate");
        is_packaged.then(|| User::named("wardgate", etc)).flatten()
    };
    Ok(of_process.or_else(of_package))
}

/// The step about the configuration, and the routes that a start would open, by name. Problems of single files belong
/// to the steps of their routes.
fn prepared(
    config: &Config,
    file: &Path,
    now: SystemTime,
    store: &mut Store,
    begun: Instant,
) -> (DoctorStep, HashMap<String, Arc<Route>>) {
    load_files(store, &config.routes);
    let of_files: Vec<_> = store
        .problems()
        .iter()
        .map(|problem| problem.display(file).to_string())
        .collect();
    let (problems, usable) = match prepare(file, now) {
        Ok(prepared) => {
            let routes = prepared.table.routes.iter();
            let usable = routes.map(|route| (route.config.name.clone(), Arc::clone(route)));
            (prepared.problems, usable.collect())
        }
        Err(problems) => (problems, HashMap::new()),
    };
    let other = problems.iter().find(|problem| !of_files.contains(problem));
    let finding = match other {
        Some(problem) => StepFinding::failed_sentence(Side::ThisGateway, problem),
        None => StepFinding::ok(format!(
            "{} is valid; routes: {}",
            file.display(),
            config.routes.len()
        )),
    };
    (finding.step(StepName::Configuration, None, begun), usable)
}

/// Loads every identity before any trust, as `Store` requires.
fn load_files(store: &mut Store, routes: &[Arc<RouteConfig>]) {
    let with_tls = || {
        routes
            .iter()
            .filter_map(|route| Some((route, route.tls.as_ref()?)))
    };
    for (route, tls) in with_tls() {
        store.identity(&files::scope(route), &tls.identity, route.mode);
    }
    for (route, tls) in with_tls() {
        for peer in &tls.peers {
            store.trust(&files::peer_scope(route, peer), &peer.trust);
        }
    }
}

fn machine_steps(config: &Config, running: &RunningGateway) -> Vec<DoctorStep> {
    let mut steps = Vec::new();
    let mut take = |name, examine: &dyn Fn() -> StepFinding| {
        let begun = Instant::now();
        steps.push(examine().step(name, None, begun));
    };
    take(StepName::Clock, &machine::clock);
    take(StepName::IoUring, &|| machine::kernel(running));
    take(StepName::Descriptors, &|| {
        machine::descriptors(config, running)
    });
    take(StepName::Tuning, &machine::tuning);
    steps
}

fn file_steps(
    store: &mut Store,
    route: &RouteConfig,
    user: Option<&User>,
    now: SystemTime,
) -> Vec<DoctorStep> {
    let Some(tls) = &route.tls else {
        return Vec::new();
    };
    let begun = Instant::now();
    let permissions = files::permissions(tls, user);
    let is_good = permissions.is_good();
    let mut steps = vec![permissions.step(StepName::Files, None, begun)];
    let begun = Instant::now();
    let mut push = |name, finding: StepFinding| steps.push(finding.step(name, None, begun));
    if !is_good || files::are_hidden(tls) {
        let skipped = || {
            StepFinding::skipped(match is_good {
                true => "this command may not read a file of the route; run it as root",
                false => "a file cannot be used, see `files`",
            })
        };
        push(StepName::Certificate, skipped());
        push(StepName::Trust, skipped());
    } else {
        push(StepName::Certificate, files::certificate(store, route, now));
        push(StepName::Trust, files::trust(store, route, now));
    }
    steps
}

/// Examines the network of several routes at the same time.
fn examine_routes(routes: Vec<(RouteExamination<'_>, Vec<DoctorStep>)>) -> Vec<RouteReport> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some((examination, _)) = routes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let steps = examination.steps();
            let mut found = found
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            found.push((examination.route.name.clone(), steps));
        }
    };
    thread::scope(|scope| {
        // LIMIT: DOCTOR_ROUTES_AT_A_TIME.
        for _ in 0..routes.len().min(DOCTOR_ROUTES_AT_A_TIME) {
            scope.spawn(work);
        }
    });
    let mut found: HashMap<_, _> = found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .into_iter()
        .collect();
    let reports = routes.into_iter().map(|(examination, mut steps)| {
        let route = examination.route;
        steps.extend(found.remove(&route.name).unwrap_or_default());
        RouteReport {
            route: route.name.clone(),
            mode: route.mode.to_string(),
            listen: route.listen.to_string(),
            steps,
        }
    });
    reports.collect()
}
