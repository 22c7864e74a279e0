//! DICOM files to send and received objects, compared by the SHA-256 of whole data sets.
//!
//! The files are written and read here in a few lines, without a DICOM library: the tests compare the bytes
//! after the file meta information (PS3.10 section 7.1).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::Program;
use crate::tier::python;

/// CT Image Storage.
const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Explicit VR Little Endian.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// Preamble and `DICM`.
const META_START: usize = 132;
/// Value representations with two reserved bytes and a length of 32 bits (PS3.5 table 7.1-1).
const LONG_FORMS: [&str; 6] = ["OB", "OW", "SQ", "UN", "UT", "UC"];

/// A CT slice to be written.
#[derive(Debug, Clone)]
pub struct Slice<'a> {
    /// Its number in the series; it decides the UID and the noise.
    pub number: u32,
    /// The text in PatientName (at most 60 characters) and, repeated, in PixelData.
    pub marker: &'a str,
    /// Rows and columns of 16 bits each.
    pub side: u16,
}

impl Slice<'_> {
    /// The SOP instance UID that the file has.
    pub fn uid(&self) -> String {
        // 2.25 is the root of UIDs that need no registration (PS3.5 section B.2).
        format!(
            "2.25.{}",
            340_282_366_920_938_463_u64 + u64::from(self.number)
        )
    }

    /// Writes the slice into a folder and returns the file.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("slice-{:05}.dcm", self.number));
        fs::write(&file, self.encode()).expect("the folder of the test can be written");
        file
    }

    fn encode(&self) -> Vec<u8> {
        let mut meta = Vec::new();
        element(&mut meta, (0x0002, 0x0001), "OB", &[0, 1]);
        element(&mut meta, (0x0002, 0x0002), "UI", CT_IMAGE.as_bytes());
        element(&mut meta, (0x0002, 0x0003), "UI", self.uid().as_bytes());
        element(
            &mut meta,
            (0x0002, 0x0010),
            "UI",
            EXPLICIT_LITTLE_ENDIAN.as_bytes(),
        );
        element(&mut meta, (0x0002, 0x0012), "UI", b"2.25.1");
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        let length = u32::try_from(meta.len()).expect("the meta group is short");
        element(&mut file, (0x0002, 0x0000), "UL", &length.to_le_bytes());
        file.extend_from_slice(&meta);
        self.data_set(&mut file);
        file
    }

    /// The elements of CT Image Storage that receivers require (PS3.3 section A.3).
    fn data_set(&self, out: &mut Vec<u8>) {
        let side = self.side.to_le_bytes();
        let number = self.number.to_string();
        let patient = format!("{}^TEST", self.marker);
        element(out, (0x0008, 0x0016), "UI", CT_IMAGE.as_bytes());
        element(out, (0x0008, 0x0018), "UI", self.uid().as_bytes());
        element(out, (0x0008, 0x0020), "DA", b"20260101");
        element(out, (0x0008, 0x0030), "TM", b"120000");
        element(out, (0x0008, 0x0050), "SH", b"ACC1");
        element(out, (0x0008, 0x0060), "CS", b"CT");
        element(out, (0x0008, 0x0090), "PN", b"");
        element(out, (0x0010, 0x0010), "PN", patient.as_bytes());
        element(out, (0x0010, 0x0020), "LO", b"WGT-1");
        element(out, (0x0010, 0x0030), "DA", b"19700101");
        element(out, (0x0010, 0x0040), "CS", b"O");
        element(out, (0x0020, 0x000d), "UI", b"2.25.2");
        element(out, (0x0020, 0x000e), "UI", b"2.25.3");
        element(out, (0x0020, 0x0010), "SH", b"1");
        element(out, (0x0020, 0x0011), "IS", b"1");
        element(out, (0x0020, 0x0013), "IS", number.as_bytes());
        element(out, (0x0028, 0x0002), "US", &[1, 0]);
        element(out, (0x0028, 0x0004), "CS", b"MONOCHROME2");
        element(out, (0x0028, 0x0010), "US", &side);
        element(out, (0x0028, 0x0011), "US", &side);
        element(out, (0x0028, 0x0100), "US", &[16, 0]);
        element(out, (0x0028, 0x0101), "US", &[16, 0]);
        element(out, (0x0028, 0x0102), "US", &[15, 0]);
        element(out, (0x0028, 0x0103), "US", &[0, 0]);
        element(out, (0x7fe0, 0x0010), "OW", &self.pixels());
    }

    /// Noise that does not compress, with the marker at the start and then every 4 KiB.
    fn pixels(&self) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(self.number + 1);
        let mut pixels = Vec::new();
        for _ in 0..usize::from(self.side) * usize::from(self.side) / 4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pixels.extend_from_slice(&state.to_le_bytes());
        }
        for place in pixels.chunks_mut(4096) {
            if let Some(room) = place.get_mut(..self.marker.len()) {
                room.copy_from_slice(self.marker.as_bytes());
            }
        }
        pixels
    }
}

/// Writes `count` slices of `side` squared pixels into a folder, numbered from 1.
pub fn series(folder: &Path, marker: &str, count: u32, side: u16) -> Vec<PathBuf> {
    (1..=count)
        .map(|number| {
            Slice {
                number,
                marker,
                side,
            }
            .write(folder)
        })
        .collect()
}

