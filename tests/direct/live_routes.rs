//! A second table of routes reaches running workers: each connection stays on the route that it began with.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gateway::audit::Journal;
use gateway::config::{self, Config, RouteConfig};
use gateway::route::{Change, Route, RouteDraft, RouteId, RoutePhase, RouteTable, Transport, diff};
use gateway::supervisor::Workers;
use gateway::thread_sandbox::ThreadSandbox;
use gateway::tls::Cipher;
use gateway::uring;
use wardgate_tests::free_port;

const PATIENCE: Duration = Duration::from_secs(20);

/// A target that answers each byte with its own name, on any number of connections.
fn target(name: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    if stream.write_all(&[name]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A listener of a route, which the test opens itself, so that its port is known before the configuration is
/// written.
fn listener() -> (SocketAddr, Arc<TcpListener>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    (
        listener.local_addr().expect("it is bound"),
        Arc::new(listener),
    )
}

fn configured(routes: &[(&str, SocketAddr, SocketAddr)]) -> Config {
    let each = routes.iter().map(|(name, listen, target)| {
        format!(
            "[[route]]\nname = \"{name}\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\nlisten = \"{listen}\"\n\
             targets = [\"{target}\"]\n"
        )
    });
    let text = each.collect::<String>();
    config::parse(&text, Path::new("wardgate.toml")).expect("good routes")
}

fn drafts(routes: &[Arc<RouteConfig>]) -> impl Iterator<Item = RouteDraft> {
    routes.iter().map(|config| RouteDraft {
        config: Arc::clone(config),
        transport: Transport::Passthrough,
        material: [0; 32],
    })
}

fn route<'t>(table: &'t RouteTable, name: &str) -> &'t Arc<Route> {
    let mut routes = table.routes.iter();
    let found = routes.find(|route| route.config.name == name);
    found.expect("it is configured")
}

struct Client(TcpStream);

impl Client {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self(stream)
    }

    /// The name of the target that answers.
    fn ask(&mut self) -> char {
        self.0.write_all(b"?").expect("it is open");
        let mut byte = [0];
        self.0.read_exact(&mut byte).expect("an answer");
        char::from(byte[0])
    }

    fn is_ended(&mut self) -> bool {
        let _ = self.0.write_all(b"?");
        !self.0.read(&mut [0]).is_ok_and(|count| count == 1)
    }
}

#[test]
fn each_connection_is_served_by_the_route_that_it_began_with() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(publish_while_connections_are_open());
}

