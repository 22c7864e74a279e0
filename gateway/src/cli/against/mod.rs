//! `wardgate check --against`: compares the configurations of both sites before anything runs.
//!
//! Each originate route of a site is paired with the terminate route of the other site that it reaches, by address and
//! port, or else by identities. `pair` compares the two. Nothing is connected.

mod end;
mod pair;
mod twin;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use self::end::{ComparedSite, CopiedFiles, Mismatch, address_fits};
use self::pair::Pair;
use super::{EXIT_CONFIG, EXIT_GOOD};
use crate::config::{self, Mode, RouteConfig, Target};

/// Compares two machines of one site, prints every finding and returns the exit code.
pub(super) fn run_twin(file: &Path, other: &Path) -> u8 {
    let (remarks, mistakes) = match twin::compare(file, other) {
        Ok(found) => found,
        Err(problems) => (Vec::new(), problems),
    };
    for remark in &remarks {
        println!("{remark}");
    }
    for mistake in &mistakes {
        eprintln!("{mistake}");
    }
    if !mistakes.is_empty() {
        return EXIT_CONFIG;
    }
    println!(
        "{} and {}: both machines have the same routes, peers and deadlines",
        file.display(),
        other.display()
    );
    EXIT_GOOD
}

/// Compares, prints every finding and returns the exit code.
pub(super) fn run(file: &Path, other: &Path) -> u8 {
    let own = ComparedSite::new("this site", file, config::load(file));
    let theirs = ComparedSite::new("the other site", other, config::load_elsewhere(other));
    let (own, mut theirs) = match (own, theirs) {
        (Ok(own), Ok(theirs)) => (own, theirs),
        (own, theirs) => {
            let problems = [own.err(), theirs.err()].into_iter().flatten().flatten();
            for problem in problems {
                eprintln!("{problem}");
            }
            return EXIT_CONFIG;
        }
    };
    theirs.copies = Some(CopiedFiles::beside(other, &own.config));
    let now = SystemTime::now();
    let (mut pairs, mut findings) = (Vec::new(), Vec::new());
    for (from, to) in [(&own, &theirs), (&theirs, &own)] {
        compare(from, to, now, &mut pairs, &mut findings);
    }
    if pairs.is_empty() && findings.is_empty() {
        eprintln!(
            "{}: no route of one site reaches a route of the other: neither file has an originate route; for the two \
             machines of one site, add --twin",
            file.display()
        );
        return EXIT_CONFIG;
    }
    for pair in &pairs {
        println!("{pair}");
    }
    let (mistakes, remarks): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.is_mistake);
    for remark in &remarks {
        let (file, line) = (remark.file.display(), remark.line);
        println!("{file}:{line}: remark: {}: {}", remark.label, remark.text);
    }
    for mistake in &mistakes {
        let (file, line) = (mistake.file.display(), mistake.line);
        eprintln!("{file}:{line}: {}: {}", mistake.label, mistake.text);
    }
    match mistakes.is_empty() {
        true => EXIT_GOOD,
        false => EXIT_CONFIG,
    }
}

/// Compares every originate route of `from` with its route at `to`.
fn compare(
    from: &ComparedSite,
    to: &ComparedSite,
    now: SystemTime,
    pairs: &mut Vec<String>,
    findings: &mut Vec<Mismatch>,
) {
    let mut reached = Vec::new();
    for originate in from.routes(Mode::Originate) {
        let Some((terminate, target)) = partner(originate, to) else {
            findings.push(unreached(from, originate, to));
            continue;
        };
        reached.push(terminate.name.clone());
        let pair = Pair {
            from,
            originate,
            to,
            terminate,
            target,
            now,
        };
        pairs.push(format!(
            "{}: route \"{}\" reaches route \"{}\" of {}",
            from.file.display(),
            originate.name,
            terminate.name,
            to.file.display()
        ));
        findings.extend(pair.findings());
    }
    let unused = to
        .routes(Mode::Terminate)
        .filter(|route| !reached.contains(&route.name));
    findings.extend(unused.map(|route| {
        let text = format!("no route of {} connects to it", from.file.display());
        to.remark(route, text)
    }));
}

/// The terminate route that an originate route reaches, and by which target: the one whose port is that of a target,
/// preferably with the same address, service and protocol.
fn partner<'a>(
    originate: &'a RouteConfig,
    to: &'a ComparedSite,
) -> Option<(&'a Arc<RouteConfig>, &'a Target)> {
    let targets = || targets(originate);
    let candidates = to
        .routes(Mode::Terminate)
        .flat_map(|route| targets().map(move |target| (route, target)));
    let on_port = candidates.filter(|(route, target)| route.listen.port() == target.port);
    on_port.max_by_key(|(route, target)| {
        let service = |route: &RouteConfig| route.tls.as_ref().and_then(|tls| tls.service.clone());
        (
            address_fits(&target.host, route),
            service(route) == service(originate),
            route.protocol == originate.protocol,
        )
    })
}

/// All targets of a route, those of single titles included.
fn targets(route: &RouteConfig) -> impl Iterator<Item = &Target> {
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let by_title = by_title.flat_map(|table| &table.targets);
    route.targets.iter().chain(by_title)
}

/// The mistake of a route whose targets have the port of no route at the other site.
fn unreached(from: &ComparedSite, originate: &RouteConfig, to: &ComparedSite) -> Mismatch {
    let targets: Vec<_> = targets(originate).map(ToString::to_string).collect();
    let listeners = to
        .routes(Mode::Terminate)
        .map(|route| format!("\"{}\" on {}", route.name, route.listen));
    let listeners: Vec<_> = listeners.collect();
    let there = match listeners.is_empty() {
        true => "it has no terminate route".to_owned(),
        false => format!("its terminate routes are {}", listeners.join(", ")),
    };
    from.mistake(
        originate,
        format!(
            "no terminate route of {} listens on the port of {}; {there}: correct `targets` here or `listen` there",
            to.file.display(),
            targets.join(", ")
        ),
    )
}
