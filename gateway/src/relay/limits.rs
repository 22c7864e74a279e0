//! Bounds of one connection and of unauthenticated clients.

use std::time::Duration;

use crate::buffers::limits::RECORDS_LARGE;
use crate::dicom::limits::REQUEST_BYTES_MAX;
use crate::handshake::limits::HANDSHAKE_BYTES_MAX;
use crate::uring::limits::PARTS_MAX;

/// Interval of progress events of a connection with an accepted peer. An MLLP connection lasts for months;
/// after a crash its log misses one hour at most.
///
/// When reached: after a crash, the last report is at most this old.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(3600);

/// How long a target may send no byte in answer to the first request of a connection before the gateway logs
/// a warning. Clients of archives give up after 10 s to 60 s; a slow target answers within a few seconds.
///
/// When reached: the log has one warning, and the connection goes on.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Shortest wait of a client that counts as giving up on such a target. Port scans, and users who cancel,
/// close sooner.
///
/// When reached: the log has one warning, and the connection goes on.
pub(super) const ANSWER_GIVEN_UP_MIN: Duration = Duration::from_secs(2);

/// How long the CR after the FS of an MLLP message may take before the log reports it as missing. Senders
/// send both at once, so the CR arrives within one retransmission.
///
/// When reached: the log has one warning, and the connection goes on.
pub(super) const MLLP_CR_WAIT: Duration = Duration::from_secs(1);

/// Bytes of a record besides its payload, in either version: header 5, then at most 8 of explicit nonce and
/// 16 of tag (TLS 1.2), or 1 of content type and 16 of tag (TLS 1.3).
pub(super) const RECORD_OVERHEAD_MAX: usize = 29;

/// Exchanges in a row (each message answered before the next) after which the gateway stops acknowledging the
/// plain side before the answer.
///
/// When reached: no separate acknowledgements are sent any more.
pub(super) const EXCHANGES_MIN: u32 = 8;

/// Idle time after which a half-closed connection ends. An endpoint that has disappeared leaves no other
/// trace.
///
/// When reached: the connection is reset; `wardgate_deadlines_passed_total`.
pub const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(15 * 60);

/// How long a connection that is new when its route begins to drain may take to send its first bytes: they may
/// be on their way, and on the TLS side they follow the handshake a round trip later. An idle connection that is
/// older ends at once.
///
/// When reached: the connection is closed cleanly.
pub(super) const FIRST_BYTES_GRACE: Duration = Duration::from_secs(2);

/// How long the gateway waits for an application to close after an association rejection or abort: the ARTIM
/// timer (PS3.8 section 9.1.5). No standard defines its value.
///
/// When reached: the connection is reset.
pub(super) const ARTIM: Duration = Duration::from_secs(5);

/// Before the gateway resets a connection, it lets the receiver take the bytes already sent. This is how long
/// the receiver may take none of them: longer than the retransmissions of a lossy line, shorter than
/// operators wait.
///
/// When reached: the connection is reset; `wardgate_undelivered_bytes_total`.
pub(super) const DELIVERY_STALL: Duration = Duration::from_secs(5);

/// How long the receiver may take for all bytes before a reset; see `DELIVERY_STALL`.
///
/// When reached: the connection is reset; `wardgate_undelivered_bytes_total`.
pub const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// Shortest and longest interval between two checks of what a receiver has acknowledged before a reset.
///
/// When reached: the connection is reset later by this time.
pub(super) const DELIVERY_LOOK: [Duration; 2] =
    [Duration::from_millis(1), Duration::from_millis(50)];

/// How long a receiver that has acknowledged all bytes may read them before the reset. After a reset, Linux
/// still lets an application read the bytes that arrived before; other systems discard them.
///
/// When reached: the connection is reset; `wardgate_undelivered_bytes_total`.
pub(super) const RESET_GRACE: Duration = Duration::from_millis(200);

/// How often the gateway checks for the first byte of a stream that either side may begin.
///
/// When reached: the place of the stream is released later by this time.
pub(super) const FIRST_MOVE_LOOK: Duration = Duration::from_secs(1);

/// One address may hold at most 1/2 of the places of a stage, and of its memory. After a line outage a whole
/// site connects again from one address, so an address needs many places for a moment. Others still get
/// places, because the address with the most gives up its own.
///
/// When reached: the address's oldest connection is reset; `wardgate_unauthenticated_ended_total`.
pub(super) const SOURCE_SHARE: usize = 2;

/// Places of a stage that one address may hold on a small machine, where `SOURCE_SHARE` gives fewer.
///
/// When reached: the address's oldest connection is reset; `wardgate_unauthenticated_ended_total`.
pub(super) const SOURCE_PLACES_MIN: usize = 16;

/// Memory that one place stands for. A half-open handshake uses 15 KiB, a silent connection 6 KiB. A
/// connection that uses more counts as several places.
///
/// When reached: the connection counts as several places.
pub const PLACE_BYTES: usize = 16 << 10;

/// Memory of a connection besides the bytes it has received.
pub(super) const CONNECTION_BYTES: usize = 12 << 10;

/// Memory of clients on one core in one of the four stages. It is enough for 2,048 places,
/// each twice as large as usual.
///
/// When reached: the oldest connection of the address that has the most is reset;
/// `wardgate_unauthenticated_ended_total`.
pub(super) const UNAUTHENTICATED_BYTES: usize = 64 << 20;

/// Handshake steps may use at most 1/20 of a core's time while payload moves there: about 100 handshakes per
/// second. Accepting, answering and closing these connections takes another 1/20.
///
/// When reached: the next step waits; `wardgate_handshake_steps_delayed_total`.
pub const STEPS_SHARE: u32 = 20;

/// Time that handshake steps may take at once before the share applies: a whole site reconnects.
///
/// When reached: the next step waits; `wardgate_handshake_steps_delayed_total`.
pub(super) const STEPS_BURST: Duration = Duration::from_millis(20);

/// Longest time beyond the share that later steps wait for. The longest legal step, a signature with an RSA
/// key of 8192 bits, takes a few tens of milliseconds and counts in full. No step delays others for more than
/// two seconds.
///
/// When reached: the next step waits; `wardgate_handshake_steps_delayed_total`.
pub(super) const STEPS_DEBT_MAX: Duration = Duration::from_millis(100);

/// Handshakes that a source may begin at once if it has begun none before: as many as `handshakes_per_second`
/// allows in this time.
///
/// When reached: the handshake waits for its turn, and is reset if that comes later than
/// `timeouts.handshake`; `wardgate_handshakes_delayed_total`, `wardgate_connections_limited_by_total`.
pub(super) const HANDSHAKES_BURST: Duration = Duration::from_secs(1);

/// Sources whose rate of handshakes is remembered. A source is forgotten when its bucket is full again.
///
/// When reached: the source that used its bucket least is forgotten;
/// `wardgate_bound_reached_total{bound="rate_sources"}`.
pub(super) const RATE_SOURCES_MAX: usize = 65_536;

/// How often a connection that waits for a turn of its route's bandwidth checks whether it has ended.
///
/// When reached: a connection that has ended leaves the queue later by this time.
pub(super) const TURN_LOOK: Duration = Duration::from_millis(250);

const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * HANDSHAKE_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * REQUEST_BYTES_MAX);
const _: () = assert!(RECORDS_LARGE <= PARTS_MAX);
