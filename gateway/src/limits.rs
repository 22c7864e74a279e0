//! Every fixed bound, its reason, and compile-time checks between them.

use std::time::Duration;

/// Identities that one peer or all peers of one route may have. A route joins two sites, a regional archive
/// perhaps a few hundred.
pub const PEERS_MAX: usize = 1024;

/// Targets that one route may name. They are tried in order while an application waits.
pub const TARGETS_MAX: usize = 16;

/// AE titles in one list of a route. A region may have some hundreds of modalities.
pub const AE_TITLES_MAX: usize = 1024;

/// The most that a route's own bound of open associations may be. No archive takes as many, and there
/// are descriptors for fewer.
pub const ASSOCIATIONS_MAX: u32 = 65_536;

/// The shortest time between two probes of a target. A peer that is asked more often has to do with us
/// alone.
pub const HEALTH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The longest time between two probes of a target. What is asked less often is not watched.
pub const HEALTH_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// The longest that one probe may take, as for the connections it stands for.
pub const HEALTH_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The most probes in a row that may be asked for before a target counts as up or down.
pub const HEALTH_COUNT_MAX: u32 = 100;

/// Routes in one configuration. Each has a listener on one core.
pub const ROUTES_MAX: usize = 1024;

/// Worker threads. More cores than this have not been tried.
pub const CORES_MAX: usize = 128;

/// The longest that an idle worker stays awake. A sleeping one is woken in some 50 us, so whoever
/// waits a thousand times as long gains nothing that could be measured.
pub const BUSY_POLL_MAX: Duration = Duration::from_millis(100);

/// Bytes of a configuration file. A hand-written file is a few KiB.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Bytes of a certificate, key or CRL file. The largest public CRLs are some tens of MiB.
pub const PKI_FILE_BYTES_MAX: u64 = 64 << 20;

/// Certificates in one chain that a peer may present, the leaf included (RFC 5280 sets no bound).
pub const CHAIN_CERTIFICATES_MAX: usize = 8;

/// Bytes of one certificate that a peer may present. RSA-4096 with many extensions takes 3 KiB; two
/// hundred names take six more.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Extensions of one certificate that a peer may present. CAs' certificates have up to 12, a peer's own up
/// to 16. webpki reads those of all intermediates at each step of the search for a path.
pub const CERTIFICATE_EXTENSIONS_MAX: usize = 32;

/// DER elements of one certificate that a peer may present: names, extensions and their parts. Root
/// certificates of public CAs have 70 to 113, a peer's own about 200; a DNS name more is one more.
pub const CERTIFICATE_ELEMENTS_MAX: usize = 512;

/// Steps from a certificate to a possible issuer that building a path may take. At each step webpki reads
/// all intermediates again. A path of three CAs with two certificates each takes 14.
pub const PATH_STEPS_MAX: usize = 16;

/// Certificates of one chain that may fail a signature check before any has passed one. In a legal chain
/// one does, where a CA has renewed its key under its name and its old key is trusted.
pub const FORGED_AT_FIRST_MAX: usize = 2;

/// Certificates of one chain that may fail a signature check in all. In a legal chain a second one does,
/// where an intermediate CA has renewed its key as well.
pub const FORGED_CERTIFICATES_MAX: usize = 3;

/// CAs of one name in the trust of one peer. A CA that renews its key keeps its name, and the certificate before
/// ends some years later; a second generation before it is seldom still needed.
pub const ANCHORS_OF_ONE_NAME_MAX: usize = 6;

/// Signature checks of one chain that may fail. In a legal chain two certificates fail one under each CA of a name.
pub const FAILED_CHECKS_MAX: usize = 2 * ANCHORS_OF_ONE_NAME_MAX;

/// CAs of other peers that a certificate is held against once no CA of the peer that it claims to be has issued it:
/// only the sentence of the refusal depends on it.
pub const ANCHORS_OF_OTHERS_MAX: usize = 4;

/// Comparisons of a name in a chain with a constraint that a CA has on URIs or directory names. A CA with 20 constraints
/// above a certificate of 400 URIs takes 8,000.
pub const NAME_COMPARISONS_MAX: usize = 50_000;

/// Bytes of the names of CAs that a server sends in its CertificateRequest, so that the client may choose among its
/// certificates. TLS has room for 65,535, and most clients read less; none is sent where they are more. A hundred
/// names of 80 bytes fit.
pub const CA_NAMES_BYTES_MAX: usize = 8192;

