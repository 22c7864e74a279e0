//! The state as text of 80 columns.

use super::rows::{StatusTable, TableRow, rows, titles, word};
use super::text::{age, bytes, fit, wrap};
use crate::cli::limits::{CERTIFICATES_PRINTED_MAX, CONNECTIONS_PRINTED_MAX, REFUSALS_PRINTED_MAX};
use crate::control::{GatewayStatus, HealthLevel, SandboxStatus};

/// The columns of a terminal that everyone has.
const WIDTH: usize = 80;

/// The state as lines.
pub(super) fn text(status: &GatewayStatus) -> String {
    let mut lines = vec![head(status)];
    let stopping = if status.stopping { ", stopping" } else { "" };
    lines.push(format!(
        "{} open{stopping}; health: {}",
        match status.connections {
            1 => "1 connection is".to_owned(),
            count => format!("{count} connections are"),
        },
        word(status.health.level)
    ));
    lines.extend(
        status
            .health
            .reasons
            .iter()
            .flat_map(|reason| listed(reason)),
    );
    lines.push(String::new());
    lines.push(titles(StatusTable::Routes, WIDTH, None));
    for (row, route) in rows(StatusTable::Routes, status).iter().zip(&status.routes) {
        lines.push(row.line(StatusTable::Routes, WIDTH));
        // One target that is up shows nothing that the route does not show.
        for target in &route.targets {
            if target.state != "up" || route.targets.len() > 1 {
                let (address, state, open) = (&target.address, &target.state, target.connections);
                let text = format!("  target {address}: {state}, {open} connections");
                lines.push(fit(&text, WIDTH));
            }
        }
        // Also the trace of connections that have ended.
        if route.sealed_bytes > 0 || route.opened_bytes > 0 {
            lines.push(format!(
                "  since the start: {} sealed, {} opened",
                bytes(route.sealed_bytes),
                bytes(route.opened_bytes)
            ));
        }
        if let Some(drain) = route.drain.as_ref().filter(|_| route.state != "drained") {
            lines.push(format!("  {} s left", drain.seconds_left));
        }
    }
    let certificates = rows(StatusTable::Certificates, status);
    let is_near = |row: &TableRow| row.level != HealthLevel::Good;
    let near = certificates.iter().filter(|row| is_near(row)).count();
    let certificates_max = near.clamp(3, CERTIFICATES_PRINTED_MAX);
    section(
        &mut lines,
        StatusTable::Connections,
        rows(StatusTable::Connections, status),
        CONNECTIONS_PRINTED_MAX,
        status.open_left_out,
    );
    section(
        &mut lines,
        StatusTable::Certificates,
        certificates,
        certificates_max,
        0,
    );
    section(
        &mut lines,
        StatusTable::Refusals,
        rows(StatusTable::Refusals, status),
        REFUSALS_PRINTED_MAX,
        0,
    );
    let cores = status.cores.iter().map(|core| match core.is_silent {
        true => format!("{}: does not answer", core.cpu),
        false => format!("{}: {} %", core.cpu, core.busy_percent),
    });
    let cores: Vec<_> = cores.collect();
    if !cores.is_empty() {
        lines.push(String::new());
        lines.extend(wrap(
            &format!("CPU time of the workers: {}", cores.join(", ")),
            WIDTH,
        ));
    }
    lines.extend(sandbox(status));
    for problem in &status.problems {
        lines.extend(wrap(&format!("problem: {problem}"), WIDTH));
    }
    if !status.restart.is_empty() {
        let keys = status.restart.join(", ");
        lines.extend(wrap(
            &format!("new values at the next start: {keys}"),
            WIDTH,
        ));
    }
    lines.join("\n")
}

/// The parts of the sandbox: those that are in force, and a line for each other one.
fn sandbox(status: &GatewayStatus) -> Vec<String> {
    let is_on = |part: &&SandboxStatus| part.state == "on";
    let on: Vec<_> = status
        .sandbox
        .iter()
        .filter(is_on)
        .map(|part| part.part.as_str())
        .collect();
    let mut lines = Vec::new();
    if !on.is_empty() {
        lines.extend(wrap(&format!("sandbox: {}", on.join(", ")), WIDTH));
    }
    for part in status.sandbox.iter().filter(|part| !is_on(part)) {
        let SandboxStatus {
            part,
            state,
            detail,
        } = part;
        lines.extend(wrap(
            &format!("sandbox: {part} is {state}: {detail}"),
            WIDTH,
        ));
    }
    lines
}

/// The first line: what runs where.
fn head(status: &GatewayStatus) -> String {
    format!(
        "wardgate {} on {} (process {}), running for {}",
        status.program,
        status.host,
        status.pid,
        age(status.uptime_seconds)
    )
}

fn listed(sentence: &str) -> Vec<String> {
    let mut lines = wrap(sentence, WIDTH - 2);
    for (place, line) in lines.iter_mut().enumerate() {
        line.insert_str(0, if place == 0 { "* " } else { "  " });
    }
    lines
}

// LIMIT: `most` rows.
fn section(
    lines: &mut Vec<String>,
    section: StatusTable,
    rows: Vec<TableRow>,
    most: usize,
    left_out: u64,
) {
    if rows.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(titles(section, WIDTH, None));
    for row in rows.iter().take(most) {
        lines.push(row.line(section, WIDTH));
        if section == StatusTable::Refusals {
            lines.extend(row.details.iter().flat_map(|text| {
                let wrapped = wrap(text, WIDTH - 4);
                wrapped.into_iter().map(|line| format!("    {line}"))
            }));
        }
    }
    let more = u64::try_from(rows.len().saturating_sub(most)).unwrap_or_default();
    let more = more.saturating_add(left_out);
    if more > 0 {
        lines.push(format!(
            "and {more} more; `wardgate status --watch` shows them"
        ));
    }
}
