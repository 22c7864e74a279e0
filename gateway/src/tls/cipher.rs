//! The implementation of AES-GCM that seals and opens records, chosen once at start.
//!
//! The choice depends only on the CPU's instructions, so it is the same at every start of a machine. The
//! result of a measurement at start would vary on a busy host.

use std::arch::is_x86_feature_detected as has;
use std::fmt;

use crate::config::CipherSetting;

/// An implementation of AES-GCM for the records that the gateway seals and opens itself.
///
/// Handshakes always use aws-lc-rs, and so do the records of TLS 1.2 and of routes with `record_layer =
/// "rustls"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// aws-lc-rs: with VAES where the CPU also has AVX-512, else with AES-NI.
    AwsLc,
    /// ring: with VAES where the CPU also has AVX2, else with AES-NI.
    Ring,
}

impl Cipher {
    /// All implementations.
    pub const ALL: [Self; 2] = [Self::AwsLc, Self::Ring];

    /// The implementation that seals and opens records fastest on this machine.
    #[must_use]
    pub fn fastest() -> Self {
        CipherChoice::new(CipherSetting::Auto, CpuFeatures::detect()).cipher
    }

    // The CPU instructions that the implementation uses for AES-GCM.
    fn instructions(self, cpu: CpuFeatures) -> &'static str {
        match self {
            _ if !cpu.has_aes_ni() => "no AES instructions, so bulk is slow",
            Self::AwsLc if cpu.has_vaes() && cpu.has_avx512() => "VAES and AVX-512",
            Self::Ring if cpu.has_vaes() && cpu.avx2 => "VAES and AVX2",
            Self::AwsLc | Self::Ring => "AES-NI",
        }
    }
}

/// The name in the configuration.
impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwsLc => "aws-lc",
            Self::Ring => "ring",
        })
    }
}

/// The CPU instructions that decide how fast an implementation is, as far as the operating system has
/// enabled them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuFeatures {
    aes: bool,
    pclmulqdq: bool,
    ssse3: bool,
    avx2: bool,
    vaes: bool,
    vpclmulqdq: bool,
    avx512f: bool,
    avx512bw: bool,
    avx512dq: bool,
    avx512vl: bool,
}

impl CpuFeatures {
    /// Those of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            aes: has!("aes"),
            pclmulqdq: has!("pclmulqdq"),
            ssse3: has!("ssse3"),
            avx2: has!("avx2"),
            vaes: has!("vaes"),
            vpclmulqdq: has!("vpclmulqdq"),
            avx512f: has!("avx512f"),
            avx512bw: has!("avx512bw"),
            avx512dq: has!("avx512dq"),
            avx512vl: has!("avx512vl"),
        }
    }

    fn has_aes_ni(self) -> bool {
        self.aes && self.pclmulqdq && self.ssse3
    }

    fn has_vaes(self) -> bool {
        self.has_aes_ni() && self.vaes && self.vpclmulqdq
    }

    fn has_avx512(self) -> bool {
        self.avx512f && self.avx512bw && self.avx512dq && self.avx512vl
    }
}

/// The chosen implementation and the reason. Its `Display` is the log line at start.
#[derive(Debug, Clone, Copy)]
pub struct CipherChoice {
    /// The implementation to use.
    pub cipher: Cipher,
    setting: CipherSetting,
    cpu: CpuFeatures,
}

impl CipherChoice {
    /// Chooses by the configuration, or by the CPU if the configuration does not decide.
    #[must_use]
    pub fn new(setting: CipherSetting, cpu: CpuFeatures) -> Self {
        let cipher = match setting {
            CipherSetting::AwsLc => Cipher::AwsLc,
            CipherSetting::Ring => Cipher::Ring,
            CipherSetting::Auto => fastest(cpu),
        };
        Self {
            cipher,
            setting,
            cpu,
        }
    }

    fn reason(&self) -> &'static str {
        let cpu = self.cpu;
        match (cpu.has_vaes() && cpu.avx2, cpu.has_avx512()) {
            (true, true) => "this CPU has VAES and AVX-512, which aws-lc uses best",
            (true, false) => {
                "this CPU has VAES without AVX-512: ring uses VAES with AVX2, aws-lc does not"
            }
            (false, _) => "this CPU has no VAES, so both use the same instructions",
        }
    }
}

// aws-lc uses VAES only with AVX-512, ring (0.17.14) only with AVX2. If both can use VAES, AVX-512 is
// faster; if neither can, they are equally fast.
fn fastest(cpu: CpuFeatures) -> Cipher {
    match cpu.has_vaes() && cpu.avx2 && !cpu.has_avx512() {
        true => Cipher::Ring,
        false => Cipher::AwsLc,
    }
}

