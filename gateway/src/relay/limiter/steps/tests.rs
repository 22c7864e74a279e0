//! Steps take turns, and no more than their share of time.

use std::net::Ipv4Addr;

use super::*;

const STEP: Duration = Duration::from_micros(300);

fn v4(last: u8) -> Source {
    Source::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// A core under a clock of its own.
struct Machine {
    steps: StepQueue<u32>,
    now: Instant,
    /// The part of the time between two steps that payload uses.
    relayed: f64,
}

impl Machine {
    fn new(relayed: f64) -> Self {
        let now = Instant::now();
        let steps = StepQueue::new(now);
        Self {
            steps,
            now,
            relayed,
        }
    }

    fn pass(&mut self, time: Duration) -> QueueAction<u32> {
        self.now += time;
        self.steps.next(self.now, time.mul_f64(self.relayed))
    }

    /// Steps as they come for this long; after each, the other tasks have a turn.
    fn run(&mut self, time: Duration, step: Duration, mut each: impl FnMut(&mut Self, u32)) {
        let until = self.now + time;
        let mut wait = STEP;
        while self.now < until {
            wait = match self.pass(wait) {
                QueueAction::Step(source, name) => {
                    self.now += step;
                    self.steps.done(source, step, self.now);
                    each(self, name);
                    STEP.min(Duration::from_micros(100))
                }
                QueueAction::Wait(wait) => wait,
                QueueAction::Nobody => STEP,
            };
        }
    }
}

/// How much of a second the steps of a flood take beside payload that uses so much of the rest.
fn share_of_flood(relayed: f64, step: Duration) -> f64 {
    let mut machine = Machine::new(relayed);
    for name in 0..64 {
        machine.steps.enqueue(v4(1), name);
    }
    let mut taken = 0;
    // The first second uses up the burst, and does not count.
    for _ in 0..2 {
        taken = 0;
        machine.run(Duration::from_secs(1), step, |machine, name| {
            taken += 1;
            machine.steps.enqueue(v4(1), name);
        });
    }
    (step * taken).as_secs_f64()
}

#[test]
fn a_flood_has_its_share_beside_payload_and_the_whole_core_without() {
    let share = 1.0 / f64::from(STEPS_SHARE);
    for relayed in [0.3, 0.7, 1.0] {
        let taken = share_of_flood(relayed, STEP);
        assert!(taken < share * 1.1, "{relayed}: {taken}");
        assert!(taken > share * 0.9, "{relayed}: {taken}");
    }
    let alone = share_of_flood(0.0, STEP);
    assert!(alone > 0.7, "{alone}");
}

#[test]
fn long_steps_are_charged_whole() {
    const SECONDS: u32 = 60;
    let share = 1.0 / f64::from(STEPS_SHARE);
    for step in [Duration::from_millis(35), Duration::from_millis(90)] {
        let mut machine = Machine::new(1.0);
        // Payload has moved before.
        machine.run(Duration::from_secs(1), STEP, |_, _| ());
        machine.steps.enqueue(v4(1), 1);
        let mut taken = Duration::ZERO;
        machine.run(Duration::from_secs(1) * SECONDS, step, |machine, name| {
            taken += step;
            machine.steps.enqueue(v4(1), name);
        });
        let taken = taken.as_secs_f64() / f64::from(SECONDS);
        assert!(taken < share * 1.2, "{step:?}: {taken} of the core");
    }
}

#[test]
fn long_steps_wait_no_longer_than_the_debt_is_deep() {
    let mut machine = Machine::new(1.0);
    machine.run(Duration::from_millis(200), STEP, |_, _| ());
    machine.steps.enqueue(v4(1), 1);
    machine
        .steps
        .done(v4(9), Duration::from_secs(1), machine.now);
    let QueueAction::Wait(wait) = machine.pass(Duration::from_micros(10)) else {
        panic!("a second was used");
    };
    assert!(wait <= STEPS_DEBT_MAX * STEPS_SHARE, "{wait:?}");
}

#[test]
fn a_source_that_comes_new_is_served_before_a_flood() {
    let mut machine = Machine::new(1.0);
    for name in 0..64 {
        machine.steps.enqueue(v4(1), name);
    }
    let mut since_good = None;
    machine.run(Duration::from_secs(1), STEP, |machine, name| match name {
        1000 => since_good = None,
        name => {
            machine.steps.enqueue(v4(1), name);
            since_good = match since_good {
                // A good client connects now and then.
                None => {
                    machine.steps.enqueue(v4(2), 1000);
                    Some(0)
                }
                Some(steps) => {
                    assert!(steps < 1, "the flood was served {steps} times before it");
                    Some(steps + 1)
                }
            };
        }
    });
}

#[test]
fn addresses_share_the_time_evenly() {
    let mut machine = Machine::new(1.0);
    let mut served = [0_u32; 3];
    for (source, count) in [(0, 500), (1, 50), (2, 5)] {
        for _ in 0..count {
            machine.steps.enqueue(v4(source), source.into());
        }
    }
    machine.run(Duration::from_secs(1), STEP, |machine, name| {
        served[name as usize] += 1;
        machine.steps.enqueue(v4(name as u8), name);
    });
    let (least, most) = (served.iter().min(), served.iter().max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| most - least <= 1),
        "{served:?}"
    );
}

#[test]
fn who_left_the_line_is_not_served() {
    let mut machine = Machine::new(0.0);
    let first = machine.steps.enqueue(v4(1), 1);
    machine.steps.enqueue(v4(1), 2);
    machine.steps.remove(first);
    machine.steps.remove(first);
    assert_eq!(machine.pass(STEP), QueueAction::Step(v4(1), 2));
    assert_eq!(machine.pass(STEP), QueueAction::Nobody);
    assert!(machine.steps.sources.is_empty() && machine.steps.order.is_empty());
}

#[test]
fn a_step_begins_without_queue_only_if_none_waits() {
    let mut machine = Machine::new(0.0);
    assert!(machine.steps.may_begin(machine.now));
    machine.steps.enqueue(v4(1), 1);
    assert!(!machine.steps.may_begin(machine.now));
}