/// Names of one certificate that a refusal shows; the others are counted. A gateway has one or two.
pub const SHOWN_NAMES_MAX: usize = 6;

/// Characters of one foreign name in a log line. A DNS name has at most 253 (RFC 1035 section 2.3.4).
pub const SHOWN_NAME_CHARS_MAX: usize = 256;

/// Characters of a sentence about a handshake. It must hold one certificate, the rule and the remedy.
pub const SENTENCE_CHARS_MAX: usize = 4096;

/// Events that may wait for the journal. When it is full, events are counted and dropped: a log that
/// nobody reads must not stop a byte.
pub const EVENTS_MAX: usize = 4096;

/// How long the journal is away after it has written all there was. Nobody reads a log so fast, and
/// `EVENTS_MAX` are not told in that time.
pub const JOURNAL_PAUSE: Duration = Duration::from_millis(10);

/// How often a connection with an accepted peer reports what it has carried. An MLLP connection lasts for
/// months; after a crash its log is an hour behind at most.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(3600);

/// How long a target may leave the first request of a connection without a byte of answer before the log says so. The
/// clients of archives give up after 10 s to 60 s; a receiver that is only slow answers in a few.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// How long the client of such a target has waited at least where the log says that it gave up. One that is ended by
/// its user, and a port scan, close sooner.
pub const ANSWER_GIVEN_UP_MIN: Duration = Duration::from_secs(2);

/// How long the CR behind the FS of a message may be under way before the log says that it is missing: both are sent
/// at once, so it comes within a retransmission.
pub const MLLP_CR_WAIT: Duration = Duration::from_secs(1);

/// Listeners that the line of a start lists; further ones are counted. The line must fit what log
/// collectors take: with the longest names it has 6 KiB.
pub const LISTENERS_SHOWN_MAX: usize = 64;

/// Submission entries of a worker's ring. A worker submits what one turn of its loop produced: a
/// few per connection that moved; a full queue is flushed, not refused.
pub const RING_ENTRIES: u32 = 1024;

/// Completion entries of a worker's ring: each open connection waits with two operations, so this
/// carries 8,192 connections a core without overflow (which the kernel survives, more slowly).
pub const RING_COMPLETIONS: u32 = 16_384;

/// Between two attempts of a worker to submit requests that the kernel has no memory for. Short, because no
/// connection of the core moves meanwhile; long enough not to take the CPU from what frees memory.
pub const RING_RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Longest wait of a worker in its ring while a sleep is queued. The kernel adds the wait to its clock without
/// a check for overflow, so that 300 years would be a time in the past.
pub const RING_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Tries of an operation that fails for a moment (no memory, not ready) before it counts as failed.
pub const RETRIES_MAX: u32 = 100;

/// Pause between such tries; with `RETRIES_MAX` a socket is given up after a second.
pub const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Octets of payload in one record (RFC 8446 section 5.1).
pub const PLAINTEXT_ROOM: usize = 16_384;

/// Octets of a record's header (RFC 8446 section 5.1).
pub const RECORD_HEADER: usize = 5;

/// Octets that a TLS 1.3 record of AES-GCM has behind its payload: content type 1, tag 16 (RFC 8446
/// section 5.2).
pub const RECORD_TRAILER: usize = 17;

/// Octets of a sealed record of full length, and so the room in which its payload is received.
pub const RECORD_ROOM: usize = RECORD_HEADER + PLAINTEXT_ROOM + RECORD_TRAILER;

/// Octets behind the header of a TLS 1.3 record, at most (RFC 8446 section 5.2).
pub const CIPHERTEXT_MAX: usize = PLAINTEXT_ROOM + 256;

/// Octets that a record of either version has beside its payload: header 5, then at most 8 of explicit
/// nonce and 16 of tag (TLS 1.2), or 1 of content type and 16 of tag (TLS 1.3).
pub const RECORD_OVERHEAD_MAX: usize = 29;

/// Octets of what TLS itself may owe the peer at a time: a key update and an alert.
pub const CONTROL_ROOM: usize = 2304;

/// Records of full length in a small buffer: 64 KiB of payload. Messages and most PDUs fit in one turn,
/// and so does the longest record of TLS 1.2 (RFC 5246 section 6.2.3).
pub const RECORDS_SMALL: usize = 4;

