//! Network cards: rings, offloads, coalescing, queues, interrupts and steering of packets.

use super::places;
use crate::cpus::CpuList;
use crate::goal::{Goal, Profile};
use crate::host::Host;
use crate::interrupts;
use crate::place::{self, Direction, Feature, Place};
use crate::qdisc;
use crate::setting::Importance::{self, Matters, Minor};
use crate::setting::{Setting, Source};
use crate::want::Want;

/// The settings of every network card of the goal.
pub(super) fn all(host: &Host, goal: &Goal) -> Vec<Setting> {
    let cards = goal.cards.iter().map(|name| Card::new(host, goal, name));
    let mut settings: Vec<Setting> = cards.flat_map(|card| card.settings()).collect();
    if settings.is_empty() {
        settings.push(Setting {
            name: "network cards".to_owned(),
            why:
                "rings, offloads, interrupts and queues decide how many packets a core can process"
                    .to_owned(),
            affects: "all traffic",
            importance: Minor,
            source: Source::Absent("no network card is up; --interface names one".to_owned()),
        });
    }
    settings
}

struct Card<'a> {
    host: &'a Host,
    goal: &'a Goal,
    name: &'a str,
    /// The CPUs on which workers run, and of these only those near the card, if there are any.
    cores: CpuList,
}

impl<'a> Card<'a> {
    fn new(host: &'a Host, goal: &'a Goal, name: &'a str) -> Self {
        let local = host.read(&format!("sys/class/net/{name}/device/local_cpulist"));
        let local: Option<CpuList> = local.ok().and_then(|text| text.parse().ok());
        let near = local.map(|local| goal.cores.and(&local));
        let cores = near.filter(|near| !near.is_empty());
        Self {
            host,
            goal,
            name,
            cores: cores.unwrap_or_else(|| goal.cores.clone()),
        }
    }

    fn settings(&self) -> Vec<Setting> {
        let is_path = self.name.is_empty() || self.name.contains('/');
        let is_there = self.host.exists(&format!("sys/class/net/{}", self.name));
        if !place::is_card_name(self.name) || !is_there {
            let reason = match is_there && !is_path {
                true => {
                    "its name has characters that this program gives to no other program; rename it"
                }
                false => "there is no such network interface",
            };
            let absent = Source::Absent(reason.to_owned());
            return vec![self.setting(
                "",
                "a network card whose settings cannot be read",
                "nothing",
                Minor,
                absent,
            )];
        }
        let mut settings = vec![self.ring(Direction::Rx), self.ring(Direction::Tx)];
        settings.extend(Feature::ALL.map(|feature| self.offload(feature)));
        settings.push(self.coalescing());
        settings.push(self.discipline());
        settings.push(self.queues());
        settings.push(self.interrupts());
        settings.push(self.receive_steering());
        settings.push(self.transmit_steering());
        settings
    }

    fn setting(
        &self,
        what: &str,
        why: &str,
        affects: &'static str,
        importance: Importance,
        source: Source,
    ) -> Setting {
        Setting {
            name: format!("{} {what}", self.name).trim_end().to_owned(),
            why: why.to_owned(),
            affects,
            importance,
            source,
        }
    }

    fn ring(&self, direction: Direction) -> Setting {
        let card = self.name.to_owned();
        let source = match place::ring_max(self.host, self.name, direction) {
            Err(reason) => Source::Absent(reason.0),
            Ok(most) => {
                let want = Want::AtLeast(self.goal.values().ring.min(most));
                Source::Places(vec![(Place::Ring { card, direction }, want)])
            }
        };
        self.setting(
            &format!("ring {}", direction.keyword()),
            "a burst of packets that finds the ring full is dropped, and TCP slows down",
            "the link is down for a moment while it changes",
            self.hardware(),
            source,
        )
    }

    fn offload(&self, feature: Feature) -> Setting {
        let card = self.name.to_owned();
        let want = Want::OneOf(vec!["on"]);
        self.setting(
            &format!("offload {}", feature.keyword()),
            match feature {
                Feature::ReceiveChecksum => "the card checks checksums of received packets; gro needs it",
                Feature::TransmitChecksum => "the card computes checksums of sent packets; tso needs it",
                Feature::ScatterGather => "the card collects a packet from several pieces of memory; tso needs it",
                Feature::Tso => "the card cuts up to 64 KiB into packets, so the kernel works once for all of them",
                Feature::Gso => "the kernel cuts packets as late as possible, if the card cannot",
                Feature::Gro => "received packets are joined, so the kernel works once for all of them",
            },
            "packets that a capture on this host shows are larger than those on the wire",
            Matters,
            Source::Places(vec![(Place::Offload { card, feature }, want)]),
        )
    }

