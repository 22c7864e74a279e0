//! The profile of an appliance: each setting, its recommended value, and the reason.

use crate::machine::{Machine, ReadError};
use crate::{Finding, Verdict};

/// A setting of the profile.
pub(crate) struct Setting {
    name: &'static str,
    source: Source,
    want: Want,
    reason: &'static str,
}

/// Where a setting is read.
enum Source {
    /// A sysctl of the setting's name.
    Sysctl,
    /// A line of `/proc/self/limits`, and the key of a systemd unit that sets it.
    Limit {
        line: &'static str,
        unit_key: &'static str,
    },
}

/// The recommended value of a setting.
enum Want {
    /// The last of its numbers is at least this value.
    AtLeast(u64),
    /// One of these keywords; the remedy sets the first.
    OneOf(&'static [&'static str]),
    /// `kernel.io_uring_disabled`: 0, or 1 if the service is in the allowed group. A kernel without this
    /// setting does not restrict io_uring.
    RingAllowed,
}

const MIB: u64 = 1 << 20;

/// In the order they are reported.
pub(crate) const SETTINGS: [Setting; 9] = [
    Setting {
        name: "kernel.io_uring_disabled",
        source: Source::Sysctl,
        want: Want::RingAllowed,
        reason: "the data plane uses io_uring; without it the gateway does not start",
    },
    Setting {
        name: "net.core.rmem_max",
        source: Source::Sysctl,
        want: Want::AtLeast(16 * MIB),
        reason: "limits the receive buffer that a program requests; 10 Gbit/s over 10 ms is 12 MiB",
    },
    Setting {
        name: "net.core.wmem_max",
        source: Source::Sysctl,
        want: Want::AtLeast(16 * MIB),
        reason: "limits the send buffer that a program requests; 10 Gbit/s over 10 ms is 12 MiB",
    },
    Setting {
        name: "net.ipv4.tcp_rmem",
        source: Source::Sysctl,
        want: Want::AtLeast(16 * MIB),
        reason: "the last number limits the receive window that the kernel grows automatically",
    },
    Setting {
        name: "net.ipv4.tcp_wmem",
        source: Source::Sysctl,
        want: Want::AtLeast(16 * MIB),
        reason: "the last number limits the send buffer that the kernel grows automatically",
    },
    Setting {
        name: "net.core.somaxconn",
        source: Source::Sysctl,
        want: Want::AtLeast(1024),
        reason: "limits the queue of connections that wait to be accepted",
    },
    Setting {
        name: "net.ipv4.tcp_congestion_control",
        source: Source::Sysctl,
        want: Want::OneOf(&["bbr", "cubic"]),
        reason: "other algorithms recover slowly from a lost packet on a long link",
    },
    Setting {
        name: "nofile",
        source: Source::Limit {
            line: "Max open files",
            unit_key: "LimitNOFILE",
        },
        want: Want::AtLeast(65_536),
        reason: "a connection needs two descriptors, and more while it is made",
    },
    Setting {
        name: "memlock",
        source: Source::Limit {
            line: "Max locked memory",
            unit_key: "LimitMEMLOCK",
        },
        // The limit is in bytes, in the file and in the unit alike.
        want: Want::AtLeast(64 * MIB),
        reason: "some kernels count the rings against it, and keys must stay out of swap",
    },
];

impl Setting {
    /// Reads the setting and compares it.
    pub(crate) fn judge(&self, machine: &Machine) -> Finding {
        let read = match self.source {
            Source::Sysctl => machine.sysctl(self.name),
            Source::Limit { line, .. } => machine.limit(line),
        };
        let verdict = match &read {
            Ok(value) => self.want.verdict(value),
            Err(ReadError::Missing) => self.want.verdict_if_missing(),
            Err(_) => Verdict::Unknown,
        };
        Finding {
            setting: self.name,
            value: read,
            wanted: self.want.in_words(),
            verdict,
            reason: self.reason,
            remedy: self.remedy(),
        }
    }

    fn remedy(&self) -> String {
        let value = match self.want {
            // The first two numbers are the kernel's own defaults.
            Want::AtLeast(least) if self.name == "net.ipv4.tcp_rmem" => {
                format!("4096 131072 {least}")
            }
            Want::AtLeast(least) if self.name == "net.ipv4.tcp_wmem" => {
                format!("4096 16384 {least}")
            }
            Want::AtLeast(least) => least.to_string(),
            Want::OneOf(words) => words.first().copied().unwrap_or_default().to_owned(),
            Want::RingAllowed => "0".to_owned(),
        };
        match self.source {
            Source::Sysctl => format!("sysctl -w {}=\"{value}\"", self.name),
            Source::Limit { unit_key, .. } => format!("{unit_key}={value} in the service's unit"),
        }
    }
}

