//! The files of one package, in a folder, as they will be installed.

use std::fs::{self, FileType};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::steps::must;

use super::Build;

/// A folder with the files of a package.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// An empty tree in the folder of the packages.
    pub(crate) fn new(build: &Build<'_>, name: &str) -> anyhow::Result<Self> {
        let root = build.path(name);
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// The same files in another folder.
    pub(crate) fn duplicate(&self, build: &Build<'_>, name: &str) -> anyhow::Result<Self> {
        let other = Self::new(build, name)?;
        other.take(build, &self.root)?;
        Ok(other)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Copies a file. `to` is an absolute path of the installation.
    pub(crate) fn copy(&self, from: &Path, to: &str, mode: u32) -> anyhow::Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(to, bytes, mode)
    }

    /// Copies a whole folder.
    pub(crate) fn copy_all(&self, build: &Build<'_>, from: &Path, to: &str) -> anyhow::Result<()> {
        let to = self.path(to);
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        Self { root: to }.take(build, from)
    }

    pub(crate) fn write(&self, to: &str, bytes: impl AsRef<[u8]>, mode: u32) -> anyhow::Result<()> {
        let path = self.path(to);
        let parent = path.parent().context("a file has a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        self.set_mode(to, mode)
    }

    pub(crate) fn set_mode(&self, to: &str, mode: u32) -> anyhow::Result<()> {
        let path = self.path(to);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))
    }

    /// Makes a symbolic link at `at` that leads to `to`.
    pub(crate) fn link(&self, at: &str, to: &str) -> anyhow::Result<()> {
        let path = self.path(at);
        let parent = path.parent().context("a link has a folder")?;
        fs::create_dir_all(parent)?;
        symlink(to, &path).with_context(|| format!("cannot make the link {}", path.display()))
    }

    /// Compresses a file of this tree to `NAME.gz`, without its name and time inside.
    pub(crate) fn gzip(&self, build: &Build<'_>, path: &str) -> anyhow::Result<()> {
        must(build.tool("gzip").args(["-9nf"]).arg(self.path(path)))
    }

    /// The path of an installed file in this tree.
    pub(crate) fn path(&self, installed: &str) -> PathBuf {
        self.root.join(installed.trim_start_matches('/'))
    }

    /// All files and links, as installed paths, sorted.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<String>> {
        self.paths(|kind| !kind.is_dir())
    }

    /// All folders, as installed paths, sorted.
    pub(crate) fn folders(&self) -> anyhow::Result<Vec<String>> {
        self.paths(FileType::is_dir)
    }

    fn paths(&self, wanted: fn(&FileType) -> bool) -> anyhow::Result<Vec<String>> {
        let mut files = Vec::new();
        collect(&self.root, wanted, &mut files)?;
        let root = self.root.display().to_string();
        let mut files: Vec<_> = files
            .iter()
            .filter_map(|file| file.strip_prefix(&root).map(str::to_owned))
            .collect();
        files.sort();
        Ok(files)
    }

    fn take(&self, build: &Build<'_>, from: &Path) -> anyhow::Result<()> {
        let mut cp = build.tool("cp");
        cp.arg("-a").arg(from.join(".")).arg(&self.root);
        must(&mut cp)
    }
}

fn collect(
    folder: &Path,
    wanted: fn(&FileType) -> bool,
    paths: &mut Vec<String>,
) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if wanted(&kind) {
            paths.push(entry.path().display().to_string());
        }
        if kind.is_dir() {
            collect(&entry.path(), wanted, paths)?;
        }
    }
    Ok(())
}