/// The DICOM files that ship in the Python packages pydicom and pynetdicom, in the order of their
/// names.
pub fn samples() -> Vec<PathBuf> {
    let script = "import glob, os, pydicom, pynetdicom\n\
        for package in (pydicom, pynetdicom):\n\
        \x20   root = os.path.dirname(package.__file__)\n\
        \x20   for file in sorted(glob.glob(root + '/**/*.dcm', recursive=True)):\n\
        \x20       print(file)\n";
    let outcome = Program::new(python()).args(["-c", script]).run();
    let text = outcome.expect_success().text();
    let files: Vec<_> = text.lines().map(PathBuf::from).collect();
    assert!(
        files.len() > 50,
        "the packages have lost their samples: {text}"
    );
    files
}

/// A received or sent object: its identity, and the SHA-256 of its data set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// SOP instance UID, of the file meta information.
    pub uid: String,
    /// Transfer syntax, of the file meta information.
    pub syntax: String,
    /// Bytes behind the file meta information.
    pub octets: usize,
    /// SHA-256 of all bytes behind the file meta information, lower-case hexadecimal.
    pub sha256: String,
}

/// Reads a file; `None` where it is no DICOM file with file meta information.
pub fn object(file: &Path) -> Option<Object> {
    let bytes = fs::read(file).expect("the file is the test's own");
    let (meta, data_set) = split(&bytes)?;
    Some(Object {
        uid: text(meta.get(&(0x0002, 0x0003))?),
        syntax: text(meta.get(&(0x0002, 0x0010))?),
        octets: data_set.len(),
        sha256: hex(digest(&SHA256, data_set).as_ref()),
    })
}

/// All objects in the files of a folder, sorted.
pub fn objects(folder: &Path) -> Vec<Object> {
    let entries = fs::read_dir(folder).expect("the folder is the test's own");
    let files = entries.map(|entry| entry.expect("the folder can be read").path());
    objects_in(&files.collect::<Vec<_>>())
}

/// The objects in these files, sorted; files without file meta information are left out.
pub fn objects_in(files: &[PathBuf]) -> Vec<Object> {
    let mut objects: Vec<_> = files.iter().filter_map(|file| object(file)).collect();
    objects.sort();
    objects
}

type Meta<'a> = BTreeMap<(u16, u16), &'a [u8]>;

/// The elements of the file meta information, and the bytes behind it.
///
/// Its end is where the group changes: the group length (0002,0000) of some samples is wrong.
fn split(bytes: &[u8]) -> Option<(Meta<'_>, &[u8])> {
    (bytes.get(128..META_START)? == b"DICM").then_some(())?;
    let mut rest = bytes.get(META_START..)?;
    let mut meta = Meta::new();
    while rest.starts_with(&[2, 0]) {
        let tag = (2, u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]));
        let form = std::str::from_utf8(rest.get(4..6)?).ok()?;
        let (start, length) = if LONG_FORMS.contains(&form) {
            let length = u32::from_le_bytes(rest.get(8..12)?.try_into().ok()?);
            (12, usize::try_from(length).ok()?)
        } else {
            let length = u16::from_le_bytes(rest.get(6..8)?.try_into().ok()?);
            (8, usize::from(length))
        };
        let (element, behind) = rest.split_at_checked(length.checked_add(start)?)?;
        meta.insert(tag, element.get(start..)?);
        rest = behind;
    }
    Some((meta, rest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_end_matches(['\0', ' '])
        .to_owned()
}

/// Writes one element in Explicit VR Little Endian, padded to even length (PS3.5 section 7.1).
fn element(out: &mut Vec<u8>, tag: (u16, u16), form: &str, value: &[u8]) {
    let padding = usize::from(value.len() % 2 == 1);
    let length = u32::try_from(value.len() + padding).expect("test elements are short");
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&tag.1.to_le_bytes());
    out.extend_from_slice(form.as_bytes());
    if LONG_FORMS.contains(&form) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        let length = u16::try_from(length).expect("short forms hold short values");
        out.extend_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(value);
    if padding == 1 {
        // UIDs are padded with NUL, text with a space (PS3.5 section 6.2).
        out.push(if form == "UI" || form == "OB" {
            0
        } else {
            b' '
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_slice_reads_back() {
        let folder = tempfile::TempDir::new().expect("there is room");
        let slice = Slice {
            number: 7,
            marker: "MARKER",
            side: 16,
        };
        let file = slice.write(folder.path());
        let object = object(&file).expect("it is a DICOM file");
        assert_eq!(object.uid, slice.uid());
        assert_eq!(object.syntax, EXPLICIT_LITTLE_ENDIAN);
        let bytes = fs::read(&file).expect("it was written");
        let hits = bytes
            .windows(6)
            .filter(|window| window == b"MARKER")
            .count();
        assert_eq!(hits, 2, "in the name and in the pixels");
    }

    #[test]
    fn one_byte_of_the_data_set_changes_its_hash() {
        let folder = tempfile::TempDir::new().expect("there is room");
        let file = Slice {
            number: 1,
            marker: "M",
            side: 16,
        }
        .write(folder.path());
        let before = object(&file);
        let mut bytes = fs::read(&file).expect("it was written");
        *bytes.last_mut().expect("it is not empty") ^= 1;
        fs::write(&file, bytes).expect("it can be written");
        assert_ne!(object(&file), before);
    }
}
