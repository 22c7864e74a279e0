//! Every fixed bound, the reason for its value, and compile-time checks between bounds.

use std::time::Duration;

/// Identities of one peer, or of all peers of one route. Most routes join two sites; a regional archive has a
/// few hundred.
pub const PEERS_MAX: usize = 1024;

/// Targets of one route. The gateway tries them one after the other while the application waits.
pub const TARGETS_MAX: usize = 16;

/// AE titles in one list of a route. A region may have several hundred modalities.
pub const AE_TITLES_MAX: usize = 1024;

/// Largest value of a route's limit of open associations. No archive accepts as many, and the process has
/// fewer file descriptors.
pub const ASSOCIATIONS_MAX: u32 = 65_536;

/// Shortest interval between two probes of a target. A shorter one would load the peer for no benefit.
pub const HEALTH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval between two probes of a target. A longer one would not detect failures in useful time.
pub const HEALTH_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Longest timeout of one probe: the same as for the connections that the probe stands for.
pub const HEALTH_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Largest number of probes in a row that a configuration may require before a target counts as up or down.
pub const HEALTH_COUNT_MAX: u32 = 100;

/// Routes in one configuration. Each has a listener on one core.
pub const ROUTES_MAX: usize = 1024;

/// Worker threads. Larger machines have not been tested.
pub const CORES_MAX: usize = 128;

/// Longest time that an idle worker may poll before it sleeps. A sleeping worker wakes up in about 50 us, so
/// a message after a pause a thousand times as long has no measurable advantage from polling.
pub const BUSY_POLL_MAX: Duration = Duration::from_millis(100);

/// Bytes of a configuration file. A hand-written file is a few KiB.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Bytes of a certificate, key or CRL file. The largest public CRLs are some tens of MiB.
pub const PKI_FILE_BYTES_MAX: u64 = 64 << 20;

/// Certificates in one chain that a peer may present, including the leaf (RFC 5280 sets no bound).
pub const CHAIN_CERTIFICATES_MAX: usize = 8;

/// Bytes of one certificate that a peer may present. RSA-4096 with many extensions takes 3 KiB; 200 names add
/// 6 KiB.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Extensions of one certificate that a peer may present. CA certificates have up to 12, end-entity
/// certificates up to 16. webpki reads the extensions of all intermediates at each step of path building.
pub const CERTIFICATE_EXTENSIONS_MAX: usize = 32;

/// DER elements of one certificate that a peer may present: names, extensions and their parts. Root
/// certificates of public CAs have 70 to 113, end-entity certificates about 200. Each further DNS name adds one.
pub const CERTIFICATE_ELEMENTS_MAX: usize = 512;

/// Steps from a certificate to a possible issuer during path building. At each step webpki reads all
/// intermediates again. A path of three CAs with two certificates each takes 14 steps.
pub const PATH_STEPS_MAX: usize = 16;

/// Certificates of one chain that may fail a signature check before the first successful check. In a
/// legitimate chain one certificate fails: a CA renewed its key under the same name, and its old key is
/// trusted too.
pub const FORGED_AT_FIRST_MAX: usize = 2;

/// Certificates of one chain that may fail a signature check in total. In a legitimate chain a second
/// certificate fails if an intermediate CA renewed its key as well.
pub const FORGED_CERTIFICATES_MAX: usize = 3;

/// CAs with the same name in the trust of one peer. A CA that renews its key keeps its name, and its old
/// certificate expires some years later. Even older generations are seldom needed.
pub const ANCHORS_OF_ONE_NAME_MAX: usize = 6;

/// Failed signature checks of one chain. In a legitimate chain two certificates fail, each once under every
/// CA of the same name.
pub const FAILED_CHECKS_MAX: usize = 2 * ANCHORS_OF_ONE_NAME_MAX;

/// CAs of other peers that a certificate is checked against after every CA of its own peer has failed. The
/// result only changes the text of the refusal.
pub const ANCHORS_OF_OTHERS_MAX: usize = 4;

/// Comparisons of a name in a chain with a CA's name constraint on URIs or directory names. A CA with 20
/// constraints above a certificate with 400 URIs takes 8,000.
pub const NAME_COMPARISONS_MAX: usize = 50_000;

/// Bytes of the CA names in a server's CertificateRequest, from which the client chooses a certificate. TLS
/// allows 65,535 bytes, but most clients accept less. If the names need more, the server sends none. 100
/// names of 80 bytes fit.
pub const CA_NAMES_BYTES_MAX: usize = 8192;

