//! Small libraries that change what one process sees, loaded into it by `LD_PRELOAD`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Program;

/// Compiles `source`, in C, to the library `name`.so in `folder`, with the C compiler that Rust links with.
pub fn compile(folder: &Path, name: &str, source: &str) -> PathBuf {
    let library = folder.join(format!("{name}.so"));
    let text = folder.join(format!("{name}.c"));
    fs::write(&text, source).expect("our folder");
    Program::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&text)
        .arg("-ldl")
        .run()
        .expect_success();
    library
}