/// Records of full length in a large buffer: 1 MiB of payload. Smaller turns cost more kernel time per
/// octet; larger ones gain little, and hold up the other connections of the core for longer.
pub const RECORDS_LARGE: usize = 64;

/// Records of full length in a turn of bulk beside others who chat: 256 KiB, so that a message waits for
/// some 60 microseconds of a busy core and not for four times as long.
pub const RECORDS_MEDIUM: usize = 16;

/// Turns of bulk that stay short after somebody chatted: a quarter of a gigabyte, a tenth of a second.
pub const SHORT_TURNS: u32 = 1024;

/// Parts of memory that one send or receive takes: as many as a large buffer has records.
pub const PARTS_MAX: usize = RECORDS_LARGE;

/// Large buffers that a core lends at a time: 64 directions at full speed, in 64 MiB a core.
pub const POOL_LARGE: usize = 64;

/// Large buffers of a core that may hold the beginning of a record while the rest of it is waited for. When
/// more are lent, such a beginning moves to a small buffer: two copies of some KiB for each wait, which bulk
/// on few connections does not pay.
pub const POOL_LARGE_AT_REST: usize = 8;

/// Small buffers that a core keeps when they are given back, in 16 MiB. More are made as they are needed,
/// two for each open connection at most.
pub const POOL_SMALL: usize = 256;

/// Octets that a pipe takes: what a large buffer holds (`fs.pipe-max-size` allows 1 MiB to everybody).
pub const PIPE_ROOM: usize = 1 << 20;

/// Octets that a pipe must take to be used. It is what Linux makes where nothing is asked; smaller ones
/// cost more than copying.
pub const PIPE_ROOM_MIN: usize = 64 << 10;

/// Pipes that a core lends at a time, with two descriptors each. Linux gives a user without privilege 64
/// pipes of 1 MiB in all (`fs.pipe-user-pages-soft`), which is four cores' worth.
pub const PIPES_MAX: usize = 16;

/// Turns in a row that move little before a connection goes back to small buffers.
pub const SMALL_READS_MAX: u32 = 8;

/// Messages in a row, each answered before the next, after which the plain side is not acknowledged ahead
/// of the answer any more.
pub const EXCHANGES_MIN: u32 = 8;

/// Records that one key seals before it is updated (RFC 8446 section 5.5 allows 2^24.5 of AES-GCM).
pub const KEY_RECORDS_MAX: u64 = 1 << 24;

/// Key updates that a peer may ask for without payload between them; BoringSSL and rustls bound them so.
pub const KEY_UPDATES_MAX: u32 = 32;

/// Records without payload that a peer may send in a row, as rustls bounds them.
pub const EMPTY_RECORDS_MAX: u32 = 32;

/// Octets of a handshake message behind the handshake (a session ticket), as rustls bounds them.
pub const POST_HANDSHAKE_MESSAGE_MAX: usize = 0xffff;

/// Octets of one handshake flight that are held: the longest legal message (RFC 8446 section 4: a
/// uint24, which rustls bounds to 64 KiB) in records with their headers.
pub const HANDSHAKE_BYTES_MAX: usize = 128 << 10;

/// How long a refused peer is given to take its alert before the connection is reset.
pub const ALERT_LINGER: Duration = Duration::from_secs(1);

/// How long an application is given to close after it was told that its association is refused or
/// broken off: the ARTIM timer (PS3.8 section 9.1.5), for which no standard has a value.
pub const ARTIM: Duration = Duration::from_secs(5);

/// How long a receiver whose connection must be reset may take nothing of what was sent to it before it
/// was known, and how long all of it may take. Longer than the retransmissions of a lossy line, shorter
/// than operators wait.
pub const DELIVERY_STALL: Duration = Duration::from_secs(5);
/// See `DELIVERY_STALL`.
pub const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// How often a receiver that is waited for is looked at, at most and at least.
pub const DELIVERY_LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// How long a receiver that has acknowledged all is given to read it before the reset. Linux lets an
/// application read behind a reset what had arrived before it; other systems throw that away.
pub const RESET_GRACE: Duration = Duration::from_millis(200);

/// Octets of a refused peer that are thrown away while it takes its alert.
pub const LINGER_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(RECORDS_SMALL * RECORD_ROOM >= 2 * (RECORD_HEADER + PLAINTEXT_ROOM + 2048));
const _: () = assert!(RECORDS_LARGE as u64 * 2 < KEY_RECORDS_MAX);
const _: () = assert!(HANDSHAKE_BYTES_MAX > 65_536 + PLAINTEXT_ROOM);

