//! Generates a study: a CT series of 16-bit slices and one large multi-frame object.
//!
//! The pixels are noise, so no device on the path can compress them and no two blocks are equal. Every
//! object contains a marker in the patient's name, and every frame contains the marker in its pixels, after
//! the `DICM` of a DICOM file. An eavesdropper would find both many times in plaintext.

use std::sync::Arc;

use anyhow::Context;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;

use super::needles::Needles;
use super::pixels::{FRAME_BYTES, Noise, Pixels, SIDE};
use super::study::{Object, Series, Source, Study};
use crate::limits;

/// Frames of one object: an element of defined length holds less than 4 GiB (PS3.5 section 7.1.1).
const FRAMES_MAX: u64 = (u32::MAX as u64 - 1) / FRAME_BYTES;

/// The attributes that all objects of a study share.
struct Common {
    marker: String,
    study: String,
    frame_of_reference: String,
}

/// Generates a study of about `size` bytes: half of it slices, half one object. The same seed gives the
/// same study. The study's marker is added to the needles.
///
/// There is at least one slice and one frame. The large object stays below 4 GiB; the rest is slices.
pub(super) fn study(size: u64, seed: u64, mut needles: Needles) -> anyhow::Result<Study> {
    let frames = (size / 2 / FRAME_BYTES).clamp(1, FRAMES_MAX);
    let slices = (size / FRAME_BYTES).saturating_sub(frames).max(1);
    let mut noise = Noise(seed);
    let common = Common {
        marker: format!("WARDGATE-{:016X}", noise.next()),
        study: noise.uid(),
        frame_of_reference: noise.uid(),
    };
    needles.add(common.marker.clone(), common.marker.as_bytes());
    Ok(Study {
        series: vec![
            ct_series(slices, &common, &mut noise)?,
            large_series(frames, &common, &mut noise)?,
        ],
        title: format!(
            "{slices} CT slices of {SIDE}x{SIDE}x16 bits, 1 multi-frame object of {frames} frames"
        ),
        needles: Arc::new(needles),
        notes: Vec::new(),
    })
}

fn ct_series(slices: u64, common: &Common, noise: &mut Noise) -> anyhow::Result<Series> {
    let series = noise.uid();
    let objects = (1..=slices).map(|number| {
        let instance = noise.uid();
        let mut set = common.attributes(uids::CT_IMAGE_STORAGE, &instance, &series);
        ct_attributes(&mut set, number, &common.frame_of_reference);
        object(
            &set,
            uids::CT_IMAGE_STORAGE,
            instance,
            common.pixels(1, noise.next()),
            number == 1,
        )
    });
    let objects = objects.collect::<anyhow::Result<_>>()?;
    Ok(Series { objects })
}

fn large_series(frames: u64, common: &Common, noise: &mut Noise) -> anyhow::Result<Series> {
    let class = uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE;
    let (series, instance) = (noise.uid(), noise.uid());
    let mut set = common.attributes(class, &instance, &series);
    large_attributes(&mut set, frames);
    let pixels = common.pixels(frames, noise.next());
    let objects = vec![object(&set, class, instance, pixels, false)?];
    Ok(Series { objects })
}

fn object(
    set: &InMemDicomObject,
    sop_class: &str,
    sop_instance: String,
    pixels: Pixels,
    witness: bool,
) -> anyhow::Result<Object> {
    let mut head = Vec::new();
    set.write_dataset_with_ts(&mut head, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
        .context("cannot encode a generated data set")?;
    head.extend(pixel_data_header(pixels.bytes())?);
    Ok(Object {
        sop_class: sop_class.into(),
        sop_instance,
        transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
        source: Source::Made { head, pixels },
        witness,
    })
}

/// Pixel Data's tag, VR and length (PS3.5 table 7.1-1). Its value follows, and ends the data set.
fn pixel_data_header(bytes: u64) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(bytes).context("pixel data has 4 GiB or more")?;
    let Tag(group, element) = tags::PIXEL_DATA;
    let mut header = Vec::with_capacity(12);
    header.extend(group.to_le_bytes());
    header.extend(element.to_le_bytes());
    header.extend(b"OW\0\0");
    header.extend(length.to_le_bytes());
    Ok(header)
}

