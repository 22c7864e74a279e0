//! One TCP connection in memory: two ends, bytes in transit between them, and every way to end.
//!
//! A state machine without tasks: the caller asks what would happen at an instant of the virtual clock, and
//! gets the result or the time of the next question. The wire behaves like Linux, including the awkward
//! parts: a reset overtakes data, data that arrived before a reset may or may not still be readable, and
//! closing a socket with unread data resets.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use gateway::uring::SendQueue;
use rustix::io::Errno;
use tokio::time::Instant;

use crate::random::Random;

/// Which end of a wire: 0 connected, 1 accepted.
pub(crate) type Side = usize;

/// The nature of a wire.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    /// The maximum number of bytes in transit or unread, in each direction.
    pub(crate) capacity: usize,
    /// The maximum that one operation moves.
    pub(crate) transfer_max: usize,
    /// From one end to the other.
    pub(crate) latency_max: Duration,
    /// The minimum and maximum duration of an operation, beyond what it waits for.
    pub(crate) pause: (Duration, Duration),
    /// Whether bytes that arrived before a reset can still be read after it.
    pub(crate) keeps_data_behind_reset: bool,
    /// The position of a byte to this end that is altered in transit.
    pub(crate) altered: Option<(Side, u64)>,
}

/// The result of a question.
pub(crate) enum Progress<T> {
    /// It is done.
    Ready(io::Result<T>),
    /// Ask again when something changes, or at this instant.
    Wait(Option<Instant>),
}

/// The connection.
pub(crate) struct Wire {
    pub(crate) nature: Nature,
    ends: [End; 2],
    dead: bool,
}

#[derive(Default)]
struct End {
    // The bytes that the other end has sent and this end has not read.
    incoming: VecDeque<Segment>,
    queued: usize,
    // The bytes that were unacknowledged when it reset the connection, and the bytes sent to it after its
    // end.
    lost: usize,
    sent_to: u64,
    end_arrives: Option<Instant>,
    reset: Option<(Instant, Errno)>,
    finished: bool,
    read_end: bool,
    is_deaf: bool,
    aborted: bool,
    closed: bool,
}

struct Segment {
    // `None` never arrives: the network is dead.
    arrives: Option<Instant>,
    bytes: Vec<u8>,
    taken: usize,
}

impl Segment {
    fn has_arrived(&self, now: Instant) -> bool {
        self.arrives.is_some_and(|arrives| arrives <= now)
    }
}

impl End {
    fn broken(&self, now: Instant) -> Option<Errno> {
        if self.aborted {
            return Some(Errno::CONNRESET);
        }
        self.reset
            .filter(|(at, _)| *at <= now)
            .map(|(_, cause)| cause)
    }

    fn data_arrived(&self, now: Instant) -> bool {
        let first = self.incoming.front();
        first.is_some_and(|segment| segment.has_arrived(now))
    }

    fn end_arrived(&self, now: Instant) -> bool {
        self.incoming.is_empty() && self.end_arrives.is_some_and(|at| at <= now)
    }

    // When a reader should ask again if nothing else happens.
    fn next_event(&self) -> Option<Instant> {
        let data = self.incoming.front().and_then(|segment| segment.arrives);
        let reset = self.reset.map(|(at, _)| at);
        [data, self.end_arrives, reset].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.finished && self.read_end
    }

    fn take(&mut self, into: &mut [u8], now: Instant) -> usize {
        let mut count = 0;
        while count < into.len() && self.data_arrived(now) {
            let segment = self.incoming.front_mut().expect("data has arrived");
            let rest = &segment.bytes[segment.taken..];
            let part = rest.len().min(into.len() - count);
            into[count..count + part].copy_from_slice(&rest[..part]);
            segment.taken += part;
            count += part;
            if segment.taken == segment.bytes.len() {
                self.incoming.pop_front();
            }
        }
        self.queued -= count;
        count
    }
}

impl End {
    // The other system drops bytes that it has sent and this one has not acknowledged: all of them, or those
    // that have not arrived.
    fn forget(&mut self, unacked: usize, now: Instant, random: &mut Random) {
        let travelling = |one: &&Segment| !one.has_arrived(now);
        let on_its_way: usize = self
            .incoming
            .iter()
            .filter(travelling)
            .map(|one| one.bytes.len())
            .sum();
        let mut rest = unacked.saturating_sub(on_its_way);
        if rest == 0 || random.chance(500) {
            return;
        }
        rest += on_its_way;
        while rest > 0
            && let Some(last) = self.incoming.back_mut()
        {
            let part = rest.min(last.bytes.len() - last.taken);
            last.bytes.truncate(last.bytes.len() - part);
            self.queued -= part;
            rest -= part;
            if last.bytes.len() == last.taken {
                self.incoming.pop_back();
            }
        }
        self.end_arrives = self.end_arrives.filter(|at| *at <= now);
    }
}

impl Wire {
    /// An open connection.
    pub(crate) fn new(nature: Nature) -> Self {
        Self {
            nature,
            ends: Default::default(),
            dead: false,
        }
    }

