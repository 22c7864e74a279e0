//! The network tier: two gateways between LAN and WAN namespaces.
//!
//! ```text
//!  near LAN            site A              site B            far LAN
//! +--------+  lan   +----------+  wan   +----------+  lan   +--------+
//! |  near  |--------|  gw-a    |========|  gw-b    |--------|  far   |
//! | sender |        |originate |        |terminate |        |receiver|
//! +--------+        +----------+        +----------+        +--------+
//! 10.71.1.2    10.71.1.1  192.0.2.1  192.0.2.2   10.71.2.1   10.71.2.2
//! fd71:1::2    fd71:1::1  2001:db8::1 2001:db8::2 fd71:2::1   fd71:2::2
//! ```
//!
//! `partners` and `failover` have topologies of their own, drawn there.
//!
//! Four network namespaces and three veth pairs, made for each test and gone with it. Nothing forwards
//! between them: what arrives at the far end went through both gateways. tcpdump looks at the WAN and,
//! so that its finding nothing means something, at the LAN.

mod addresses;
mod capture;
mod ciphertext;
mod client_address;
mod cut;
mod doctor;
mod failover;
mod interface;
mod lab;
mod mllp;
mod namespaces;
mod partners;
mod setup;
mod tuning;
