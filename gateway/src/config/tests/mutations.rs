//! Damaged configurations: each is accepted, or refused with a message.

use super::*;

/// xorshift64*: good enough to choose damage, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        high as usize % bound.max(1)
    }
}

const TOKENS: [&str; 29] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "ö",
    "-1",
    "1e999",
    "0x",
    "99999999999999999999",
    "true",
    "[[route]]",
    "[route.timeouts]",
    "[gateway]",
    "= never",
    "\u{1b}",
    "::",
];

fn mutate(text: &mut Vec<char>, random: &mut Random) {
    let at = random.below(text.len() + 1);
    let end = (at + random.below(40)).min(text.len());
    match random.below(5) {
        0 => drop(text.drain(at..end)),
        1 => drop(text.splice(at..at, TOKENS[random.below(TOKENS.len())].chars())),
        2 => {
            let piece: Vec<_> = text[at..end].to_vec();
            let to = random.below(text.len() + 1);
            drop(text.splice(to..to, piece));
        }
        3 if at < text.len() => text[at] = char::from(32 + random.below(95) as u8),
        _ => text.truncate(text.len() - random.below(text.len().min(200))),
    }
}

fn check(text: &str, seed: u64) {
    match parse_here(text, "wardgate.toml") {
        Ok(config) => {
            assert!(!config.routes.is_empty(), "seed {seed}");
            for route in &config.routes {
                assert_leads_somewhere(route, seed);
                assert_eq!(
                    route.tls.is_none(),
                    route.mode == Mode::Passthrough,
                    "seed {seed}"
                );
                if let Some(tls) = &route.tls {
                    assert_tells_peers_apart(tls, seed);
                }
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "seed {seed}");
            let last = text.lines().count().max(1) + 1;
            assert!(
                problems
                    .iter()
                    .filter_map(|problem| problem.line)
                    .all(|line| (1..=last).contains(&line)),
                "seed {seed}"
            );
            assert!(
                problems
                    .iter()
                    .all(|problem| !problem.text.contains(['\n', '\u{1b}', '\0'])),
                "seed {seed}"
            );
        }
    }
}

fn assert_leads_somewhere(route: &RouteConfig, seed: u64) {
    let tables = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let mut tables = tables.peekable();
    assert!(
        !route.targets.is_empty() || tables.peek().is_some(),
        "seed {seed}"
    );
    for table in tables {
        assert!(!table.called.is_empty(), "seed {seed}");
        assert!(!table.targets.is_empty(), "seed {seed}");
    }
    let looks = route.protocol == Protocol::Dicom && route.mode != Mode::Passthrough;
    assert_eq!(route.dicom.is_some(), looks, "seed {seed}");
}

fn assert_tells_peers_apart(tls: &RouteTls, seed: u64) {
    assert!(!tls.peers.is_empty(), "seed {seed}");
    let mut seen = std::collections::HashSet::new();
    for identity in tls.peers.iter().flat_map(|peer| &peer.identities) {
        assert!(
            seen.insert(identity),
            "seed {seed}: {identity} has two peers"
        );
    }
}

#[test]
fn damaged_configurations_never_panic() {
    let good = [
        reference_in_full(),
        fs::read_to_string(data().join("good/everything.toml")).expect("it is text"),
        fs::read_to_string(data().join("good/dicom.toml")).expect("it is text"),
        fs::read_to_string(data().join("good/peers.toml")).expect("it is text"),
    ];
    for seed in 1..=2000 {
        let mut random = Random(seed);
        let mut text: Vec<_> = good[random.below(good.len())].chars().collect();
        for _ in 0..=random.below(8) {
            mutate(&mut text, &mut random);
        }
        let text: String = text.into_iter().collect();
        check(&text, seed);
    }
}
