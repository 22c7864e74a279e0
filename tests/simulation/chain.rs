//! A run: application A, a chain of gateways, application B, and the result.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gateway::audit::{CloseReason, ConnectionSummary, Event};
use gateway::buffers::{Buffer, Size};
use gateway::config::{Mode, Observe, Protocol, RecordLayer, Target, Timeouts};
use gateway::relay::{AcceptedConnection, ConnectionHandle, serve};
use gateway::route::RoutePhase;
use gateway::uring::Pipe;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::app::{self, ApplicationReport, Script};
use crate::payload::Payload;
use crate::site::{self, Site};
use crate::socket::{APPLICATION_PORT, Arrival, GATEWAY_PORT, Shared, SimNetwork, SimPipe, pair};
use crate::wire::Nature;
use crate::world::{Faults, Flaw, World};

/// The settings that decide the course of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The seed of all random choices.
    pub(crate) seed: u64,
    /// The gateways from application A on, one or more.
    pub(crate) modes: Vec<Mode>,
    /// The protocol of all routes.
    pub(crate) protocol: Protocol,
    /// How the routes observe it.
    pub(crate) observe: Observe,
    /// Targets that the first gateway tries before the right one.
    pub(crate) bad_targets: Vec<Target>,
    /// The name of the right target, in place of its address.
    pub(crate) by_name: Option<&'static str>,
    /// In place of the right target, at the last gateway.
    pub(crate) last_target: Option<Target>,
    /// The deadlines of all routes.
    pub(crate) timeouts: Timeouts,
    /// Large buffers of each core.
    pub(crate) buffers: usize,
    /// Pipes of each core.
    pub(crate) pipes: usize,
    /// The record layer of each gateway.
    pub(crate) layers: Vec<RecordLayer>,
    /// Records after which a key is updated.
    pub(crate) key_records: u64,
    /// The wires, one more than there are gateways.
    pub(crate) natures: Vec<Nature>,
    /// Application A and application B.
    pub(crate) scripts: [Script; 2],
    /// How operations fail.
    pub(crate) faults: Faults,
    /// What the network does, on which wire, and when.
    pub(crate) disturbances: Vec<(Duration, usize, Disturbance)>,
    /// When all gateways begin to drain.
    pub(crate) drain_at: Option<Duration>,
    /// When the drain of all gateways is over.
    pub(crate) stop_at: Option<Duration>,
    /// The faults of the gateways' sockets.
    pub(crate) end_at: Option<Duration>,
    /// How the gateways' sockets are wrong.
    pub(crate) flaw: Option<Flaw>,
}

/// What the network does on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// It resets both ends.
    Cut,
    /// It stops carrying bytes.
    Die,
}

/// The result of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Application A.
    pub(crate) a: ApplicationReport,
    /// Application B, once for each connection that reached it, in order.
    pub(crate) b: Vec<ApplicationReport>,
    /// The summaries of the gateways, each with its position in the chain, in the order of their ends.
    pub(crate) accounts: Vec<(usize, ConnectionSummary)>,
    /// The reports of the gateways while connections were open, each with its position in the chain.
    pub(crate) events: Vec<(usize, Event)>,
    /// The violations that were found during the run.
    pub(crate) violations: Vec<String>,
    /// Operations that the gateways began.
    pub(crate) operations: u64,
    /// A digest of all events.
    pub(crate) trace: u64,
}

/// Runs must end by themselves within this virtual time.
const END: Duration = Duration::from_secs(4 * 3600);

impl Scenario {
    /// Runs the scenario to its end on its own clock.
    pub(crate) fn run(&self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        // Made inside, because the clock belongs to the runtime.
        LocalSet::new().block_on(&runtime, async { Run::new(self).complete().await })
    }
}

enum Ended {
    A(ApplicationReport),
    B(usize, ApplicationReport),
    Gateway(usize, Box<ConnectionSummary>),
}

struct Run<'s> {
    scenario: &'s Scenario,
    world: Rc<World>,
    announced: mpsc::UnboundedReceiver<Arrival>,
    sites: Vec<Rc<Site>>,
    parties: JoinSet<Ended>,
    // The connections that the first gateway has served.
    handles: Rc<RefCell<Vec<Rc<ConnectionHandle>>>>,
    reached_b: usize,
}

