//! The simulation tier: the relay and the handshake on sockets in memory, under seeded faults and a
//! virtual clock, with one oracle: whole or told.
//!
//! `wire` is a TCP connection, `socket` the gateway's verbs over it, `world` the chance and the
//! faults, `app` the applications, `payload` what they say, `site` the gateways, `chain` one run of all of them, `oracle` what
//! must hold of it, and `seeds` many runs. Nothing but the gateways is real, and they are all real:
//! rustls, certificates and buffers included.

mod app;
mod chain;
mod oracle;
mod payload;
mod random;
mod seeds;
mod site;
mod socket;
mod wire;
mod world;

mod archive;
mod cuts;
mod deadlines;
mod handshakes;
mod mutations;
mod streams;
mod sweep;
