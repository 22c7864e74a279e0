//! Reloads, drains and the registry of connections under seeded events.
//!
//! A connection is served by the route that it began with, none is lost, and the listeners are those of the
//! open routes. `WARDGATE_SEED` replays one seed.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::drains::{DrainCause, Drains};
use crate::audit::{CloseReason, ConnectionId, ConnectionIds};
use crate::config::{self, RouteConfig};
use crate::control::{DrainStep, ListenerPlan, plan_listener};
use crate::relay::ConnectionHandle;
use crate::route::{Change, Route, RouteDraft, RouteId, RoutePhase, RouteTable, Transport, diff};
use crate::worker::Registry;

/// Numbers that a seed determines (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const ROUTES: u64 = 5;
const PORTS: u64 = 7;
const DRAIN: Duration = Duration::from_secs(10);

/// A connection of the model, and what it knows of its beginning.
struct Connection {
    handle: Rc<ConnectionHandle>,
    /// The target that the configuration had when it was accepted.
    target: String,
}

/// A gateway without sockets: what the supervisor and one worker hold.
struct Machine {
    random: Random,
    now: Instant,
    table: Arc<RouteTable>,
    drains: Drains,
    /// The listening address of each route that accepts.
    listeners: BTreeMap<RouteId, SocketAddr>,
    ids: ConnectionIds,
    registry: Registry,
    connections: BTreeMap<String, Connection>,
    known_ids: BTreeMap<String, RouteId>,
    used_ids: HashSet<RouteId>,
    reloads: u32,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            now: Instant::now(),
            table: Arc::new(RouteTable::empty(1)),
            drains: Drains::default(),
            listeners: BTreeMap::new(),
            ids: ConnectionIds::new(0, SystemTime::UNIX_EPOCH),
            registry: Registry::default(),
            connections: BTreeMap::new(),
            known_ids: BTreeMap::new(),
            used_ids: HashSet::new(),
            reloads: 0,
        }
    }

    // Some routes with different ports, of which a few change from one configuration to the next.
    fn configuration(&mut self) -> Vec<Arc<RouteConfig>> {
        let mut text = String::new();
        let mut ports: Vec<_> = (0..PORTS).collect();
        for name in 0..ROUTES {
            if self.random.below(4) == 0 {
                continue;
            }
            let port = match self.random.below(3) {
                0 => ports.remove(self.random.below(ports.len() as u64) as usize),
                _ => match ports.iter().position(|port| *port == name) {
                    Some(at) => ports.remove(at),
                    None => ports.remove(0),
                },
            };
            let target = self.random.below(2);
            text += &format!(
                "[[route]]\nname = \"r{name}\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\n\
                 listen = \"127.0.0.1:{}\"\ntargets = [\"192.0.2.{target}:104\"]\n\
                 [route.timeouts]\ndrain = \"10s\"\n",
                1000 + port
            );
        }
        match text.is_empty() {
            true => self.configuration(),
            false => {
                let config = config::parse(&text, Path::new("wardgate.toml"));
                config.expect("good routes").routes
            }
        }
    }

    // As `Running::put_to_use`.
    fn reload(&mut self) {
        self.reloads += 1;
        let routes = self.configuration();
        let plans: Vec<_> = routes
            .iter()
            .map(|route| plan_listener(&self.table, route, |id| self.drains.is_by_command(id)))
            .collect();
        let drafts = routes.iter().map(|config| RouteDraft {
            config: Arc::clone(config),
            transport: Transport::Passthrough,
            material: [0; 32],
        });
        let next = Arc::new(self.table.next(drafts, &routes));
        for change in diff(&self.table, &next) {
            match change {
                Change::Kept(_) | Change::Changed(_) => {}
                Change::NewListener(route) => {
                    self.listeners.remove(&route.id());
                }
                Change::Added(route) => {
                    assert!(self.used_ids.insert(route.id()), "an id is used twice");
                }
                Change::Removed(route) => {
                    self.listeners.remove(&route.id());
                    self.drains.begin(&route, DrainCause::Removed, self.now);
                    self.known_ids.remove(&route.config.name);
                }
            }
        }
        for (route, plan) in next.routes.iter().zip(plans) {
            match plan {
                ListenerPlan::Keep => {
                    let own = self.listeners.get(&route.id());
                    assert_eq!(
                        own,
                        Some(&route.config.listen),
                        "{route:?} keeps its listener"
                    );
                }
                ListenerPlan::Closed => assert!(!self.listeners.contains_key(&route.id())),
                ListenerPlan::TakeFrom(_) | ListenerPlan::Open => {
                    let is_free = self.listeners.values().all(|at| *at != route.config.listen);
                    assert!(is_free, "two routes listen on {}", route.config.listen);
                    self.listeners.insert(route.id(), route.config.listen);
                }
            }
            let known = self.known_ids.entry(route.config.name.clone());
            assert_eq!(
                *known.or_insert(route.id()),
                route.id(),
                "a name keeps its id"
            );
        }
        self.table = next;
        self.registry.end_unaccepted(&self.table, 0);
    }

    fn a_route(&mut self) -> Option<Arc<Route>> {
        let count = self.table.routes.len() as u64;
        let at = self.random.below(count.max(1)) as usize;
        self.table.routes.get(at).cloned()
    }

    fn connect(&mut self) {
        let Some(route) = self.a_route() else { return };
        if !self.listeners.contains_key(&route.id()) {
            // The kernel refuses.
            return;
        }
        let source = SocketAddr::from(([192, 0, 2, 9], 9));
        let target = route.config.targets[0].to_string();
        let handle = ConnectionHandle::new(self.ids.next(), Arc::clone(&route), source);
        self.registry.insert(Rc::clone(&handle));
        route.state.count_one_more();
        let text = handle.id.to_string();
        self.connections.insert(text, Connection { handle, target });
    }

    fn drain(&mut self) {
        let Some(route) = self.a_route() else { return };
        if !self.drains.is_by_command(route.id()) {
            self.listeners.remove(&route.id());
            self.drains.begin(&route, DrainCause::Command, self.now);
        }
    }

    fn undo(&mut self) {
        let Some(route) = self.a_route() else { return };
        if self.drains.undo(route.id()) {
            self.listeners.insert(route.id(), route.config.listen);
        }
    }

    fn a_connection(&mut self) -> Option<ConnectionId> {
        let count = self.connections.len() as u64;
        let at = self.random.below(count.max(1)) as usize;
        self.connections.values().nth(at).map(|one| one.handle.id)
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(closed) = self.connections.remove(&id.to_string()) {
            self.registry.remove(id);
            closed.handle.route.state.count_one_less();
        }
    }

    fn end_one(&mut self) {
        let Some(id) = self.a_connection() else {
            return;
        };
        assert!(self.registry.end_one(id), "an open connection is found");
        assert_eq!(
            self.connections[&id.to_string()].handle.ending(),
            Some(CloseReason::EndedByCommand)
        );
        self.close(id);
        assert!(
            !self.registry.end_one(id),
            "a closed connection is not found"
        );
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.random.below(6000));
        for (route, step, open) in self.drains.look(self.now) {
            let own = self
                .connections
                .values()
                .filter(|one| one.handle.route.id() == route.id());
            let own: Vec<_> = own.map(|one| one.handle.id).collect();
            assert_eq!(own.len() as u32, open, "{route:?}");
            match step {
                DrainStep::Reset => own.into_iter().for_each(|id| self.close(id)),
                DrainStep::Drained => assert!(own.is_empty()),
                DrainStep::Wait | DrainStep::WaitForReset => panic!("nothing is to be done"),
            }
        }
        // Removed routes are forgotten when nothing holds them.
        while !self.drains.look(self.now).is_empty() {}
        assert!(self.drains.removed().all(|route| route.state.open() > 0));
    }

    fn check(&self) {
        for one in self.connections.values() {
            let route = &one.handle.route;
            // Served by the route that it began with.
            assert_eq!(route.config.targets[0].to_string(), one.target);
            assert_eq!(
                one.handle.ending(),
                None,
                "a connection was ended without a reason"
            );
            let now = self.table.get(route.id());
            let phase = *route.state.phase().borrow();
            match now {
                Some(now) if !self.drains.is_by_command(now.id()) => {
                    assert_eq!(phase, RoutePhase::Open);
                }
                Some(_) => assert_eq!(phase, RoutePhase::Draining),
                None => assert_eq!(phase, RoutePhase::Draining, "a removed route drains"),
            }
        }
        assert_eq!(self.registry.len(), self.connections.len());
        for route in &self.table.routes {
            let expected = match self.drains.is_by_command(route.id()) {
                true => None,
                false => Some(&route.config.listen),
            };
            assert_eq!(self.listeners.get(&route.id()), expected, "{route:?}");
            let own = self
                .connections
                .values()
                .filter(|one| one.handle.route.id() == route.id());
            assert_eq!(own.count() as u32, route.state.open(), "{route:?}");
        }
        assert!(
            self.listeners
                .keys()
                .all(|id| self.table.get(*id).is_some())
        );
    }

    fn run(&mut self, events: u32) {
        self.reload();
        for _ in 0..events {
            match self.random.below(12) {
                0 | 1 => self.reload(),
                2..=5 => self.connect(),
                6 => {
                    if let Some(id) = self.a_connection() {
                        self.close(id);
                    }
                }
                7 => self.end_one(),
                8 => self.drain(),
                9 => self.undo(),
                _ => self.pass_time(),
            }
            self.check();
        }
        // Everything ends: all routes drain, and after their time nothing is left.
        for route in self.table.routes.clone() {
            self.listeners.remove(&route.id());
            self.drains.begin(&route, DrainCause::Stop, self.now);
        }
        self.now += 2 * DRAIN;
        self.pass_time();
        self.pass_time();
        assert!(self.connections.is_empty());
        assert!(self.drains.all_are_past(self.now));
        assert_eq!(self.registry.len(), 0);
    }
}

#[test]
fn no_connection_changes_its_route_or_is_lost_whatever_an_operator_does() {
    let replayed = std::env::var("WARDGATE_SEED").ok();
    let seeds = match replayed.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..=seed,
        None => 1..=300,
    };
    let mut reloads = 0;
    for seed in seeds {
        let mut machine = Machine::new(seed);
        eprintln!("WARDGATE_SEED={seed}");
        machine.run(200);
        reloads += machine.reloads;
    }
    assert!(reloads > 20, "{reloads}");
}
