//! A CT series with dcmtk's programs: the effect of their defaults on a chain.
//!
//! `storescu` leaves Nagle's algorithm on and writes an object in pieces; with delayed acknowledgements each
//! object then stalls. `TCP_NODELAY=1` in its environment, and in that of `storescp`, turns the algorithm
//! off.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::chain::{Process, Running, Start};

/// Much longer than any object has ever taken.
const OBJECT_MAX: Duration = Duration::from_secs(1);

/// The time that dcmtk's programs need to start and to associate.
const START_MAX: Duration = Duration::from_secs(20);

/// One series, again and again.
#[derive(Debug)]
pub(crate) struct Series {
    folder: PathBuf,
    objects: u32,
}

impl Series {
    /// Writes the slice that is sent so many times.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub(crate) fn make(folder: &Path, objects: u32) -> anyhow::Result<Self> {
        fs::write(folder.join(SLICE), slice()).context("cannot write a CT slice")?;
        Ok(Self {
            folder: folder.to_owned(),
            objects,
        })
    }

    /// Sends the series through the chain; returns milliseconds per object, from start to end of `storescu`.
    ///
    /// # Errors
    ///
    /// One of the programs fails or takes too long.
    pub(crate) fn send(&self, chain: &Running, cores: Cores, nodelay: bool) -> anyhow::Result<f64> {
        let environment: &[_] = if nodelay {
            &[("TCP_NODELAY", "1")]
        } else {
            &[]
        };
        let mut provider = Process::start(Start {
            cores: &[cores.sink],
            program: "/usr/bin/storescp".into(),
            arguments: os_strings(&["--ignore", &chain.target.port().to_string()]),
            environment,
            log: self.folder.join("storescp.log"),
        })?;
        provider.wait_listening(chain.target)?;
        let mut arguments = os_strings(&[
            &chain.connect.ip().to_string(),
            &chain.connect.port().to_string(),
        ]);
        arguments.extend((0..self.objects).map(|_| SLICE.into()));
        let begun = Instant::now();
        let mut user = Process::start(Start {
            cores: &[cores.source],
            program: "/usr/bin/storescu".into(),
            arguments,
            environment,
            log: self.folder.join("storescu.log"),
        })?;
        let status = user.wait_end(START_MAX + OBJECT_MAX * self.objects)?;
        let took = begun.elapsed();
        anyhow::ensure!(status.success(), "storescu failed: {}", user.log_tail());
        Ok(took.as_secs_f64() * 1e3 / f64::from(self.objects))
    }
}

/// The working folder of the two programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) source: usize,
    pub(crate) sink: usize,
}

fn os_strings(arguments: &[&str]) -> Vec<OsString> {
    arguments.iter().map(OsString::from).collect()
}

/// The programs run in the folder, so the name does.
const SLICE: &str = "slice.dcm";

/// Rows and columns of a CT slice, 16 bits a pixel: 512 KiB.
const EDGE: u16 = 512;

/// CT Image Storage (PS3.4 B.5) and Explicit VR Little Endian (PS3.5 A.2).
const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// Without a registered root (PS3.5 B.2): generated for this run.
const INSTANCE: &str = "2.25.20240101";

/// A CT slice as a file (PS3.10 section 7), with the minimum that a provider accepts.
fn slice() -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, (0x0002, 0x0001), *b"OB", &[0, 1]);
    text(&mut meta, (0x0002, 0x0002), *b"UI", CT_IMAGE);
    text(&mut meta, (0x0002, 0x0003), *b"UI", INSTANCE);
    text(&mut meta, (0x0002, 0x0010), *b"UI", EXPLICIT_LITTLE);
    text(&mut meta, (0x0002, 0x0012), *b"UI", INSTANCE);

    let mut file = vec![0; 128];
    file.extend(b"DICM");
    let length = (meta.len() as u32).to_le_bytes();
    element(&mut file, (0x0002, 0x0000), *b"UL", &length);
    file.extend(meta);
    text(&mut file, (0x0008, 0x0016), *b"UI", CT_IMAGE);
    text(&mut file, (0x0008, 0x0018), *b"UI", INSTANCE);
    text(&mut file, (0x0008, 0x0060), *b"CS", "CT");
    text(&mut file, (0x0010, 0x0010), *b"PN", "Bench");
    text(&mut file, (0x0010, 0x0020), *b"LO", "0");
    text(&mut file, (0x0020, 0x000d), *b"UI", INSTANCE);
    text(&mut file, (0x0020, 0x000e), *b"UI", INSTANCE);
    let image = [
        (0x0002, 1),    // samples per pixel
        (0x0010, EDGE), // rows
        (0x0011, EDGE), // columns
        (0x0100, 16),   // bits allocated
        (0x0101, 16),   // bits stored
        (0x0102, 15),   // high bit
        (0x0103, 0),    // unsigned
    ];
    for (number, value) in image {
        element(
            &mut file,
            (0x0028, number),
            *b"US",
            &u16::to_le_bytes(value),
        );
    }
    let pixels: Vec<u8> = (0..usize::from(EDGE) * usize::from(EDGE))
        .flat_map(|n| ((n * 31) as u16).to_le_bytes())
        .collect();
    element(&mut file, (0x7fe0, 0x0010), *b"OW", &pixels);
    file
}

/// Text is padded to an even length: UIDs with NUL, all else with a space (PS3.5 section 6.2).
fn text(to: &mut Vec<u8>, tag: (u16, u16), vr: [u8; 2], value: &str) {
    let mut value = value.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == *b"UI" { 0 } else { b' ' });
    }
    element(to, tag, vr, &value);
}

/// A data element with explicit VR (PS3.5 section 7.1.2).
fn element(to: &mut Vec<u8>, (group, number): (u16, u16), vr: [u8; 2], value: &[u8]) {
    to.extend(group.to_le_bytes());
    to.extend(number.to_le_bytes());
    to.extend(vr);
    if matches!(&vr, b"OB" | b"OW") {
        to.extend([0, 0]);
        to.extend((value.len() as u32).to_le_bytes());
    } else {
        to.extend((value.len() as u16).to_le_bytes());
    }
    to.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_a_file_of_even_elements_with_512_kib_of_pixels() {
        let slice = slice();
        assert_eq!(&slice[128..132], b"DICM");
        assert_eq!(slice.len() % 2, 0);
        let pixels = &slice[slice.len() - 524_288 - 12..];
        assert_eq!(pixels[..8], [0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0]);
        assert_eq!(pixels[8..12], 524_288_u32.to_le_bytes());
    }
}
