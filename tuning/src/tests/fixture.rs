//! A machine as a folder: four cores, a card of 10 Gbit/s, and nothing tuned.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::model::{Model, Modelled};
use crate::{Goal, Host, Options};

/// Files of `/proc` and `/etc`, with their texts.
const FILES: &[(&str, &str)] = &[
    ("etc/group", "root:x:0:\nwardgate:x:987:\n"),
    ("etc/sysctl.d/50-other.conf", "vm.swappiness = 10\n"),
    ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu aes avx2\n"),
    ("proc/1/comm", "systemd\n"),
    ("proc/77/comm", "chronyd\n"),
    ("proc/irq/40/smp_affinity_list", "0-3\n"),
    ("proc/irq/41/smp_affinity_list", "0-3\n"),
    ("proc/irq/42/smp_affinity_list", "0-3\n"),
    ("proc/sys/fs/pipe-user-pages-soft", "16384\n"),
    ("proc/sys/kernel/io_uring_disabled", "2\n"),
    ("proc/sys/kernel/io_uring_group", "-1\n"),
    ("proc/sys/net/core/default_qdisc", "pfifo_fast\n"),
    ("proc/sys/net/core/netdev_max_backlog", "1000\n"),
    ("proc/sys/net/core/rmem_max", "212992\n"),
    ("proc/sys/net/core/somaxconn", "128\n"),
    ("proc/sys/net/core/wmem_max", "212992\n"),
    (
        "proc/sys/net/ipv4/tcp_available_congestion_control",
        "reno cubic bbr\n",
    ),
    ("proc/sys/net/ipv4/tcp_congestion_control", "reno\n"),
    ("proc/sys/net/ipv4/tcp_keepalive_intvl", "90\n"),
    ("proc/sys/net/ipv4/tcp_keepalive_probes", "12\n"),
    ("proc/sys/net/ipv4/tcp_keepalive_time", "7200\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "512\n"),
    ("proc/sys/net/ipv4/tcp_mtu_probing", "0\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("sys/class/net/eth0/device/local_cpulist", "0-3\n"),
    ("sys/class/net/eth0/device/msi_irqs/40", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/41", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/42", "msix\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0\n"),
    ("sys/class/net/eth0/speed", "10000\n"),
    ("sys/class/net/eth1/device/local_cpulist", "0-3\n"),
    ("sys/class/net/eth1/operstate", "down\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc\n",
    ),
    ("sys/devices/system/cpu/isolated", "\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/kernel/irq/40/actions", "eth0-TxRx-0\n"),
    ("sys/kernel/irq/41/actions", "eth0-TxRx-1\n"),
    ("sys/kernel/irq/42/actions", "eth0\n"),
    (
        "sys/kernel/mm/transparent_hugepage/defrag",
        "[always] defer defer+madvise madvise never\n",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never\n",
    ),
    (
        "usr/lib/systemd/system/wardgate.service",
        "[Unit]\nDescription=wardgate\n[Service]\nLimitNOFILE=1024:4096\n",
    ),
];

/// Idle states: the name and microseconds until it is left.
const IDLE: [(&str, &str); 3] = [("POLL", "0"), ("C1", "2"), ("C6", "133")];

/// The program's path, as it would be installed.
pub(crate) const PROGRAM: &str = "/usr/bin/wardgate";

/// What is in a tree: mode and content of each file; folders have no content.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

/// The folder; removed when dropped.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    pub(crate) model: Rc<RefCell<Model>>,
}

/// A folder in memory where there is one: files are written to the medium many times in these tests.
fn folder() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    let folder = memory.or_else(|_| tempfile::tempdir());
    folder.expect("a folder can be made")
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self {
            folder: folder(),
            model: Rc::new(RefCell::new(Model::new())),
        };
        for (path, text) in FILES {
            fixture.write(path, text);
        }
        for cpu in 0..4 {
            let folder = format!("sys/devices/system/cpu/cpu{cpu}");
            fixture.write(
                &format!("{folder}/cpufreq/scaling_available_governors"),
                "performance powersave\n",
            );
            fixture.write(&format!("{folder}/cpufreq/scaling_governor"), "powersave\n");
            for (state, (name, latency)) in IDLE.iter().enumerate() {
                let state = format!("{folder}/cpuidle/state{state}");
                fixture.write(&format!("{state}/name"), &format!("{name}\n"));
                fixture.write(&format!("{state}/latency"), &format!("{latency}\n"));
                fixture.write(&format!("{state}/disable"), "0\n");
            }
        }
        fixture.model.borrow_mut().root = fixture.path("");
        fixture
    }

    pub(crate) fn host(&self) -> Host {
        Host::below(self.folder.path(), Modelled(Rc::clone(&self.model)))
    }

    /// The goal of the detected profile, 10 Gbit/s over 20 ms.
    pub(crate) fn goal(&self) -> Goal {
        Goal::new(&self.host(), Options::default())
    }

    pub(crate) fn apply(&self) -> crate::Applied {
        let applied = crate::apply(&self.host(), &self.goal(), Path::new(PROGRAM), None);
        self.play_kernel();
        applied.expect("the record can be written")
    }

    pub(crate) fn undo(&self) -> crate::Undone {
        let undone = crate::undo(&self.host()).expect("the record can be read");
        self.play_kernel();
        undone.expect("there is a record")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect(path)
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect(path);
    }

    /// Everything in the folder.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)
                .expect("a folder can be read")
                .flatten()
            {
                let path = entry.path();
                let metadata = fs::symlink_metadata(&path).expect("an entry has metadata");
                let content = metadata
                    .is_file()
                    .then(|| fs::read(&path).expect("a file can be read"));
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                let name = path
                    .strip_prefix(self.folder.path())
                    .expect("it is below the folder");
                tree.insert(name.to_owned(), (metadata.permissions().mode(), content));
            }
        }
        tree
    }

    /// Does what the kernel does after a write: it shows all choices, and the present one in brackets.
    fn play_kernel(&self) {
        for (file, choices) in [
            ("enabled", "always madvise never"),
            ("defrag", "always defer defer+madvise madvise never"),
        ] {
            let path = format!("sys/kernel/mm/transparent_hugepage/{file}");
            if !self.path(&path).exists() {
                continue;
            }
            let now = self.read(&path).trim().to_owned();
            if !now.contains('[') {
                let words = choices.split(' ').map(|word| match word == now {
                    true => format!("[{word}]"),
                    false => word.to_owned(),
                });
                self.write(&path, &(words.collect::<Vec<_>>().join(" ") + "\n"));
            }
        }
    }
}
