//! The `[gateway]` table: cores, busy polling, cipher, admin socket, metrics and log.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity};

use super::draft::FileContext;
use super::file::{self, Cores, Texts};
use super::identity::{folder, path, path_or_credential};
use super::problem::Problems;
use super::written::Written;
use super::{
    CipherSetting, Gateway, Located, LogFormat, RunAs, SandboxSetting, WebSetting, address, value,
};
use crate::config::limits::{
    BUSY_POLL_MAX, CORES_MAX, GATEWAY_CONNECTIONS_MIN, HANDSHAKES_PER_SECOND,
    HANDSHAKES_PER_SECOND_MAX, RELOAD_PORTS_MAX, ROUTE_CONNECTIONS_MAX, SOCKET_PATH_BYTES_MAX,
    USER_NAME_BYTES_MAX,
};

/// The state folder of the packaged service.
const STATE: &str = "/var/lib/wardgate/state";

/// The CPUs on which the main thread and therefore a new worker may run, in ascending order.
///
/// Workers pin themselves to a CPU, but the main thread never does. Its set is the set of the process, for
/// every caller.
pub(super) fn allowed_cpus() -> std::io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Some(getpid()))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect())
}

/// Resolves the table; an absent table has defaults.
pub(super) fn resolve(
    written: &file::Gateway,
    place: &FileContext<'_>,
    problems: &mut Problems,
) -> Option<Gateway> {
    let scope = "[gateway]: ";
    let cores = cores(written.cores.as_ref(), place.cpus, problems);
    let busy_poll = written
        .busy_poll
        .value()
        .map(|text| problems.accept(scope, "busy_poll", text, busy_poll(&text.value)));
    let cipher = written.cipher.value();
    let cipher = cipher.map(|text| {
        let read = value::word(&text.value, &CipherSetting::WORDS);
        problems.accept(scope, "cipher", text, read)
    });
    let folder = folder(place.file);
    let admin = written
        .admin
        .value()
        .map(|text| problems.accept(scope, "admin", text, admin(folder, &text.value)));
    let state = written
        .state
        .value()
        .map(|text| problems.accept(scope, "state", text, path(folder, &text.value)));
    let metrics = written.metrics.value();
    let metrics =
        metrics.map(|text| problems.accept(scope, "metrics", text, metrics_address(&text.value)));
    let log = written.log.value();
    let log = log.map(|text| {
        problems.accept(
            scope,
            "log",
            text,
            value::word(&text.value, &LogFormat::WORDS),
        )
    });
    let metrics = flat(metrics);
    let web = web(written, metrics.flatten(), place, problems);
    let connections = connections(written, problems);
    // LIMIT: `HANDSHAKES_PER_SECOND_MAX`.
    let (key, max) = ("handshakes_per_second", HANDSHAKES_PER_SECOND_MAX.into());
    let rate = problems.accept_number(scope, key, &written.handshakes_per_second, max);
    let rate = rate.and_then(|rate| u32::try_from(rate).ok());
    let handshakes_per_second = rate.unwrap_or(HANDSHAKES_PER_SECOND);
    let sandbox = written.sandbox.value();
    let sandbox = sandbox.map(|text| {
        let read = value::word(&text.value, &SandboxSetting::WORDS);
        problems.accept(scope, "sandbox", text, read)
    });
    let user = written.run_as.value();
    let user = user.map(|text| problems.accept(scope, "run_as", text, user_name(&text.value)));
    let reload_ports = reload_ports(&written.reload_ports, problems);
    Some(Gateway {
        cores: cores?,
        cores_listed: matches!(written.cores, Some(Cores::List(_))),
        busy_poll: flat(busy_poll)?.flatten(),
        cipher: flat(cipher)?.unwrap_or_default(),
        admin: flat(admin)?,
        metrics: metrics?,
        metrics_line: written.metrics.value().map_or(0, |text| text.line),
        web: web?,
        state: flat(state)?.unwrap_or_else(|| STATE.into()),
        log: flat(log)?.unwrap_or(LogFormat::Text),
        connections,
        handshakes_per_second,
        sandbox: flat(sandbox)?.unwrap_or_default(),
        run_as: flat(user)?.map_or(RunAs::Default, RunAs::Named),
        reload_ports,
    })
}

