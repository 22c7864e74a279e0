//! What the host should be good at: the profile, the WAN, the cores and the network cards.

use std::fmt;
use std::str::FromStr;

use crate::cpus::CpuList;
use crate::host::Host;
use crate::limits::CARDS_MAX;
use crate::place::is_card_name;
use crate::units::{Rate, RoundTrip, buffer};

/// A kind of machine, by the speed of its network cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// A virtual machine: its host owns the hardware.
    Vm,
    /// A network card of 1 Gbit/s.
    OneGigabit,
    /// A network card of up to 10 Gbit/s.
    TenGigabit,
    /// A network card of up to 25 Gbit/s.
    TwentyFiveGigabit,
    /// A network card of up to 100 Gbit/s, or more.
    HundredGigabit,
}

/// The values in which profiles differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    /// The rate that is assumed for the WAN if none is given.
    pub(crate) link: Rate,
    /// `net.core.netdev_max_backlog`.
    pub(crate) backlog: u64,
    /// Length of the rings of a card, as far as it has room.
    pub(crate) ring: u64,
    /// `fs.pipe-user-pages-soft`.
    pub(crate) pipe_pages: u64,
    /// Whether interrupts are coalesced by load.
    pub(crate) adaptive: bool,
    /// Idle states that take longer to leave, in microseconds, are disabled.
    pub(crate) idle_latency_max: Option<u64>,
}

/// What the operator said; the rest is detected.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The profile.
    pub profile: Option<Profile>,
    /// The rate of the WAN; by default that of the profile's network card.
    pub wan: Option<Rate>,
    /// The round-trip time of the WAN; 20 ms by default.
    pub round_trip: Option<RoundTrip>,
    /// The CPUs on which workers run; all by default.
    pub cores: Option<CpuList>,
    /// The network cards; by default those that are up.
    pub cards: Vec<String>,
}

/// The operator's options, completed by what was found on the host.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The profile.
    pub profile: Profile,
    /// Why it is this profile: given, or what was found.
    pub because: String,
    /// The rate of the WAN.
    pub wan: Rate,
    /// The round-trip time of the WAN.
    pub round_trip: RoundTrip,
    /// The CPUs on which workers run.
    pub(crate) cores: CpuList,
    /// The network cards.
    pub(crate) cards: Vec<String>,
    /// The list that was given; without one, the CPUs of each start of the host.
    given_cores: Option<CpuList>,
}

/// The round-trip time that is assumed: a line within a country.
const ROUND_TRIP: RoundTrip = RoundTrip::millis(20);

impl Goal {
    /// Completes the options with what is found on the host.
    #[must_use]
    pub fn new(host: &Host, options: Options) -> Self {
        let cards = match options.cards.as_slice() {
            [] => found_cards(host),
            cards => cards.to_vec(),
        };
        let (profile, because) = match options.profile {
            Some(profile) => (profile, "given".to_owned()),
            None => detect(host, &cards),
        };
        Self {
            profile,
            because,
            wan: options.wan.unwrap_or(profile.values().link),
            round_trip: options.round_trip.unwrap_or(ROUND_TRIP),
            cores: options.cores.clone().unwrap_or_else(|| host.online()),
            cards,
            given_cores: options.cores,
        }
    }

    /// The options that give this goal for these cards on this host again, as arguments of a command line.
    pub(crate) fn arguments<'a>(&self, cards: impl Iterator<Item = &'a String>) -> Vec<String> {
        let mut arguments = vec![
            format!("--profile={}", self.profile),
            format!("--wan={}", self.wan.option()),
            format!("--rtt={}", self.round_trip),
        ];
        let cores = self.given_cores.iter();
        arguments.extend(cores.map(|list| format!("--cores={list}")));
        arguments.extend(cards.map(|card| format!("--interface={card}")));
        arguments
    }

    /// The network cards that can be named to other programs.
    pub(crate) fn plain_cards(&self) -> impl Iterator<Item = &String> {
        self.cards.iter().filter(|card| is_card_name(card))
    }

    /// The wanted maximum of a socket buffer in bytes.
    #[must_use]
    pub fn buffer(&self) -> u64 {
        buffer(self.wan, self.round_trip)
    }

    pub(crate) fn values(&self) -> Values {
        self.profile.values()
    }
}

impl Profile {
    /// All profiles, the slowest first.
    pub const ALL: [Self; 5] = [
        Self::Vm,
        Self::OneGigabit,
        Self::TenGigabit,
        Self::TwentyFiveGigabit,
        Self::HundredGigabit,
    ];

    /// The name of the profile in options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::OneGigabit => "1g",
            Self::TenGigabit => "10g",
            Self::TwentyFiveGigabit => "25g",
            Self::HundredGigabit => "100g",
        }
    }

    pub(crate) fn values(self) -> Values {
        match self {
            Self::Vm | Self::OneGigabit => Values {
                link: Rate::megabits(1000),
                backlog: 4096,
                ring: 1024,
                pipe_pages: 16_384,
                adaptive: false,
                idle_latency_max: None,
            },
            Self::TenGigabit => Values {
                link: Rate::megabits(10_000),
                backlog: 16_384,
                ring: 4096,
                pipe_pages: 65_536,
                adaptive: true,
                idle_latency_max: Some(100),
            },
            Self::TwentyFiveGigabit => Values {
                link: Rate::megabits(25_000),
                backlog: 32_768,
                ring: 4096,
                pipe_pages: 131_072,
                adaptive: true,
                idle_latency_max: Some(50),
            },
            Self::HundredGigabit => Values {
                link: Rate::megabits(100_000),
                backlog: 65_536,
                ring: 8192,
                pipe_pages: 262_144,
                adaptive: true,
                idle_latency_max: Some(20),
            },
        }
    }

    /// The profile of a network card, by its speed in Mbit/s.
    fn of_speed(megabits: u64) -> Self {
        match megabits {
            0..=1000 => Self::OneGigabit,
            1001..=10_000 => Self::TenGigabit,
            10_001..=25_000 => Self::TwentyFiveGigabit,
            _ => Self::HundredGigabit,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| format!("{text:?} is not a profile; write vm, 1g, 10g, 25g or 100g"))
    }
}

/// The network cards that are up: interfaces with a device behind them.
fn found_cards(host: &Host) -> Vec<String> {
    let folder = "sys/class/net";
    let is_up = |name: &String| {
        let state = host.read(&format!("{folder}/{name}/operstate"));
        let is_up = state.is_ok_and(|state| state == "up" || state == "unknown");
        is_up && host.exists(&format!("{folder}/{name}/device"))
    };
    let names = host.names(folder).into_iter().filter(is_up);
    names.take(CARDS_MAX).collect()
}

fn detect(host: &Host, cards: &[String]) -> (Profile, String) {
    if host.is_virtual() {
        return (Profile::Vm, "this is a virtual machine".to_owned());
    }
    let speeds = cards.iter().filter_map(|card| {
        let speed = host.read(&format!("sys/class/net/{card}/speed")).ok()?;
        // The kernel writes -1 if the speed is unknown.
        let speed: u64 = speed.parse().ok()?;
        Some((speed, card))
    });
    match speeds.max() {
        Some((speed, card)) => (
            Profile::of_speed(speed),
            format!("network card {card} has {}", Rate::megabits(speed)),
        ),
        None => (
            Profile::OneGigabit,
            "the speed of the network card is unknown".to_owned(),
        ),
    }
}