/// Names whose addresses a core remembers. Routes name a handful.
pub const NAMES_MAX: usize = 1024;

/// How long an address is used before the name is looked up again.
pub const NAME_FRESH: Duration = Duration::from_secs(10);

/// How long an address may still be used when the name cannot be looked up: a resolver that is down
/// must not take the hospital's images with it.
pub const NAME_STALE: Duration = Duration::from_secs(3600);

/// How long a look-up is waited for where an address is remembered that serves as well.
pub const LOOK_UP_HASTE: Duration = Duration::from_millis(500);

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// How long an attempt at one address of a name has before the next address is tried beside it (RFC 8305
/// section 5 recommends it): longer than the round trip of any link between hospitals.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long an address that did not answer is tried after the others. When it is back, it is used again
/// within this time; until then one connection in this time pays for trying it.
pub const ADDRESS_SILENT: Duration = Duration::from_secs(60);

/// How often an address that stays silent is reported.
pub const ADDRESS_REPORT_EVERY: Duration = Duration::from_secs(3600);

/// Silent addresses that the gateway remembers. Routes have a handful of addresses.
pub const DEAD_ADDRESSES_MAX: usize = 1024;

/// Problems of a configuration that are told at once. More would scroll the first ones away.
pub const CONFIG_PROBLEMS_MAX: usize = 200;

/// Bytes of a route's name. It stands in every log line and is a label of every metric.
pub const ROUTE_NAME_BYTES_MAX: usize = 64;

/// `[[peer]]` tables. Each has files of its own, which are held while the gateway runs; more partners than
/// routes need a second gateway.
pub const PEER_TABLES_MAX: usize = 1024;

/// Bytes of a service label, so that it fits with its prefix into a protocol name of ALPN (RFC 7301 section
/// 3.1 allows 255).
pub const SERVICE_LABEL_BYTES_MAX: usize = 64;

/// Bytes of the name of a network interface (`IFNAMSIZ` of Linux, without its final NUL).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// Bytes of a Unix socket's path (`sun_path` of unix(7), with its final NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The shortest deadline. Less is below the round-trip times of wide-area links.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// The longest handshake. A peer that needs a minute holds a connection for nothing.
pub const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The longest connect, all targets of a route together. The kernel's own limit for one is about two
/// minutes, applications' are seconds.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The longest wait for the first byte that can be written beside "never". An application that connects in advance
/// may wait for hours, and another one has something to send.
pub const FIRST_BYTE_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);

/// The longest idle time. Who wants more wants "never".
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest drain, of which the process takes that of its most patient route. A large study over a slow line ends within a day.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest keepalive idle time and interval (`MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` of Linux).
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// The most keepalive probes (`MAX_TCP_KEEPCNT` of Linux).
pub const KEEPALIVE_PROBES_MAX: u32 = 127;

/// The longest time that a peer may leave what it was sent without an answer.
pub const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest time that a receiver which answers may read nothing. Who wants more wants "never".
pub const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Messages that may wait in a worker's mailbox: connections on their way to it.
pub const MAILBOX_MAX: usize = 1024;

/// Connections that are accepted in one turn before other tasks get theirs.
pub const ACCEPT_BATCH: usize = 64;

/// Pause of a listener when descriptors or memory have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel holds for a listener that is busy (bounded by net.core.somaxconn).
pub const LISTEN_BACKLOG: i32 = 4096;

/// Descriptors that are not for connections: rings, listeners, log, metrics, files being read.
pub const DESCRIPTORS_RESERVED: usize = 256;

/// How long the report of a panic that ends the process may take to be written: a standard error that
/// nobody reads must not keep the process from ending, and so from being started again.
pub const PANIC_REPORT: Duration = Duration::from_secs(1);

/// Refusals of one route and kind that are logged in a row before the rate limit bites.
pub const REFUSALS_BURST: u32 = 10;

/// One refusal of a route and kind is logged per this time after the burst.
pub const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// How often a signal is logged that the gateway ignores. Who sends one in a loop fills no log.
pub const SIGNAL_REPORT_EVERY: Duration = Duration::from_secs(60);

/// Problems of files that the log shows in the line of a route that is closed; `check` shows all.
pub const SHOWN_PROBLEMS_MAX: usize = 4;

