//! `wardgate status --watch`: the state in the terminal as it changes.
//!
//! A thread asks the gateway once a second and sends its commands, so that keys are read at once, also while the
//! gateway does not answer. `model` and `view` know neither terminal nor clock.

mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};

use self::model::{Action, Model, News};
use super::super::socket::{ask, parse, state};
use super::table;
use crate::cli::limits::{COMMANDS_WAITING_MAX, NEWS_WAITING_MAX, REPLY_WITHIN, WATCH_EVERY};
use crate::cli::{EXIT_FAILED, EXIT_GOOD};
use crate::control::Command;

/// Shows the state until the operator quits, or a signal ends the program.
pub(super) fn run(socket: &Path) -> anyhow::Result<u8> {
    anyhow::ensure!(
        io::stdout().is_terminal(),
        "standard output is no terminal; `wardgate status` prints the state once, and --json prints it for programs"
    );
    let is_over = Arc::new(AtomicBool::new(false));
    end_at_signals(&is_over)?;
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb") || !has("TERM");
    if is_dumb || !io::stdin().is_terminal() {
        return print_again(socket, &is_over);
    }
    let (commands, asked) = sync_channel(COMMANDS_WAITING_MAX);
    let (report, news) = sync_channel(NEWS_WAITING_MAX);
    let path = socket.to_owned();
    std::thread::spawn(move || exchange(&path, &asked, &report));
    // Also sets a panic hook that restores the terminal.
    let mut terminal = ratatui::try_init()?;
    let mut model = Model::new(!has("NO_COLOR"));
    let outcome = show(&mut terminal, &mut model, (&commands, &news), &is_over);
    ratatui::restore();
    outcome?;
    Ok(EXIT_GOOD)
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    model: &mut Model,
    (commands, news): (&SyncSender<Command>, &Receiver<News>),
    is_over: &AtomicBool,
) -> io::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        loop {
            match news.try_recv() {
                Ok(new) => model.take(new),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        terminal.draw(|frame| view::draw(frame, model))?;
        if !wait_for_keys()? {
            return Ok(());
        }
        while event::poll(Duration::ZERO)? {
            // Other events, a new size for example, only draw again.
            let Event::Key(key) = event::read()? else {
                continue;
            };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match model.on_key(key) {
                Some(Action::Quit) => return Ok(()),
                Some(Action::Send(command)) => send(commands, command, model),
                None => {}
            }
        }
    }
    Ok(())
}

fn send(commands: &SyncSender<Command>, command: Command, model: &mut Model) {
    // LIMIT: COMMANDS_WAITING_MAX.
    if commands.try_send(command).is_err() {
        model.message = Some("the gateway has not answered earlier commands".to_owned());
    }
}

// Waits for a key for a moment. Returns false if the terminal is gone: crossterm would read its end for ever.
fn wait_for_keys() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut keys = [PollFd::new(&stdin, PollFlags::IN)];
    let limit = Timespec::try_from(KEYS_LOOK).map_err(io::Error::other)?;
    match poll(&mut keys, Some(&limit)) {
        // A signal, for example that of a new size.
        Err(Errno::INTR) => return Ok(true),
        outcome => outcome?,
    };
    let [keys] = keys;
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(!keys.revents().intersects(gone))
}

const KEYS_LOOK: Duration = Duration::from_millis(100);

// Asks for the state, and carries out commands, until the view ends.
fn exchange(socket: &Path, commands: &Receiver<Command>, report: &SyncSender<News>) {
    loop {
        let outcome = state(socket).map_err(|error| format!("{error:#}"));
        let news = match outcome {
            Ok(status) => News::State(Box::new(status)),
            Err(why) => News::Lost(why),
        };
        if report.send(news).is_err() {
            return;
        }
        let command = match commands.recv_timeout(WATCH_EVERY) {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let reply = ask(socket, command, REPLY_WITHIN).and_then(|text| parse(&text));
        let text = match reply {
            Ok(reply) => reply.lines.join(" "),
            Err(error) => format!("{error:#}"),
        };
        if report.send(News::Reply(text)).is_err() {
            return;
        }
    }
}

// A terminal that cannot be controlled gets tables.
fn print_again(socket: &Path, is_over: &AtomicBool) -> anyhow::Result<u8> {
    println!(
        "this terminal cannot be controlled (TERM=dumb, or no keyboard): the state is printed every {} s, and Ctrl-C ends \
         this",
        PRINTED_EVERY.as_secs()
    );
    let mut code = EXIT_GOOD;
    while !is_over.load(Ordering::Relaxed) {
        match state(socket) {
            Ok(status) => println!("\n{}", table::text(&status)),
            Err(error) => {
                code = EXIT_FAILED;
                println!("\n{error:#}");
            }
        }
        let mut left = PRINTED_EVERY;
        while !left.is_zero() && !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(KEYS_LOOK);
            left = left.saturating_sub(KEYS_LOOK);
        }
    }
    Ok(code)
}

const PRINTED_EVERY: Duration = Duration::from_secs(2);

const ENDS_WITHIN: Duration = Duration::from_secs(2);

// The signals that end a program: the terminal is restored first.
fn end_at_signals(is_over: &Arc<AtomicBool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    let [terminate, interrupt, hangup] = kinds.map(signal);
    let (mut terminate, mut interrupt, mut hangup) = (terminate?, interrupt?, hangup?);
    drop(inside);
    let is_over = Arc::clone(is_over);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        is_over.store(true, Ordering::Relaxed);
        // The view ends by itself, unless it is stuck in a terminal that is gone.
        std::thread::sleep(ENDS_WITHIN);
        ratatui::restore();
        std::process::exit(i32::from(EXIT_FAILED));
    });
    Ok(())
}
