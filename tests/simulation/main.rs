//! The simulation tier: the relay and the handshake on sockets in memory, under seeded faults and a virtual
//! clock, with one oracle: complete or visibly broken.
//!
//! `wire` is a TCP connection, `socket` the gateway's operations on it, `world` the random choices and the
//! faults, `app` the applications, `payload` their bytes, `site` the gateways, `chain` one run of all of
//! them, `oracle` the rules for it, and `seeds` many runs. Only the gateways are real, with rustls,
//! certificates and buffers.

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
