//! The rows of modules, which restrict their uses of each other, and names that may occur only in one place.

use crate::source::{Finding, Source, is_word};

/// The rows of docs/src/design/overview.md, lowest first. A module uses only rows below its own.
const ROWS: [&[&str]; 15] = [
    &[
        "sys",
        "client_source",
        "stream_kind",
        "strictness",
        "proxy",
        "thread_sandbox",
    ],
    &["measure"],
    &["dicom", "hl7"],
    &["config", "metrics", "observe", "uring", "buffers"],
    &["pki"],
    &["tls"],
    &["handshake", "pairing"],
    &["audit", "upstream"],
    &["route"],
    &["relay"],
    &["worker"],
    &["control"],
    &["admin", "hardening"],
    &["supervisor"],
    &["cli", "main"],
];

/// Finds uses of a module in the same row or above.
pub(crate) fn upward_uses(source: &Source) -> Vec<Finding> {
    let Some(own) = module(&source.path) else {
        return Vec::new();
    };
    let Some(own_row) = row(own) else {
        let what = format!("module {own:?} has no row; give it one in tests/tidy/layers.rs");
        return vec![source.finding(0, what)];
    };
    let mut findings = Vec::new();
    for (position, used) in used_modules(source) {
        let allowed = used == own || row(used).is_some_and(|row| row < own_row);
        if row(used).is_some() && !allowed {
            findings.push(source.finding(position, format!("{own} must not use {used}")));
        }
    }
    findings
}

/// Finds names of the ring's crates outside `gateway/src/uring` and `gateway/src/sys`, which holds their
/// unsafe calls.
pub(crate) fn ring_crates(source: &Source) -> Vec<Finding> {
    if matches!(module(&source.path), Some("uring" | "sys")) {
        return Vec::new();
    }
    let names = ["tokio_uring", "io_uring"].into_iter();
    names
        .flat_map(|name| source.words(name).map(move |at| (at, name)))
        .map(|(at, name)| source.finding(at, format!("only gateway/src/uring and sys name {name}")))
        .collect()
}

/// Finds waits of tokio's timers in code that runs on a worker: its loop has its own timers (`uring::sleep`),
/// and tokio's panic there.
pub(crate) fn tokio_timers(source: &Source) -> Vec<Finding> {
    let on_worker = ["uring", "handshake", "upstream", "relay", "worker"];
    let is_test = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
    let is_own = source.path == "gateway/src/uring/sleep.rs";
    if is_test || is_own || !module(&source.path).is_some_and(|own| on_worker.contains(&own)) {
        return Vec::new();
    }
    let times = source
        .words("time")
        .filter(|at| source.code[..*at].ends_with("tokio::"));
    times
        .flat_map(|at| {
            let after = at + "time::".len();
            names_at(&source.code, after)
                .filter(|name| *name != "Instant")
                .map(move |name| (at, name))
        })
        .map(|(at, name)| {
            source.finding(at, format!("use crate::uring's timers, not tokio's {name}"))
        })
        .collect()
}

/// Finds sockets and clocks in the modules that must use neither: bytes and time are arguments there.
pub(crate) fn sockets_and_clocks(source: &Source) -> Vec<Finding> {
    let pure = ["dicom", "hl7", "pairing", "proxy", "tls"];
    let Some(own) = module(&source.path).filter(|own| pure.contains(own)) else {
        return Vec::new();
    };
    let is_test = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
    let sockets = used_modules(source).into_iter();
    let sockets = sockets.filter(|(_, used)| *used == "uring");
    let clocks = source.words("now").filter(|at| {
        let before = &source.code[..*at];
        let is_test = is_test || before.contains("mod tests {");
        let clocks = ["Instant::", "SystemTime::", "UnixTime::"];
        !is_test && clocks.iter().any(|clock| before.ends_with(clock))
    });
    let sockets = sockets.map(|(at, _)| (at, format!("{own} must not use sockets")));
    let clocks = clocks.map(|at| (at, format!("{own} must not use clocks; pass the time in")));
    sockets
        .chain(clocks)
        .map(|(at, what)| source.finding(at, what))
        .collect()
}

/// Finds names of rustls's unbuffered API outside the file that adapts it: rustls 0.24 removes that API.
pub(crate) fn unbuffered_api(source: &Source) -> Vec<Finding> {
    let is_test = source.path.contains("/tests/");
    let is_own = source.path == "gateway/src/tls/rustls_states.rs";
    if module(&source.path).is_none() || is_test || is_own {
        return Vec::new();
    }
    let names = [
        "unbuffered",
        "UnbufferedClientConnection",
        "UnbufferedServerConnection",
        "UnbufferedStatus",
        "ConnectionState",
        "WriteTraffic",
        "EncodeTlsData",
        "KernelConnection",
        "dangerous_into_kernel_connection",
        "process_tls_records",
    ];
    names
        .into_iter()
        .flat_map(|name| source.words(name).map(move |at| (at, name)))
        .map(|(at, name)| source.finding(at, format!("only tls/rustls_states.rs names {name}")))
        .collect()
}

