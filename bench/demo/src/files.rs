//! Uses the user's own DICOM files as the study.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use dicom_object::FileMetaTable;
use dicom_ul::association::server::is_supported;
use memchr::memmem;

use super::needles::Needles;
use super::study::{Object, Series, Source, Study};
use crate::limits;

/// The bytes before `DICM` (PS3.10 section 7.1).
const PREAMBLE_BYTES: u64 = 128;

/// After the preamble, `DICM` and the element that contains the length of the group.
const META_OFFSET: u64 = PREAMBLE_BYTES + 4 + 12;

/// Patient's Name (0010,0010) in little endian.
const NAME_TAG: &[u8] = &[0x10, 0, 0x10, 0];

/// The name is among the first elements of a data set. Private elements before it are seldom long.
const NAME_WITHIN_BYTES: u64 = 64 << 10;

/// Shorter names also occur in random bytes, so they prove nothing.
const NAME_BYTES_MIN: usize = 6;

/// Presentation contexts of one association: odd numbers of one byte (PS3.8 section 9.3.2.2).
const CONTEXTS_MAX: usize = 128;

/// The DICOM files of a directory.
#[derive(Default)]
struct FoundFiles {
    /// Grouped by SOP class and transfer syntax, so an association needs few presentation contexts.
    objects: BTreeMap<(String, String), Vec<Object>>,
    needles: Needles,
    /// The number of patients' names among the needles.
    names: u64,
    /// The number of files that are not DICOM, or that cannot be read.
    skipped: u64,
    /// The number of DICOM files in a transfer syntax that the embedded archive does not support.
    unsupported: u64,
    /// The number of objects whose patient's name cannot be searched for.
    nameless: u64,
}

/// Reads `dir` and its subdirectories; files other than DICOM are skipped and counted. The patients' names
/// are added to the needles; if there are many, the first ones are.
pub(super) fn study(dir: &Path, needles: Needles) -> anyhow::Result<Study> {
    let mut harvest = FoundFiles {
        needles,
        ..FoundFiles::default()
    };
    for path in files_in(dir)? {
        harvest.take(path);
    }
    if harvest.objects.is_empty() {
        bail!(
            "{}: it contains no DICOM file; give another directory",
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

/// Every file below `dir`, sorted. Symbolic links are not followed, because they could form a loop.
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
        if files.len() > limits::FILES_MAX {
            let most = limits::FILES_MAX;
            bail!(
                "{}: more than {most} files; give a smaller directory",
                dir.display()
            );
        }
    }
    files.sort();
    Ok(files)
}

impl FoundFiles {
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
        let name = patient_name(&path, offset);
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

    // The label is shown in the report, so it does not contain the name.
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
        let skipped = self.skipped;
        format!(
            "DICOM files of {}: {count}; other files skipped: {skipped}",
            dir.display()
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.unsupported > 0 {
            let n = self.unsupported;
            notes.push(format!(
                "not sent, transfer syntax unknown to the archive: {n}"
            ));
        }
        if self.nameless > 0 {
            let n = self.nameless;
            notes.push(format!(
                "without a patient's name of 6 or more ASCII letters: {n}"
            ));
        }
        if self.needles.len() >= limits::NEEDLES_MAX {
            let n = self.names;
            notes.push(format!(
                "patients' names that are searched for, the first: {n}"
            ));
        }
        notes
    }
}

/// The file meta information and the file's length, if it is a DICOM file that can be sent.
fn meta_of(path: &Path) -> Option<(FileMetaTable, u64)> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(PREAMBLE_BYTES)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let meta = FileMetaTable::from_reader(BufReader::new(file)).ok()?;
    let named = [
        meta.media_storage_sop_class_uid(),
        meta.media_storage_sop_instance_uid(),
    ];
    let whole = bytes > META_OFFSET + u64::from(meta.information_group_length);
    (whole && !named.contains(&"")).then_some((meta, bytes))
}

/// The patient's name near the start of the data set, if a search for it is meaningful.
///
/// The name is found by its tag in the bytes, without parsing: damaged files make parsers allocate
/// gigabytes. Even if the tag occurs by chance, the bytes after it are in the file, and so must not be
/// visible on the wire.
fn patient_name(path: &Path, offset: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut head = Vec::new();
    file.take(NAME_WITHIN_BYTES).read_to_end(&mut head).ok()?;
    let at = memmem::find(&head, NAME_TAG)?;
    let (header, rest) = head.get(at + NAME_TAG.len()..)?.split_first_chunk()?;
    // Explicit VR has the VR and a length of two bytes here, implicit VR a length of four (PS3.5 tables
    // 7.1-2 and 7.1-3).
    let length = match header {
        [b'P', b'N', low, high] => u32::from(u16::from_le_bytes([*low, *high])),
        length => u32::from_le_bytes(*length),
    };
    let name = rest.get(..usize::try_from(length).ok()?)?.trim_ascii();
    let printable = name.iter().all(|byte| (b' '..=b'~').contains(byte));
    (printable && name.len() >= NAME_BYTES_MIN).then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_in(data_set: &[u8]) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file");
        fs::write(&path, [b"head", data_set].concat()).expect("file");
        patient_name(&path, 4)
    }

    #[test]
    fn names_are_found_in_explicit_and_implicit_vr() {
        let explicit = b"\x08\0\x05\0CS\x02\0\x10\0\x10\0PN\x08\0Doe^Jane\x10\0\x20\0";
        assert_eq!(name_in(explicit).as_deref(), Some(&b"Doe^Jane"[..]));
        let implicit = b"\x10\0\x10\0\x08\0\0\0Doe^Jan \x10\0\x20\0";
        assert_eq!(name_in(implicit).as_deref(), Some(&b"Doe^Jan"[..]));
    }

    #[test]
    fn names_that_cannot_be_searched_for_are_none() {
        assert_eq!(name_in(b"\x10\0\x10\0PN\x04\0Doe "), None);
        assert_eq!(name_in(b"\x10\0\x10\0PN\x06\0D\xf6^Ann"), None);
        assert_eq!(name_in(b"\x10\0\x10\0\xff\xff\xff\xffDoe^Jane"), None);
        assert_eq!(name_in(b"\x10\0\x10\0P"), None);
        assert_eq!(name_in(b"no tag at all"), None);
    }
}
