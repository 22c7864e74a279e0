//! Finds target names that this machine cannot resolve, for `wardgate check`.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::limits::{CHECK_NAMES_MAX, CHECK_NAMES_WAIT};
use crate::config::{Config, Host, RouteConfig};

/// Returns one message for each target name that does not resolve now. Takes at most `CHECK_NAMES_WAIT`.
pub(super) fn remarks(config: &Config) -> Vec<String> {
    let names: BTreeSet<_> = config
        .routes
        .iter()
        .flat_map(|route| names(route))
        .collect();
    // LIMIT: CHECK_NAMES_MAX, reported as a remark.
    let left_out = names.len().saturating_sub(CHECK_NAMES_MAX);
    let names: Vec<_> = names.into_iter().take(CHECK_NAMES_MAX).collect();
    let look_up = |name: &str| {
        (name, 1)
            .to_socket_addrs()
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    let found = outcomes(&names, look_up, CHECK_NAMES_WAIT);
    let mut remarks: Vec<_> = names
        .iter()
        .zip(found)
        .filter_map(|(name, outcome)| Some((name, outcome.err()?)))
        .map(|(name, why)| {
            format!(
                "target \"{name}\": the name does not resolve on this machine now: {why}; correct the name, or add it to \
                 DNS or /etc/hosts"
            )
        })
        .collect();
    if left_out > 0 {
        remarks.push(format!(
            "{left_out} more target names were not looked up; `check` looks up {CHECK_NAMES_MAX} at most"
        ));
    }
    remarks
}

fn names(route: &RouteConfig) -> impl Iterator<Item = String> {
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let by_title = by_title.flat_map(|table| &table.targets);
    let hosts = route.targets.iter().chain(by_title);
    let names: Vec<_> = hosts
        .filter_map(|target| match &target.host {
            Host::Name(name) => Some(name.clone()),
            Host::Ip(_) => None,
        })
        .collect();
    names.into_iter()
}

// All names are looked up in parallel: one lookup takes until its name server answers or times out.
fn outcomes(
    names: &[String],
    look_up: impl Fn(&str) -> Result<(), String> + Copy + Send + 'static,
    wait: Duration,
) -> Vec<Result<(), String>> {
    let (done, results) = mpsc::channel();
    for (index, name) in names.iter().cloned().enumerate() {
        let done = done.clone();
        // A thread whose lookup hangs ends with the process.
        let _ = thread::Builder::new().spawn(move || done.send((index, look_up(&name))));
    }
    drop(done);
    let seconds = wait.as_secs();
    let mut found = vec![Err(format!("no answer within {seconds} s")); names.len()];
    let until = Instant::now() + wait;
    while let Ok((index, outcome)) =
        results.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        if let Some(place) = found.get_mut(index) {
            *place = outcome;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_that_hangs_delays_neither_other_lookups_nor_the_check() {
        fn look_up(name: &str) -> Result<(), String> {
            match name {
                "good" => Ok(()),
                "bad" => Err("unknown".to_owned()),
                _ => {
                    thread::sleep(Duration::from_secs(60));
                    Ok(())
                }
            }
        }
        let names = ["hangs", "good", "bad"].map(str::to_owned);
        let begun = Instant::now();
        let found = outcomes(&names, look_up, Duration::from_secs(1));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let expected = [
            Err("no answer within 1 s".to_owned()),
            Ok(()),
            Err("unknown".to_owned()),
        ];
        assert_eq!(found, expected);
    }
}