fn user_name(text: &str) -> Result<String, String> {
    // LIMIT: `USER_NAME_BYTES_MAX`.
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
    match (1..=USER_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err("is no name of a user; write the name of a user of this machine".to_owned()),
    }
}

fn reload_ports(written: &Texts, problems: &mut Problems) -> Vec<RangeInclusive<u16>> {
    let (scope, key) = ("[gateway]: ", "reload_ports");
    let mut ranges = Vec::new();
    let mut count = 0_usize;
    for text in written.value().into_iter().flat_map(|list| &list.value) {
        let Some(range) = problems.accept(scope, key, text, port_range(&text.value)) else {
            continue;
        };
        count = count.saturating_add(range.len());
        // LIMIT: `RELOAD_PORTS_MAX`.
        if count > RELOAD_PORTS_MAX {
            let text_of =
                format!("{scope}{key} has more than {RELOAD_PORTS_MAX} ports; leave some out");
            problems.wrong(text.line, text_of);
            break;
        }
        ranges.push(range);
    }
    ranges
}

/// `"11112"` or `"12000-12010"`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("is no port; write \"11114\", or a range: \"12000-12010\"".to_owned()),
    }
}

/// `None` if a value was refused, `Some(None)` if there is no page.
fn web(
    written: &file::Gateway,
    metrics: Option<SocketAddr>,
    place: &FileContext<'_>,
    problems: &mut Problems,
) -> Option<Option<WebSetting>> {
    let token = match &written.web_token {
        Written::Absent => None,
        Written::Refused => return None,
        Written::Value(text) => {
            let read = path_or_credential(folder(place.file), place.credentials, &text.value);
            let value = problems.accept("[gateway]: ", "web_token", text, read)?;
            let line = text.line;
            Some(Located { value, line })
        }
    };
    let line = match &written.web {
        Written::Refused => return None,
        Written::Value(web) if web.value => web.line,
        // `web = false` turns the page off and leaves the other key as it is.
        Written::Value(_) => return Some(None),
        Written::Absent => {
            if let Some(token) = token {
                let text = "[gateway]: web_token has no effect without web; write web = true, or remove it";
                problems.wrong(token.line, text.to_owned());
            }
            return Some(None);
        }
    };
    let Some(address) = metrics else {
        if written.metrics.is_absent() {
            let text = "[gateway]: web needs metrics, whose address the page has; write metrics = \"127.0.0.1:9464\"";
            problems.wrong(line, text.to_owned());
        }
        return None;
    };
    if token.is_none() && !address.ip().is_loopback() {
        let text = format!(
            "[gateway]: web on metrics \"{address}\" needs web_token: everybody who reaches this address could read \
             the page; name a file with a token in web_token, or use a loopback address"
        );
        problems.wrong(line, text);
        return None;
    }
    Some(Some(WebSetting { token }))
}

fn connections(written: &file::Gateway, problems: &mut Problems) -> Option<u32> {
    let Located { value, line } = *written.connections.value()?;
    // LIMIT: `GATEWAY_CONNECTIONS_MIN`, `ROUTE_CONNECTIONS_MAX`.
    let allowed = GATEWAY_CONNECTIONS_MIN..=ROUTE_CONNECTIONS_MAX;
    let read = u32::try_from(value).ok();
    let read = read.filter(|number| allowed.contains(number));
    if read.is_none() {
        let text = format!(
            "[gateway]: connections {value} is out of range; write a number from {GATEWAY_CONNECTIONS_MIN} to \
             {ROUTE_CONNECTIONS_MAX}"
        );
        problems.wrong(line, text);
    }
    read
}

/// `None` if a value was refused, `Some(None)` if no value is written.
fn flat<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(None) => None,
        Some(value) => Some(value),
        None => Some(None),
    }
}