impl<'s> Run<'s> {
    fn new(scenario: &'s Scenario) -> Self {
        let Scenario {
            seed,
            faults,
            natures,
            modes,
            ..
        } = scenario.clone();
        assert_eq!(natures.len(), modes.len() + 1, "a wire on each side");
        let world = World::new(seed, faults, scenario.flaw, natures);
        let (arrivals, announced) = mpsc::unbounded_channel();
        let sites = (0..modes.len())
            .map(|place| {
                let network = SimNetwork {
                    world: Rc::clone(&world),
                    nature: place + 1,
                    arrivals: arrivals.clone(),
                };
                Site::new(scenario.plan(place), network)
            })
            .collect();
        Self {
            scenario,
            world,
            announced,
            sites,
            parties: JoinSet::new(),
            handles: Rc::default(),
            reached_b: 0,
        }
    }

    async fn complete(mut self) -> Report {
        let mut report = Report::default();
        self.begin();
        if timeout(END, self.take_all(&mut report)).await.is_err() {
            let open = self.parties.len();
            self.world
                .violation(format!("{open} parties had not ended after {END:?}"));
        }
        self.check_sites();
        let sites = self.sites.iter().enumerate();
        let of_each = sites.map(|(place, site)| (place, site.events.take()));
        let events =
            of_each.flat_map(|(place, events)| events.into_iter().map(move |e| (place, e)));
        report.events = events.collect();
        report.violations = self.world.end();
        report.operations = self.world.operations();
        report.trace = self.world.trace();
        report.b.truncate(self.reached_b);
        report
    }

    fn begin(&mut self) {
        let [ours, theirs] = pair(&self.world, 0, [false, true]);
        self.disturb(0, &ours.shared());
        let script = self.scenario.scripts[0].clone();
        let streams = [0, 1].map(|side| self.scenario.payload(side));
        let a = app::run(Rc::clone(&self.world), ours, script, streams);
        self.parties.spawn_local(async { Ended::A(a.await) });
        self.serve(0, Instant::now(), theirs);
        for (at, phase) in [
            (self.scenario.drain_at, RoutePhase::Draining),
            (self.scenario.stop_at, RoutePhase::Stopped),
        ] {
            let sites = self.sites.clone();
            tokio::task::spawn_local(async move {
                let Some(at) = at else { return };
                sleep(at).await;
                sites.iter().for_each(|site| site.route.state.enter(phase));
            });
        }
        self.end_connections_later();
    }

    // As a worker does for a command.
    fn end_connections_later(&self) {
        let (at, handles) = (self.scenario.end_at, Rc::clone(&self.handles));
        tokio::task::spawn_local(async move {
            let Some(at) = at else { return };
            sleep(at).await;
            handles
                .borrow()
                .iter()
                .for_each(|handle| handle.end(CloseReason::EndedByCommand));
        });
    }

