//! The configuration as written: every value with its line. Only TOML types are checked.

use toml::de::DeTable;

use super::Located;
use super::problem::quoted;
use super::schema;
use super::table::{Table, TableReader, TextOrTable};
pub(super) use super::written::Texts;
use super::written::{Named, Written};

/// A string with its line, if there is one.
pub(super) type Text = Written<String>;

/// The whole file.
pub(super) struct File {
    pub(super) gateway: Gateway,
    pub(super) identity: Option<Identity>,
    pub(super) timeouts: Timeouts,
    pub(super) peers: Written<Vec<Peer>>,
    /// `Absent` if the file has none.
    pub(super) routes: Written<Vec<Route>>,
}

/// `[gateway]`.
pub(super) struct Gateway {
    pub(super) cores: Option<Cores>,
    pub(super) busy_poll: Text,
    pub(super) cipher: Text,
    pub(super) admin: Text,
    pub(super) metrics: Text,
    pub(super) web: Written<bool>,
    pub(super) web_token: Text,
    pub(super) state: Text,
    pub(super) log: Text,
    pub(super) connections: Written<i64>,
    pub(super) handshakes_per_second: Written<i64>,
    pub(super) sandbox: Text,
    pub(super) run_as: Text,
    pub(super) reload_ports: Texts,
}

/// `cores`: a keyword or a list.
pub(super) enum Cores {
    Word(Located<String>),
    List(Located<Vec<Located<i64>>>),
    Refused,
}

/// `[identity]` or `[route.identity]`.
pub(super) struct Identity {
    pub(super) scope: String,
    pub(super) line: usize,
    pub(super) certificate: Text,
    pub(super) key: Text,
    pub(super) trust: Text,
    pub(super) crl: Texts,
}

/// `[[peer]]`.
pub(super) struct Peer {
    /// `peer "region": `, or the number of the table if it has no name.
    pub(super) scope: String,
    /// The line of its header.
    pub(super) line: usize,
    pub(super) name: Text,
    pub(super) identity: Texts,
    pub(super) trust: Text,
    pub(super) crl: Texts,
    pub(super) crl_url: Texts,
    pub(super) renew: Written<bool>,
}

/// `[timeouts]` or `[route.timeouts]`.
pub(super) struct Timeouts {
    pub(super) scope: String,
    pub(super) handshake: Text,
    pub(super) connect: Text,
    pub(super) first_byte: Text,
    pub(super) idle: Text,
    pub(super) association_idle: Text,
    pub(super) drain: Text,
    pub(super) drain_delay: Text,
    pub(super) keepalive: Keepalive,
    pub(super) user: Text,
    pub(super) stall: Text,
}

/// `keepalive` in a table of timeouts.
pub(super) struct Keepalive {
    pub(super) scope: String,
    pub(super) idle: Text,
    pub(super) interval: Text,
    pub(super) probes: Written<i64>,
}

/// `[[route]]`.
pub(super) struct Route {
    /// `route "ct-to-region": `, or the number of the table if it has no name.
    pub(super) scope: String,
    /// The line of its header.
    pub(super) line: usize,
    pub(super) name: Text,
    pub(super) mode: Text,
    pub(super) protocol: Text,
    pub(super) listen: Text,
    pub(super) interface: Text,
    pub(super) from: Texts,
    pub(super) accept_proxy: Texts,
    pub(super) carry_source: Written<bool>,
    pub(super) carried_from: Texts,
    pub(super) send_proxy: Text,
    pub(super) source: Text,
    pub(super) targets: Targets,
    pub(super) balance: Text,
    pub(super) peers: Texts,
    pub(super) service: Text,
    pub(super) policy: Text,
    pub(super) require_pq: Written<bool>,
    pub(super) hybrid: Written<bool>,
    pub(super) record_layer: Text,
    pub(super) key_records: Written<i64>,
    pub(super) observe: Text,
    pub(super) rules: Text,
    pub(super) called_ae: Texts,
    pub(super) calling_ae: Texts,
    pub(super) ae_bind: Written<Named>,
    pub(super) commands: Texts,
    pub(super) connections: Written<i64>,
    pub(super) connections_per_source: Written<i64>,
    pub(super) connections_per_peer: Written<i64>,
    pub(super) associations: Written<i64>,
    pub(super) associations_per_peer: Written<i64>,
    pub(super) returns: Text,
    pub(super) bandwidth: Text,
    pub(super) dscp: Dscp,
    pub(super) connect: Text,
    pub(super) health: Health,
    pub(super) when_down: Text,
    pub(super) ae: Written<Vec<Ae>>,
    pub(super) identity: Option<Identity>,
    pub(super) timeouts: Timeouts,
}

/// `dscp`: a word or a number.
pub(super) enum Dscp {
    Word(Text),
    Number(Written<i64>),
}