    fn coalescing(&self) -> Setting {
        let card = self.name.to_owned();
        let source = if self.goal.values().adaptive {
            Source::Places(vec![(Place::Adaptive { card }, Want::OneOf(vec!["on"]))])
        } else {
            let profile = self.goal.profile;
            Source::Absent(format!(
                "the profile {profile} leaves coalescing as the driver sets it"
            ))
        };
        self.setting(
            "interrupt coalescing",
            "with adaptive-rx, the card joins interrupts under load and not for a single message",
            "the latency of received packets, by some microseconds",
            Minor,
            source,
        )
    }

    fn discipline(&self) -> Setting {
        let card = self.name.to_owned();
        let place = Place::Qdisc { card };
        let source = match (place.read(self.host), self.host.read(qdisc::DEFAULT)) {
            (Err(reason), _) | (_, Err(reason)) => Source::Absent(reason.0),
            // What a start of the host would give to the card.
            (Ok(_), Ok(default)) if default == "fq_codel" => {
                Source::Places(vec![(place, Want::OneOf(vec!["fq_codel", "fq"]))])
            }
            (Ok(_), Ok(_)) => Source::Places(vec![(place, Want::OneOf(vec!["fq", "fq_codel"]))]),
        };
        self.setting(
            "queueing discipline",
            "a card keeps the discipline that was the default when it was brought up; see net.core.default_qdisc",
            "packets that wait in the card's queue at that moment are lost, and TCP sends them again",
            Minor,
            source,
        )
    }

    fn queues(&self) -> Setting {
        let source = match place::queues(self.host, self.name) {
            Err(reason) => Source::Absent(reason.0),
            Ok((now, most)) => {
                let cores = u64::try_from(self.cores.len()).unwrap_or(u64::MAX);
                Source::Report {
                    now,
                    wanted: Some(cores.min(most).to_string()),
                }
            }
        };
        self.setting(
            "queues",
            "one queue for each core; `ethtool -L` changes it, and `tune apply` then spreads the interrupts. It is not \
             changed here, because the driver then builds its queues again: what it forgets (which flows go to which \
             queue, coalescing of each queue) differs between drivers, and could not be restored exactly",
            "how many cores can process packets of the card",
            Minor,
            source,
        )
    }

    fn interrupts(&self) -> Setting {
        let device = interrupts::device(self.host, self.name).unwrap_or_default();
        let named = interrupts::of_card(self.host, self.name).into_iter();
        let cores = (0..).map_while(|index| self.cores.nth(index));
        let found = named.zip(cores).map(|((_, name), core)| {
            let (card, device) = (self.name.to_owned(), device.clone());
            let place = Place::Interrupt { card, device, name };
            (place, Want::Cpus(CpuList::from_iter([core])))
        });
        let source = if self.host.has_process("irqbalance") {
            let reason = "irqbalance runs and would change it back; stop and disable it first";
            Source::Absent(reason.to_owned())
        } else {
            places(found.collect(), "the card has no interrupts of its own")
        };
        self.setting(
            "interrupts",
            "one interrupt for each core of `cores`, near the card, so that no core is interrupted for all of them",
            "which cores are interrupted",
            self.hardware(),
            source,
        )
    }

    fn receive_steering(&self) -> Setting {
        let folder = format!("sys/class/net/{}/queues", self.name);
        let queues = self.host.numbered(&folder, "rx-");
        let cpus = match queues.len() < self.cores.len() {
            true => self.cores.clone(),
            false => CpuList::default(),
        };
        let place = |queue| Place::ReceiveCpus {
            card: self.name.to_owned(),
            queue,
        };
        let found = queues
            .into_iter()
            .map(|queue| (place(queue), Want::Mask(cpus.clone())));
        self.setting(
            "receive packet steering",
            "with fewer queues than cores, the kernel spreads packets over the cores (a mask); otherwise the card does",
            "interrupts between cores",
            Minor,
            places(found.collect(), "the card has no receive queues"),
        )
    }

    fn transmit_steering(&self) -> Setting {
        let folder = format!("sys/class/net/{}/queues", self.name);
        let queues = self.host.numbered(&folder, "tx-");
        let place = |queue| Place::TransmitCpus {
            card: self.name.to_owned(),
            queue,
        };
        let is_single = queues.len() < 2;
        let found = queues.into_iter().enumerate().filter_map(|(index, queue)| {
            let core = self.cores.nth(index)?;
            Some((place(queue), Want::Mask(CpuList::from_iter([core]))))
        });
        let found = if is_single {
            Vec::new()
        } else {
            found.collect()
        };
        self.setting(
            "transmit packet steering",
            "each core sends through a queue of its own (a mask), so that cores do not wait for each other",
            "through which queue a packet leaves",
            Minor,
            places(found, "the card has one transmit queue"),
        )
    }

    /// What matters where the hardware is fast; a virtual machine sees little of it.
    fn hardware(&self) -> Importance {
        match self.goal.profile {
            Profile::Vm | Profile::OneGigabit => Minor,
            _ => Matters,
        }
    }
}