    async fn take_all(&mut self, report: &mut Report) {
        loop {
            tokio::select! {
                biased;
                Some(arrival) = self.announced.recv() => self.arrive(arrival),
                Some(ended) = self.parties.join_next() => match ended {
                    Ok(Ended::A(story)) => report.a = story,
                    Ok(Ended::B(which, story)) => {
                        report.b.resize(report.b.len().max(which + 1), ApplicationReport::default());
                        report.b[which] = story;
                    }
                    Ok(Ended::Gateway(place, account)) => report.accounts.push((place, *account)),
                    Err(error) => self.world.violation(format!("a party ended early: {error}")),
                },
            }
            if self.parties.is_empty() && self.announced.is_empty() {
                return;
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { port, at, socket } = arrival;
        if port != APPLICATION_PORT {
            let place = usize::from(port - GATEWAY_PORT);
            self.disturb(place, &socket.shared());
            return self.serve(place, at, socket);
        }
        self.disturb(self.sites.len(), &socket.shared());
        let which = self.reached_b;
        self.reached_b += 1;
        let script = self.scenario.scripts[1].clone();
        let streams = [1, 0].map(|side| self.scenario.payload(side));
        let world = Rc::clone(&self.world);
        self.parties.spawn_local(async move {
            sleep_until(at).await;
            Ended::B(which, app::run(world, socket, script, streams).await)
        });
    }

    fn serve(&mut self, place: usize, at: Instant, socket: crate::socket::SimSocket) {
        let site = Rc::clone(&self.sites[place]);
        let handles = (place == 0).then(|| Rc::clone(&self.handles));
        self.parties.spawn_local(async move {
            sleep_until(at).await;
            let (route, source) = (Arc::clone(&site.route), site.route.config.listen);
            let handle = ConnectionHandle::new(site.ids.next(), route, source);
            if let Some(handles) = handles {
                handles.borrow_mut().push(Rc::clone(&handle));
            }
            let accepted = AcceptedConnection {
                handle,
                socket,
                local: None,
                is_beyond: false,
            };
            let account = serve(&site.core, accepted).await;
            Ended::Gateway(place, Box::new(account))
        });
    }

    fn disturb(&self, place: usize, shared: &Rc<Shared>) {
        for (at, wire, disturbance) in &self.scenario.disturbances {
            if *wire == place {
                let (at, how) = (*at, *disturbance);
                let (world, shared) = (Rc::clone(&self.world), Rc::clone(shared));
                tokio::task::spawn_local(async move {
                    sleep(at).await;
                    shared.disturb(|wire| {
                        let random = &mut *world.random.borrow_mut();
                        match how {
                            Disturbance::Cut => wire.cut(Instant::now(), random),
                            Disturbance::Die => wire.die(Instant::now(), random),
                        }
                    });
                });
            }
        }
    }

    // All pipes are returned, and empty.
    fn check_pipes(&self, place: usize, site: &Site) {
        let make = || Ok(SimPipe::default());
        let lent: Vec<_> = (0..site.pipes)
            .filter_map(|_| site.core.pipes.take(make))
            .collect();
        let empty = lent.iter().filter(|pipe| pipe.held() == 0).count();
        if empty != site.pipes || site.core.pipes.take(make).is_some() {
            let what = format!("gateway {place}: {empty} empty pipes of {}", site.pipes);
            self.world.violation(what);
        }
    }

    // All resources are returned, and no connection counts as open.
    fn check_sites(&self) {
        for (place, site) in self.sites.iter().enumerate() {
            self.check_pipes(place, site);
            let open = site.route.counters(0).open.get();
            if open != 0 {
                let what = format!("gateway {place}: {open} connections count as open");
                self.world.violation(what);
            }
            let lent: Vec<_> = (0..site.buffers)
                .map(|_| site.core.pool.take(Size::Large))
                .collect();
            let large = |buffer: &&Buffer| buffer.memory() == Size::Large.room();
            let back = lent.iter().filter(large).count();
            if back != site.buffers {
                let lost = site.buffers - back;
                let what = format!("gateway {place}: {lost} large buffers are gone");
                self.world.violation(what);
            }
        }
    }
}

impl Scenario {
    fn payload(&self, side: usize) -> Payload {
        Payload::new(self.seed, side, self.protocol == Protocol::Dicom)
    }

    fn plan(&self, place: usize) -> site::Plan {
        let last = place + 1 == self.modes.len();
        let step = u16::try_from(place + 1).expect("chains are short");
        let port = if last {
            APPLICATION_PORT
        } else {
            GATEWAY_PORT + step
        };
        let good = match self.by_name {
            Some(name) => site::by_name(name, port),
            None => site::by_address(port),
        };
        let mut targets = match place {
            0 => self.bad_targets.clone(),
            _ => Vec::new(),
        };
        let last = self.last_target.clone().filter(|_| last);
        targets.push(last.unwrap_or(good));
        site::Plan {
            mode: self.modes[place],
            protocol: self.protocol,
            observe: self.observe,
            targets,
            timeouts: self.timeouts.clone(),
            buffers: self.buffers,
            pipes: self.pipes,
            layer: self.layers[place],
            key_records: self.key_records,
        }
    }
}