/// `[[route.ae]]`.
pub(super) struct Ae {
    pub(super) scope: String,
    pub(super) line: usize,
    pub(super) called: Texts,
    pub(super) targets: Targets,
}

/// `targets`.
pub(super) type Targets = Written<Vec<Target>>;

/// A target: its address alone, or a table.
pub(super) struct Target {
    pub(super) address: Located<String>,
    /// The peer that must answer there.
    pub(super) peer: Texts,
    pub(super) connections: Written<i64>,
}

/// `health`: a keyword, or the table `[route.health]`.
pub(super) enum Health {
    /// Absent or not readable.
    Absent,
    Word(Located<String>),
    Table(Box<HealthTable>),
}

/// `[route.health]`.
pub(super) struct HealthTable {
    pub(super) scope: String,
    pub(super) line: usize,
    pub(super) probe: Text,
    pub(super) interval: Text,
    pub(super) timeout: Text,
    pub(super) rise: Written<i64>,
    pub(super) fall: Written<i64>,
    pub(super) slow_start: Text,
    pub(super) calling: Text,
    pub(super) called: Text,
}

/// Reads the structure of the file from its TOML.
pub(super) fn read(root: DeTable<'_>, reader: &mut TableReader<'_>) -> File {
    let mut root = Table::root(&schema::ROOT, root);
    let gateway = root.table(
        "gateway",
        &schema::GATEWAY,
        "[gateway]: ".to_owned(),
        reader,
    );
    let identity = root.table(
        "identity",
        &schema::IDENTITY,
        "[identity]: ".to_owned(),
        reader,
    );
    let timeouts = root.table(
        "timeouts",
        &schema::TIMEOUTS,
        "[timeouts]: ".to_owned(),
        reader,
    );
    let file = File {
        gateway: read_gateway(gateway, reader),
        identity: identity.map(|table| read_identity(table, reader)),
        timeouts: read_timeouts(timeouts, "[timeouts]: ", reader),
        peers: read_peers(&mut root, reader),
        routes: read_routes(&mut root, reader),
    };
    root.finish(reader);
    file
}

fn read_gateway(table: Option<Table<'_>>, reader: &mut TableReader<'_>) -> Gateway {
    let Some(mut table) = table else {
        return Gateway {
            cores: None,
            busy_poll: Text::Absent,
            cipher: Text::Absent,
            admin: Text::Absent,
            metrics: Text::Absent,
            web: Written::Absent,
            web_token: Text::Absent,
            state: Text::Absent,
            log: Text::Absent,
            connections: Written::Absent,
            handshakes_per_second: Written::Absent,
            sandbox: Written::Absent,
            run_as: Written::Absent,
            reload_ports: Written::Absent,
        };
    };
    let gateway = Gateway {
        cores: read_cores(&mut table, reader),
        busy_poll: table.leaf("busy_poll", reader),
        cipher: table.leaf("cipher", reader),
        admin: table.leaf("admin", reader),
        metrics: table.leaf("metrics", reader),
        web: table.leaf("web", reader),
        web_token: table.leaf("web_token", reader),
        state: table.leaf("state", reader),
        log: table.leaf("log", reader),
        connections: table.leaf("connections", reader),
        handshakes_per_second: table.leaf("handshakes_per_second", reader),
        sandbox: table.leaf("sandbox", reader),
        run_as: table.leaf("run_as", reader),
        reload_ports: table.list("reload_ports", reader),
    };
    table.finish(reader);
    gateway
}

fn read_cores(table: &mut Table<'_>, reader: &mut TableReader<'_>) -> Option<Cores> {
    if table.is_string("cores") {
        let word = table.leaf("cores", reader);
        return word.value().cloned().map(Cores::Word);
    }
    match table.list("cores", reader) {
        Written::Absent => None,
        Written::Refused => Some(Cores::Refused),
        Written::Value(list) => Some(Cores::List(list)),
    }
}

fn read_identity(mut table: Table<'_>, reader: &mut TableReader<'_>) -> Identity {
    let identity = Identity {
        scope: table.scope.clone(),
        line: table.line,
        certificate: table.leaf("certificate", reader),
        key: table.leaf("key", reader),
        trust: table.leaf("trust", reader),
        crl: table.list("crl", reader),
    };
    table.finish(reader);
    identity
}