/// Names of one certificate that a refusal lists; further names are counted. A gateway's certificate has one
/// or two.
pub const SHOWN_NAMES_MAX: usize = 6;

/// Characters of one name from a peer in a log line. A DNS name has at most 253 (RFC 1035 section 2.3.4).
pub const SHOWN_NAME_CHARS_MAX: usize = 256;

/// Characters of a message about a handshake. The message must hold one certificate, the rule and the remedy.
pub const SENTENCE_CHARS_MAX: usize = 4096;

/// Events that may wait for the journal. When the queue is full, the gateway counts and drops events: a log
/// that is not read must not stop traffic.
pub const EVENTS_MAX: usize = 4096;

/// Pause of the journal after it has written all waiting events. 10 ms delay no reader, and the gateway does
/// not produce `EVENTS_MAX` events in that time.
pub const JOURNAL_PAUSE: Duration = Duration::from_millis(10);

/// Interval of progress events of a connection with an accepted peer. An MLLP connection lasts for months;
/// after a crash its log misses one hour at most.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(3600);

/// How long a target may send no byte in answer to the first request of a connection before the gateway logs
/// a warning. Clients of archives give up after 10 s to 60 s; a slow target answers within a few seconds.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Shortest wait of a client that counts as giving up on such a target. Port scans, and users who cancel,
/// close sooner.
pub const ANSWER_GIVEN_UP_MIN: Duration = Duration::from_secs(2);

/// How long the CR after the FS of an MLLP message may take before the log reports it as missing. Senders
/// send both at once, so the CR arrives within one retransmission.
pub const MLLP_CR_WAIT: Duration = Duration::from_secs(1);

/// Listeners that the startup line lists; further ones are counted. The line must fit into what log
/// collectors accept: with the longest names it takes 6 KiB.
pub const LISTENERS_SHOWN_MAX: usize = 64;

/// Submission entries of a worker's ring. A worker submits what one turn of its loop produced: a few entries
/// per active connection. A full queue is flushed; no entry is rejected.
pub const RING_ENTRIES: u32 = 1024;

/// Completion entries of a worker's ring. Each open connection has two pending operations, so this serves
/// 8,192 connections per core without overflow (after which the kernel continues, more slowly).
pub const RING_COMPLETIONS: u32 = 16_384;

/// Pause of a worker between two attempts to submit when the kernel has no memory. Short, because all
/// connections of the core wait; long enough to leave the CPU to the code that frees memory.
pub const RING_RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Longest wait of a worker in its ring while a timer is pending. The kernel adds the wait to its clock
/// without an overflow check, so a wait of 300 years would end in the past.
pub const RING_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Attempts of an operation that fails temporarily (no memory, not ready) before it counts as failed.
pub const RETRIES_MAX: u32 = 100;

/// Pause between these attempts. With `RETRIES_MAX`, the gateway gives a socket up after one second.
pub const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Bytes of payload in one record (RFC 8446 section 5.1).
pub const PLAINTEXT_ROOM: usize = 16_384;

/// Bytes of a record header (RFC 8446 section 5.1).
pub const RECORD_HEADER: usize = 5;

/// Bytes after the payload of a TLS 1.3 record with AES-GCM: content type 1, tag 16 (RFC 8446 section 5.2).
pub const RECORD_TRAILER: usize = 17;

/// Bytes of a sealed record of full length, and of the buffer part into which its payload is received.
pub const RECORD_ROOM: usize = RECORD_HEADER + PLAINTEXT_ROOM + RECORD_TRAILER;

/// Largest number of bytes after the header of a TLS 1.3 record (RFC 8446 section 5.2).
pub const CIPHERTEXT_MAX: usize = PLAINTEXT_ROOM + 256;

/// Bytes of a record besides its payload, in either version: header 5, then at most 8 of explicit nonce and
/// 16 of tag (TLS 1.2), or 1 of content type and 16 of tag (TLS 1.3).
pub const RECORD_OVERHEAD_MAX: usize = 29;

/// Bytes of protocol messages that TLS itself has queued for the peer at one time: a key update and an alert.
pub const CONTROL_ROOM: usize = 2304;

/// Records of full length in a small buffer: 64 KiB of payload. Messages and most PDUs fit into one turn, and
/// so does the longest record of TLS 1.2 (RFC 5246 section 6.2.3).
pub const RECORDS_SMALL: usize = 4;