impl Common {
    /// The modules that every object has: SOP common, patient, study, series, equipment, pixels.
    fn attributes(&self, class: &str, instance: &str, series: &str) -> InMemDicomObject {
        let name = format!("{}^Demonstration", self.marker);
        let mut set = InMemDicomObject::new_empty();
        let mut text = |tag, vr, value: &str| {
            set.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        };
        text(tags::SOP_CLASS_UID, VR::UI, class);
        text(tags::SOP_INSTANCE_UID, VR::UI, instance);
        text(tags::STUDY_DATE, VR::DA, "20260105");
        text(tags::SERIES_DATE, VR::DA, "20260105");
        text(tags::CONTENT_DATE, VR::DA, "20260105");
        text(tags::STUDY_TIME, VR::TM, "093000");
        text(tags::CONTENT_TIME, VR::TM, "093000");
        text(tags::ACCESSION_NUMBER, VR::SH, "DEMO1");
        text(tags::MANUFACTURER, VR::LO, "wardgate demo");
        text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        text(tags::STUDY_DESCRIPTION, VR::LO, "wardgate demonstration");
        text(tags::PATIENT_NAME, VR::PN, &name);
        text(tags::PATIENT_ID, VR::LO, "DEMO-1");
        text(tags::PATIENT_BIRTH_DATE, VR::DA, "");
        text(tags::PATIENT_SEX, VR::CS, "O");
        text(tags::STUDY_INSTANCE_UID, VR::UI, &self.study);
        text(tags::SERIES_INSTANCE_UID, VR::UI, series);
        text(tags::STUDY_ID, VR::SH, "1");
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, SIDE),
            (tags::COLUMNS, SIDE),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            set.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        set
    }

    fn pixels(&self, frames: u64, seed: u64) -> Pixels {
        Pixels {
            frames,
            seed,
            stamp: format!("DICM {} ", self.marker).into_bytes(),
        }
    }
}

/// The attributes of a CT Image (PS3.3 A.3): frame of reference, image plane, CT image.
fn ct_attributes(set: &mut InMemDicomObject, number: u64, frame_of_reference: &str) {
    let mut text = |tag, vr, value: &str| {
        set.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    };
    text(tags::MODALITY, VR::CS, "CT");
    text(tags::KVP, VR::DS, "120");
    text(tags::PATIENT_POSITION, VR::CS, "HFS");
    text(tags::SLICE_THICKNESS, VR::DS, "1");
    text(tags::SERIES_NUMBER, VR::IS, "1");
    text(tags::ACQUISITION_NUMBER, VR::IS, "1");
    text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
    text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference);
    text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    text(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    text(tags::RESCALE_SLOPE, VR::DS, "1");
    let table = number.to_string();
    for (tag, vr, values) in [
        (
            tags::IMAGE_TYPE,
            VR::CS,
            dicom_value!(Strs, ["ORIGINAL", "PRIMARY", "AXIAL"]),
        ),
        (
            tags::PIXEL_SPACING,
            VR::DS,
            dicom_value!(Strs, ["0.7", "0.7"]),
        ),
        (
            tags::IMAGE_POSITION_PATIENT,
            VR::DS,
            dicom_value!(Strs, ["-179.2", "-179.2", table]),
        ),
        (
            tags::IMAGE_ORIENTATION_PATIENT,
            VR::DS,
            dicom_value!(Strs, ["1", "0", "0", "0", "1", "0"]),
        ),
    ] {
        set.put(DataElement::new(tag, vr, values));
    }
}

/// The attributes of a Multi-frame Grayscale Word Secondary Capture Image (PS3.3 A.8.4).
fn large_attributes(set: &mut InMemDicomObject, frames: u64) {
    let mut text = |tag, vr, value: &str| {
        set.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    };
    text(tags::MODALITY, VR::CS, "OT");
    text(tags::CONVERSION_TYPE, VR::CS, "WSD");
    text(tags::SERIES_NUMBER, VR::IS, "2");
    text(tags::INSTANCE_NUMBER, VR::IS, "1");
    text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string());
    text(tags::FRAME_TIME, VR::DS, "40");
    text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    text(tags::RESCALE_INTERCEPT, VR::DS, "0");
    text(tags::RESCALE_SLOPE, VR::DS, "1");
    text(tags::RESCALE_TYPE, VR::LO, "US");
    text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    let derived = dicom_value!(Strs, ["DERIVED", "SECONDARY"]);
    set.put(DataElement::new(tags::IMAGE_TYPE, VR::CS, derived));
    let pointer = dicom_value!(Tags, [tags::FRAME_TIME]);
    set.put(DataElement::new(
        tags::FRAME_INCREMENT_POINTER,
        VR::AT,
        pointer,
    ));
}

// At least one slice and one frame are sent.
const _: () = assert!(limits::SIZE_MIN_BYTES >= 2 * FRAME_BYTES);

#[cfg(test)]
mod tests {
    use super::super::pixels::STAMP_AT;
    use super::*;
    use std::collections::HashSet;

    fn study(size: u64, seed: u64) -> Study {
        super::study(size, seed, Needles::default()).expect("study")
    }