impl Want {
    fn verdict(&self, value: &str) -> Verdict {
        match self {
            Self::AtLeast(least) => match value.rsplit(' ').next().map(Limit::parse) {
                Some(Some(limit)) if limit.reaches(*least) => Verdict::Good,
                Some(Some(_)) => Verdict::Improve,
                _ => Verdict::Unknown,
            },
            Self::OneOf(words) if words.contains(&value) => Verdict::Good,
            Self::OneOf(_) => Verdict::Improve,
            Self::RingAllowed => match value {
                "0" => Verdict::Good,
                // Whether the service's group is allowed is known only when the service starts.
                "1" => Verdict::Unknown,
                _ => Verdict::Prevents,
            },
        }
    }

    fn verdict_if_missing(&self) -> Verdict {
        match self {
            // The setting came with Linux 6.6; earlier kernels restrict nothing.
            Self::RingAllowed => Verdict::Good,
            _ => Verdict::Unknown,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::OneOf(words) => words.join(" or "),
            Self::RingAllowed => "0, or 1 with the service's group in kernel.io_uring_group".into(),
        }
    }
}

/// A number, or none.
enum Limit {
    Unlimited,
    Number(u64),
}

impl Limit {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "unlimited" => Some(Self::Unlimited),
            number => number.parse().ok().map(Self::Number),
        }
    }

    fn reaches(&self, least: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Number(number) => *number >= least,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report_of;

    /// A folder with files as in `/proc`; removed when dropped.
    struct Fake(std::path::PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("tuning-{name}-{}", std::process::id()));
            for (path, text) in files {
                let file = root.join(path);
                let folder = file.parent().expect("a file lies in a folder");
                fs::create_dir_all(folder).expect("the folder can be made");
                fs::write(file, text).expect("the file can be written");
            }
            Self(root)
        }

        fn verdict(&self, setting: &str) -> (Verdict, Option<String>) {
            let findings = report_of(&Machine::below(&self.0));
            let found = findings.into_iter().find(|f| f.setting == setting);
            let finding = found.expect("the setting is in the profile");
            (finding.verdict, finding.value.ok())
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            // A test without files has no folder.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn numbers_are_compared_by_the_last_of_a_row() {
        let fake = Fake::new(
            "numbers",
            &[
                ("proc/sys/net/core/rmem_max", "212992\n"),
                ("proc/sys/net/core/wmem_max", "16777216\n"),
                ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t33554432\n"),
                ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\tmuch\n"),
            ],
        );
        let small = (Verdict::Improve, Some("212992".to_owned()));
        assert_eq!(fake.verdict("net.core.rmem_max"), small);
        assert_eq!(fake.verdict("net.core.wmem_max").0, Verdict::Good);
        let row = (Verdict::Good, Some("4096 131072 33554432".to_owned()));
        assert_eq!(fake.verdict("net.ipv4.tcp_rmem"), row);
        assert_eq!(fake.verdict("net.ipv4.tcp_wmem").0, Verdict::Unknown);
    }

    #[test]
    fn the_hard_limit_counts_and_unlimited_is_enough() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            65536                1024                 files\n\
                      Max locked memory         8388608              unlimited            bytes\n";
        let fake = Fake::new("limits", &[("proc/self/limits", limits)]);
        assert_eq!(
            fake.verdict("nofile"),
            (Verdict::Improve, Some("1024".to_owned()))
        );
        assert_eq!(fake.verdict("memlock").0, Verdict::Good);
    }

    #[test]
    fn a_forbidden_ring_prevents_the_start_and_a_kernel_without_the_setting_does_not() {
        let file = "proc/sys/kernel/io_uring_disabled";
        for (value, verdict) in [
            ("0\n", Verdict::Good),
            ("1\n", Verdict::Unknown),
            ("2\n", Verdict::Prevents),
        ] {
            let fake = Fake::new(&format!("ring{}", value.trim()), &[(file, value)]);
            assert_eq!(fake.verdict("kernel.io_uring_disabled").0, verdict);
        }
        let empty = Fake::new("empty", &[]);
        assert_eq!(
            empty.verdict("kernel.io_uring_disabled"),
            (Verdict::Good, None)
        );
        assert_eq!(empty.verdict("nofile"), (Verdict::Unknown, None));
    }

    #[test]
    fn a_slow_congestion_control_is_named_with_its_remedy() {
        let fake = Fake::new(
            "congestion",
            &[("proc/sys/net/ipv4/tcp_congestion_control", "reno\n")],
        );
        let name = "net.ipv4.tcp_congestion_control";
        assert_eq!(fake.verdict(name).0, Verdict::Improve);
        let findings = report_of(&Machine::below(&fake.0));
        let finding = findings
            .iter()
            .find(|f| f.setting == name)
            .expect("in the profile");
        assert_eq!(finding.remedy, format!("sysctl -w {name}=\"bbr\""));
    }

    #[test]
    fn the_running_machine_gives_every_setting_of_the_profile() {
        let findings = crate::report();
        assert_eq!(findings.len(), SETTINGS.len());
        let read = findings.iter().filter(|finding| finding.value.is_ok());
        assert!(read.count() >= 7, "{findings:#?}");
    }
}