/// Finds verifiers of certificates, and keys that sign, beside the gateway's own and that of `tests/peers`, which
/// accepts all.
pub(crate) fn verifiers(source: &Source) -> Vec<Finding> {
    let own = [
        "gateway/src/tls/verifier.rs",
        "tests/peers/src/accept_all.rs",
    ];
    if own.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let names = ["ServerCertVerifier", "ClientCertVerifier", "SigningKey"];
    let found = names
        .into_iter()
        .flat_map(|name| source.words(name).map(move |at| (at, name)))
        .filter(|(at, name)| {
            source.code[at + name.len()..]
                .trim_start()
                .starts_with("for ")
        });
    found
        .map(|(at, name)| {
            let what = format!("only tests/peers/src/accept_all.rs implements {name} for tests");
            source.finding(at, what)
        })
        .collect()
}

/// Finds unsafe code outside `gateway/src/sys`.
pub(crate) fn unsafe_code(source: &Source) -> Vec<Finding> {
    if module(&source.path) == Some("sys") {
        return Vec::new();
    }
    let found = source.words("unsafe");
    found
        .map(|at| source.finding(at, "only gateway/src/sys holds unsafe code"))
        .collect()
}

/// Finds uses of the gateway's data path in the bench.
pub(crate) fn bench_uses_relay(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("bench/") {
        return Vec::new();
    }
    paths_from(source, "gateway")
        .filter(|&(_, name)| name == "relay")
        .map(|(at, _)| {
            source.finding(
                at,
                "the bench must not use the relay, because it would share its mistakes",
            )
        })
        .collect()
}

/// The module that a file of `gateway/src` belongs to; `lib.rs` only names modules.
fn module(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("gateway/src/")?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (path.ends_with(".rs") && name != "lib").then_some(name)
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Every module of the crate that a file names, by `crate::` or by climbing with `super::`.
fn used_modules(source: &Source) -> Vec<(usize, &str)> {
    let mut used: Vec<_> = paths_from(source, "crate").collect();
    for start in source.words("super") {
        let before = source.code[..start].trim_end();
        if before.ends_with("super::") {
            continue;
        }
        let chain = &source.code[start..];
        let climbed = chain
            .split("::")
            .take_while(|part| part.trim() == "super")
            .count();
        if climbed == depth(&source.path) + inline_depth(&source.code[..start]) {
            let after = start + climbed * "super::".len();
            used.extend(names_at(&source.code, after).map(|name| (start, name)));
        }
    }
    used
}

/// Names that follow `root::`, those of `root::{a, b}` included.
fn paths_from<'a>(source: &'a Source, root: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    source.words(root).flat_map(move |at| {
        let after = at + root.len();
        let names = source.code[after..].strip_prefix("::").map(|_| after + 2);
        let names = names.map(|from| names_at(&source.code, from));
        names.into_iter().flatten().map(move |name| (at, name))
    })
}

/// The name at this position, or the first names of each path in braces.
fn names_at(code: &str, at: usize) -> impl Iterator<Item = &str> {
    let rest = code.get(at..).unwrap_or_default();
    let mut names = Vec::new();
    let Some(group) = rest.strip_prefix('{') else {
        names.extend(first_word(rest));
        return names.into_iter();
    };
    let (mut depth, mut begins) = (0, true);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.extend(first_word(&group[i..]));
                begins = false;
            }
            _ => {}
        }
    }
    names.into_iter()
}

fn first_word(text: &str) -> Option<&str> {
    let length = text.bytes().take_while(|&b| is_word(b)).count();
    (length > 0).then(|| &text[..length])
}

/// The depth of a file in modules: `relay/mod.rs` and `strictness.rs` 1, `relay/seal.rs` 2.
fn depth(path: &str) -> usize {
    let rest = path.trim_start_matches("gateway/src/");
    rest.trim_end_matches("/mod.rs").split('/').count()
}