/// The longest time between two looks at what expires. Each warning comes when it is due; this notices a clock
/// that was set meanwhile.
pub const EXPIRY_LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How often it is repeated that a certificate or a revocation list has expired.
pub const EXPIRY_REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Metrics requests served at a time. A further one ends the oldest of the source that has the most. Half
/// of the descriptors that are reserved.
pub const METRICS_REQUESTS_MAX: usize = 128;

/// How long a metrics request is not ended by a further one: a client sends its request at once when it
/// has connected. With `METRICS_REQUESTS_MAX` this lets 2,560 connections a second in.
pub const METRICS_GRACE: Duration = Duration::from_millis(50);

/// Octets of a metrics request.
pub const METRICS_REQUEST_BYTES_MAX: usize = 8192;

/// How long a metrics request may take, whole.
pub const METRICS_DEADLINE: Duration = Duration::from_secs(5);

/// How long workers may take to end once their connections were told to.
pub const WORKERS_END: Duration = Duration::from_secs(5);

/// Names that are looked up at a time, each on a thread of its own that waits for the system's resolver. A core has one
/// look-up of a name at a time, so a configuration of fewer names on few cores never reaches the bound: a name whose
/// server hangs keeps its own thread, and delays no other name.
pub const LOOK_UPS_MAX: usize = 256;

/// Names of targets that `wardgate check` looks up, each in a thread of its own. A configuration of a large region
/// has some tens.
pub const CHECK_NAMES_MAX: usize = 64;

/// How long `wardgate check` waits for the names of targets. A resolver gives up after 5 s for each server.
pub const CHECK_NAMES_WAIT: Duration = Duration::from_secs(5);

/// How long the header of a metrics request may take: it is one packet.
pub const METRICS_HEADER_DEADLINE: Duration = Duration::from_millis(500);

/// Clients whose handshake is not done may hold one in this many of all places.
pub const HANDSHAKES_SHARE: usize = 2;

/// Clients that have sent no first message to an originate route, clients of passthrough routes that the
/// target has not answered, and accepted peers that have sent no first message, may each hold one in this
/// many of all places.
pub const OPENERS_SHARE: usize = 4;

/// All passthrough routes together may have one in this many of all connections. Their clients have not
/// proved who they are, and the other routes need places too.
pub const PASSTHROUGH_SHARE: usize = 2;

/// One address (IPv6: one /64) may have one in this many of the connections of all passthrough routes that
/// the target has answered. A whole site may connect from one address, so it gets many; the rest is for
/// everybody else.
pub const PASSTHROUGH_SOURCE_SHARE: usize = 2;

/// One peer of terminate routes may have one in this many of all connections, unless it is the only peer of
/// the only route: the other peers and routes need places when its devices connect again and again.
pub const PEER_SHARE: usize = 2;

/// The most that a route's own bound of open connections may be. There are descriptors for fewer.
pub const ROUTE_CONNECTIONS_MAX: u32 = 1 << 20;

/// Silence in both directions after which a passthrough connection is ended unless `idle` says otherwise.
/// What passes may be MLLP, which is silent for a night; after a day it was forgotten.
pub const PASSTHROUGH_IDLE: Duration = Duration::from_secs(24 * 3600);

/// Connections above the number that there are places for, each of which ends an unauthenticated client
/// that has not gone yet.
pub const OVERFLOW_MAX: usize = 64;

/// How often a stream that either side may begin is looked at for its first byte.
pub const FIRST_MOVE_LOOK: Duration = Duration::from_secs(1);

/// One address may hold one in this many of the places of a stage, and of its memory. A whole site
/// connects from one address after an outage of its line, so one address needs many places for a moment;
/// others get places in any case, because the address with the most gives its own up.
pub const SOURCE_SHARE: usize = 2;

/// Places of a stage that one address may hold on a small machine, where `SOURCE_SHARE` is fewer.
pub const SOURCE_PLACES_MIN: usize = 16;

/// Memory that a place stands for. A half-open handshake uses 15 KiB, a silent connection 6; what uses
/// more counts as several.
pub const PLACE_BYTES: usize = 16 << 10;

/// Memory that a connection uses beside what it has received.
pub const CONNECTION_BYTES: usize = 12 << 10;

/// Memory that unauthenticated clients may use on one core in one stage, of which there are three. It
/// carries 2,048 places, each twice as large as usual.
pub const UNAUTHENTICATED_BYTES: usize = 64 << 20;