fn read_timeouts(table: Option<Table<'_>>, scope: &str, reader: &mut TableReader<'_>) -> Timeouts {
    let Some(mut table) = table else {
        return Timeouts {
            scope: scope.to_owned(),
            handshake: Text::Absent,
            connect: Text::Absent,
            first_byte: Text::Absent,
            idle: Text::Absent,
            association_idle: Text::Absent,
            drain: Text::Absent,
            drain_delay: Text::Absent,
            keepalive: read_keepalive(None, scope, reader),
            user: Text::Absent,
            stall: Text::Absent,
        };
    };
    let keepalive_scope = format!("{scope}keepalive: ");
    let keepalive = table.table("keepalive", &schema::KEEPALIVE, keepalive_scope, reader);
    let timeouts = Timeouts {
        scope: scope.to_owned(),
        handshake: table.leaf("handshake", reader),
        connect: table.leaf("connect", reader),
        first_byte: table.leaf("first_byte", reader),
        idle: table.leaf("idle", reader),
        association_idle: table.leaf("association_idle", reader),
        drain: table.leaf("drain", reader),
        drain_delay: table.leaf("drain_delay", reader),
        keepalive: read_keepalive(keepalive, scope, reader),
        user: table.leaf("user", reader),
        stall: table.leaf("stall", reader),
    };
    table.finish(reader);
    timeouts
}

fn read_keepalive(
    table: Option<Table<'_>>,
    scope: &str,
    reader: &mut TableReader<'_>,
) -> Keepalive {
    let Some(mut table) = table else {
        return Keepalive {
            scope: scope.to_owned(),
            idle: Text::Absent,
            interval: Text::Absent,
            probes: Written::Absent,
        };
    };
    let keepalive = Keepalive {
        scope: table.scope.clone(),
        idle: table.leaf("idle", reader),
        interval: table.leaf("interval", reader),
        probes: table.leaf("probes", reader),
    };
    table.finish(reader);
    keepalive
}

fn read_peers(root: &mut Table<'_>, reader: &mut TableReader<'_>) -> Written<Vec<Peer>> {
    match root.tables("peer", &schema::PEER, reader) {
        Written::Absent => Written::Absent,
        Written::Refused => Written::Refused,
        Written::Value(tables) => {
            let numbered = (1..).zip(tables.value);
            let peers = numbered.map(|(number, table)| read_peer(number, table, reader));
            Written::Value(Located {
                value: peers.collect(),
                line: tables.line,
            })
        }
    }
}

fn read_peer(number: usize, mut table: Table<'_>, reader: &mut TableReader<'_>) -> Peer {
    table.scope = match table.peek("name") {
        Some(name) => format!("peer {}: ", quoted(name)),
        None => format!("peer number {number}: "),
    };
    let peer = Peer {
        scope: table.scope.clone(),
        line: table.line,
        name: table.leaf("name", reader),
        identity: table.one_or_list("identity", reader),
        trust: table.leaf("trust", reader),
        crl: table.list("crl", reader),
        crl_url: table.one_or_list("crl_url", reader),
        renew: table.leaf("renew", reader),
    };
    table.finish(reader);
    peer
}

fn read_routes(root: &mut Table<'_>, reader: &mut TableReader<'_>) -> Written<Vec<Route>> {
    match root.tables("route", &schema::ROUTE, reader) {
        Written::Absent => Written::Absent,
        Written::Refused => Written::Refused,
        Written::Value(tables) => {
            let numbered = (1..).zip(tables.value);
            let routes = numbered.map(|(number, table)| read_route(number, table, reader));
            Written::Value(Located {
                value: routes.collect(),
                line: tables.line,
            })
        }
    }
}

fn read_route(number: usize, mut table: Table<'_>, reader: &mut TableReader<'_>) -> Route {
    let scope = match table.peek("name") {
        Some(name) => format!("route {}: ", quoted(name)),
        None => format!("route number {number}: "),
    };
    table.scope.clone_from(&scope);
    let identity_scope = format!("{scope}[route.identity]: ");
    let identity = table.table("identity", &schema::ROUTE_IDENTITY, identity_scope, reader);
    let timeouts_scope = format!("{scope}[route.timeouts]: ");
    let timeouts = table.table(
        "timeouts",
        &schema::ROUTE_TIMEOUTS,
        timeouts_scope.clone(),
        reader,
    );
    let route = Route {
        scope,
        line: table.line,
        name: table.leaf("name", reader),
        mode: table.leaf("mode", reader),
        protocol: table.leaf("protocol", reader),
        listen: table.leaf("listen", reader),
        interface: table.leaf("interface", reader),
        from: table.list("from", reader),
        accept_proxy: table.list("accept_proxy", reader),
        carry_source: table.leaf("carry_source", reader),
        carried_from: table.list("carried_from", reader),
        send_proxy: table.leaf("send_proxy", reader),
        source: table.leaf("source", reader),
        targets: read_targets(&mut table, reader),
        balance: table.leaf("balance", reader),
        peers: table.list("peers", reader),
        service: table.leaf("service", reader),
        policy: table.leaf("policy", reader),
        require_pq: table.leaf("require_pq", reader),
        hybrid: table.leaf("hybrid", reader),
        record_layer: table.leaf("record_layer", reader),
        key_records: table.leaf("key_records", reader),
        observe: table.leaf("observe", reader),
        rules: table.leaf("rules", reader),
        called_ae: table.list("called_ae", reader),
        calling_ae: table.list("calling_ae", reader),
        ae_bind: table.named_lists("ae_bind", reader),
        commands: table.list("commands", reader),
        connections: table.leaf("connections", reader),
        connections_per_source: table.leaf("connections_per_source", reader),
        connections_per_peer: table.leaf("connections_per_peer", reader),
        associations: table.leaf("associations", reader),
        associations_per_peer: table.leaf("associations_per_peer", reader),
        returns: table.leaf("return", reader),
        bandwidth: table.leaf("bandwidth", reader),
        dscp: match table.is_string("dscp") {
            true => Dscp::Word(table.leaf("dscp", reader)),
            false => Dscp::Number(table.leaf("dscp", reader)),
        },
        connect: table.leaf("connect", reader),
        health: read_health(&mut table, reader),
        when_down: table.leaf("when_down", reader),
        ae: read_tables_of_titles(&mut table, reader),
        identity: identity.map(|table| read_identity(table, reader)),
        timeouts: read_timeouts(timeouts, &timeouts_scope, reader),
    };
    table.finish(reader);
    route
}

