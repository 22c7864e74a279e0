//! The security tier: what must be refused, in both modes, and what the log then says.
//!
//! The real program stands between peers of the tests' own making: rustls told to believe and to
//! claim anything, a relay that meddles with what passes, applications that check every byte. The
//! oracle is one: *whole or told*. Nobody who has not proved himself causes or receives a byte.
//!
//! What is random is drawn from a seed that a failing test prints; `WARDGATE_SEED` replays it. Foreign
//! TLS programs (renegotiation, extended master secret, every weaker suite) stand in the interop tier.

mod alerts;
mod bad_clients;
mod bad_servers;
mod cases;
mod chains;
mod configurations;
mod dice;
mod elsewhere;
mod floods;
mod hospital;
mod hybrid;
mod keys;
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
mod vouching;
