//! `wardgate pki crl fetch`: fetches the revocation lists of partners.
//!
//! This is the only HTTP client of the program. It runs in a process of its own, never in the gateway.

use std::io::Read as _;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::super::limits::{FETCH_HEADER_BYTES_MAX, FETCH_SECONDS, LOCATION_CHARS_MAX};
use super::super::{ConfigArgs, EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD};
use crate::config::{self, Config, CrlFetch};
use crate::pki::fetched;
use crate::pki::limits::PKI_FILE_BYTES_MAX;
use crate::pki::store::Store;

/// Allowed values of `--timeout`.
const SECONDS: std::ops::RangeInclusive<i64> = 1..=3600;

/// The subcommands of `wardgate pki crl`.
#[derive(Debug, Subcommand)]
pub(crate) enum CrlCommand {
    /// Fetch the revocation lists of all peers that have `crl_url`, and replace their files
    Fetch(Fetch),
}

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Fetch {
    #[command(flatten)]
    config: ConfigArgs,
    /// Seconds until a list must have arrived whole, for each address
    #[arg(long, value_name = "SECONDS", default_value_t = FETCH_SECONDS, value_parser = clap::value_parser!(u32).range(SECONDS))]
    timeout: u32,
}

const HELP: &str = "\
A fetched list replaces the file in `crl` if a CA in the peer's `trust` has signed
it, it has not expired, and it is not older than the list in the file. The file is
replaced in one step. In all other cases it stays as it is.

Exit codes:
  0   every list was fetched, or the file already holds it
  1   a list was not fetched or not accepted; standard error names each with the
      reason. The other lists are fetched all the same
  2   the command line is not valid
  78  the configuration is not valid; standard error names each problem";

pub(super) fn run(command: &CrlCommand, now: SystemTime) -> anyhow::Result<u8> {
    let CrlCommand::Fetch(args) = command;
    let file = args.config.file();
    let config = match config::load(file).config {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}", problem.display(file));
            }
            return Ok(EXIT_CONFIG);
        }
    };
    // A timer that fetches nothing would look like one that works.
    anyhow::ensure!(
        !config.crl_fetches.is_empty(),
        "{}: no [[peer]] has crl_url; write the address at which the peer's CA publishes its revocation list",
        file.display()
    );
    let store = store(&config, now);
    let timeout = Duration::from_secs(args.timeout.into());
    let mut code = EXIT_GOOD;
    for fetch in &config.crl_fetches {
        match fetch_one(fetch, &store, timeout) {
            Ok(sentence) => println!("{sentence}"),
            Err(sentence) => {
                eprintln!("wardgate: {sentence}");
                code = EXIT_FAILED;
            }
        }
    }
    Ok(code)
}

/// A store that knows the CAs above this site. It reads no private key.
fn store(config: &Config, now: SystemTime) -> Store {
    let mut store = Store::new(now);
    for route in &config.routes {
        if let Some(tls) = &route.tls {
            store.own_chain(&tls.identity, route.mode);
        }
    }
    store
}

fn fetch_one(fetch: &CrlFetch, store: &Store, timeout: Duration) -> Result<String, String> {
    let scope = match &fetch.peer.name {
        Some(name) => format!("peer \"{name}\": "),
        None => String::new(),
    };
    let (url, file) = (
        fetch.url.value.as_str(),
        fetch.file.value.display().to_string(),
    );
    let bytes = download(url, timeout)
        .map_err(|why| format!("{scope}crl_url {url:?} {why}; crl {file:?} is as before"))?;
    let taken = fetched::take(store, &scope, &fetch.peer.trust, &fetch.file, &bytes);
    let taken = taken.map_err(|why| {
        format!(
            "{scope}the list from crl_url {url:?} is not accepted: {why}; crl {file:?} is as before"
        )
    })?;
    let ends = taken.ends;
    Ok(match taken.is_new {
        true => format!("{scope}wrote {file}: list from {url}, valid until {ends}"),
        false => format!("{scope}{file} is current: valid until {ends}"),
    })
}

/// The content at an address. An error is a predicate of the address.
fn download(url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let problem = |error: &ureq::Error| problem(error, timeout);
    let agent = ureq::Agent::config_builder()
        // The whole time, from the look-up of the name to the last byte: a server that sends a byte now and
        // then gains nothing.
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(FETCH_HEADER_BYTES_MAX)
        // Not from the environment: the address in the configuration is the only one that is asked.
        .proxy(None)
        .user_agent(concat!("wardgate/", env!("CARGO_PKG_VERSION")))
        .accept("application/pkix-crl, application/x-pkcs7-crl, */*")
        .build()
        .new_agent();
    let mut response = agent.get(url).call().map_err(|error| problem(&error))?;
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get("location");
        let location = location.map(|location| String::from_utf8_lossy(location.as_bytes()));
        let location: String = location
            .unwrap_or_default()
            .chars()
            .take(LOCATION_CHARS_MAX)
            .collect();
        return Err(format!(
            "redirects to {location:?}, which is not followed; if this address is the CA's, write it in crl_url"
        ));
    }
    if status != 200 {
        return Err(format!(
            "was answered with status {}; ask the CA for the address of its list",
            status.as_u16()
        ));
    }
    let body = response.body_mut().with_config();
    let mut bytes = Vec::new();
    // LIMIT: PKI_FILE_BYTES_MAX; the rest is not read.
    let mut reader = body.reader().take(PKI_FILE_BYTES_MAX.saturating_add(1));
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|error| problem(&ureq::Error::from(error)))?;
    if bytes.len() as u64 > PKI_FILE_BYTES_MAX {
        return Err(format!("sends more than {} MiB", PKI_FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn problem(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!(
            "did not send the list within {} s; `--timeout` gives it more time",
            timeout.as_secs()
        ),
        ureq::Error::HostNotFound => {
            "has a host whose name does not resolve on this machine now".to_owned()
        }
        ureq::Error::Io(error) => format!("cannot be fetched: {error}"),
        // Text of the server may be in it.
        other => format!("cannot be fetched: {}", other.to_string().escape_debug()),
    }
}
