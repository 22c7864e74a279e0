//! Names of the network namespaces that a test makes, threads in them, and the removal of those that a killed test left behind.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wardgate_tests::Program;
use wardgate_tests::tier::{self, Need};

/// Where `ip netns` keeps namespaces, and files that are shown in place of those in /etc.
const FOLDERS: [&str; 2] = ["/run/netns", "/etc/netns"];
const OURS: &str = "wgt";

/// What the names of all namespaces of one test begin with.
pub(crate) fn prefix() -> String {
    static LEFTOVERS: Once = Once::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    LEFTOVERS.call_once(remove_leftovers);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{OURS}{}-{number}", std::process::id())
}

/// Removes a namespace and its files.
pub(crate) fn remove(namespace: &str) {
    // One that was never made is no reason to fail, and most have no files.
    let _ = Program::new("ip").args(["netns", "del", namespace]).run();
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(namespace));
}

/// A process that was killed removed nothing; its id is in the names.
fn remove_leftovers() {
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if let Some(name) = name.to_str()
                && let Some(process) = process(name)
                && !Path::new("/proc").join(process.to_string()).exists()
            {
                remove(name);
            }
        }
    }
}

/// The id of the process that made a namespace of this name, where it was one of these tests.
fn process(name: &str) -> Option<u32> {
    let (process, _) = name.strip_prefix(OURS)?.split_once('-')?;
    process.parse().ok()
}

#[test]
fn remains_of_a_killed_test_are_removed() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    // No process has this id: it is above the kernel's largest (PID_MAX_LIMIT).
    let name = format!("{OURS}{}-0-gw-a", u32::MAX);
    let files = Path::new("/etc/netns").join(&name);
    fs::create_dir_all(&files).expect("who may make namespaces may write there");
    remove_leftovers();
    assert!(!files.exists());
    assert_eq!(process("wgt12-0-gw-a"), Some(12));
    assert_eq!(process("other12-0"), None);
}

/// Runs `work` on a thread in the network namespace of this name.
pub(crate) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = format!("/run/netns/{namespace}");
    let namespace = File::open(file).expect("the namespace was made");
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("who may make namespaces may enter them");
            work()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
