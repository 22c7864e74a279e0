//! What the machine must offer before anything starts, and what was found.

use std::arch::is_x86_feature_detected as has;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use super::{Prepared, bind};
use crate::config::{Config, Mode};
use crate::limits::{DESCRIPTORS_RESERVED, PIPES_MAX, PROBES_MAX};
use crate::relay::Side;
use crate::tls::PROVIDER;
use crate::uring::{self, Capabilities, Unavailable};

/// Tries io_uring.
///
/// # Errors
/// Why it cannot be had, and what to do.
pub(super) fn probe() -> Result<Capabilities, Unavailable> {
    uring::probe()
}

/// Which implementation seals and opens records here, and which of this machine's instructions for it
/// are used: `aws-lc-rs with AES-NI, VAES, AVX-512`.
pub(super) fn cipher() -> String {
    let found = Instructions {
        aes: has!("aes") && has!("pclmulqdq") && has!("ssse3"),
        vaes: has!("vaes") && has!("vpclmulqdq") && has!("avx2"),
        avx512: has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl"),
    };
    format!("{PROVIDER} with {}", found.used_by(PROVIDER))
}

/// Instructions for AES-GCM.
struct Instructions {
    aes: bool,
    vaes: bool,
    avx512: bool,
}

impl Instructions {
    // aws-lc-rs has VAES code for AVX-512 alone (aesni-gcm-avx512), ring for AVX2 alone
    // (aes-gcm-avx2); without them both use AES-NI.
    fn used_by(&self, provider: &str) -> &'static str {
        match (provider, self.aes, self.vaes, self.avx512) {
            ("aws-lc-rs", true, true, true) => "AES-NI, VAES, AVX-512",
            ("ring", true, true, _) => "AES-NI, VAES, AVX2",
            (_, true, _, _) => "AES-NI",
            (_, false, _, _) => "no AES instructions: bulk will be slow",
        }
    }
}

/// Keeps keys and payload out of core files, and other processes of the same user out of ours.
pub(super) fn close_memory() {
    // Neither can fail for what it asks here; a core file would then still need an operator's hand.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

/// Raises the limit of open descriptors to what the system allows and says how many connections
/// that carries.
///
/// # Errors
/// When not even a handful would fit.
pub(super) fn raise_descriptors(config: &Config) -> Result<usize, String> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let passes = config.routes.iter().any(|r| r.mode == Mode::Passthrough);
    // Two descriptors a pipe.
    let pipes = if passes { 2 * PIPES_MAX } else { 0 };
    let probes_any = config.routes.iter().any(|r| r.health.is_some());
    let probes = if probes_any { PROBES_MAX } else { 0 };
    let cores = config.gateway.cores.len();
    let own = DESCRIPTORS_RESERVED + config.routes.len() + (8 + pipes + probes) * cores;
    let left = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .saturating_sub(own);
    // Two sockets a connection.
    let connections = left / 2;
    if connections < CONNECTIONS_MIN {
        return Err(format!(
            "the limit of open files is {most}, which leaves room for {connections} connections; \
             raise it to {} or more (LimitNOFILE in the unit, or `ulimit -n`)",
            own + 2 * CONNECTIONS_COMFORTABLE
        ));
    }
    Ok(connections)
}

const CONNECTIONS_MIN: usize = 64;
const CONNECTIONS_COMFORTABLE: usize = 4096;

/// What an operator should know about a configuration that is good.
#[must_use]
pub fn remarks(prepared: &Prepared) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(path) = &prepared.config.gateway.admin {
        remarks.push(format!(
            "admin socket {} is configured; this version does not serve it yet",
            path.display()
        ));
    }
    for path in prepared.paths.iter() {
        if matches!(path.side, Side::Passthrough) {
            remarks.push(format!(
                "route \"{}\": passthrough carries bytes as they are; what is not TLS already \
                 crosses in the clear",
                path.route.name
            ));
        }
        let interface = path.route.interface.as_ref();
        if let Some(interface) = interface.filter(|interface| !bind::is_there(interface)) {
            remarks.push(format!(
                "route \"{}\": {}; the route would not start",
                path.route.name,
                bind::missing(interface)
            ));
        }
        if path
            .route
            .tls
            .as_ref()
            .is_some_and(|tls| tls.identity.crl.is_empty())
        {
            remarks.push(format!(
                "route \"{}\": no crl is configured, so a revoked certificate of a listed peer \
                 would be accepted until it expires",
                path.route.name
            ));
        }
        remarks.extend(path.route.remarks());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_told_with_what_it_uses_of_the_machine() {
        let all = Instructions {
            aes: true,
            vaes: true,
            avx512: true,
        };
        assert_eq!(all.used_by("aws-lc-rs"), "AES-NI, VAES, AVX-512");
        assert_eq!(all.used_by("ring"), "AES-NI, VAES, AVX2");
        let without_avx512 = Instructions {
            avx512: false,
            ..all
        };
        assert_eq!(without_avx512.used_by("aws-lc-rs"), "AES-NI");
        assert_eq!(without_avx512.used_by("ring"), "AES-NI, VAES, AVX2");
        assert!(cipher().starts_with(PROVIDER));
    }
}
