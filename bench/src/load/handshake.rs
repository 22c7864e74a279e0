//! Handshake: full mutual TLS 1.3 handshakes with the terminating side, one on each connection.
//!
//! A TLS 1.3 client is done before the server has checked its certificate. Each connection is therefore
//! closed cleanly, and counts only when the other side has closed cleanly too: a server that refuses sends an
//! alert.

use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SignatureScheme};

use super::poll::{Settings, Sink, Task};
use super::{Between, latency, per_second};
use crate::cpu::{self, Meter, Used};
use crate::report::Report;
use crate::server;

/// The number of handshakes, and the identity of the client.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// `--streams` is the number of handshakes at the same time
    #[command(flatten)]
    pub(crate) between: Between,
    /// Handshakes of all connections together
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// The client's certificate and what follows it up to the trust anchor, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// CA certificates for the certificate of the server, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: PathBuf,
    /// The name that the server must have
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The only key exchange that is offered
    #[arg(long, value_enum, default_value = "x25519")]
    pub(crate) group: Group,
    /// Also accept an end without close_notify and without an alert, as nginx sends it
    #[arg(long)]
    pub(crate) bare_end: bool,
}

/// A key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    X25519,
    X25519mlkem768,
}

/// Makes the handshakes and reports their times.
///
/// # Errors
///
/// A handshake failed: the message gives the number of failures, and the first reason.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    between.with_threads()?;
    let client = Client::new(options)?;
    cpu::pinned(between.cpu, || {
        let _sink = start_sink(between)?;
        measure(options, &client, between.connect)
    })
}

/// The target of a terminating side: reads everything until the end.
fn start_sink(between: &Between) -> anyhow::Result<Sink<()>> {
    let settings = Settings {
        threads: 1,
        room: 4096,
        stall: between.stall(),
    };
    Sink::start(between, settings, || Absorbing)
}

struct Absorbing;

impl Task for Absorbing {
    type Outcome = ();

    fn turn(
        &mut self,
        mut stream: &TcpStream,
        _: EventFlags,
        room: &mut [u8],
    ) -> io::Result<Option<()>> {
        Ok((stream.read(room)? == 0).then_some(()))
    }

    fn wants(&self) -> EventFlags {
        EventFlags::IN
    }
}

/// The client of the handshakes.
#[derive(Debug)]
struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    requested: Arc<RequestedCertificate>,
    bare_end: bool,
}

/// The certificate of the client, and how often a server requested it.
#[derive(Debug)]
struct RequestedCertificate {
    certificate: Arc<CertifiedKey>,
    times: AtomicU64,
}

impl ResolvesClientCert for RequestedCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&self.certificate))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Client {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let provider = Arc::new(provider(options.group));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&options.trust)? {
            let what = || format!("cannot trust {}", options.trust.display());
            roots.add(certificate).with_context(what)?;
        }
        let key = PrivateKeyDer::from_pem_file(&options.key)
            .map_err(|error| anyhow!("cannot read {}: {error}", options.key.display()))?;
        let chain = certificates(&options.certificate)?;
        let requested = Arc::new(RequestedCertificate {
            certificate: Arc::new(CertifiedKey::from_der(chain, key, &provider)?),
            times: AtomicU64::new(0),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&requested) as Arc<dyn ResolvesClientCert>);
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(options.name.clone())
            .with_context(|| format!("{:?} is no name of a server", options.name))?;
        Ok(Self {
            config: Arc::new(config),
            name,
            requested,
            bare_end: options.bare_end,
        })
    }

    /// One handshake on its own connection with a clean close; returns its time, including TCP's.
    fn shake(&self, connect: SocketAddr, between: &Between) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut stream = server::connect(connect, between)?;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        let took = begun.elapsed();
        let kind = tls.handshake_kind();
        anyhow::ensure!(
            kind == Some(HandshakeKind::Full),
            "the handshake was not a full one, but {kind:?}"
        );
        end(&mut tls, &mut stream, self.bare_end)?;
        Ok(took)
    }
}

