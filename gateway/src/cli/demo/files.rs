//! Takes the user's own DICOM files as the study.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTable, OpenFileOptions, Tag};
use dicom_ul::association::server::is_supported;

use super::needles::Needles;
use super::study::{Object, Series, Source, Study};
use crate::limits;

/// Preamble and `DICM` (PS3.10 section 7.1), then the element that holds the group's length.
const META_OFFSET: u64 = 128 + 4 + 12;

/// Names shorter than this come up by chance, and prove nothing.
const NAME_BYTES_MIN: usize = 6;

/// Presentation contexts of one association: odd numbers of one byte (PS3.8 section 9.3.2.2).
const CONTEXTS_MAX: usize = 128;

/// What was found in a directory.
#[derive(Default)]
struct Harvest {
    /// By SOP class and transfer syntax, so that an association needs few presentation contexts.
    objects: BTreeMap<(String, String), Vec<Object>>,
    needles: Needles,
    /// Patients' names among the needles.
    names: u64,
    /// Files that are not DICOM, or that cannot be read.
    skipped: u64,
    /// DICOM files in a transfer syntax that the embedded archive does not take.
    unsupported: u64,
    /// Objects whose patient's name cannot be searched for.
    nameless: u64,
}

/// Reads `dir` and the directories in it; other files than DICOM are skipped and counted.
/// The patients' names join the needles, the first ones where they are many.
pub(super) fn study(dir: &Path, needles: Needles) -> anyhow::Result<Study> {
    let mut harvest = Harvest {
        needles,
        ..Harvest::default()
    };
    for path in files_in(dir)? {
        harvest.take(path);
    }
    if harvest.objects.is_empty() {
        bail!(
            "{}: no DICOM file in it; give a directory that has some",
            dir.display()
        );
    }
    let (title, notes) = (harvest.title(dir), harvest.notes());
    Ok(Study {
        series: harvest.series(),
        title,
        needles: Arc::new(harvest.needles),
        notes,
    })
}

/// Every file below `dir`, sorted. Symbolic links are not followed: they could lead in circles.
fn files_in(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
        if files.len() > limits::DEMO_FILES_MAX {
            let most = limits::DEMO_FILES_MAX;
            bail!(
                "{}: more than {most} files; give a smaller directory",
                dir.display()
            );
        }
    }
    files.sort();
    Ok(files)
}

impl Harvest {
    fn take(&mut self, path: PathBuf) {
        let Some((meta, bytes)) = meta_of(&path) else {
            self.skipped += 1;
            return;
        };
        if !is_supported(meta.transfer_syntax()) {
            self.unsupported += 1;
            return;
        }
        let offset = META_OFFSET + u64::from(meta.information_group_length);
        let name = patient_name(&path);
        let witness = name.as_ref().is_some_and(|name| self.name(name));
        self.nameless += u64::from(name.is_none());
        let object = Object {
            sop_class: meta.media_storage_sop_class_uid().into(),
            sop_instance: meta.media_storage_sop_instance_uid().into(),
            transfer_syntax: meta.transfer_syntax().into(),
            witness: witness || self.objects.is_empty(),
            source: Source::File {
                path,
                offset,
                bytes: bytes.saturating_sub(offset),
            },
        };
        let kind = (object.sop_class.clone(), object.transfer_syntax.clone());
        self.objects.entry(kind).or_default().push(object);
    }

    // The label goes into the report, so it does not hold the name.
    fn name(&mut self, name: &[u8]) -> bool {
        let number = self.names + 1;
        let added = self.needles.add(format!("patient's name {number}"), name);
        self.names += u64::from(added);
        added
    }

    fn series(&mut self) -> Vec<Series> {
        let kinds: Vec<_> = std::mem::take(&mut self.objects).into_values().collect();
        let mut series: Vec<Series> = Vec::new();
        for (number, objects) in kinds.into_iter().enumerate() {
            if number % CONTEXTS_MAX == 0 {
                series.push(Series::default());
            }
            if let Some(last) = series.last_mut() {
                last.objects.extend(objects);
            }
        }
        series
    }

    fn title(&self, dir: &Path) -> String {
        let count: usize = self.objects.values().map(Vec::len).sum();
        let skipped = match self.skipped {
            0 => String::new(),
            n => format!(" ({n} other files skipped)"),
        };
        format!("{count} DICOM files of {}{skipped}", dir.display())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.unsupported > 0 {
            let n = self.unsupported;
            notes.push(format!(
                "{n} DICOM files not sent: transfer syntax unknown to the archive"
            ));
        }
        if self.nameless > 0 {
            let n = self.nameless;
            notes.push(format!(
                "{n} objects without a patient's name of 6 or more ASCII letters"
            ));
        }
        if self.needles.len() >= limits::DEMO_NEEDLES_MAX {
            let n = self.names;
            notes.push(format!(
                "of the patients' names the first {n} are searched for"
            ));
        }
        notes
    }
}

/// The file meta information and the file's length, where it is a DICOM file.
fn meta_of(path: &Path) -> Option<(FileMetaTable, u64)> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(128)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let meta = FileMetaTable::from_reader(file).ok()?;
    (bytes > META_OFFSET + u64::from(meta.information_group_length)).then_some((meta, bytes))
}

/// The patient's name as it stands in the file, where a search for it means something.
fn patient_name(path: &Path) -> Option<Vec<u8>> {
    let behind_name = Tag(0x0010, 0x0011);
    let file = OpenFileOptions::new()
        .read_until(behind_name)
        .open_file(path)
        .ok()?;
    let name = file
        .element(tags::PATIENT_NAME)
        .ok()?
        .to_str()
        .ok()?
        .trim()
        .to_owned();
    (name.is_ascii() && name.len() >= NAME_BYTES_MIN).then(|| name.into_bytes())
}