fn read_health(route: &mut Table<'_>, reader: &mut TableReader<'_>) -> Health {
    if route.is_string("health") {
        let word = route.leaf("health", reader);
        return word.value().cloned().map_or(Health::Absent, Health::Word);
    }
    let scope = format!("{}[route.health]: ", route.scope);
    let Some(mut table) = route.table("health", &schema::ROUTE_HEALTH, scope, reader) else {
        return Health::Absent;
    };
    let health = HealthTable {
        scope: table.scope.clone(),
        line: table.line,
        probe: table.leaf("probe", reader),
        interval: table.leaf("interval", reader),
        timeout: table.leaf("timeout", reader),
        rise: table.leaf("rise", reader),
        fall: table.leaf("fall", reader),
        slow_start: table.leaf("slow_start", reader),
        calling: table.leaf("calling", reader),
        called: table.leaf("called", reader),
    };
    table.finish(reader);
    Health::Table(Box::new(health))
}

fn read_tables_of_titles(route: &mut Table<'_>, reader: &mut TableReader<'_>) -> Written<Vec<Ae>> {
    match route.tables("ae", &schema::ROUTE_AE, reader) {
        Written::Absent => Written::Absent,
        Written::Refused => Written::Refused,
        Written::Value(tables) => {
            let scope = format!("{}[[route.ae]]: ", route.scope);
            let read = tables.value.into_iter().map(|mut table| {
                table.scope.clone_from(&scope);
                read_table_of_titles(table, reader)
            });
            Written::Value(Located {
                value: read.collect(),
                line: tables.line,
            })
        }
    }
}

fn read_table_of_titles(mut table: Table<'_>, reader: &mut TableReader<'_>) -> Ae {
    let ae = Ae {
        scope: table.scope.clone(),
        line: table.line,
        called: table.one_or_list("called", reader),
        targets: read_targets(&mut table, reader),
    };
    table.finish(reader);
    ae
}

fn read_targets(table: &mut Table<'_>, reader: &mut TableReader<'_>) -> Targets {
    let scope = format!("{}targets: ", table.scope);
    match table.texts_or_tables("targets", &schema::TARGET, &scope, reader) {
        Written::Absent => Written::Absent,
        Written::Refused => Written::Refused,
        Written::Value(elements) => {
            let written = elements.value.len();
            let read = elements.value.into_iter();
            let read = read.filter_map(|element| read_target(element, reader));
            let value: Vec<_> = read.collect();
            let line = elements.line;
            match (value.is_empty(), written) {
                (true, 1..) => Written::Refused,
                _ => Written::Value(Located { value, line }),
            }
        }
    }
}

/// Reads one target; `None` if its address is not readable.
fn read_target(element: TextOrTable<'_>, reader: &mut TableReader<'_>) -> Option<Target> {
    let mut table = match element {
        TextOrTable::Text(address) => {
            return Some(Target {
                address,
                peer: Texts::Absent,
                connections: Written::Absent,
            });
        }
        TextOrTable::Table(table) => table,
    };
    let address: Text = table.leaf("address", reader);
    if address.is_absent() {
        let text = format!(
            "{}address is missing; write {{ address = \"gw.region.example:2762\", peer = \"region\" }}",
            table.scope
        );
        reader.problems.missing(Some(table.line), text);
    }
    let peer = table.one_or_list("peer", reader);
    let connections = table.leaf("connections", reader);
    table.finish(reader);
    Some(Target {
        address: address.value()?.clone(),
        peer,
        connections,
    })
}
