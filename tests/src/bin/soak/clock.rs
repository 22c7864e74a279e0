//! Steps of a gateway's time of day, by a small library that is loaded into it. The machine's clock stays.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use wardgate_tests::preload;

/// The time of day of both gateways.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    pub(crate) fn new(folder: &Path) -> Self {
        let clock = Self {
            library: preload::compile(folder, "clock", include_str!("clock.c")),
            offset: folder.join("clock.offset"),
        };
        clock.set(0);
        clock
    }

    /// Variables of a gateway that has this clock.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 2] {
        [
            ("LD_PRELOAD", &*self.library),
            ("SOAK_CLOCK", &*self.offset),
        ]
    }

    /// Sets the difference to the real time, in seconds.
    pub(crate) fn set(&self, seconds: i64) {
        // The file is mapped: truncating it would kill the gateways (SIGBUS).
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.offset)
            .expect("our folder");
        let written = file.write_all_at(&seconds.to_ne_bytes(), 0);
        written.expect("our folder");
    }
}
