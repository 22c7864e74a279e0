//! Files and ports (Landlock): two boundaries, one of the process, and within it a narrower one of each worker.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope,
};

use super::needs::Needs;
use super::part::PartState;

/// The newest version of Landlock whose restrictions are used.
const ABI_USED: ABI = ABI::V6;

/// What threads need to enter boundaries of their own.
#[derive(Default)]
pub(super) struct Boundaries {
    worker: Option<std::sync::Arc<BTreeSet<u16>>>,
}

/// The boundary of a worker: no file at all, and only the ports of targets.
pub(super) struct WorkerBoundary(std::sync::Arc<BTreeSet<u16>>);

impl Boundaries {
    /// The boundary of a worker; `None` if the kernel has none.
    pub(super) fn of_worker(&self) -> Option<WorkerBoundary> {
        self.worker.clone().map(WorkerBoundary)
    }
}

impl WorkerBoundary {
    /// Restricts the calling thread.
    pub(super) fn enter(&self) -> io::Result<()> {
        let entered = || -> Result<(), RulesetError> {
            let ruleset = handled()?.create()?;
            let mut ruleset = ruleset.set_compatibility(CompatLevel::BestEffort);
            for port in &*self.0 {
                ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
            }
            // Only a worker whose configuration has `source = "transparent"` makes the call, see its seccomp list.
            ruleset = ruleset.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
            ruleset.restrict_self().map(drop)
        };
        entered().map_err(io::Error::other)
    }
}

/// Restricts the calling thread, and all that it starts, to `needs`. Returns the states of files and of ports.
pub(super) fn enter(needs: &Needs) -> (Boundaries, [PartState; 2]) {
    let none = Boundaries::default();
    let both = |state: PartState| [state.clone(), state];
    let status = match restrict(needs) {
        Ok(status) => status,
        Err(error) => return (none, both(PartState::Missing(format!("Landlock: {error}")))),
    };
    let abi = match status {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled => {
            let text = "Landlock is turned off on this machine; add landlock to lsm= of the kernel's command line";
            return (none, both(PartState::Missing(text.to_owned())));
        }
        LandlockStatus::NotImplemented => {
            let text = "this kernel was built without Landlock";
            return (none, both(PartState::NotInKernel(text.to_owned())));
        }
    };
    let ports = match abi {
        ..ABI_OF_PORTS => PartState::NotInKernel(format!(
            "Landlock ABI {abi} of this kernel restricts no ports; Linux 6.7 does"
        )),
        _ => PartState::On(format!("Landlock ABI {abi}")),
    };
    let boundaries = Boundaries {
        worker: Some(std::sync::Arc::new(needs.target_ports())),
    };
    (
        boundaries,
        [PartState::On(format!("Landlock ABI {abi}")), ports],
    )
}

const ABI_OF_PORTS: i32 = 4;

fn restrict(needs: &Needs) -> Result<LandlockStatus, RulesetError> {
    let mut ruleset = handled()?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    for folder in needs.folders() {
        ruleset = allow(ruleset, folder, reads)?;
    }
    for file in &needs.files {
        ruleset = allow(ruleset, file, AccessFs::ReadFile.into())?;
    }
    for folder in &needs.sockets {
        ruleset = allow(ruleset, folder, AccessFs::RemoveFile.into())?;
    }
    if let Some(folder) = &needs.state {
        let writes = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile;
        ruleset = allow(ruleset, folder, reads | writes)?;
    }
    let system = SYSTEM.iter().copied();
    let resolver = RESOLVER.iter().copied().filter(|_| needs.resolves());
    for path in system.chain(resolver).map(Path::new) {
        ruleset = allow(ruleset, path, reads)?;
    }
    let dns = needs.resolves().then_some(DNS_PORT);
    let (bound, connected) = (needs.bound_ports(), needs.target_ports());
    for port in bound {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
    }
    for port in connected.into_iter().chain(dns) {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.landlock)
}

// All that the kernel can restrict, which rules then allow in part.
fn handled() -> Result<Ruleset, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_USED))?
        .handle_access(AccessNet::from_all(ABI_USED))?;
    // The service manager may listen on an abstract socket.
    let notify = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    match notify.starts_with('@') {
        true => ruleset.scope(Scope::Signal),
        false => ruleset.scope(Scope::from_all(ABI_USED)),
    }
}

// Allows access to a path that exists.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(ruleset);
    };
    let access = match PathBuf::from(path).is_dir() {
        true => access,
        false => access & AccessFs::from_file(ABI_USED),
    };
    ruleset.add_rule(PathBeneath::new(opened, access))
}

/// Read while the gateway runs: CPU times and the state of the own process (the kernel guards those of others), NUMA
/// nodes and the number of CPUs, the clock's state.
const SYSTEM: [&str; 3] = ["/proc", "/sys/devices/system", "/run/systemd/timesync"];

/// Read by the resolver of the C library and its modules, which it loads. These files are replaced by renaming, for
/// example at each DHCP lease, so single files cannot be allowed.
const RESOLVER: [&str; 12] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
    "/run/connman",
    "/var/lib/sss",
    "/dev/urandom",
];

/// A long answer comes over TCP.
const DNS_PORT: u16 = 53;
