//! Every kind of message in the log, with its code, cause and remedy.
//!
//! `cargo xtask docs` makes the chapter "Messages" from this file: a section for each line `// Section:`, and a
//! row for each constant. A comment begins with what the message means. Its last paragraph begins
//! `What to do: `. A code never changes, and is the name of its constant in lower case; a constant that no
//! code uses does not compile without a warning.

use super::level::Level;

/// A kind of message.
#[derive(Debug, PartialEq, Eq)]
pub struct LogMessage {
    code: &'static str,
    level: Level,
}

impl LogMessage {
    const fn info(code: &'static str) -> Self {
        let level = Level::Info;
        Self { code, level }
    }

    const fn warn(code: &'static str) -> Self {
        let level = Level::Warn;
        Self { code, level }
    }

    const fn error(code: &'static str) -> Self {
        let level = Level::Error;
        Self { code, level }
    }

    /// The field `code` of its lines, or `error.type` of lines about ended connections.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Its severity.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

// Section: Start and configuration

/// At start: what the kernel's io_uring offers.
///
/// What to do: nothing.
pub(crate) static IO_URING: LogMessage = LogMessage::info("io_uring");

/// At start: the parts of the sandbox that are in force. `wardgate status` shows them too.
///
/// What to do: nothing.
pub(crate) static SANDBOX: LogMessage = LogMessage::info("sandbox");

/// A part of the sandbox is not in force: this kernel does not have it, it failed, or the configuration turns it off. A
/// break-in would reach further.
///
/// What to do: the message names the part, the reason and the remedy. With `sandbox = "require"` in `[gateway]`, the
/// gateway does not start without a part that the kernel has.
pub(crate) static SANDBOX_MISSING: LogMessage = LogMessage::warn("sandbox_missing");

/// At start: the implementation that encrypts and decrypts records, and why it was chosen.
///
/// What to do: nothing; `cipher` in `[gateway]` selects another one.
pub(crate) static CIPHER: LogMessage = LogMessage::info("cipher");

/// At start: the NUMA nodes of the cores that the gateway uses.
///
/// What to do: nothing.
pub(crate) static NUMA_NODES: LogMessage = LogMessage::info("numa_nodes");

/// At start: the gateway uses cores of several NUMA nodes, because `cores` does not select any. Traffic between nodes is
/// slower.
///
/// What to do: set `cores` in `[gateway]` to cores of the node of the network card.
pub(crate) static NUMA_SEVERAL: LogMessage = LogMessage::warn("numa_several");

/// The gateway has waited for this machine's clock, because a certificate of this site was not valid yet.
///
/// What to do: check the time server with `timedatectl`; if the clock is right, the certificate begins later.
pub(crate) static CLOCK_WAITED: LogMessage = LogMessage::warn("clock_waited");

/// `connections` in `[gateway]` is higher than the limit of open files allows.
///
/// What to do: raise `LimitNOFILE=` in the unit, or write a smaller number.
pub(crate) static CONNECTIONS_ABOVE_FILES: LogMessage = LogMessage::warn("connections_above_files");

/// The process runs as root.
///
/// What to do: run the gateway as a user of its own, with `CAP_NET_BIND_SERVICE` for ports below 1024.
pub(crate) static RUNS_AS_ROOT: LogMessage = LogMessage::info("runs_as_root");

/// A valid configuration has a setting without effect, or one that is probably not what was meant. `wardgate check` prints
/// the same remark.
///
/// What to do: the message names the route or the peer and the key to change.
pub(crate) static CONFIGURATION_REMARK: LogMessage = LogMessage::info("configuration_remark");

/// The health probe of a route will be rejected by the other gateway or the target.
///
/// What to do: set the titles in `[route.health]` to titles that the rules of both sites allow.
pub(crate) static PROBE_REFUSED: LogMessage = LogMessage::warn("probe_refused");

/// No revocation list is configured for a peer, so a revoked certificate of this peer would be accepted.
///
/// What to do: set `crl` for the peer, and renew the list regularly.
pub(crate) static NO_REVOCATION_LIST: LogMessage = LogMessage::info("no_revocation_list");

/// A passthrough route forwards bytes unchanged: traffic that is not TLS already crosses the network as plaintext.
///
/// What to do: nothing if the applications use TLS; otherwise use `originate` and `terminate`.
pub(crate) static PASSTHROUGH_PLAINTEXT: LogMessage = LogMessage::info("passthrough_plaintext");

/// Peers may refuse this site's certificate, or a file has more certificates than needed.
///
/// What to do: the message names the file and the certificate to reissue or remove.
pub(crate) static OWN_CERTIFICATE: LogMessage = LogMessage::warn("own_certificate");

/// This machine lacks something that the configuration names: an interface, an address, journald. The gateway cannot start.
///
/// What to do: add what is missing, or correct the key that the message names.
pub(crate) static MACHINE_LACKS: LogMessage = LogMessage::warn("machine_lacks");

/// A route or a peer is closed, because one of its files is missing, damaged or expired.
///
/// What to do: the message names the file; replace it, and the gateway opens the route within seconds.
pub(crate) static FILES_BAD: LogMessage = LogMessage::error("files_bad");

/// The earlier process had a listener that no route of this process uses. It is closed.
///
/// What to do: nothing if the route was removed or moved on purpose.
pub(crate) static LISTENER_UNUSED: LogMessage = LogMessage::info("listener_unused");

/// `wardgate pair` has written a peer: its name, identity, key and the files. From the command itself, in the journal.
///
/// What to do: nothing; if no person of this site has paired, look at who was logged in.
pub(crate) static PAIRED: LogMessage = LogMessage::info("paired");

/// `wardgate pair renew` has renewed a certificate or a CA of this site, or signed an update for partners.
///
/// What to do: nothing.
pub(crate) static OWN_RENEWED: LogMessage = LogMessage::info("own_renewed");

/// `wardgate pair renew` trusts the new CA certificates of a peer: a CA that was trusted before has signed them.
///
/// What to do: nothing; the update is kept beside the certificates as evidence.
pub(crate) static TRUST_UPDATE_USED: LogMessage = LogMessage::info("trust_update_used");

/// `wardgate pair renew` has failed, or refused what a peer has sent.
///
/// What to do: the message gives the reason. An update with a wrong signature, or an old one, comes from a gateway that
/// was restored from a backup, or from an attack.
pub(crate) static RENEWAL_FAILED: LogMessage = LogMessage::warn("renewal_failed");

/// A paired peer has sent new CA certificates over the link. They are stored, and not used yet.
///
/// What to do: nothing; `wardgate-pair-renew.timer` checks their signature and uses them.
pub(crate) static TRUST_UPDATE_RECEIVED: LogMessage = LogMessage::info("trust_update_received");

/// A paired peer has sent CA certificates that were not stored: older than the last ones, or not well formed; or the state
/// folder cannot be written.
///
/// What to do: the message gives the reason; if it is the folder, let the user of the gateway write there.
pub(crate) static TRUST_UPDATE_REFUSED: LogMessage = LogMessage::warn("trust_update_refused");

// Section: Certificates, keys and lists

/// A certificate, a CA or a revocation list expires soon.
///
/// What to do: renew the file that the message names.
pub(crate) static FILE_EXPIRES: LogMessage = LogMessage::warn("file_expires");

/// A certificate, a CA or a revocation list has expired, so connections are refused.
///
/// What to do: replace the file that the message names at once.
pub(crate) static FILE_EXPIRED: LogMessage = LogMessage::error("file_expired");

/// Replaced files are in use on the routes that the message names.
///
/// What to do: nothing.
pub(crate) static FILES_IN_USE: LogMessage = LogMessage::info("files_in_use");

/// A replaced file is bad, and the earlier one stays in use.
///
/// What to do: the message names the file and its fault; replace it again.
pub(crate) static FILES_REFUSED: LogMessage = LogMessage::error("files_refused");

/// The system cannot watch a folder, so replaced files are noticed later.
///
/// What to do: raise the limit that the message names (`fs.inotify`), or run `wardgate reload` after each change.
pub(crate) static FILES_NOT_WATCHED: LogMessage = LogMessage::warn("files_not_watched");

// Section: Commands, drains and upgrades

/// A command of an operator, with its sender.
///
/// What to do: nothing.
pub(crate) static COMMAND_RECEIVED: LogMessage = LogMessage::info("command_received");

/// A command of an operator succeeded; the message has its answer.
///
/// What to do: nothing.
pub(crate) static COMMAND_DONE: LogMessage = LogMessage::info("command_done");

/// A command of an operator was refused, for example a reload with a bad configuration. Nothing was changed.
///
/// What to do: each line names one problem; correct it, and repeat the command.
pub(crate) static COMMAND_REFUSED: LogMessage = LogMessage::error("command_refused");

/// The process is asked to stop and still accepts, for the longest `drain_delay`. `/readyz` reports it.
///
/// What to do: nothing.
pub(crate) static STOP_ANNOUNCED: LogMessage = LogMessage::info("stop_announced");

/// The process stops, and open connections may end until the `drain` time is over.
///
/// What to do: nothing.
pub(crate) static DRAINING: LogMessage = LogMessage::info("draining");

/// A drained route has no open connection any more.
///
/// What to do: nothing.
pub(crate) static DRAINED: LogMessage = LogMessage::info("drained");

/// Connections that were still open when the `drain` time was over are reset. Senders repeat what was not acknowledged.
///
/// What to do: if large studies need longer, raise `drain` in `[route.timeouts]`.
pub(crate) static DRAIN_RESET: LogMessage = LogMessage::warn("drain_reset");

/// Another process has taken over the listeners. This one serves its open connections, then ends.
///
/// What to do: nothing.
pub(crate) static SUCCEEDED: LogMessage = LogMessage::info("succeeded");

/// The process that had taken over has ended with a failure. The service manager starts the service again.
///
/// What to do: read the log of the new process for its reason; report a crash.
pub(crate) static SUCCESSOR_ENDED: LogMessage = LogMessage::error("successor_ended");

/// The service manager does not keep the listeners, so a restart may refuse clients for a moment.
///
/// What to do: set `FileDescriptorStoreMax=` in the unit as the package does; `wardgate upgrade` refuses no client.
pub(crate) static LISTENERS_NOT_KEPT: LogMessage = LogMessage::warn("listeners_not_kept");

/// The process got a signal without a meaning for it.
///
/// What to do: correct the script that sends it; SIGTERM stops the gateway, and SIGHUP reloads the configuration.
pub(crate) static SIGNAL_IGNORED: LogMessage = LogMessage::warn("signal_ignored");

/// A client of the metrics address was refused: too many connections, a slow or stuck client, a bad request.
///
/// What to do: correct the client if it is your monitoring; limit who can reach the address otherwise.
pub(crate) static METRICS_CLIENT_REFUSED: LogMessage = LogMessage::info("metrics_client_refused");

// Section: Targets and listeners

/// The health probe of a target fails. New connections go to other targets of the route.
///
/// What to do: the message names the target and the cause; check whether its service runs and answers.
pub(crate) static TARGET_DOWN: LogMessage = LogMessage::warn("target_down");

/// The health probe of a target fails since longer, or for another reason than before.
///
/// What to do: as for `target_down`.
pub(crate) static TARGET_STILL_DOWN: LogMessage = LogMessage::warn("target_still_down");

/// The health probe of a target succeeds again.
///
/// What to do: nothing.
pub(crate) static TARGET_UP: LogMessage = LogMessage::info("target_up");

/// A bug ended the health probes of a target. The gateway treats the target as up.
///
/// What to do: report the bug with this line and the line of the panic; restart the gateway when you can.
pub(crate) static PROBES_ENDED: LogMessage = LogMessage::error("probes_ended");

/// An address of a target does not answer, and another address of its name is used.
///
/// What to do: check whether the address is right in the DNS, and whether the host or a firewall is down.
pub(crate) static ADDRESS_SILENT: LogMessage = LogMessage::warn("address_silent");

/// An address that did not answer before answers again.
///
/// What to do: nothing.
pub(crate) static ADDRESS_ANSWERS: LogMessage = LogMessage::info("address_answers");

/// Connections to a target fail repeatedly, so other targets are tried first.
///
/// What to do: the message names the target and the cause of the last failure.
pub(crate) static TARGET_FAILS: LogMessage = LogMessage::warn("target_fails");

/// A connection to a target that had failed repeatedly has succeeded.
///
/// What to do: nothing.
pub(crate) static TARGET_WORKS: LogMessage = LogMessage::info("target_works");

/// The name of a target cannot be resolved. The last known addresses serve for up to an hour.
///
/// What to do: correct the name in `targets`, or repair the DNS or `/etc/hosts`.
pub(crate) static NAME_UNRESOLVED: LogMessage = LogMessage::warn("name_unresolved");

/// The name of a target can be resolved again.
///
/// What to do: nothing.
pub(crate) static NAME_RESOLVED: LogMessage = LogMessage::info("name_resolved");

/// All targets of a route with `when_down = "refuse"` are down, so its listener refuses connections.
///
/// What to do: check the targets; the listener accepts again as soon as one is up.
pub(crate) static LISTENER_REFUSES: LogMessage = LogMessage::warn("listener_refuses");

/// The listener of a route accepts connections again.
///
/// What to do: nothing.
pub(crate) static LISTENER_ACCEPTS: LogMessage = LogMessage::info("listener_accepts");

/// All targets of a route are down, but the system does not let its listener refuse connections.
///
/// What to do: report the error in the message; connections are accepted and rejected one by one meanwhile.
pub(crate) static LISTENER_CANNOT_REFUSE: LogMessage = LogMessage::error("listener_cannot_refuse");

/// A target is up again, but the listener of the route cannot accept connections.
///
/// What to do: stop the program that listens on its address; the gateway tries again each second.
pub(crate) static LISTENER_CANNOT_ACCEPT: LogMessage = LogMessage::error("listener_cannot_accept");

// Section: Faults of the gateway

/// A worker does not answer. systemd restarts the service if this lasts.
///
/// What to do: check whether the machine is overloaded or a disk does not answer; report it with the log.
pub(crate) static WORKER_STUCK: LogMessage = LogMessage::error("worker_stuck");

/// The io_uring of a core failed, and the process ends. The service manager starts it again.
///
/// What to do: look into the kernel's log (`dmesg`); report it with the error.
pub(crate) static RING_FAILED: LogMessage = LogMessage::error("ring_failed");

/// A bug. It ended one connection, or the process if it was not in a connection.
///
/// What to do: report it with this line, which names the place in the program.
pub(crate) static PANIC: LogMessage = LogMessage::error("panic");

// Section: Open associations and conversations

/// A target accepted a connection, but does not answer the first request.
///
/// What to do: check whether the application hangs, and whether its port expects TLS or another protocol.
pub(crate) static NO_ANSWER: LogMessage = LogMessage::warn("no_answer");

/// A sender ends MLLP messages with byte 0x1c alone, so the receiver waits for the end of the message.
///
/// What to do: set the end of a message to bytes 0x1c 0x0d in the sending application.
pub(crate) static MLLP_END_WITHOUT_CR: LogMessage = LogMessage::warn("mllp_end_without_cr");

/// A route with `rules = "report"` let an association pass that its rules do not allow.
///
/// What to do: allow it in the rules, or remove `rules = "report"` to refuse it.
pub(crate) static WOULD_REFUSE: LogMessage = LogMessage::warn("would_refuse");

/// The bytes of an association cannot be followed any more. They pass unchanged, but are not counted.
///
/// What to do: the field `why` names the sender and the first such bytes; if both applications work, report it.
pub(crate) static ASSOCIATION_NOT_OBSERVED: LogMessage =
    LogMessage::warn("association_not_observed");

/// The bytes of a conversation are not HL7 in MLLP frames any more. They pass unchanged, but are not counted.
///
/// What to do: the field `why` names the reason; if the route does not carry HL7, set `protocol = "tcp"`.
pub(crate) static CONVERSATION_NOT_OBSERVED: LogMessage =
    LogMessage::warn("conversation_not_observed");

/// A C-MOVE names a destination, but the route has no route for the association that brings the images.
///
/// What to do: set `return` of the route to the name of the returning route.
pub(crate) static NO_RETURN_ROUTE: LogMessage = LogMessage::warn("no_return_route");

// Section: Ends of connections (`error.type`)

/// One application closed while the other one waited for it in an open association.
///
/// What to do: read the log of the application in `ended_by`: it gave up or crashed.
pub(crate) static ASSOCIATION_UNFINISHED: LogMessage = LogMessage::info("association_unfinished");

/// The side in `ended_by` reset the connection, or does not answer any more.
///
/// What to do: many modalities end this way. If data is missing, look into the log of that side, and at the network.
pub(crate) static CONNECTION_RESET: LogMessage = LogMessage::info("connection_reset");

/// The TLS stream ended without close_notify: a cut connection, or an attack that shortens a message.
///
/// What to do: look into the log of the other gateway for the same time.
pub(crate) static TLS_TRUNCATED: LogMessage = LogMessage::info("tls_truncated");

/// The handshake failed: another protocol, a port scan, or a certificate of a CA that the route does not trust. The level is
/// `INFO` if the peer is a client, because every client can cause it.
///
/// What to do: the reason says what arrived and what to do. Ignore it from addresses that you do not know.
pub(crate) static HANDSHAKE_FAILED: LogMessage = LogMessage::warn("handshake_failed");

/// The peer's certificate is revoked.
///
/// What to do: the peer needs a new certificate. If it should not be revoked, ask its CA.
pub(crate) static PEER_REVOKED: LogMessage = LogMessage::warn("peer_revoked");

/// The peer has a valid certificate of a trusted CA, but the route does not list its identity.
///
/// What to do: if it is the right peer, add the identity in the reason to its `[[peer]]` table.
pub(crate) static PEER_NOT_LISTED: LogMessage = LogMessage::warn("peer_not_listed");

/// The peer's certificate is refused for another reason: expired, not valid yet, a weak algorithm, a missing revocation list.
///
/// What to do: the reason names the fault and the site that has to correct it.
pub(crate) static PEER_CERTIFICATE_REFUSED: LogMessage =
    LogMessage::warn("peer_certificate_refused");

/// No target of the route can be reached. The client got a rejection or a reset.
///
/// What to do: the reason names each target and its cause: start its service, correct its address, or open the firewall.
pub(crate) static TARGET_UNREACHABLE: LogMessage = LogMessage::warn("target_unreachable");

/// The target closed the connection without an answer to the first request.
///
/// What to do: check whether the port of the target expects TLS, and whether the application accepts this client.
pub(crate) static TARGET_CLOSED_UNANSWERED: LogMessage =
    LogMessage::warn("target_closed_unanswered");

/// The TLS handshake did not end in `timeouts.handshake`.
///
/// What to do: a port scan if the client is unknown. Otherwise check the MTU and firewalls of the path.
pub(crate) static HANDSHAKE_TIMEOUT: LogMessage = LogMessage::info("handshake_timeout");

/// The client sent nothing in `timeouts.first_byte`.
///
/// What to do: nothing for a probe. If an application needs longer, raise the timeout of the route.
pub(crate) static FIRST_BYTE_TIMEOUT: LogMessage = LogMessage::info("first_byte_timeout");

/// No byte passed in either direction for `timeouts.idle`.
///
/// What to do: if the application keeps idle connections open on purpose, raise the timeout of the route.
pub(crate) static IDLE_TIMEOUT: LogMessage = LogMessage::info("idle_timeout");

/// An association with nothing outstanding was silent for `timeouts.association_idle`. Both sides received an A-ABORT.
///
/// What to do: if the application keeps idle associations open on purpose, raise the timeout of the route.
pub(crate) static ASSOCIATION_IDLE_TIMEOUT: LogMessage =
    LogMessage::info("association_idle_timeout");

/// One side had ended its direction, and the other was silent for 15 minutes.
///
/// What to do: look into the log of the application that did not close.
pub(crate) static HALF_CLOSED_TIMEOUT: LogMessage = LogMessage::info("half_closed_timeout");

/// A receiver did not read for `timeouts.stall`, although its machine answers.
///
/// What to do: the receiving application hangs, or its disk is full.
pub(crate) static STALL_TIMEOUT: LogMessage = LogMessage::info("stall_timeout");

/// The client's address is in none of the networks of `from`.
///
/// What to do: add its network to `from` of the route if it may connect.
pub(crate) static SOURCE_NOT_ALLOWED: LogMessage = LogMessage::info("source_not_allowed");

/// The client is in none of the networks of `accept_proxy`, and the route accepts connections of proxies only.
///
/// What to do: add the address of the proxy to `accept_proxy`, or let the client connect to the proxy.
pub(crate) static PROXY_NOT_LISTED: LogMessage = LogMessage::info("proxy_not_listed");

/// The address of the client that the other gateway names is in none of the networks of `carried_from`.
///
/// What to do: add its network to `carried_from` if the other site may connect from there; ask that site otherwise.
pub(crate) static CARRIED_NOT_ALLOWED: LogMessage = LogMessage::info("carried_not_allowed");

/// The first bytes of the client are not of the route's protocol.
///
/// What to do: the reason names what arrived; correct the port in the client, or `protocol` or `mode` of the route.
pub(crate) static WRONG_PROTOCOL: LogMessage = LogMessage::info("wrong_protocol");

/// The rules of the route do not allow the association.
///
/// What to do: the reason names the rule. Add the title or the command to the rules if the application may use it.
pub(crate) static RULE_VIOLATED: LogMessage = LogMessage::info("rule_violated");

/// The peer sent records that violate TLS. The connection was damaged, attacked, or the peer has a bug.
///
/// What to do: if the peer is known, compare versions, and look for a device on the path that changes TLS.
pub(crate) static TLS_RECORD_INVALID: LogMessage = LogMessage::info("tls_record_invalid");

/// A limit of the gateway or the route was reached.
///
/// What to do: the reason names the limit and its key; look for a client that opens too many connections before you raise it.
pub(crate) static LIMIT_REACHED: LogMessage = LogMessage::info("limit_reached");

/// The connection was still open when the `drain` time was over.
///
/// What to do: nothing; the sender repeats what was not acknowledged. Raise `drain` in `[route.timeouts]` if it is too short.
pub(crate) static DRAIN_TIMEOUT: LogMessage = LogMessage::info("drain_timeout");

/// An operator ended the connection with `wardgate end`.
///
/// What to do: nothing.
pub(crate) static ENDED_BY_COMMAND: LogMessage = LogMessage::info("ended_by_command");

/// A certificate of the peer expired while the connection was open.
///
/// What to do: the peer renews its certificate.
pub(crate) static PEER_EXPIRED: LogMessage = LogMessage::info("peer_expired");

/// The certificate of the peer of an open connection was revoked.
///
/// What to do: the peer needs a new certificate. If it should not be revoked, ask its CA.
pub(crate) static PEER_NOW_REVOKED: LogMessage = LogMessage::info("peer_now_revoked");

/// The route does not list the peer of an open connection any more.
///
/// What to do: nothing if the peer was removed on purpose.
pub(crate) static PEER_NO_LONGER_LISTED: LogMessage = LogMessage::info("peer_no_longer_listed");

/// The route does not trust the CA of the peer of an open connection any more.
///
/// What to do: nothing if the CA was removed on purpose; otherwise add it to `trust` again.
pub(crate) static PEER_NO_LONGER_TRUSTED: LogMessage = LogMessage::info("peer_no_longer_trusted");

/// The peer of an open connection has no revocation list of its CA any more, but other CAs of the route have lists.
///
/// What to do: add the list of that CA to `crl`.
pub(crate) static PEER_WITHOUT_REVOCATION_LIST: LogMessage =
    LogMessage::info("peer_without_revocation_list");

/// A bug of the gateway ended this connection.
///
/// What to do: report it with this line and the line of the panic.
pub(crate) static INTERNAL_ERROR: LogMessage = LogMessage::error("internal_error");
