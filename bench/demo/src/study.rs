//! The data to send: series of objects whose data sets are streamed, never held in memory completely.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::needles::Needles;
use super::pixels::Pixels;
use crate::limits;

/// All objects of one run.
pub(super) struct Study {
    /// Each is sent over an association of its own.
    pub(super) series: Vec<Series>,
    /// Its description, for the report.
    pub(super) title: String,
    /// Byte strings of the study that must not be visible on the wire.
    pub(super) needles: Arc<Needles>,
    /// What the search leaves out, for the report.
    pub(super) notes: Vec<String>,
}

/// Objects that go over one association.
#[derive(Default)]
pub(super) struct Series {
    /// In the order in which they are sent.
    pub(super) objects: Vec<Object>,
}

/// One DICOM object.
pub(super) struct Object {
    /// SOP Class UID.
    pub(super) sop_class: String,
    /// SOP Instance UID.
    pub(super) sop_instance: String,
    /// The transfer syntax of its data set.
    pub(super) transfer_syntax: String,
    /// The origin of its data set.
    pub(super) source: Source,
    /// Whether it contains needles, so that a working search finds some in it.
    pub(super) witness: bool,
}

/// The origin of a data set.
pub(super) enum Source {
    /// Generated here: everything up to the pixels, and then the pixels.
    Made {
        /// The encoded data set with the header of its last element, Pixel Data.
        head: Vec<u8>,
        /// The value of Pixel Data.
        pixels: Pixels,
    },
    /// A DICOM file (PS3.10).
    File {
        /// The path of the file.
        path: PathBuf,
        /// The offset of its data set, after the file meta information.
        offset: u64,
        /// Length of the data set.
        bytes: u64,
    },
}

impl Study {
    /// The number of objects.
    pub(super) fn objects(&self) -> usize {
        self.series.iter().map(|series| series.objects.len()).sum()
    }

    /// The bytes of all its data sets.
    pub(super) fn bytes(&self) -> u64 {
        let objects = self.series.iter().flat_map(|series| &series.objects);
        objects.map(Object::bytes).sum()
    }

    /// Every transfer syntax that occurs, once.
    pub(super) fn transfer_syntaxes(&self) -> Vec<String> {
        let objects = self.series.iter().flat_map(|series| &series.objects);
        let mut all: Vec<_> = objects
            .map(|object| object.transfer_syntax.clone())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Object {
    /// Length of its data set.
    pub(super) fn bytes(&self) -> u64 {
        match &self.source {
            Source::Made { head, pixels } => head.len() as u64 + pixels.bytes(),
            Source::File { bytes, .. } => *bytes,
        }
    }

    /// Writes its data set, piece by piece.
    pub(super) fn stream(&self, to: &mut impl Write) -> io::Result<()> {
        match &self.source {
            Source::Made { head, pixels } => {
                to.write_all(head)?;
                pixels.stream(to)
            }
            Source::File { path, offset, .. } => copy_file(path, *offset, to),
        }
    }

    /// Writes the stored form: a whole file as it is on disk, or the data set.
    pub(super) fn stream_at_rest(&self, to: &mut impl Write) -> io::Result<()> {
        match &self.source {
            Source::Made { .. } => self.stream(to),
            Source::File { path, .. } => copy_file(path, 0, to),
        }
    }
}

fn copy_file(path: &PathBuf, offset: u64, to: &mut impl Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut buffer = vec![0; limits::PDU_BYTES as usize];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}
