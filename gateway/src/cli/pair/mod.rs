//! `wardgate pair`: two sites without a PKI exchange their certificates.
//!
//! `pairing` has the protocol; here are the connection, the questions, the configuration file and the files of
//! certificates. Nothing is written before both sites have accepted each other's certificates.

mod args;
pub(super) mod authority_keys;
mod connection;
mod edit;
mod leftovers;
mod link;
mod renew;
mod replacement;
mod rotate;
mod site;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use zeroize::Zeroizing;

use self::args::{PairCommand, PairOptions};
use self::connection::{PairingListener, Timed, connect, is_wrong_code, reach};
use self::edit::Edited;
use self::site::OwnSite;
use self::write::PeerWriter;
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_GOOD, admin, apply, systemd};
use crate::audit::{self, messages};
use crate::config;
use crate::pairing::code::PairingCode;
use crate::pairing::conversation::{WrittenPart, WrittenState, exchange};
use crate::pairing::exchange::PairingChannel;
use crate::pairing::limits::{CODE_LIFE, CODE_TRIES, EXCHANGE_WITHIN};
use crate::pairing::offer::Offer;
use crate::pairing::tries::RefusedCodes;

pub(crate) use args::PairArgs;

/// Runs the command.
pub(crate) fn run(args: &PairArgs) -> anyhow::Result<u8> {
    match &args.command {
        Some(PairCommand::Renew(args)) => renew::run(args, SystemTime::now()),
        None => pair(&args.options),
    }
}

/// Where this site meets the other one.
enum Meeting {
    Listen(SocketAddr),
    Connect(String),
}

fn pair(options: &PairOptions) -> anyhow::Result<u8> {
    let config = &options.files.config;
    let before = fs::read_to_string(config).with_context(|| {
        format!(
            "{} cannot be read; name the configuration with --config, or write one",
            config.display()
        )
    })?;
    let edited = match Edited::parse(config, &before) {
        Ok(edited) => edited,
        Err(error) => {
            eprintln!("wardgate: {error:#}");
            return Ok(EXIT_CONFIG);
        }
    };
    let meeting = meeting(options, &edited)?;
    // Opened before anything is made: an occupied port is the most frequent obstacle.
    let listening = match &meeting {
        Meeting::Listen(address) => Some(PairingListener::open(*address)?),
        Meeting::Connect(_) => None,
    };
    let own = OwnSite::new(options, &edited, SystemTime::now())?;
    leftovers::remove_of_site(&own.certificate, &own.key, &options.files.dir);
    leftovers::remove_trials(&options.files.trust_dir);
    // Without its key: words beside those of the code would be read out in their place.
    println!("this site: {}, {}", own.offer.site, own.offer.identity);
    let (stream, mut channel) = match (&listening, &meeting) {
        (Some(listening), _) => show_code(listening)?,
        (None, Meeting::Connect(to)) => ask_code(to, options)?,
        (None, Meeting::Listen(_)) => anyhow::bail!("the port is not open"),
    };
    drop(listening);
    println!("the code is right; checking the certificates of the other site");
    let mut stream = stream.within(EXCHANGE_WITHIN);
    let mut writer = PeerWriter::new(options, &own, before);
    match exchange(&mut stream, &mut channel, &own.offer, &mut writer) {
        Ok(offer) => {
            report(&own.offer, &offer, &writer, options);
            Ok(EXIT_GOOD)
        }
        Err(interrupted) => {
            eprintln!("wardgate: {interrupted}");
            eprintln!("wardgate: {}", state(interrupted.written));
            if interrupted.written.own == WrittenPart::All
                && let Some(wrote) = writer.written()
            {
                audit::record(&messages::PAIRED, &wrote.record);
            }
            Ok(EXIT_FAILED)
        }
    }
}

/// What an early end means for both sites.
fn state(written: WrittenState) -> String {
    if written == WrittenState::NOTHING {
        return "nothing was written at either site; the code is used up: run `wardgate pair` again at both sites"
            .to_owned();
    }
    let own = match written.own {
        WrittenPart::Nothing => "nothing was written at this site",
        WrittenPart::Maybe => "a part of the files may have been written at this site",
        WrittenPart::All => "this site has written its part",
    };
    let other = match written.other {
        WrittenPart::Nothing => "nothing was written at the other site",
        WrittenPart::Maybe => "it is not known whether the other site has written its part",
        WrittenPart::All => "the other site has written its part",
    };
    format!(
        "{own}, and {other}; run `wardgate pair` again at both sites: it is safe, and replaces what was written"
    )
}

/// Where to meet the other site: as the options say, or as the only route does.
fn meeting(options: &PairOptions, edited: &Edited) -> anyhow::Result<Meeting> {
    if let Some(address) = options.listen {
        return Ok(Meeting::Listen(address));
    }
    if let Some(to) = &options.connect {
        return Ok(Meeting::Connect(to.clone()));
    }
    let listens = edited.addresses("terminate", "listen");
    let targets = edited.addresses("originate", "targets");
    let (listens, targets): (Vec<_>, Vec<_>) =
        (listens.into_iter().collect(), targets.into_iter().collect());
    match (&listens[..], &targets[..]) {
        ([listen], []) => Ok(Meeting::Listen(listen.parse().with_context(|| {
            format!("listen {listen:?} is no address; name one with --listen")
        })?)),
        ([], [target]) => Ok(Meeting::Connect(target.clone())),
        _ => anyhow::bail!(
            "the configuration has {} terminate and {} originate addresses, so it is not clear where to meet the other \
             site; write --listen ADDRESS:PORT at one site and --connect HOST:PORT at the other",
            listens.len(),
            targets.len()
        ),
    }
}

