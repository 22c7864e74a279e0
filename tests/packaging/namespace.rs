//! A network namespace beside the machines, in which programs of this machine are the other site.

use wardgate_tests::Program;

use crate::machine::Machine;

/// The namespace. It is removed with its value.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(suffix: &str) -> Self {
        // The tier `network` removes a namespace of this name whose process was killed.
        let name = format!("wgt{}-{suffix}", std::process::id());
        let namespace = Self { name };
        let add = ["netns", "add", &namespace.name];
        Program::new("ip").args(add).run().expect_success();
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        let ip = Program::new("ip").args(["-n", &self.name]);
        ip.args(arguments.split(' ')).run().expect_success();
    }

    /// A program of this machine in the namespace.
    pub(crate) fn program(&self, name: &str) -> Program {
        Program::new(name).netns(self.name.clone())
    }

    /// Links the namespace to a machine: both names are those of the interfaces.
    pub(crate) fn link(&self, interface: &str, machine: &Machine, there: &str) {
        let init = machine.init;
        self.ip(&format!(
            "link add {interface} type veth peer name {there} netns {init}"
        ));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let remove = ["netns", "del", &self.name];
        let _ = Program::new("ip").args(remove).run();
    }
}
