//! The interop tier: foreign TLS and DICOM programs opposite.