impl fmt::Display for CipherChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cipher, cpu, .. } = *self;
        write!(f, "{cipher} with {}; ", cipher.instructions(cpu))?;
        match (self.setting, fastest(cpu)) {
            (CipherSetting::Auto, _) => f.write_str(self.reason()),
            (_, best) if best == cipher => {
                write!(
                    f,
                    "set by the key \"cipher\"; \"auto\" would choose the same"
                )
            }
            (_, best) => {
                let why = self.reason();
                write!(
                    f,
                    "set by the key \"cipher\"; \"auto\" would choose {best}: {why}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASWELL: CpuFeatures = CpuFeatures {
        aes: true,
        pclmulqdq: true,
        ssse3: true,
        avx2: true,
        vaes: false,
        vpclmulqdq: false,
        avx512f: false,
        avx512bw: false,
        avx512dq: false,
        avx512vl: false,
    };
    const SKYLAKE_X: CpuFeatures = CpuFeatures {
        avx512f: true,
        avx512bw: true,
        avx512dq: true,
        avx512vl: true,
        ..HASWELL
    };
    const ZEN_3: CpuFeatures = CpuFeatures {
        vaes: true,
        vpclmulqdq: true,
        ..HASWELL
    };
    const ALDER_LAKE: CpuFeatures = ZEN_3;
    const ICE_LAKE_SERVER: CpuFeatures = CpuFeatures {
        vaes: true,
        vpclmulqdq: true,
        ..SKYLAKE_X
    };
    const ZEN_4: CpuFeatures = ICE_LAKE_SERVER;
    const ZEN_5: CpuFeatures = ICE_LAKE_SERVER;

    fn auto(cpu: CpuFeatures) -> CipherChoice {
        CipherChoice::new(CipherSetting::Auto, cpu)
    }

    #[test]
    fn each_cpu_gets_the_cipher_that_uses_its_instructions_best() {
        for (name, cpu, cipher, used) in [
            ("Haswell", HASWELL, Cipher::AwsLc, "AES-NI"),
            ("Skylake-X", SKYLAKE_X, Cipher::AwsLc, "AES-NI"),
            ("Zen 3", ZEN_3, Cipher::Ring, "VAES and AVX2"),
            ("Alder Lake", ALDER_LAKE, Cipher::Ring, "VAES and AVX2"),
            (
                "Ice Lake server",
                ICE_LAKE_SERVER,
                Cipher::AwsLc,
                "VAES and AVX-512",
            ),
            ("Zen 4", ZEN_4, Cipher::AwsLc, "VAES and AVX-512"),
            ("Zen 5", ZEN_5, Cipher::AwsLc, "VAES and AVX-512"),
        ] {
            let choice = auto(cpu);
            assert_eq!(choice.cipher, cipher, "{name}");
            let line = choice.to_string();
            let begin = format!("{cipher} with {used}; this CPU has ");
            assert!(line.starts_with(&begin), "{name}: {line}");
        }
    }

    #[test]
    fn ring_is_chosen_only_if_the_cpu_has_every_instruction_that_it_needs() {
        for without in [
            CpuFeatures {
                vaes: false,
                ..ZEN_3
            },
            CpuFeatures {
                vpclmulqdq: false,
                ..ZEN_3
            },
            CpuFeatures {
                avx2: false,
                ..ZEN_3
            },
            CpuFeatures {
                aes: false,
                ..ZEN_3
            },
        ] {
            assert_eq!(auto(without).cipher, Cipher::AwsLc, "{without:?}");
        }
        // A hypervisor may hide some of the AVX-512 extensions; aws-lc needs all four.
        for part in [
            CpuFeatures {
                avx512bw: false,
                ..ZEN_4
            },
            CpuFeatures {
                avx512dq: false,
                ..ZEN_4
            },
            CpuFeatures {
                avx512f: false,
                ..ZEN_4
            },
            CpuFeatures {
                avx512vl: false,
                ..ZEN_4
            },
        ] {
            assert_eq!(auto(part).cipher, Cipher::Ring, "{part:?}");
        }
    }

    #[test]
    fn the_configuration_overrides_the_cpu_and_the_log_line_gives_both() {
        let choice = CipherChoice::new(CipherSetting::AwsLc, ZEN_3);
        assert_eq!(choice.cipher, Cipher::AwsLc);
        assert_eq!(
            choice.to_string(),
            "aws-lc with AES-NI; set by the key \"cipher\"; \"auto\" would choose ring: this CPU has \
             VAES without AVX-512: ring uses VAES with AVX2, aws-lc does not"
        );
        let choice = CipherChoice::new(CipherSetting::Ring, ZEN_3);
        assert_eq!(
            choice.to_string(),
            "ring with VAES and AVX2; set by the key \"cipher\"; \"auto\" would choose the same"
        );
    }

    #[test]
    fn a_cpu_without_aes_instructions_is_named_as_slow() {
        let line = auto(CpuFeatures::default()).to_string();
        assert!(line.contains("no AES instructions"), "{line}");
    }
}
