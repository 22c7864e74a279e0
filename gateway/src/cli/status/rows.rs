//! The tables of the state: columns, and rows with what they are sorted by. The printed tables and the live view
//! show the same.

use super::text::{age, bytes, fit, latency, moment};
use crate::control::{ConnectionStatus, GatewayStatus, HealthLevel};

/// A table of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusTable {
    /// The routes.
    Routes,
    /// The open connections.
    Connections,
    /// Certificates and revocation lists.
    Certificates,
    /// The cores.
    Cores,
    /// The last refusals.
    Refusals,
}

impl StatusTable {
    /// All tables, in the order in which they are shown.
    pub(super) const ALL: [Self; 5] = [
        Self::Routes,
        Self::Connections,
        Self::Certificates,
        Self::Cores,
        Self::Refusals,
    ];

    /// Its title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Routes => "Routes",
            Self::Connections => "Connections",
            Self::Certificates => "Certificates",
            Self::Cores => "Cores",
            Self::Refusals => "Refusals",
        }
    }

    /// Its columns.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Routes => &ROUTES,
            Self::Connections => &CONNECTIONS,
            Self::Certificates => &CERTIFICATES,
            Self::Cores => &CORES,
            Self::Refusals => &REFUSALS,
        }
    }
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    /// Its title.
    pub(super) title: &'static str,
    width: Width,
    is_right: bool,
    // The width of a terminal from which it is shown.
    from: usize,
}

#[derive(Debug)]
enum Width {
    Fixed(usize),
    // A share of what the others leave.
    Share(usize),
}

const fn left(title: &'static str, width: usize, from: usize) -> Column {
    let (width, is_right) = (Width::Fixed(width), false);
    Column {
        title,
        width,
        is_right,
        from,
    }
}

const fn right(title: &'static str, width: usize) -> Column {
    let (width, is_right, from) = (Width::Fixed(width), true, 0);
    Column {
        title,
        width,
        is_right,
        from,
    }
}

const fn share(title: &'static str, share: usize, from: usize) -> Column {
    let (width, is_right) = (Width::Share(share), false);
    Column {
        title,
        width,
        is_right,
        from,
    }
}

/// The width of a terminal that shows all columns.
const WIDE: usize = 140;