/// Records of full length in a large buffer: 1 MiB of payload. Smaller turns cost more kernel time per byte.
/// Larger turns gain little and delay the other connections of the core.
pub const RECORDS_LARGE: usize = 64;

/// Records of full length in a turn of a bulk connection while other connections exchange messages: 256 KiB.
/// A message then waits about 60 us for a busy core; with large turns it would wait four times as long.
pub const RECORDS_MEDIUM: usize = 16;

/// Turns of bulk connections that stay short after another connection exchanged a message: 256 MiB, about 0.1
/// s.
pub const SHORT_TURNS: u32 = 1024;

/// Memory segments of one send or receive: as many as a large buffer has records.
pub const PARTS_MAX: usize = RECORDS_LARGE;

/// Large buffers that a core lends at one time: 64 directions at full speed, 64 MiB per core.
pub const POOL_LARGE: usize = 64;

/// Large buffers of a core that may hold the beginning of a record while the worker waits for the rest. When
/// more are lent, the beginning moves to a small buffer. The move costs two copies of a few KiB per wait,
/// which bulk transfer on few connections avoids.
pub const POOL_LARGE_AT_REST: usize = 8;

/// Returned small buffers that a core keeps, 16 MiB in total. The pool makes more on demand, at most two per
/// open connection.
pub const POOL_SMALL: usize = 256;

/// Bytes of a pipe: as many as a large buffer holds (`fs.pipe-max-size` allows 1 MiB to every user).
pub const PIPE_ROOM: usize = 1 << 20;

/// Smallest usable size of a pipe in bytes. This is the default of Linux; smaller pipes cost more than
/// copying.
pub const PIPE_ROOM_MIN: usize = 64 << 10;

/// Pipes that a core lends at one time, with two file descriptors each. Linux allows an unprivileged user 64
/// pipes of 1 MiB in total (`fs.pipe-user-pages-soft`), enough for four cores.
pub const PIPES_MAX: usize = 16;

/// Turns in a row with few bytes before a connection returns to small buffers.
pub const SMALL_READS_MAX: u32 = 8;

/// Exchanges in a row (each message answered before the next) after which the gateway stops acknowledging the
/// plain side before the answer.
pub const EXCHANGES_MIN: u32 = 8;

/// Records sealed with one key before the gateway updates it (RFC 8446 section 5.5 allows 2^24.5 for
/// AES-GCM).
pub const KEY_RECORDS_MAX: u64 = 1 << 24;

/// Key updates that a peer may send without payload between them. BoringSSL and rustls have the same bound.
pub const KEY_UPDATES_MAX: u32 = 32;

/// Records without payload that a peer may send in a row. rustls has the same bound.
pub const EMPTY_RECORDS_MAX: u32 = 32;

/// Bytes of a handshake message after the handshake (a session ticket). rustls has the same bound.
pub const POST_HANDSHAKE_MESSAGE_MAX: usize = 0xffff;

/// Bytes of one handshake flight that the gateway holds: the longest legal message (RFC 8446 section 4: a
/// uint24, which rustls bounds to 64 KiB) in records with their headers.
pub const HANDSHAKE_BYTES_MAX: usize = 128 << 10;

/// How long the gateway waits for a refused peer to read its alert before it resets the connection.
pub const ALERT_LINGER: Duration = Duration::from_secs(1);

/// How long the gateway waits for an application to close after an association rejection or abort: the ARTIM
/// timer (PS3.8 section 9.1.5). No standard defines its value.
pub const ARTIM: Duration = Duration::from_secs(5);

/// Before the gateway resets a connection, it lets the receiver take the bytes already sent. This is how long
/// the receiver may take none of them: longer than the retransmissions of a lossy line, shorter than
/// operators wait.
pub const DELIVERY_STALL: Duration = Duration::from_secs(5);
/// How long the receiver may take for all bytes before a reset; see `DELIVERY_STALL`.
pub const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// Shortest and longest interval between two checks of what a receiver has acknowledged before a reset.
pub const DELIVERY_LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// How long a receiver that has acknowledged all bytes may read them before the reset. After a reset, Linux
/// still lets an application read the bytes that arrived before; other systems discard them.
pub const RESET_GRACE: Duration = Duration::from_millis(200);

/// Bytes of a refused peer that the gateway discards while the peer reads its alert.
pub const LINGER_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(RECORDS_SMALL * RECORD_ROOM >= 2 * (RECORD_HEADER + PLAINTEXT_ROOM + 2048));
const _: () = assert!(RECORDS_LARGE as u64 * 2 < KEY_RECORDS_MAX);
const _: () = assert!(HANDSHAKE_BYTES_MAX > 65_536 + PLAINTEXT_ROOM);

