//! The interop tier: the real program with foreign TLS, DICOM and HL7 programs.
//!
//! Bytes that two foreign programs exchange directly must also pass through the gateways, bit for bit.
//! Connections that the policy forbids must fail with a foreign program that would accept them.

mod answers;
mod associations;
mod browser;
mod counted;
mod counts;
mod dcmtk;
mod dicom_bytes;
mod endurance;
mod health;
mod hl7;
mod imported;
mod lost;
mod monitoring;
mod native;
mod openssl;
mod orthanc;
mod pair;
mod peers;
mod planted;
mod prometheus;
mod pynetdicom;
mod query;
mod recorded;
mod reports;
mod rules;
mod suites;
mod tap;
mod tunnels;
mod updates;
mod web;