const ROUTES: [Column; 10] = [
    share("ROUTE", 2, 0),
    left("HEALTH", 7, 0),
    left("STATE", 8, 0),
    left("MODE", 11, 0),
    right("OPEN", 5),
    right("SEALED/s", 8),
    right("OPENED/s", 8),
    right("LATENCY", 7),
    left("LISTEN", 21, WIDE),
    share("TARGETS", 3, WIDE),
];
const CONNECTIONS: [Column; 8] = [
    left("ID", 20, WIDE),
    share("ROUTE", 2, 0),
    left("SOURCE", 21, 0),
    share("APPLICATION", 3, 0),
    right("BYTES", 7),
    right("AGE", 6),
    right("LATENCY", 7),
    share("PEER", 3, WIDE),
];
const CERTIFICATES: [Column; 5] = [
    right("DAYS", 5),
    left("EXPIRES (UTC)", 16, 0),
    left("KIND", 6, 0),
    share("NAME", 3, 0),
    share("ROUTES", 1, WIDE),
];
const CORES: [Column; 4] = [
    right("CPU", 4),
    right("BUSY", 5),
    right("OPEN", 5),
    share("LOAD", 1, 0),
];
const REFUSALS: [Column; 5] = [
    left("LAST (UTC)", 16, 0),
    right("COUNT", 6),
    share("ROUTE", 1, 0),
    left("SOURCE", 21, 0),
    share("REASON", 2, 0),
];

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRow {
    /// What names it: a route, or the id of a connection.
    pub(super) key: String,
    /// One cell for each column, also for those that are not shown.
    pub(super) cells: Vec<Cell>,
    /// How well it works.
    pub(super) level: HealthLevel,
    /// All that is known of it, in sentences.
    pub(super) details: Vec<String>,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// What is shown.
    pub(super) text: String,
    // Numbers sort before texts.
    number: Option<i128>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        let number = None;
        Self { text, number }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

fn number(text: String, number: impl Into<i128>) -> Cell {
    let number = Some(number.into());
    Cell { text, number }
}

impl TableRow {
    /// Sorts by a column, then by name.
    pub(super) fn sort(rows: &mut [Self], column: usize, is_descending: bool) {
        rows.sort_by(|one, other| {
            let key = |row: &Self| {
                let cell = row.cells.get(column);
                cell.map(|cell| (cell.number, cell.text.to_lowercase()))
            };
            let order = key(one).cmp(&key(other));
            let order = if is_descending {
                order.reverse()
            } else {
                order
            };
            order.then_with(|| one.key.cmp(&other.key))
        });
    }

    /// Whether a cell contains `text`, in lower case.
    pub(super) fn has(&self, text: &str) -> bool {
        let mut cells = self.cells.iter();
        cells.any(|cell| cell.text.to_lowercase().contains(text))
    }

    /// The row as a line of `width` characters.
    pub(super) fn line(&self, section: StatusTable, width: usize) -> String {
        let texts: Vec<_> = self.cells.iter().map(|cell| cell.text.as_str()).collect();
        line(section, &texts, width)
    }
}

/// The titles of the columns as a line of `width` characters; `sorted` is the column by which the rows are sorted.
pub(super) fn titles(section: StatusTable, width: usize, sorted: Option<(usize, bool)>) -> String {
    let columns = section.columns().iter().enumerate();
    let titles: Vec<_> = columns
        .map(|(place, column)| match sorted {
            Some((by, true)) if by == place => format!("{}v", column.title),
            Some((by, false)) if by == place => format!("{}^", column.title),
            _ => column.title.to_owned(),
        })
        .collect();
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    line(section, &titles, width)
}

fn line(section: StatusTable, texts: &[&str], width: usize) -> String {
    let columns = section.columns().iter().zip(texts);
    let shown: Vec<_> = columns.filter(|(column, _)| column.from <= width).collect();
    let gaps = shown.len().saturating_sub(1);
    let (mut fixed, mut shares) = (gaps, 0);
    for (column, _) in &shown {
        match column.width {
            Width::Fixed(width) => fixed += width,
            Width::Share(share) => shares += share,
        }
    }
    let rest = width.saturating_sub(fixed);
    let cells = shown.iter().map(|(column, text)| {
        let width = match column.width {
            Width::Fixed(width) => width,
            Width::Share(share) => rest * share / shares.max(1),
        };
        let text = fit(text, width);
        match column.is_right {
            true => format!("{text:>width$}"),
            false => format!("{text:<width$}"),
        }
    });
    let cells: Vec<_> = cells.collect();
    cells.join(" ").trim_end().to_owned()
}

/// The rows of a table, in the order of the gateway.
pub(super) fn rows(section: StatusTable, status: &GatewayStatus) -> Vec<TableRow> {
    match section {
        StatusTable::Routes => routes(status),
        StatusTable::Connections => connections(status),
        StatusTable::Certificates => certificates(status),
        StatusTable::Cores => cores(status),
        StatusTable::Refusals => refusals(status),
    }
}

/// A level in a word.
pub(super) fn word(level: HealthLevel) -> &'static str {
    match level {
        HealthLevel::Good => "good",
        HealthLevel::Warning => "warning",
        HealthLevel::Failed => "FAILED",
    }
}

fn routes(status: &GatewayStatus) -> Vec<TableRow> {
    let row = |route: &crate::control::RouteStatus| {
        let targets = route.targets.iter().map(|target| {
            let is_failing = target.state == "up" && target.failing_since.is_some();
            let state = if is_failing { "failing" } else { &target.state };
            format!("{} {state}", target.address)
        });
        let targets: Vec<_> = targets.collect();
        let mut details = route.health.reasons.clone();
        if let Some(drain) = &route.drain {
            details.push(format!(
                "{} s left until its connections are reset",
                drain.seconds_left
            ));
        }
        if details.is_empty() {
            details.push(format!(
                "{}, listens on {}; targets: {}",
                route.protocol,
                route.listen,
                targets.join(", ")
            ));
        }
        TableRow {
            key: route.name.clone(),
            cells: vec![
                route.name.as_str().into(),
                number(
                    word(route.health.level).to_owned(),
                    route.health.level as i32,
                ),
                route.state.as_str().into(),
                route.mode.as_str().into(),
                number(route.connections.to_string(), route.connections),
                number(bytes(route.sealed_per_second), route.sealed_per_second),
                number(bytes(route.opened_per_second), route.opened_per_second),
                number(
                    latency(route.latency_us),
                    route.latency_us.unwrap_or_default(),
                ),
                route.listen.to_string().into(),
                targets.join(", ").into(),
            ],
            level: route.health.level,
            details,
        }
    };
    status.routes.iter().map(row).collect()
}

