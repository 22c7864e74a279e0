//! The packaging tier: the .deb and .rpm files as an administrator meets them.
//!
//! The packages are made of the programs in the target folder (`built.rs`). They are installed, upgraded, removed and
//! purged in trees of Debian 12 and 13 and Ubuntu 24.04 (`tree.rs`, `life.rs`, `rpm.rs`). Trees are booted with their
//! systemd (`machine.rs`), and execute the commands of the guide (`guide.rs`):
//!
//! - the two sites of the chapter "Install" (`service.rs`, `changes.rs`), and those of "Pair two sites" (`pair.rs`);
//! - the two machines of one site with keepalived (`two_machines.rs`);
//! - a machine that changes from stunnel to wardgate (`from_stunnel.rs`).
//!
//! In one more tree, tuned settings are there again after a start (`tuning.rs`). Nothing is installed on the machine that
//! runs the tests.
//!
//! The trees come from the mirrors of the distributions, once: `target/packaging` keeps them. That of Debian is needed;
//! where that of Ubuntu does not answer, its test uses Debian 13.

mod built;
mod changes;
mod checks;
mod contents;
mod examples;
mod from_stunnel;
mod guide;
mod life;
mod machine;
mod namespace;
mod pair;
mod rpm;
mod service;
mod site;
mod tree;
mod tuning;
mod two_machines;

use wardgate_tests::tier::{self, Need};

/// What every test of this tier needs.
const NEEDS: [Need; 4] = [
    Need::Root,
    Need::Program("dpkg-deb"),
    Need::Program("rpmbuild"),
    Need::Program("mmdebstrap"),
];

/// Whether the calling test can run.
fn ready(more: &[Need]) -> bool {
    tier::ready("packaging", &[NEEDS.as_slice(), more].concat())
}