fn cores(written: Option<&Cores>, cpus: &[usize], problems: &mut Problems) -> Option<Vec<usize>> {
    match written {
        None => all(cpus, 1, problems),
        Some(Cores::Word(word)) if word.value == "all" => all(cpus, word.line, problems),
        Some(Cores::Word(word)) => {
            let reason =
                "is neither \"all\" nor a list; write \"all\", or the CPUs: [2, 3]".to_owned();
            problems.accept("[gateway]: ", "cores", word, Err(reason))
        }
        Some(Cores::List(list)) => listed(list, cpus, problems),
        Some(Cores::Refused) => None,
    }
}

fn all(cpus: &[usize], line: usize, problems: &mut Problems) -> Option<Vec<usize>> {
    // LIMIT: `CORES_MAX`.
    if cpus.len() > CORES_MAX {
        let count = cpus.len();
        let text = format!(
            "[gateway]: cores \"all\" is {count} CPUs here, and {CORES_MAX} is the maximum; list \
             those to use"
        );
        problems.wrong(line, text);
        return None;
    }
    Some(cpus.to_vec())
}

fn listed(
    list: &Located<Vec<Located<i64>>>,
    cpus: &[usize],
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    if list.value.is_empty() {
        problems.wrong(
            list.line,
            "[gateway]: cores is empty; list at least one CPU, or write \"all\"".to_owned(),
        );
        return None;
    }
    let mut cores = Vec::with_capacity(list.value.len());
    for core in &list.value {
        let Located {
            value: number,
            line,
        } = core;
        match usize::try_from(*number)
            .ok()
            .filter(|number| cpus.contains(number))
        {
            Some(number) if cores.contains(&number) => {
                let text = format!(
                    "[gateway]: cores has {number} twice; one worker runs on each CPU: remove one"
                );
                problems.wrong(*line, text);
            }
            Some(number) => cores.push(number),
            None => {
                let allowed = ranges(cpus);
                let text = format!(
                    "[gateway]: cores has {number}, but this process may run only on {allowed}; choose from these"
                );
                problems.wrong(*line, text);
            }
        }
    }
    // LIMIT: `CORES_MAX`.
    if cores.len() > CORES_MAX {
        let text = format!(
            "[gateway]: cores has {} CPUs, and {CORES_MAX} are the most",
            cores.len()
        );
        problems.wrong(list.line, text);
    }
    cores.sort_unstable();
    Some(cores)
}

/// `0-3, 6`, as in /proc and /sys.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let texts: Vec<_> = runs
        .filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(format!("{first}")),
            (first, last) => Some(format!("{first}-{last}")),
        })
        .collect();
    texts.join(", ")
}

fn busy_poll(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    let time = value::duration(text)?;
    // LIMIT: `BUSY_POLL_MAX`.
    if time.is_zero() || time > BUSY_POLL_MAX {
        let max = value::written(BUSY_POLL_MAX);
        return Err(format!(
            "is out of range; write \"1us\" to \"{max}\", or \"off\""
        ));
    }
    Ok(Some(time))
}

fn admin(folder: &Path, text: &str) -> Result<PathBuf, String> {
    let path = path(folder, text)?;
    let length = path.as_os_str().len();
    // LIMIT: `SOCKET_PATH_BYTES_MAX`.
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "is a path of {length} bytes, but a socket path has at most {SOCKET_PATH_BYTES_MAX}; choose a \
                shorter path"
        ));
    }
    Ok(path)
}

fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Err(format!("has no address; write \"127.0.0.1:{port}\""));
    }
    address::listen(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_cpus_are_listed_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 3, 6]), "0-3, 6");
        assert_eq!(ranges(&[5]), "5");
    }

    #[test]
    fn this_process_may_run_somewhere() {
        let cpus = allowed_cpus().expect("the kernel tells");
        assert!(!cpus.is_empty());
        assert!(cpus.is_sorted());
    }
}