async fn publish_while_connections_are_open() {
    let (one, two) = (target(b'1'), target(b'2'));
    let names = ["kept", "changed", "moved", "removed"];
    let opened = [(); 4].map(|()| listener());
    let [kept, changed, moved, removed] = opened.each_ref().map(|(address, _)| *address);
    let first = [kept, changed, moved, removed];
    let first: Vec<_> = names.into_iter().zip(first).collect();
    let first: Vec<_> = first
        .into_iter()
        .map(|(name, at)| (name, at, one))
        .collect();
    let config = configured(&first);
    let cores = config.gateway.cores.len();
    let table = Arc::new(RouteTable::first(
        cores,
        drafts(&config.routes),
        &config.routes,
    ));
    let listeners: Vec<(RouteId, Arc<TcpListener>)> = names
        .into_iter()
        .zip(opened)
        .map(|(name, (_, listener))| (route(&table, name).id(), listener))
        .collect();
    let (journal, _events) = Journal::unwritten();
    let ring = (uring::probe().expect("io_uring"), Cipher::fastest());
    let workers = Workers::start(
        &config.gateway,
        Arc::clone(&table),
        listeners,
        ring,
        [ThreadSandbox::none(), ThreadSandbox::none()],
        &journal,
        1000,
    );
    let mut workers = workers.expect("they start");
    let mut open: Vec<_> = [kept, changed, moved, removed].map(Client::connect).into();
    let answers: String = open.iter_mut().map(Client::ask).collect();
    assert_eq!(answers, "1111");

    // Clients that connect all the time, so that some connections are in transit between cores when the table
    // changes. Each gets an answer before the change, and one after it.
    let is_published = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = [kept, changed]
        .into_iter()
        .map(|at| {
            let is_published = Arc::clone(&is_published);
            let mut answers = String::from(Client::connect(at).ask());
            thread::spawn(move || {
                while !is_published.load(Ordering::Acquire) {
                    answers.push(Client::connect(at).ask());
                }
                answers.push(Client::connect(at).ask());
                answers
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(250)).await;

    let (moved_to, moved_listener) = listener();
    let (added, added_listener) = listener();
    let next = configured(&[
        ("kept", kept, one),
        ("changed", changed, two),
        ("moved", moved_to, two),
        ("added", added, two),
    ]);
    let next = Arc::new(table.next(drafts(&next.routes), &next.routes));
    let changes: Vec<_> = diff(&table, &next).iter().map(in_words).collect();
    assert_eq!(
        changes,
        [
            "kept kept",
            "changed changed",
            "moved moved",
            "added added",
            "removed removed"
        ]
    );
    let listeners = vec![
        (route(&next, "moved").id(), moved_listener),
        (route(&next, "added").id(), added_listener),
    ];
    let published = workers.publish(Arc::clone(&next), listeners).await;
    published.expect("all workers are there");
    tokio::time::sleep(Duration::from_millis(250)).await;
    is_published.store(true, Ordering::Release);

    let mut answers = clients.into_iter().map(thread::JoinHandle::join);
    let of_kept = answers.next().expect("a client").expect("none was refused");
    let of_changed = answers.next().expect("a client").expect("none was refused");
    assert!(of_kept.chars().all(|by| by == '1'), "{of_kept}");
    let (before, after) = of_changed.split_at(of_changed.find('2').expect("the new route"));
    assert!(!before.is_empty(), "some came before the change");
    assert!(after.chars().all(|by| by == '2'), "{of_changed}");

    // Open connections continue unchanged.
    let answers: String = open.iter_mut().map(Client::ask).collect();
    assert_eq!(answers, "1111");
    let new = [kept, changed, moved_to, added].map(|at| Client::connect(at).ask());
    assert_eq!(new, ['1', '2', '2', '2']);
    for gone in [moved, removed] {
        assert!(TcpStream::connect(gone).is_err(), "{gone} is closed");
    }
    // A route with the same name keeps its identity and its counters.
    for name in ["kept", "changed", "moved"] {
        assert_eq!(route(&table, name).id(), route(&next, name).id(), "{name}");
    }
    let ids: Vec<_> = table.routes.iter().map(|route| route.id()).collect();
    assert!(
        !ids.contains(&route(&next, "added").id()),
        "no id is used twice"
    );
    let accepted = |name| -> u64 {
        let counters = &route(&next, name).state.counters;
        counters.iter().map(|core| core.accepted.get()).sum()
    };
    assert_eq!(accepted("kept"), 2 + of_kept.len() as u64);
    assert_eq!((accepted("moved"), accepted("added")), (2, 1));

    // One route ends, and all others continue.
    route(&table, "removed").state.enter(RoutePhase::Stopped);
    let is_ended: Vec<_> = open
        .iter_mut()
        .map(|client| match client.is_ended() {
            true => 'x',
            false => '-',
        })
        .collect();
    assert_eq!(is_ended, ['-', '-', '-', 'x']);
    drop(open);
    workers.stop_accepting().await;
    for route in &next.routes {
        route.state.enter(RoutePhase::Stopped);
    }
    workers.emptied().await;
    workers.join(PATIENCE).await.expect("no worker panicked");
}

fn in_words(change: &Change) -> String {
    let (word, route) = match change {
        Change::Kept(route) => ("kept", route),
        Change::Changed(route) => ("changed", route),
        Change::NewListener(route) => ("moved", route),
        Change::Added(route) => ("added", route),
        Change::Removed(route) => ("removed", route),
    };
    format!("{word} {}", route.config.name)
}

#[test]
fn a_target_in_maintenance_gets_no_new_connections_and_keeps_its_open_ones() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(set_maintenance_while_connections_are_open());
}

/// A route from the listener to these targets, and its workers.
fn serve(listen: SocketAddr, opened: Arc<TcpListener>, targets: &str) -> (Arc<Route>, Workers) {
    let text = format!(
        "[[route]]\nname = \"a\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\nlisten = \"{listen}\"\n\
         targets = [{targets}]\n"
    );
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    let cores = config.gateway.cores.len();
    let table = RouteTable::first(cores, drafts(&config.routes), &config.routes);
    let table = Arc::new(table);
    let live = Arc::clone(&table.routes[0]);
    let (journal, _events) = Journal::unwritten();
    let ring = (uring::probe().expect("io_uring"), Cipher::fastest());
    let listeners = vec![(live.id(), opened)];
    let sandboxes = [ThreadSandbox::none(), ThreadSandbox::none()];
    let workers = Workers::start(
        &config.gateway,
        table,
        listeners,
        ring,
        sandboxes,
        &journal,
        1000,
    );
    (live, workers.expect("they start"))
}

async fn end(live: &Route, workers: Workers) {
    workers.stop_accepting().await;
    live.state.enter(RoutePhase::Stopped);
    workers.emptied().await;
    workers.join(PATIENCE).await.expect("no worker panicked");
}

/// A process that hands its listeners over may close one a moment later, because its targets are down.
#[test]
fn a_listener_that_another_process_has_closed_for_all_listens_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // The kernel keeps only a port that was asked for.
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let opened = TcpListener::bind(listen).expect("the port is free");
        opened.set_nonblocking(true).expect("a socket");
        let other = opened.try_clone().expect("a descriptor");
        let (live, workers) = serve(listen, Arc::new(opened), &format!("\"{}\"", target(b'1')));
        assert_eq!(Client::connect(listen).ask(), '1');
        rustix::net::connect_unspec(&other).expect("it is a socket");
        let begun = Instant::now();
        while TcpStream::connect(listen).is_err() {
            assert!(begun.elapsed() < PATIENCE, "it stays closed");
        }
        assert_eq!(Client::connect(listen).ask(), '1');
        end(&live, workers).await;
    });
}

async fn set_maintenance_while_connections_are_open() {
    let (one, two) = (target(b'1'), target(b'2'));
    let (listen, opened) = listener();
    let (live, workers) = serve(listen, opened, &format!("\"{one}\", \"{two}\""));
    let set = |target: SocketAddr, on| {
        let set = live.set_maintenance(&target.to_string(), on);
        set.expect("it is a target of the route");
    };
    let mut open = Client::connect(listen);
    assert_eq!(open.ask(), '1');
    set(one, true);
    let mut other = Client::connect(listen);
    assert_eq!(other.ask(), '2');
    assert_eq!(open.ask(), '1', "it goes on");
    set(two, true);
    assert!(Client::connect(listen).is_ended(), "none is left");
    assert_eq!((open.ask(), other.ask()), ('1', '2'));
    set(one, false);
    assert_eq!(Client::connect(listen).ask(), '1');
    drop((open, other));
    end(&live, workers).await;
}
