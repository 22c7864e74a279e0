//! Trees of Debian and Ubuntu, in which packages are installed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::tier::workspace;
use wardgate_tests::{Outcome, Program};

use crate::built::target;

/// Where the packages allow io_uring to the service, if it is off.
pub(crate) const SYSCTL_FILE: &str = "/etc/sysctl.d/99-wardgate-io-uring.conf";

/// A version of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 12 with the packages that the guide's chapter "Two machines" installs, and those that every installation
    /// of Debian has beside the smallest one.
    TwoMachines,
    /// Debian 12 with stunnel, and with the pager that every installation of Debian has beside the smallest one.
    Stunnel,
    /// Debian 13.
    Trixie,
    /// Ubuntu 24.04.
    Noble,
}

/// A copy of a minimal system with systemd, gone with its value.
pub(crate) struct Tree {
    folder: TempDir,
}

/// Every file, folder and link of a tree, with what must be equal when it is compared.
#[derive(PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, String>);

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::TwoMachines => "two-machines",
            Self::Stunnel => "stunnel",
            Self::Trixie => "trixie",
            Self::Noble => "noble",
        }
    }

    /// As the mirrors name it.
    fn release(self) -> &'static str {
        match self {
            Self::TwoMachines | Self::Stunnel => Self::Bookworm.name(),
            other => other.name(),
        }
    }

    fn packages(self) -> &'static str {
        match self {
            Self::TwoMachines => "systemd,passwd,iproute2,procps,keepalived,curl,rsync",
            Self::Stunnel => "systemd,passwd,stunnel4,less",
            _ => "systemd,passwd",
        }
    }

    /// Whether the tree is there, or its mirror answers. The mirror of Debian must answer.
    pub(crate) fn is_available(self) -> bool {
        self != Self::Noble || self.folder().is_dir() || answers(UBUNTU)
    }

    /// The tree that copies are made of. The first test on a machine makes those of all versions, at the same time.
    fn base(self) -> PathBuf {
        static MADE: OnceLock<()> = OnceLock::new();
        MADE.get_or_init(|| {
            let all = [
                Self::Bookworm,
                Self::TwoMachines,
                Self::Stunnel,
                Self::Trixie,
                Self::Noble,
            ];
            let missing = all.into_iter();
            let missing = missing.filter(|suite| !suite.folder().is_dir() && suite.is_available());
            std::thread::scope(|scope| {
                for suite in missing {
                    scope.spawn(move || suite.make(&suite.folder()));
                }
            });
        });
        self.folder()
    }

    fn folder(self) -> PathBuf {
        target().join("packaging").join(self.name())
    }

    fn make(self, base: &Path) {
        let unfinished = base.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).expect("the target folder can be written");
        let excluded = ["doc", "man", "locale", "info"];
        let excluded =
            excluded.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
        Program::new("mmdebstrap")
            .args(["--quiet", "--variant=essential"])
            .arg(format!("--include={}", self.packages()))
            .arg("--dpkgopt=force-unsafe-io")
            .args(excluded)
            // The last rule that matches decides.
            .arg("--dpkgopt=path-include=/usr/share/doc/wardgate/*")
            .args(self.keyring())
            .arg(self.release())
            .arg(&unfinished)
            .args(self.mirror())
            .deadline(Duration::from_secs(300))
            .run()
            .expect_success();
        fs::rename(&unfinished, base).expect("both are in the target folder");
    }
}

/// The host of Ubuntu's mirror, where distributions other than the machine's own come from by its address.
const UBUNTU: &str = "archive.ubuntu.com";

impl Suite {
    /// Debian has no package of Ubuntu's keys, which verify the packages of its mirror: they are in `tests/data`.
    fn keyring(self) -> Option<String> {
        let keys = workspace().join("tests/data/ubuntu-archive-keyring.gpg");
        (self == Self::Noble).then(|| format!("--keyring={}", keys.display()))
    }

    fn mirror(self) -> Option<String> {
        (self == Self::Noble).then(|| format!("deb http://{UBUNTU}/ubuntu noble main"))
    }
}

/// Whether a web server answers.
fn answers(host: &str) -> bool {
    let addresses = (host, 80).to_socket_addrs().into_iter().flatten();
    let mut addresses = addresses.take(2);
    addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok())
}

