//! The harness of the integration tests: the real program, its certificates, and the foreign programs at the
//! other end.
//!
//! A test makes a [`Pki`], describes each [`Site`] by its routes, starts it as a [`Gateway`] process, and
//! runs a [`Program`] through it. Everything that a test starts ends with its value, by process id. The
//! harness does not use the gateway's data path: it would share the mistakes of that code.

mod background;
pub mod dicom;
mod gateway;
pub mod http;
pub mod logfmt;
pub mod logs;
pub mod pki;
mod ports;
pub mod preload;
mod process;
mod program;
mod site;
pub mod stream;
pub mod tier;
pub mod tls;
pub mod violation;
mod wait;

pub use background::Background;
pub use gateway::Gateway;
pub use logs::Line;
pub use pki::Pki;
pub use ports::free_port;
pub use process::{Process, Thread};
pub use program::{Outcome, Program};
pub use site::{Site, built, copy_wardgate, wardgate};
pub use wait::{DEADLINE, one_good_round, until};