    /// As recv(2).
    pub(crate) fn read(
        &mut self,
        side: Side,
        into: &mut [u8],
        now: Instant,
        random: &mut Random,
    ) -> Progress<usize> {
        let most = random.length(self.nature.transfer_max).min(into.len());
        let end = &mut self.ends[side];
        if let Some(cause) = end.broken(now) {
            let kept = self.nature.keeps_data_behind_reset && !end.aborted;
            if !kept || !end.data_arrived(now) {
                return failed(cause);
            }
        }
        if end.data_arrived(now) {
            return Progress::Ready(Ok(end.take(&mut into[..most], now)));
        }
        if end.end_arrived(now) || end.is_deaf {
            end.read_end = true;
            return Progress::Ready(Ok(0));
        }
        Progress::Wait(end.next_event())
    }

    /// Like poll(2) for reading: true also if a read would return the end or a failure.
    pub(crate) fn readable(&self, side: Side, now: Instant) -> Progress<()> {
        let end = &self.ends[side];
        let has_ended = end.broken(now).is_some() || end.end_arrived(now) || end.is_deaf;
        if has_ended || end.data_arrived(now) {
            return Progress::Ready(Ok(()));
        }
        Progress::Wait(end.next_event())
    }

    /// Like poll(2) for writing, with the maximum number of bytes that a send accepts; an error if a send
    /// would return one.
    pub(crate) fn send_room(&self, side: Side, now: Instant) -> Progress<usize> {
        let end = &self.ends[side];
        if let Some(cause) = end.broken(now) {
            return failed(cause);
        }
        if end.finished {
            return failed(Errno::PIPE);
        }
        let queued = self.ends[1 - side].queued;
        match self.nature.capacity.saturating_sub(queued) {
            0 => Progress::Wait(end.reset.map(|(at, _)| at)),
            room => Progress::Ready(Ok(room)),
        }
    }

    /// As send(2).
    pub(crate) fn write(
        &mut self,
        side: Side,
        from: &[u8],
        now: Instant,
        random: &mut Random,
    ) -> Progress<usize> {
        let end = &self.ends[side];
        if let Some(cause) = end.broken(now) {
            let pipe = cause == Errno::CONNRESET && random.chance(500);
            return failed(if pipe { Errno::PIPE } else { cause });
        }
        if end.finished {
            return failed(Errno::PIPE);
        }
        let room = self
            .nature
            .capacity
            .saturating_sub(self.ends[1 - side].queued);
        let count = from
            .len()
            .min(room)
            .min(random.length(self.nature.transfer_max));
        if count == 0 && !from.is_empty() {
            return Progress::Wait(end.reset.map(|(at, _)| at));
        }
        if self.ends[1 - side].closed {
            // Nobody is there to receive it; the answer to the segment is a reset.
            self.ends[1 - side].lost += count;
            self.reset_towards(side, Errno::CONNRESET, now, random);
        } else if self.ends[1 - side].reset.is_none() {
            self.carry(1 - side, &from[..count], now, random);
        } else {
            // Nothing arrives after a reset.
            self.ends[1 - side].lost += count;
        }
        Progress::Ready(Ok(count))
    }

    fn carry(&mut self, to: Side, bytes: &[u8], now: Instant, random: &mut Random) {
        let mut bytes = bytes.to_vec();
        let begins = self.ends[to].sent_to;
        if let Some((side, position)) = self.nature.altered
            && side == to
            && let Some(offset) = position.checked_sub(begins)
            && let Ok(offset) = usize::try_from(offset)
            && let Some(byte) = bytes.get_mut(offset)
        {
            *byte ^= 1 << random.below(8);
        }
        let arrives = self.arrival(to, now, random);
        let end = &mut self.ends[to];
        end.sent_to += bytes.len() as u64;
        end.queued += bytes.len();
        end.incoming.push_back(Segment {
            arrives,
            bytes,
            taken: 0,
        });
    }

    // TCP keeps the order: nothing arrives before what was sent before it.
    fn arrival(&self, to: Side, now: Instant, random: &mut Random) -> Option<Instant> {
        let latest = self.ends[to]
            .incoming
            .back()
            .and_then(|segment| segment.arrives);
        let arrives = now + self.latency(random);
        (!self.dead).then(|| latest.map_or(arrives, |latest| latest.max(arrives)))
    }

    fn latency(&self, random: &mut Random) -> Duration {
        let most = self.nature.latency_max.as_millis();
        let most = u64::try_from(most).expect("latencies are short");
        Duration::from_millis(random.below(most + 1))
    }

    /// As shutdown(2) for writing.
    pub(crate) fn finish(
        &mut self,
        side: Side,
        now: Instant,
        random: &mut Random,
    ) -> io::Result<()> {
        if self.ends[side].broken(now).is_some() {
            return Err(Errno::NOTCONN.into());
        }
        if !self.ends[side].finished {
            self.ends[side].finished = true;
            if self.ends[1 - side].reset.is_none() {
                self.ends[1 - side].end_arrives = self.arrival(1 - side, now, random);
            }
        }
        Ok(())
    }