/// Steps of handshakes have one in this many of a core's time while payload moves there: about a hundred
/// handshakes a second. To accept, answer and close those connections takes the core another twentieth.
pub const STEPS_SHARE: u32 = 20;

/// Time that steps of handshakes may take at once before the share applies: a site that connects anew.
pub const STEPS_BURST: Duration = Duration::from_millis(20);

/// The most time beyond the share that later steps wait for. The longest legal step, a signature with an
/// RSA key of 8192 bits, takes a few tens of milliseconds and is charged whole; no step holds up others for
/// more than two seconds.
pub const STEPS_DEBT_MAX: Duration = Duration::from_millis(100);

const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * HANDSHAKE_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_BYTES / SOURCE_SHARE >= 2 * REQUEST_BYTES_MAX);

/// Silence after which a connection is ended whose one direction has finished in order: who went
/// away for good leaves no other trace.
pub const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Octets of an A-ASSOCIATE-RQ or -AC, whole. 128 contexts with ten transfer syntaxes each are 80 KiB;
/// a user identity (a SAML assertion) may add some tens.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Presentation contexts of one association: there are 128 odd identifiers (PS3.8 section 9.3.2.2).
pub const CONTEXTS_MAX: usize = 128;
/// Octets of junk (CR, LF, NUL) ahead of the first MLLP frame of a stream. Programs that write line
/// ends around their messages have one to four.
pub const MLLP_START_JUNK_MAX: usize = 8;

/// Octets of a command set. The longest, of a C-MOVE response or an N-SET request, have a few hundred.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;

/// Requests of one direction that are remembered until they are answered. Most applications wait for
/// each answer; windows of some tens are seen.
pub const OUTSTANDING_MAX: usize = 256;

/// SOP classes of one association that are counted apart. A study has a handful.
pub const SOP_CLASSES_MAX: usize = 64;

/// Failure codes of one association that are counted apart.
pub const FAILURES_MAX: usize = 16;

/// Move destinations of one association that are told. A workstation moves to itself, a router to a few.
pub const DESTINATIONS_MAX: usize = 16;
/// Octets of junk in a row between two MLLP frames before the stream counts as something else. Whoever
/// sends one a second to keep a connection alive is known as MLLP for most of a day.
pub const MLLP_JUNK_MAX: u64 = 64 << 10;

/// Octets of an MLLP frame in which its type and its code are looked for. MSH has some hundred.
pub const MLLP_HEAD_BYTES_MAX: usize = 4096;

/// Octets of an MLLP frame beyond which it is counted as too long. It passes: reports with pictures in
/// them have tens of MiB, and receivers have bounds of their own.
pub const MLLP_OVERSIZE_BYTES: u64 = 64 << 20;

/// Messages of an MLLP connection whose acknowledgements are waited for with a time. Most senders wait
/// for each, those who do not have some tens under way.
pub const MLLP_PENDING_MAX: usize = 256;

/// Types of messages that are counted apart in one MLLP connection. An interface carries a handful.
pub const MLLP_TYPES_MAX: usize = 32;

/// The shortest and the longest time to an answer (of a C-STORE, of an MLLP message) that are told apart
/// from shorter and longer ones: below the one is a machine's own noise, beyond the other every
/// application has given up.
pub const LATENCY_MIN: Duration = Duration::from_micros(10);
/// See `LATENCY_MIN`.
pub const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Octets of a PDU that an archive may send us where we ask it a C-ECHO, and of the command in it. Its
/// longest, the A-ASSOCIATE-AC of one presentation context, has some hundreds.
pub const ECHO_PDU_BYTES_MAX: u32 = 16_384;

/// Bad probes in a row, all with the same cause, after which a target that is down is told to be down for
/// another cause than was told. Fewer could be one that comes and goes.
pub const CAUSE_CHANGES_AFTER: u32 = 3;

/// Octets that a target may send to one probe behind the handshake, records of TLS and all. What a probe
/// waits for comes within some hundreds; payload may come before it.
pub const PROBE_BYTES_MAX: usize = 256 << 10;

/// Octets that a receiver may answer to our own HL7 message. An acknowledgement has some hundreds; other
/// messages may come before it.
pub const PROBE_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Probes that a core makes at a time; the next waits for its turn. So many handshakes at once hold up
/// the bytes of others for some tens of milliseconds, and a target that says nothing takes a place for
/// the time of its timeout.
pub const PROBES_MAX: usize = 32;