impl Tree {
    /// A new copy of the tree of this version.
    ///
    /// The files below /usr are links to those of the original: programs and libraries, which are replaced and
    /// never written in place.
    pub(crate) fn of(suite: Suite) -> Self {
        let base = suite.base();
        let beside = base.parent().expect("the base is in a folder");
        let folder = TempDir::new_in(beside).expect("there is room");
        let copy = "mkdir root; chmod 755 root; cd \"$0\"; \
                    for part in *; do case $part in usr) links=-l;; *) links=;; esac; \
                    cp -a $links \"$part\" \"$OLDPWD/root/\"; done";
        Program::new("sh")
            .args(["-ec", copy])
            .arg(base)
            .current_dir(folder.path())
            .run()
            .expect_success();
        Self { folder }
    }

    /// A tree that looks like a booted system, with these settings of io_uring in `/tmp/kernel`.
    pub(crate) fn with_kernel(suite: Suite, disabled: &str, group: &str) -> Self {
        let tree = Self::of(suite);
        for folder in ["/tmp/kernel", "/run/systemd/system"] {
            fs::create_dir_all(tree.path(folder)).expect("the tree can be written");
        }
        tree.write("/tmp/kernel/io_uring_disabled", disabled);
        tree.write("/tmp/kernel/io_uring_group", group);
        tree
    }

    /// The settings of [`Tree::with_kernel`], as they are now.
    pub(crate) fn kernel(&self) -> [String; 2] {
        ["io_uring_disabled", "io_uring_group"].map(|name| {
            let text = self.read(&format!("/tmp/kernel/{name}"));
            text.trim().to_owned()
        })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The path in this tree of a path of the installed system.
    pub(crate) fn path(&self, installed: &str) -> PathBuf {
        self.root().join(installed.trim_start_matches('/'))
    }

    /// A file as text; empty if there is none.
    pub(crate) fn read(&self, installed: &str) -> String {
        fs::read_to_string(self.path(installed)).unwrap_or_default()
    }

    pub(crate) fn write(&self, installed: &str, text: &str) {
        fs::write(self.path(installed), text).expect("the tree can be written");
    }

    /// Copies a file of this machine into the tree.
    pub(crate) fn take(&self, file: &Path, installed: &str) {
        fs::copy(file, self.path(installed)).expect("the file can be copied");
    }

    /// A shell script that runs in the tree, with a /proc and mounts of its own, which end with it.
    pub(crate) fn script(&self, script: &str) -> Outcome {
        let outer = "mount -t proc proc \"$0/proc\" && mount --bind /dev/null \"$0/dev/null\" && \
                     exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
                     chroot \"$0\" /bin/sh -ec \"$1\"";
        fs::write(self.path("/dev/null"), "").expect("the tree can be written");
        Program::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation=private",
            ])
            .args(["sh", "-c", outer])
            .arg(self.root())
            .arg(script)
            .run()
    }

    /// All that the tree holds, without what a package manager notes for itself.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut files = BTreeMap::new();
        collect(&self.root(), &self.root(), &mut files);
        files.retain(|path, _| !is_note(path));
        Snapshot(files)
    }
}

/// Logs and lists of the package manager, and copies that the tools for users keep of the previous state.
fn is_note(path: &str) -> bool {
    let folders = [
        "/var/lib/dpkg",
        "/var/lib/rpm",
        "/var/log",
        "/var/cache",
        "/dev",
        "/proc",
        "/tmp",
        "/run",
    ];
    let files = [
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/.pwd.lock",
    ];
    folders.iter().any(|folder| path.starts_with(folder)) || files.contains(&path)
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the tree can be read") {
        let path = entry.expect("the tree can be read").path();
        let facts = fs::symlink_metadata(&path).expect("nothing changes the tree now");
        let mut hasher = DefaultHasher::new();
        if facts.is_file() {
            fs::read(&path).expect("root may read").hash(&mut hasher);
        } else if facts.is_symlink() {
            fs::read_link(&path)
                .expect("it is a link")
                .hash(&mut hasher);
        }
        let relative = path.strip_prefix(root).expect("the path is in the tree");
        let value = format!(
            "mode {:o}, owner {}:{}, content {:x}",
            facts.mode(),
            facts.uid(),
            facts.gid(),
            hasher.finish()
        );
        files.insert(format!("/{}", relative.display()), value);
        if facts.is_dir() {
            collect(root, &path, files);
        }
    }
}

impl Snapshot {
    /// What differs from an earlier state: `+` is new, `-` is gone, `~` has changed.
    pub(crate) fn since(&self, earlier: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, value) in &self.0 {
            match earlier.0.get(path) {
                None => lines.push(format!("+ {path}")),
                Some(before) if before != value => {
                    lines.push(format!("~ {path}: {before}; now {value}"));
                }
                Some(_) => {}
            }
        }
        let gone = earlier.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(gone.map(|path| format!("- {path}")));
        lines
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files", self.0.len())
    }
}
