//! The security tier: peers and bytes that must be refused, in both modes, and the resulting log lines.
//!
//! The real program runs between peers of the tests: a rustls that accepts and claims anything, a relay that
//! changes bytes, and applications that check every byte. All tests check one rule: a stream is *complete or
//! visibly broken*. A peer that has not authenticated causes and receives no byte.
//!
//! Random values come from a seed that a failing test prints; `WARDGATE_SEED` replays it. The interop tier
//! covers foreign TLS programs (renegotiation, extended master secret, every weaker suite).

mod alerts;
mod bad_clients;
mod bad_servers;
mod cases;
mod chains;
mod configurations;
mod dice;
mod elsewhere;
mod floods;
mod half_open;
mod hospital;
mod hybrid;
mod issuers;
mod keys;
mod limits;
mod meddler;
mod meddling;
mod middle;
mod names;
mod party;
mod pem;
mod permitted;
mod plain;
mod resumption;
mod second_request;
mod secrets;
mod streams;
mod taken;
mod tls;
mod truncation;
mod web;
