//! `wardgate status --watch` in a real terminal: tmux, whose screens are golden files.
//!
//! The first line, with the name of the host and the time, is left out, and the id of the connection is `ID`. Numbers change from run to run. In the golden files, each run of digits is `0`, and each run of spaces is one
//! space; the unit tests of the view compare whole screens.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

use wardgate_tests::stream::{Ending, ending};
use wardgate_tests::tier::{Need, ready, workspace};
use wardgate_tests::{DEADLINE, Program, until, wardgate};

use crate::pair::Pair;

/// A terminal with a shell. Its server is ended when dropped.
struct Terminal {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Terminal {
    fn start(width: u32, height: u32) -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let socket = folder.path().join("tmux");
        let terminal = Self {
            socket,
            _folder: folder,
        };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        terminal.tmux(&[&["new-session", "-d"], &size[..], &["env PS1='shell> ' sh"]].concat());
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let program = Program::new("tmux").args(["-f", "/dev/null", "-S"]);
        let program = program.arg(&self.socket).args(arguments);
        program.run().expect_success().text()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, text: &str) {
        self.keys(&[text, "Enter"]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn expect(&self, text: &str) -> String {
        let shown = || Some(self.screen()).filter(|screen| screen.contains(text));
        until(&format!("the screen shows {text:?}"), DEADLINE, shown)
    }

    /// The shell has the terminal again: its own screen, and the keys are echoed.
    #[track_caller]
    fn expect_restored(&self, mark: &str) {
        until("the screen of the shell is back", DEADLINE, || {
            let alternate = self.tmux(&["display-message", "-p", "#{alternate_on}#{cursor_flag}"]);
            (alternate.trim() == "01").then_some(())
        });
        self.line(&format!("echo {mark}-$((6*7))"));
        let screen = self.expect(&format!("{mark}-42"));
        assert!(
            screen.contains(&format!("echo {mark}-$")),
            "echo is off: {screen}"
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let program = Program::new("tmux").arg("-S").arg(&self.socket);
        let _ = program.arg("kill-server").run();
    }
}

fn normal(screen: &str) -> String {
    let mut text = String::new();
    for line in screen.lines() {
        let mut last = ' ';
        let start = text.len();
        for one in line.chars() {
            let one = if one.is_ascii_digit() { '0' } else { one };
            if !(one == last && matches!(one, ' ' | '0' | '#')) {
                text.push(one);
            }
            last = one;
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Waits until the screen has `text` and is the golden one: a frame may be half drawn. Set `WARDGATE_BLESS=1` to write
/// the current screens.
#[track_caller]
fn expect_screen(terminal: &Terminal, text: &str, name: &str, id: &str) {
    let path = workspace().join(format!("tests/data/screens/tmux-{name}.txt"));
    let mut screen = terminal.expect(text);
    let is_blessed = std::env::var_os("WARDGATE_BLESS").is_some();
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let begun = Instant::now();
    loop {
        let (_, rest) = screen.split_once('\n').expect("it has lines");
        let found = normal(&rest.replace(id, "ID"));
        if is_blessed {
            fs::write(&path, &found).expect("the folder can be written");
        }
        if is_blessed || found == expected {
            return;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "{}:\n{found}\n{screen}",
            path.display()
        );
        screen = terminal.screen();
    }
}

#[test]
fn the_live_view_is_driven_by_keys_and_always_restores_the_terminal() {
    if !ready("direct", &[Need::Program("tmux")]) {
        return;
    }
    // One core, so that the golden screens are those of every machine.
    let pair = Pair::with("tcp", |site| site.gateway("cores", "[0]"));
    let (mut client, _server) = pair.join();
    let accepted = pair
        .a
        .wait_for_line("the peer is accepted", DEADLINE, |line| {
            line.message() == "accepted"
        });
    let id = accepted.text("id").to_owned();
    let socket = pair.a.folder().join("admin.sock");
    let command = format!(
        "{} status --watch --socket {}",
        wardgate().display(),
        socket.display()
    );
    let pid_file = pair.b.folder().join("view.pid");
    let with_pid = format!("sh -c 'echo $$ > {}; exec {command}'", pid_file.display());
    for (width, height) in [(80, 24), (200, 60)] {
        let terminal = Terminal::start(width, height);
        terminal.line(&command);
        let name = format!("routes-{width}x{height}");
        expect_screen(&terminal, "originate-", &name, &id);
        terminal.keys(&["2"]);
        let name = format!("connections-{width}x{height}");
        expect_screen(&terminal, "APPLICATION", &name, &id);
        terminal.keys(&["3"]);
        terminal.expect("EXPIRES");
        // A new size is drawn.
        terminal.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        terminal.expect("EXPIRES");
        terminal.keys(&["q"]);
        terminal.expect_restored("quit");
    }
    let terminal = Terminal::start(80, 24);
    terminal.line(&format!("NO_COLOR=1 {command}"));
    terminal.expect("originate-");
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let coloured = coloured.replace("\u{1b}[39m", "").replace("\u{1b}[49m", "");
    assert!(!coloured.contains("\u{1b}[3"), "{coloured:?}");
    terminal.keys(&["2", "e"]);
    terminal.expect("Reset connection");
    terminal.keys(&["y"]);
    terminal.expect("is reset");
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    terminal.keys(&["1", "d"]);
    terminal.expect("Drain route originate-");
    terminal.keys(&["y"]);
    terminal.expect("an operator drains this route");
    until("clients are refused", DEADLINE, || {
        TcpStream::connect(pair.entry).is_err().then_some(())
    });
    // A signal ends the view, and restores the terminal.
    terminal.keys(&["q"]);
    terminal.expect_restored("quit");
    terminal.line(&with_pid);
    terminal.expect("an operator drains this route");
    let pid = fs::read_to_string(&pid_file).expect("it was written");
    let pid = pid.trim().parse().expect("a number");
    wardgate_tests::Process::new(pid).signal(rustix::process::Signal::TERM);
    terminal.expect_restored("signal");
    terminal.line(&command);
    terminal.expect("an operator drains this route");
    pair.a.stop();
    terminal.expect("does not answer, and this view tries again");
    terminal.keys(&["C-c"]);
    terminal.expect_restored("interrupt");
    // A terminal that goes away ends the view, too.
    terminal.line(&with_pid);
    terminal.expect("waiting for the gateway");
    let pid = fs::read_to_string(&pid_file).expect("it was written");
    let of_view = PathBuf::from(format!("/proc/{}", pid.trim()));
    terminal.tmux(&["kill-server"]);
    until("the view has ended", DEADLINE, || {
        (!of_view.exists()).then_some(())
    });
    let terminal = Terminal::start(80, 24);
    // A terminal that cannot be controlled gets tables.
    let socket = pair.b.folder().join("admin.sock");
    let dumb = format!(
        "TERM=dumb {} status --watch --socket {}",
        wardgate().display(),
        socket.display()
    );
    terminal.line(&dumb);
    terminal.expect("this terminal cannot be controlled");
    terminal.expect("terminate-");
    terminal.keys(&["C-c"]);
    terminal.expect_restored("dumb");
    pair.b.stop();
}