    /// As shutdown(2) for reading.
    pub(crate) fn stop_reading(&mut self, side: Side) {
        self.ends[side].is_deaf = true;
    }

    /// Resets: what is not acknowledged is lost, or some of it.
    pub(crate) fn abort(&mut self, side: Side, now: Instant, random: &mut Random) {
        if self.ends[side].aborted || self.ends[side].closed {
            return;
        }
        self.ends[side].lost = self.unacked(side, now);
        let end = &mut self.ends[side];
        // A connection with both directions over has nothing left to reset.
        let is_past = end.broken(now).is_some() || (end.is_over() && random.chance(500));
        end.aborted = true;
        end.incoming.clear();
        end.queued = 0;
        let unacked = self.unacked(1 - side, now);
        if !is_past {
            self.ends[1 - side].forget(unacked, now, random);
            self.reset_towards(1 - side, Errno::CONNRESET, now, random);
        }
    }

    /// A fault of a socket: ends everything here, and signals a clean end to the other side.
    pub(crate) fn abort_in_order(&mut self, side: Side, now: Instant, random: &mut Random) {
        let _ = self.finish(side, now, random);
        self.ends[side].aborted = true;
    }

    /// Like close(2): clean if nothing is unread, else a reset.
    pub(crate) fn close(&mut self, side: Side, now: Instant, random: &mut Random) {
        let end = &self.ends[side];
        if end.aborted || end.closed {
            return;
        }
        if end.queued > 0 {
            self.abort(side, now, random);
        } else {
            // A failure is known to both sides already.
            let _ = self.finish(side, now, random);
        }
        self.ends[side].closed = true;
    }

    /// The network resets both ends, as a firewall does.
    pub(crate) fn cut(&mut self, now: Instant, random: &mut Random) {
        for side in [0, 1] {
            self.reset_towards(side, Errno::CONNRESET, now, random);
        }
    }

    /// The network carries nothing from now on; each end gives up after a while.
    pub(crate) fn die(&mut self, now: Instant, random: &mut Random) {
        self.dead = true;
        for end in &mut self.ends {
            let travelling = |segment: &&mut Segment| !segment.has_arrived(now);
            for segment in end.incoming.iter_mut().filter(travelling) {
                segment.arrives = None;
            }
            end.end_arrives = end.end_arrives.filter(|at| *at <= now);
            let socket_ext = Duration::from_secs(1 + random.below(120));
            end.reset.get_or_insert((now + socket_ext, Errno::TIMEDOUT));
        }
    }

    /// What this end has sent and the other has not read.
    pub(crate) fn send_queue(&self, side: Side, now: Instant) -> SendQueue {
        let other = &self.ends[1 - side];
        let room = self.nature.capacity.saturating_sub(other.queued);
        let count = |number: usize| u32::try_from(number).expect("wires hold little");
        let unacked = self.unacked(1 - side, now);
        SendQueue {
            acked: other.sent_to.saturating_sub(unacked as u64),
            in_flight: (unacked > 0 && room > 0).into(),
            in_flight_bytes: 0,
            unsent: count(unacked),
            window: count(room),
            unanswered: None,
            has_ended: self.ends[side].broken(now).is_some(),
        }
    }

    // The bytes that were sent to an end and not acknowledged by its system: they have not arrived, or there
    // is no room for them.
    fn unacked(&self, to: Side, now: Instant) -> usize {
        let end = &self.ends[to];
        if end.aborted {
            return end.lost + end.queued;
        }
        let arrived = end.incoming.iter().take_while(|one| one.has_arrived(now));
        let arrived: usize = arrived.map(|one| one.bytes.len() - one.taken).sum();
        end.lost + end.queued - arrived.min(self.nature.capacity.div_ceil(2))
    }

    /// Whether this end reset the connection by itself.
    pub(crate) fn is_aborted(&self, side: Side) -> bool {
        self.ends[side].aborted
    }

    fn reset_towards(&mut self, side: Side, cause: Errno, now: Instant, random: &mut Random) {
        let arrives = now + self.latency(random);
        if self.dead {
            return;
        }
        let end = &mut self.ends[side];
        if end.reset.is_none_or(|(at, _)| at > arrives) {
            end.reset = Some((arrives, cause));
        }
        let travelling = end
            .incoming
            .iter()
            .filter(|segment| !segment.has_arrived(now));
        let lost = random.below(travelling.count() as u64 + 2);
        for _ in 0..lost {
            end.end_arrives = end.end_arrives.filter(|at| *at <= now);
            if end
                .incoming
                .back()
                .is_some_and(|last| !last.has_arrived(now))
            {
                let segment = end.incoming.pop_back().expect("it was looked at");
                end.queued -= segment.bytes.len();
                end.lost += segment.bytes.len();
            }
        }
    }
}

fn failed<T>(cause: Errno) -> Progress<T> {
    Progress::Ready(Err(cause.into()))
}
