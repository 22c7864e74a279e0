//! Facts about the machine for the report.

use std::fs;

/// Names and values, in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) facts: Vec<(String, String)>,
}

/// CPU flags that decide the cost of a cipher.
const FLAGS: [&str; 7] = [
    "aes",
    "pclmulqdq",
    "avx2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "avx512vl",
];

impl Machine {
    /// This machine now, with the command line as it was typed.
    pub(crate) fn here() -> Self {
        let cpus = read("/proc/cpuinfo");
        let field = |name| field(&cpus, name).unwrap_or("unknown").to_owned();
        let flags = field("flags");
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let now = time::OffsetDateTime::now_utc();
        let facts = [
            ("CPU", field("model name")),
            ("CPU flags", known(&flags)),
            ("cores for this process", cores.to_string()),
            ("memory", field_of("/proc/meminfo", "MemTotal")),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            (
                "congestion control of the system",
                read("/proc/sys/net/ipv4/tcp_congestion_control"),
            ),
            (
                "date",
                format!("{} {:02}:{:02} UTC", now.date(), now.hour(), now.minute()),
            ),
            ("command", command(std::env::args())),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self {
            facts: facts.into(),
        }
    }
}

/// The file's text; `unknown` where there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned())
}

fn field_of(path: &str, name: &str) -> String {
    field(&read(path), name).unwrap_or("unknown").to_owned()
}

/// The text after `name:` in the first line that has it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Those of `FLAGS` that the CPU has.
fn known(flags: &str) -> String {
    let has = |flag: &&str| flags.split_whitespace().any(|word| word == *flag);
    let known: Vec<_> = FLAGS.into_iter().filter(has).collect();
    known.join(" ")
}

/// The arguments in shell syntax; of the program only its name, because its location has no meaning.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let arguments: Vec<String> = arguments
        .enumerate()
        .map(|(n, word)| match n {
            0 => word.rsplit('/').next().unwrap_or_default().to_owned(),
            _ if word.contains([' ', '\'', '"', '$']) => {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
            _ => word,
        })
        .collect();
    arguments.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_cpu_and_a_kernel() {
        let machine = Machine::here();
        let fact = |name| {
            let found = machine.facts.iter().find(|(fact, _)| fact == name);
            found.map(|(_, value)| value.as_str())
        };
        for name in ["CPU", "kernel", "date", "cores for this process"] {
            assert!(fact(name).is_some_and(|value| value != "unknown" && !value.is_empty()));
        }
    }

    #[test]
    fn flags_are_whole_words_and_commands_can_be_typed_again() {
        assert_eq!(known("sse aes vaes_x avx2"), "aes avx2");
        assert_eq!(field("a\t: 1\nb: 2 3\n", "b"), Some("2 3"));
        let arguments = ["/x/y/bench", "--label", "a 'b'"].map(String::from);
        assert_eq!(
            command(arguments.into_iter()),
            r"bench --label 'a '\''b'\'''"
        );
    }
}
