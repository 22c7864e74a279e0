//! A tree with its systemd running: a machine as far as a package can see.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Outcome, Program, until, violation};

use crate::ready;
use crate::tree::{Suite, Tree};

/// The configuration of the service.
pub(crate) const CONFIGURATION: &str = "/etc/wardgate/wardgate.toml";

/// How long a change of the service may take.
pub(crate) const SECONDS: Duration = Duration::from_secs(30);

/// A booted tree. It ends, with all that runs in it, when its value is dropped. This fails the test if a seccomp filter
/// has killed one of its services.
pub(crate) struct Machine {
    // Ends before the tree is removed.
    processes: Background,
    /// Its process 1, as this machine numbers it.
    pub(crate) init: u32,
    pub(crate) tree: Tree,
}

/// How long the machine may take to boot, and a service to start or stop.
const MACHINE_DEADLINE: Duration = Duration::from_secs(60);

impl Machine {
    /// Boots a tree.
    pub(crate) fn boot(tree: Tree) -> Self {
        let (processes, init) = start(&tree);
        let machine = Self {
            processes,
            init,
            tree,
        };
        machine.await_boot();
        machine
    }

    /// Ends all processes as a power failure does, and boots the tree as they left it.
    pub(crate) fn boot_again(&mut self) {
        self.end_without_denied_calls();
        (self.processes, self.init) = start(&self.tree);
        self.await_boot();
    }

    fn await_boot(&self) {
        until("the machine has not booted", MACHINE_DEADLINE, || {
            let state = self.run("systemctl is-system-running").text();
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(())
        });
    }

    /// Ends the machine, and fails the test if a seccomp filter has killed one of its processes. systemd starts a service
    /// again, so that a test may not notice it otherwise.
    fn end_without_denied_calls(&self) {
        // Not the lines of the kernel: those of all machines that run at the same time are in one log.
        let journal = self.run("journalctl --sync; journalctl --no-pager --boot --output cat");
        self.end();
        let journal = journal.expect_success().text();
        let denied = journal.lines().find(|line| violation::is_reported(line));
        assert_eq!(denied, None, "a service was killed by its seccomp filter");
    }

    fn end(&self) {
        // systemd as process 1 ends with its PID namespace.
        self.processes
            .process()
            .signal(rustix::process::Signal::KILL);
        let group = format!("wardgate-test-{}", self.processes.process().id());
        remove_groups(&group);
    }

    /// Runs a shell script in the machine.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        self.shell(script).deadline(MACHINE_DEADLINE).run()
    }

    /// A shell script in the machine that is not started yet.
    pub(crate) fn shell(&self, script: &str) -> Program {
        let inside = "exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive sh -ec \"$0\"";
        self.enter(&[
            "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
        ])
        .args(["sh", "-c", inside, script])
    }

    /// A program of this machine in the network of the other one.
    pub(crate) fn program(&self, name: &str) -> Program {
        self.enter(&["--net"]).arg(name)
    }

    fn enter(&self, namespaces: &[&str]) -> Program {
        let init = self.init.to_string();
        Program::new("nsenter")
            .args(["--target", &init])
            .args(namespaces)
    }

    /// A property of a service, as `systemctl show` prints it.
    pub(crate) fn property(&self, service: &str, name: &str) -> String {
        let text = self.run(&format!("systemctl show --value -p {name} {service}"));
        text.expect_success().text().trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}",
                self.run("journalctl --no-pager -o short -b | tail -n 60")
                    .text()
            );
            self.end();
        } else {
            self.end_without_denied_calls();
        }
    }
}

/// Starts systemd in a tree, and returns its process number once it runs.
fn start(tree: &Tree) -> (Background, u32) {
    let script = Program::new("sh")
        .args(["-c", include_str!("boot.sh"), "boot.sh"])
        .arg(tree.root());
    let processes = Background::start(&script);
    let shell = processes.process().id();
    let init = until("systemd has not started", MACHINE_DEADLINE, || {
        // The shell has become unshare, whose only child is process 1 of the machine.
        let children = format!("/proc/{shell}/task/{shell}/children");
        let init: u32 = fs::read_to_string(children).ok()?.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
        (name.trim() == "systemd").then_some(init)
    });
    (processes, init)
}

/// Removes the machine's control groups, the innermost first, once the last process has gone.
fn remove_groups(name: &str) {
    let find = Program::new("findmnt")
        .args([
            "--list",
            "--noheadings",
            "--types",
            "cgroup2",
            "--output",
            "TARGET",
        ])
        .run();
    let text = find.text();
    let group = Path::new(text.lines().next().unwrap_or_default()).join(name);
    for _ in 0..100 {
        let remove = Program::new("find")
            .arg(&group)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
        let _ = remove.run();
        if !group.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until systemd has started the gateway again, whose main process was `before`.
pub(crate) fn assert_restarted(machine: &Machine, before: &str) {
    until("systemd does not restart the gateway", SECONDS, || {
        // Both in one look: between two, a process may end.
        let show = "systemctl show -p ActiveState -p MainPID wardgate";
        let state = machine.run(show).expect_success().text();
        let active = state.contains("ActiveState=active\n");
        let again = !state.contains(&format!("MainPID={before}\n"));
        (active && again).then_some(())
    });
}

/// Installs the newer package over the older one, and returns what the installation prints.
pub(crate) fn upgrade(machine: &Machine) -> String {
    let outcome = machine.run("dpkg -i /var/newer.deb");
    outcome.expect_success().text()
}

#[test]
fn a_service_that_a_filter_has_killed_fails_the_test_of_its_machine() {
    if !ready(&[Need::Program("nsenter")]) {
        return;
    }
    let machine = Machine::boot(Tree::of(Suite::Bookworm));
    let unit = "[Service]\nType=oneshot\nExecStart=sh -c 'kill -SYS $$$$'\n";
    machine
        .tree
        .write("/etc/systemd/system/killed.service", unit);
    machine.run("systemctl daemon-reload").expect_success();
    machine.run("systemctl start killed").expect_failure();
    catch_unwind(AssertUnwindSafe(|| drop(machine))).expect_err("the test fails");
}