/// How many `mod name {` are open at the end of the code given.
fn inline_depth(code: &str) -> usize {
    let mut open = Vec::new();
    for (i, c) in code.char_indices() {
        match c {
            '{' => {
                let mut words = code[..i].split_whitespace().rev();
                words.next();
                open.push(words.next() == Some("mod"));
            }
            '}' => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().filter(|&is_module| is_module).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(path: &str, text: &str) -> usize {
        upward_uses(&Source::new(path, text)).len()
    }

    #[test]
    fn a_use_of_a_row_above_is_found_in_every_form() {
        for text in [
            "use crate::relay::Connection;",
            "use crate::{strictness, relay::{self, Close}};",
            "fn f() { crate::cli::main(); }",
            "use super::worker;",
            "mod tests { use super::super::supervisor::X; }",
        ] {
            assert_eq!(uses("gateway/src/pki/mod.rs", text), 1, "{text}");
        }
        assert_eq!(
            uses("gateway/src/pki/store.rs", "use super::super::tls::A;"),
            1
        );
        assert_eq!(
            uses("gateway/src/sys.rs", "use crate::strictness;"),
            1,
            "same row"
        );
    }

    #[test]
    fn uses_of_a_row_below_and_of_the_own_module_are_allowed() {
        for text in [
            "use crate::tls::{Policy, record};",
            "use crate::relay::close;",
            "// use crate::cli;",
            "use super::worker;",
            "mod tests { use super::*; use super::super::admin; }",
            "use other_crate::cli::Main;",
        ] {
            assert_eq!(uses("gateway/src/relay/seal.rs", text), 0, "{text}");
        }
        assert_eq!(uses("gateway/src/observe.rs", "use crate::dicom::Pdu;"), 0);
    }

    #[test]
    fn a_module_without_a_row_is_found() {
        assert_eq!(uses("gateway/src/helpers.rs", ""), 1);
    }

    #[test]
    fn ring_crates_are_found_outside_their_module_only() {
        let text = "use tokio_uring::net::TcpStream; fn io_uring_disabled() {} io_uring::opcode::X";
        assert_eq!(
            ring_crates(&Source::new("gateway/src/relay/mod.rs", text)).len(),
            2
        );
        for own in ["gateway/src/uring/mod.rs", "gateway/src/sys/ring.rs"] {
            assert_eq!(ring_crates(&Source::new(own, text)).len(), 0);
        }
    }

    #[test]
    fn timers_of_tokio_are_found_in_code_that_runs_on_a_worker() {
        let text = "use tokio::time::{Instant, sleep}; fn f() { tokio::time::timeout(a, b) }";
        let found = |path| tokio_timers(&Source::new(path, text)).len();
        assert_eq!(found("gateway/src/relay/link.rs"), 2);
        let others = [
            "gateway/src/supervisor/mod.rs",
            "gateway/src/upstream/tests.rs",
            "gateway/src/uring/sleep.rs",
        ];
        assert_eq!(others.map(found), [0; 3]);
    }

    #[test]
    fn sockets_and_clocks_are_found_in_pure_modules_only() {
        let text = "use crate::uring::Socket; fn f() { Instant::now(); UnixTime::now() }";
        let found = |path| sockets_and_clocks(&Source::new(path, text)).len();
        assert_eq!(found("gateway/src/tls/session.rs"), 3);
        assert_eq!(
            found("gateway/src/tls/tests/ends.rs"),
            1,
            "its time is real"
        );
        assert_eq!(found("gateway/src/handshake.rs"), 0);
    }

    #[test]
    fn the_unbuffered_api_is_found_outside_its_file_only() {
        let text = "use rustls::unbuffered::ConnectionState; fn f() { c.process_tls_records(b) }";
        let found = |path| unbuffered_api(&Source::new(path, text)).len();
        assert_eq!(found("gateway/src/tls/session.rs"), 3);
        let others = [
            "gateway/src/tls/rustls_states.rs",
            "gateway/src/tls/tests/ends.rs",
            "bench/src/micro/handshake.rs",
        ];
        assert_eq!(others.map(found), [0; 3]);
    }

    #[test]
    fn a_second_verifier_is_found() {
        let text = "use danger::ServerCertVerifier; impl ServerCertVerifier for Lax {} \
            impl danger::ClientCertVerifier\n for Lax {} impl SigningKey for Zero {}";
        let found = |path| verifiers(&Source::new(path, text)).len();
        assert_eq!(found("tests/security/tls.rs"), 3);
        assert_eq!(found("tests/peers/src/accept_all.rs"), 0);
    }

    #[test]
    fn unsafe_code_is_found_outside_sys_only() {
        let text = "unsafe { f() } // unsafe\n#![deny(unsafe_code)]";
        assert_eq!(
            unsafe_code(&Source::new("bench/src/main.rs", text)).len(),
            1
        );
        assert_eq!(
            unsafe_code(&Source::new("gateway/src/sys/ktls.rs", text)).len(),
            0
        );
    }

    #[test]
    fn the_relay_is_found_in_the_bench_only() {
        let text = "use gateway::{config, relay::seal};\nuse gateway::relay;";
        assert_eq!(
            bench_uses_relay(&Source::new("bench/src/main.rs", text)).len(),
            2
        );
        assert_eq!(
            bench_uses_relay(&Source::new("tests/src/lib.rs", text)).len(),
            0
        );
    }
}