fn show_code(listening: &PairingListener) -> anyhow::Result<(Timed, PairingChannel)> {
    let code = PairingCode::random()?;
    let address = listening.address()?;
    println!(
        "waiting for the other site on {address}: run `wardgate pair --connect {address}` there, with the address by \
         which that site reaches this one if it is another\n\ncode: {}\n\nread the code out \
         to the person at the other site, over the telephone; it is valid for {} minutes and {CODE_TRIES} tries",
        *code.words(),
        CODE_LIFE.as_secs() / 60
    );
    io::stdout().flush()?;
    listening.wait(&code)
}

fn ask_code(to: &str, options: &PairOptions) -> anyhow::Result<(Timed, PairingChannel)> {
    if let Some(file) = &options.code_file {
        let text = first_line(file)?;
        let code = PairingCode::read(&text).map_err(|why| anyhow::anyhow!("the code {why}"))?;
        return connect(to, &code);
    }
    // Before a person reads the code out: a firewall that lets nothing pass is the most frequent obstacle.
    println!("{} can be reached", reach(to)?);
    let mut refused = RefusedCodes::default();
    for _ in 0..CODE_TRIES {
        let text = ask("code that the other site shows: ")?;
        let text = Zeroizing::new(text.context(
            "there is no terminal to ask for the code at; write --code-file FILE, or --code-file - for standard input",
        )?);
        match PairingCode::read(&text) {
            Err(why) => println!("the code {why}"),
            Ok(code) if refused.has(&code) => anyhow::bail!(
                "this code was refused before, so it was not sent again; if it is what the other site shows, a machine in \
                 the middle may have refused it: run `wardgate pair` again at both sites, for a new code"
            ),
            Ok(code) => match connect(to, &code) {
                Err(error) if is_wrong_code(&error) => {
                    println!("{error:#}");
                    refused.add(code);
                }
                outcome => return outcome,
            },
        }
    }
    anyhow::bail!("the code was wrong {CODE_TRIES} times; run `wardgate pair` again at both sites")
}

fn first_line(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    if file == Path::new("-") {
        io::stdin().lock().read_line(&mut line)?;
    } else {
        let text = Zeroizing::new(
            fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?,
        );
        line.push_str(text.lines().next().unwrap_or_default());
    }
    Ok(line)
}

/// Asks at the terminal; `None` if there is none.
fn ask(question: &str) -> anyhow::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    print!("{question}");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_owned()))
}

fn report(own: &Offer, offer: &Offer, writer: &PeerWriter<'_>, options: &PairOptions) {
    let config = options.files.config.display();
    for (label, site) in [("paired with", offer), ("this site", own)] {
        println!(
            "{label}: {}, {}\n  key {}\n  in words: {}",
            site.site,
            site.identity,
            site.key(),
            site.fingerprint()
        );
    }
    println!("the code has proved both sites to each other; the words are for your records");
    let Some(wrote) = writer.written() else {
        return;
    };
    println!("{}", wrote.files);
    audit::record(&messages::PAIRED, &wrote.record);
    for problem in wrote.remaining {
        println!("{config}: still to do: {problem}");
    }
    reload(&options.files.config);
    if wrote.renews {
        renew_daily(&options.files.config);
    }
}

/// Lets certificates renew by themselves: no further command, and no further telephone call, is needed.
fn renew_daily(file: &Path) {
    let timer = systemd::RENEWAL_TIMER;
    if file != Path::new(admin::CONFIG) || !systemd::has_service() {
        println!(
            "next: let this machine run `wardgate pair renew --config {}` every day, so that certificates renew by \
             themselves",
            file.display()
        );
        return;
    }
    match systemd::enable_renewal() {
        Ok(()) => println!("certificates renew by themselves: {timer} is enabled"),
        Err(error) => eprintln!("wardgate: certificates do not renew by themselves: {error:#}"),
    }
}

/// Makes a running gateway use the new configuration.
fn reload(file: &Path) {
    let named = config::load(file)
        .config
        .ok()
        .and_then(|config| config.gateway.admin);
    let packaged = (file == Path::new(admin::CONFIG)).then(|| admin::SOCKET.into());
    let reply = named
        .or(packaged)
        .filter(|socket| socket.exists())
        .map(|path| apply::use_configuration(&path));
    match reply {
        // `wardgate setup` has enabled it: it starts as soon as the sites are paired.
        None if file == Path::new(admin::CONFIG) && systemd::is_enabled() => {
            match systemd::start_or_reload() {
                Ok(()) => println!("the service has started with the new configuration"),
                Err(error) => eprintln!("wardgate: the service was not started: {error:#}"),
            }
        }
        None => println!(
            "next: `wardgate check`, then start the gateway, or run `wardgate reload` if it runs"
        ),
        Some(Ok(reply)) if reply.ok => println!("the running gateway uses the new configuration"),
        Some(Ok(reply)) => println!(
            "the running gateway does not use the new configuration yet: {}; correct this, then run `wardgate reload`",
            reply.lines.join("; ")
        ),
        Some(Err(error)) => {
            println!("the running gateway was not reached: {error:#}; run `wardgate reload`");
        }
    }
}