/// Closes the connection cleanly, and waits for the other side to do the same.
fn end(tls: &mut ClientConnection, stream: &mut TcpStream, bare: bool) -> anyhow::Result<()> {
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    // The write fails if the server has reset the connection; the reason may still be readable.
    let _ = stream.shutdown(Shutdown::Write);
    loop {
        let n = tls.read_tls(stream)?;
        let state = tls.process_new_packets()?;
        if state.peer_has_closed() || bare && n == 0 {
            return Ok(());
        }
        anyhow::ensure!(n > 0, "the server ended without a close_notify");
    }
}

fn provider(group: Group) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![match group {
            Group::X25519 => aws_lc_rs::kx_group::X25519,
            Group::X25519mlkem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        }],
        ..aws_lc_rs::default_provider()
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| anyhow!("cannot read {}: {error}", file.display()))?;
    anyhow::ensure!(!all.is_empty(), "{} has no certificate", file.display());
    Ok(all)
}

/// The result of some handshakes.
struct Tally {
    times: Histogram<u64>,
    failed: u32,
    /// The first reason of a failure.
    why: Option<anyhow::Error>,
}

impl Tally {
    fn new() -> Self {
        Self {
            times: latency::histogram(),
            failed: 0,
            why: None,
        }
    }

    fn count(&mut self, outcome: anyhow::Result<Duration>) {
        match outcome {
            Ok(took) => self.times.saturating_record(latency::micros(took)),
            Err(error) => {
                self.failed += 1;
                self.why.get_or_insert(error);
            }
        }
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.times.add(&other.times)?;
        self.failed += other.failed;
        self.why = self.why.take().or(other.why);
        Ok(())
    }
}

fn measure(options: &Options, client: &Client, connect: SocketAddr) -> anyhow::Result<Report> {
    let between = &options.between;
    // The set-up work of a first connection is not part of a handshake.
    client.shake(connect, between)?;
    let meter = Meter::start(&between.pids)?;
    let begun = Instant::now();
    let tally = shake_all(options, client, connect)?;
    let elapsed = begun.elapsed();
    let used = meter.read()?;
    if let Some(why) = tally.why {
        let (failed, count) = (tally.failed, options.count);
        let what = format!("{failed} of {count} handshakes failed; the first:");
        return Err(why.context(what));
    }
    let requested = client.requested.times.load(Ordering::Relaxed);
    anyhow::ensure!(
        requested == u64::from(options.count) + 1,
        "the server asked for a certificate {requested} times only: the handshakes were not mutual"
    );
    Ok(report(options, &tally.times, elapsed, &used))
}

/// All handshakes, some of them at the same time.
fn shake_all(options: &Options, client: &Client, connect: SocketAddr) -> anyhow::Result<Tally> {
    let between = &options.between;
    let threads = between.streams;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut tally = Tally::new();
                    for _ in (first..options.count).step_by(threads as usize) {
                        tally.count(client.shake(connect, between));
                    }
                    tally
                })
            })
            .collect();
        let mut all = Tally::new();
        for thread in threads {
            all.add(thread.join().map_err(|_| anyhow!("a client panicked"))?)?;
        }
        Ok(all)
    })
}

fn report(options: &Options, times: &Histogram<u64>, elapsed: Duration, used: &Used) -> Report {
    let mut report = Report::default();
    report.text("scenario", "handshake");
    report.whole("at_a_time", options.between.streams.into());
    let group = match options.group {
        Group::X25519 => "x25519",
        Group::X25519mlkem768 => "x25519mlkem768",
    };
    report.text("group", group);
    report.whole("handshakes", times.len());
    let handshakes = times.len().max(1) as f64;
    let rate = per_second(handshakes, elapsed);
    report.real("handshakes_per_second", rate);
    latency::rows(&mut report, "handshake", times);
    used.rows(&mut report, "cpu_ms_per_handshake", 1e3 / handshakes);
    used.plot(&mut report, "CPU ms per handshake", 1e3 / handshakes);
    let curve = latency::curves("handshake", &[("handshakes", times)]);
    report.plot("Handshakes", curve);
    report
}

#[cfg(test)]
#[path = "handshake/tests.rs"]
mod tests;