/// Names whose addresses a core caches. Routes name a handful.
pub const NAMES_MAX: usize = 1024;

/// How long an address is used before its name is looked up again.
pub const NAME_FRESH: Duration = Duration::from_secs(10);

/// How long an address may still be used when the lookup of its name fails: a resolver outage must not stop
/// the image traffic.
pub const NAME_STALE: Duration = Duration::from_secs(3600);

/// How long a connection waits for a lookup if a usable address is cached.
pub const LOOK_UP_HASTE: Duration = Duration::from_millis(500);

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// How long an attempt at one address of a name runs before the next address is tried in parallel (RFC 8305
/// section 5 recommends this value): longer than the round trip of any link between hospitals.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long an address that did not answer is tried after the others. When the address answers again, the
/// gateway prefers it again within this time. Until then one connection in this time waits for an attempt at
/// it.
pub const ADDRESS_SILENT: Duration = Duration::from_secs(60);

/// How often the log repeats that an address does not answer.
pub const ADDRESS_REPORT_EVERY: Duration = Duration::from_secs(3600);

/// Addresses without an answer that the gateway remembers. Routes have a handful of addresses.
pub const DEAD_ADDRESSES_MAX: usize = 1024;

/// Configuration problems reported at one time. More would scroll the first ones off the screen.
pub const CONFIG_PROBLEMS_MAX: usize = 200;

/// Bytes of a route's name. The name appears in every log line and as a label of every metric.
pub const ROUTE_NAME_BYTES_MAX: usize = 64;

/// `[[peer]]` tables. Each has files of its own, which stay in memory while the gateway runs. A site with
/// more partners needs a second gateway.
pub const PEER_TABLES_MAX: usize = 1024;

/// Bytes of a service label. Label and prefix must fit into an ALPN protocol name (RFC 7301 section 3.1
/// allows 255).
pub const SERVICE_LABEL_BYTES_MAX: usize = 64;

/// Bytes of the name of a network interface (`IFNAMSIZ` of Linux without the final NUL).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// Bytes of a Unix socket's path (`sun_path` of unix(7) without the final NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Shortest timeout. A shorter one is below the round-trip times of wide-area links.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Longest handshake timeout. A peer that needs a minute only occupies a connection.
pub const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest connect timeout, for all targets of a route together. The kernel's own limit for one address is
/// about two minutes; applications wait for seconds.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest wait for the first byte, unless it is "never". An application that connects in advance may wait
/// for hours; every other application sends at once.
pub const FIRST_BYTE_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);

/// Longest idle timeout, unless it is "never".
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest drain time. The process uses the longest of its routes. A large study over a slow line ends within
/// a day.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest keepalive idle time and interval (`MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` of Linux).
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// Largest number of keepalive probes (`MAX_TCP_KEEPCNT` of Linux).
pub const KEEPALIVE_PROBES_MAX: u32 = 127;

/// Longest time that a peer may leave sent bytes unacknowledged.
pub const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest time that a receiver may acknowledge packets but read nothing, unless it is "never".
pub const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Messages that may wait in a worker's mailbox: connections handed over to the worker.
pub const MAILBOX_MAX: usize = 1024;

/// Connections accepted in one turn before other tasks of the worker run.
pub const ACCEPT_BATCH: usize = 64;

/// Pause of a listener when file descriptors or memory are exhausted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel queues for a busy listener (bounded by net.core.somaxconn).
pub const LISTEN_BACKLOG: i32 = 4096;

/// File descriptors that are not for connections: rings, listeners, log, metrics, open files.
pub const DESCRIPTORS_RESERVED: usize = 256;

/// How long the report of a panic that ends the process may take to write. A standard error that is not read
/// must not keep the process from ending, because systemd restarts it only then.
pub const PANIC_REPORT: Duration = Duration::from_secs(1);

/// Refusals of one route and kind that are logged in a row before the rate limit applies.
pub const REFUSALS_BURST: u32 = 10;

/// Interval at which refusals of a route and kind are logged after the burst.
pub const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// How often an ignored signal is logged. A program that sends signals in a loop must not fill the log.
pub const SIGNAL_REPORT_EVERY: Duration = Duration::from_secs(60);

/// File problems listed in the log line of a closed route; `check` lists all.
pub const SHOWN_PROBLEMS_MAX: usize = 4;