fn connections(status: &GatewayStatus) -> Vec<TableRow> {
    let row = |one: &ConnectionStatus| {
        let application = match (&one.calling, &one.called) {
            (Some(calling), Some(called)) => format!("{calling} > {called}"),
            _ => one.types.join(", "),
        };
        let moved = one.sealed_bytes.saturating_add(one.opened_bytes);
        let dash = || "-".to_owned();
        let client = one.forwarded_for.as_ref().unwrap_or(&one.source);
        TableRow {
            key: one.id.clone(),
            details: vec![format!(
                "{}: {} to {}, peer {}{}; {} sealed, {} opened",
                one.id,
                match &one.forwarded_for {
                    Some(client) => format!("{client} through {}", one.source),
                    None => one.source.clone(),
                },
                one.target.clone().unwrap_or_else(dash),
                one.peer.clone().unwrap_or_else(dash),
                match application.is_empty() {
                    true => String::new(),
                    false => format!(", {application}"),
                },
                bytes(one.sealed_bytes),
                bytes(one.opened_bytes),
            )],
            cells: vec![
                one.id.as_str().into(),
                one.route.as_str().into(),
                client.as_str().into(),
                application.into(),
                number(bytes(moved), moved),
                number(age(one.seconds), one.seconds),
                number(latency(one.latency_us), one.latency_us.unwrap_or_default()),
                one.peer.clone().unwrap_or_else(dash).into(),
            ],
            level: HealthLevel::Good,
        }
    };
    status.open.iter().map(row).collect()
}

fn certificates(status: &GatewayStatus) -> Vec<TableRow> {
    let row = |one: &crate::control::CertificateStatus| TableRow {
        key: one.name.clone(),
        cells: vec![
            number(one.days_left.to_string(), one.days_left),
            number(moment(one.expires), one.expires),
            one.kind.as_str().into(),
            one.name.as_str().into(),
            one.routes.join(", ").into(),
        ],
        level: match one.days_left {
            ..0 => HealthLevel::Failed,
            0..30 if one.kind != "crl" => HealthLevel::Warning,
            _ => HealthLevel::Good,
        },
        details: vec![format!(
            "{}; expires on {}; used by {}",
            one.name,
            moment(one.expires),
            one.routes.join(", ")
        )],
    };
    status.certificates.iter().map(row).collect()
}

fn cores(status: &GatewayStatus) -> Vec<TableRow> {
    let row = |core: &crate::control::CoreStatus| {
        let level = match core.is_silent {
            true => HealthLevel::Failed,
            false => HealthLevel::Good,
        };
        let bar = match core.is_silent {
            true => "does not answer".to_owned(),
            false => "#".repeat(usize::from(core.busy_percent / 5)),
        };
        TableRow {
            key: format!("{:04}", core.cpu),
            cells: vec![
                number(
                    core.cpu.to_string(),
                    i128::try_from(core.cpu).unwrap_or_default(),
                ),
                number(format!("{} %", core.busy_percent), core.busy_percent),
                number(core.connections.to_string(), core.connections),
                bar.into(),
            ],
            level,
            details: Vec::new(),
        }
    };
    status.cores.iter().map(row).collect()
}

fn refusals(status: &GatewayStatus) -> Vec<TableRow> {
    let row = |one: &crate::control::RefusalStatus| {
        let mut details = vec![one.reason.clone()];
        if !one.remedy.is_empty() {
            details.push(format!("what to do: {}", one.remedy));
        }
        TableRow {
            key: format!("{} {}", one.route, one.reason),
            cells: vec![
                number(moment(i64::try_from(one.at).unwrap_or(i64::MAX)), one.at),
                number(one.count.to_string(), one.count),
                one.route.as_str().into(),
                one.source.as_str().into(),
                one.reason.as_str().into(),
            ],
            level: HealthLevel::Good,
            details,
        }
    };
    status.refusals.iter().map(row).collect()
}