    fn bytes_of(object: &Object) -> Vec<u8> {
        let mut bytes = Vec::new();
        object.stream(&mut bytes).expect("a Vec takes all");
        bytes
    }

    fn parse(object: &Object) -> InMemDicomObject {
        let syntax = EXPLICIT_VR_LITTLE_ENDIAN.erased();
        let bytes = bytes_of(object);
        assert_eq!(bytes.len() as u64, object.bytes());
        InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), &syntax).expect("valid DICOM")
    }

    fn value(set: &InMemDicomObject, tag: Tag) -> String {
        let element = set.element(tag).expect("attribute is there");
        let text = element.to_str().expect("attribute is text");
        text.trim_end_matches(['\0', ' ']).to_owned()
    }

    #[test]
    fn slices_can_be_parsed_as_ct_images() {
        let study = study(4 << 20, 7);
        let ct = &study.series[0].objects;
        assert_eq!(ct.len(), 4);
        for (at, object) in ct.iter().enumerate() {
            let set = parse(object);
            assert_eq!(value(&set, tags::SOP_CLASS_UID), uids::CT_IMAGE_STORAGE);
            assert_eq!(value(&set, tags::SOP_INSTANCE_UID), object.sop_instance);
            assert_eq!(value(&set, tags::INSTANCE_NUMBER), (at + 1).to_string());
            assert_eq!(value(&set, tags::IMAGE_TYPE), "ORIGINAL\\PRIMARY\\AXIAL");
            assert!(value(&set, tags::PATIENT_NAME).starts_with("WARDGATE-"));
            assert_eq!(value(&set, tags::ROWS), "512");
            let pixels = set.element(tags::PIXEL_DATA).expect("pixels");
            let pixels = pixels.to_bytes().expect("pixels are bytes");
            assert_eq!(pixels.len(), 512 * 512 * 2);
            assert!(pixels[STAMP_AT..].starts_with(b"DICM WARDGATE-"));
        }
    }

    #[test]
    fn the_large_object_can_be_parsed_with_all_its_frames() {
        let study = study(4 << 20, 7);
        let [large] = &study.series[1].objects[..] else {
            panic!("one large object");
        };
        let set = parse(large);
        assert_eq!(value(&set, tags::NUMBER_OF_FRAMES), "4");
        assert_eq!(value(&set, tags::BITS_STORED), "16");
        let pointer = set.element(tags::FRAME_INCREMENT_POINTER).expect("pointer");
        assert_eq!(
            pointer.to_multi_str().expect("text").concat(),
            "(0018,1063)"
        );
        let pixels = set.element(tags::PIXEL_DATA).expect("pixels");
        let pixels = pixels.to_bytes().expect("pixels are bytes");
        let frames: Vec<_> = pixels.chunks(512 * 512 * 2).collect();
        assert_eq!(frames.len(), 4);
        assert!(
            frames
                .iter()
                .all(|frame| frame[STAMP_AT..].starts_with(b"DICM WARDGATE-"))
        );
        assert_ne!(frames[0], frames[1]);
    }

    #[test]
    fn uids_are_valid_and_unique() {
        let study = study(64 << 20, 1);
        let objects = study.series.iter().flat_map(|series| &series.objects);
        let uids: Vec<_> = objects.map(|object| object.sop_instance.as_str()).collect();
        for uid in &uids {
            assert!(uid.len() <= 64, "{uid}");
            let root = uid.strip_prefix("2.25.").expect("root of UUIDs");
            assert!(
                !root.starts_with('0') && root.bytes().all(|b| b.is_ascii_digit()),
                "{uid}"
            );
        }
        assert_eq!(uids.iter().collect::<HashSet<_>>().len(), uids.len());
    }

    #[test]
    fn the_size_is_as_requested_and_the_large_object_stays_below_4_gib() {
        for size in [1 << 20, 64 << 20, 1 << 30, 12 << 30] {
            let study = study(size, 3);
            let large = study.series[1].objects[0].bytes();
            assert!(large < 1 << 32, "{large}");
            let error = study.bytes().abs_diff(size) as f64 / size as f64;
            assert!(
                error < 0.01,
                "{size} requested, {} generated",
                study.bytes()
            );
        }
    }

    #[test]
    fn the_same_seed_generates_the_same_study() {
        let (one, two) = (study(1 << 20, 5), study(1 << 20, 5));
        assert_eq!(
            bytes_of(&one.series[0].objects[0]),
            bytes_of(&two.series[0].objects[0])
        );
        let other = study(1 << 20, 6);
        assert_ne!(
            bytes_of(&one.series[0].objects[0]),
            bytes_of(&other.series[0].objects[0])
        );
    }
}