/// Longest interval between two checks of expiry dates. Each warning comes when it is due; this check notices
/// that the clock was changed in between.
pub const EXPIRY_LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How often the log repeats that a certificate or a revocation list has expired.
pub const EXPIRY_REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Metrics requests served at one time: half of the reserved file descriptors. A further request ends the
/// oldest one of the address that has the most.
pub const METRICS_REQUESTS_MAX: usize = 128;

/// How long a metrics request is protected from being ended by a further one. A client sends its request as
/// soon as it is connected. With `METRICS_REQUESTS_MAX`, this allows 2,560 connections per second.
pub const METRICS_GRACE: Duration = Duration::from_millis(50);

/// Bytes of a metrics request.
pub const METRICS_REQUEST_BYTES_MAX: usize = 8192;

/// How long a whole metrics request may take.
pub const METRICS_DEADLINE: Duration = Duration::from_secs(5);

/// How long workers may take to end after their connections were asked to close.
pub const WORKERS_END: Duration = Duration::from_secs(5);

/// Names that are looked up at a time, each on a thread of its own that waits for the system's resolver. A core has one
/// look-up of a name at a time, so a configuration of fewer names on few cores never reaches the bound: a name whose
/// server hangs keeps its own thread, and delays no other name.
pub const LOOK_UPS_MAX: usize = 256;

/// Target names that `wardgate check` looks up, each in its own thread. The configuration of a large region
/// has some tens.
pub const CHECK_NAMES_MAX: usize = 64;

/// How long `wardgate check` waits for the lookup of target names. A resolver gives up after 5 s per server.
pub const CHECK_NAMES_WAIT: Duration = Duration::from_secs(5);

/// How long the header of a metrics request may take: it fits into one packet.
pub const METRICS_HEADER_DEADLINE: Duration = Duration::from_millis(500);

/// A client with an incomplete handshake may hold at most 1/2 of all places.
pub const HANDSHAKES_SHARE: usize = 2;

/// Each of these may hold at most 1/4 of all places: clients that have sent no first message to an originate
/// route, clients of passthrough routes that the target has not answered, and accepted peers that have sent
/// no first message.
pub const OPENERS_SHARE: usize = 4;

/// All passthrough routes together may hold at most 1/2 of all connections. Their clients are
/// unauthenticated, and the other routes need places too.
pub const PASSTHROUGH_SHARE: usize = 2;

/// One address (IPv6: one /64) may hold at most 1/2 of the connections of all passthrough routes that the
/// target has answered. A whole site may connect from one address, so this share is large; the rest stays
/// free for other addresses.
pub const PASSTHROUGH_SOURCE_SHARE: usize = 2;

/// One peer of terminate routes may hold at most 1/2 of all connections, unless it is the only peer of the
/// only route. The other peers and routes need places when devices of this peer connect again and again.
pub const PEER_SHARE: usize = 2;

/// Largest value of a route's limit of open connections. The process has fewer file descriptors.
pub const ROUTE_CONNECTIONS_MAX: u32 = 1 << 20;

/// Idle time after which a passthrough connection ends unless `idle` is set. The traffic may be MLLP, which
/// is idle overnight; after a whole day the connection is abandoned.
pub const PASSTHROUGH_IDLE: Duration = Duration::from_secs(24 * 3600);

/// Connections above the number of places. Each of them ends an unauthenticated client that is still closing.
pub const OVERFLOW_MAX: usize = 64;

/// How often the gateway checks for the first byte of a stream that either side may begin.
pub const FIRST_MOVE_LOOK: Duration = Duration::from_secs(1);

/// One address may hold at most 1/2 of the places of a stage, and of its memory. After a line outage a whole
/// site connects again from one address, so an address needs many places for a moment. Others still get
/// places, because the address with the most gives up its own.
pub const SOURCE_SHARE: usize = 2;

/// Places of a stage that one address may hold on a small machine, where `SOURCE_SHARE` gives fewer.
pub const SOURCE_PLACES_MIN: usize = 16;

/// Memory that one place stands for. A half-open handshake uses 15 KiB, a silent connection 6 KiB. A
/// connection that uses more counts as several places.
pub const PLACE_BYTES: usize = 16 << 10;

/// Memory of a connection besides the bytes it has received.
pub const CONNECTION_BYTES: usize = 12 << 10;

/// Memory of unauthenticated clients on one core in one of the three stages. It is enough for 2,048 places,
/// each twice as large as usual.
pub const UNAUTHENTICATED_BYTES: usize = 64 << 20;

/// Handshake steps may use at most 1/20 of a core's time while payload moves there: about 100 handshakes per
/// second. Accepting, answering and closing these connections takes another 1/20.
pub const STEPS_SHARE: u32 = 20;

/// Time that handshake steps may take at once before the share applies: a whole site reconnects.
pub const STEPS_BURST: Duration = Duration::from_millis(20);

/// Longest time beyond the share that later steps wait for. The longest legal step, a signature with an RSA
/// key of 8192 bits, takes a few tens of milliseconds and counts in full. No step delays others for more than
/// two seconds.
pub const STEPS_DEBT_MAX: Duration = Duration::from_millis(100);

const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * HANDSHAKE_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * REQUEST_BYTES_MAX);

/// Idle time after which a half-closed connection ends. An endpoint that has disappeared leaves no other
/// trace.
pub const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Bytes of a whole A-ASSOCIATE-RQ or A-ASSOCIATE-AC. 128 contexts with ten transfer syntaxes each take 80
/// KiB; a user identity (a SAML assertion) may add some tens of KiB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Presentation contexts of one association: there are 128 odd identifiers (PS3.8 section 9.3.2.2).
pub const CONTEXTS_MAX: usize = 128;
/// Junk bytes (CR, LF, NUL) before the first MLLP frame of a stream. Programs that write line ends around
/// their messages send one to four.
pub const MLLP_START_JUNK_MAX: usize = 8;

/// Bytes of a command set. The longest, of a C-MOVE response or an N-SET request, take a few hundred.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;

/// Requests of one direction that the observer remembers until they are answered. Most applications wait for
/// each answer; asynchronous windows of some tens occur.
pub const OUTSTANDING_MAX: usize = 256;

/// SOP classes of one association that are counted separately. A study has a handful.
pub const SOP_CLASSES_MAX: usize = 64;

/// Failure codes of one association that are counted separately.
pub const FAILURES_MAX: usize = 16;

/// Move destinations of one association that are logged. A workstation moves to itself, a router to a few.
pub const DESTINATIONS_MAX: usize = 16;
/// Junk bytes in a row between two MLLP frames before the stream counts as another protocol. A sender of one
/// junk byte per second, to keep a connection alive, is accepted as MLLP for most of a day.
pub const MLLP_JUNK_MAX: u64 = 64 << 10;

/// Bytes of an MLLP frame in which the observer looks for message type and code. MSH takes some hundreds.
pub const MLLP_HEAD_BYTES_MAX: usize = 4096;

/// Bytes after which an MLLP frame counts as too long. The frame still passes: reports with pictures take
/// tens of MiB, and receivers have their own limits.
pub const MLLP_OVERSIZE_BYTES: u64 = 64 << 20;

/// Messages of an MLLP connection whose acknowledgement times are measured. Most senders wait for each
/// acknowledgement; the others have some tens outstanding.
pub const MLLP_PENDING_MAX: usize = 256;

/// Message types of one MLLP connection that are counted separately. An interface carries a handful.
pub const MLLP_TYPES_MAX: usize = 32;

/// Shortest time to an answer (of a C-STORE or an MLLP message) that is measured: shorter times are noise of
/// the machine.
pub const LATENCY_MIN: Duration = Duration::from_micros(10);
/// Longest time to an answer that is measured: every application has given up before.
pub const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Bytes of a PDU, and of the command in it, that an archive may send in answer to a C-ECHO probe. The
/// longest, the A-ASSOCIATE-AC of one presentation context, takes some hundreds.
pub const ECHO_PDU_BYTES_MAX: u32 = 16_384;

/// Failed probes in a row with the same new cause before the log reports this cause for a target that is
/// already down. A cause that changes more often would flood the log.
pub const CAUSE_CHANGES_AFTER: u32 = 3;

/// Bytes that a target may send to one probe after the handshake, including TLS records. The answer takes
/// some hundreds; payload may come before it.
pub const PROBE_BYTES_MAX: usize = 256 << 10;

/// Bytes that a receiver may send in answer to an HL7 probe. An acknowledgement takes some hundreds; other
/// messages may come before it.
pub const PROBE_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Probes that a core runs at one time; further probes wait. So many handshakes at once delay other traffic
/// by some tens of milliseconds. A silent target occupies a probe until its timeout.
pub const PROBES_MAX: usize = 32;
