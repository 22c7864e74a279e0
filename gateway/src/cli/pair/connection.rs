//! The one TCP connection of a pairing: listening for it, making it, and its deadlines.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::client_source::Source;
use crate::pairing::code::PairingCode;
use crate::pairing::conversation::prove;
use crate::pairing::error::{PairingError, RejectCode};
use crate::pairing::exchange::{PairRole, PairingChannel};
use crate::pairing::limits::{
    CODE_LIFE, CONNECTIONS_MAX, PROOF_WITHIN, UNAUTHENTICATED_MAX, UNAUTHENTICATED_PER_ADDRESS_MAX,
};
use crate::pairing::tries::Tries;

#[cfg(test)]
mod bounds_tests;

/// How often the listening side looks for new connections and for the end of its time.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A connection on which every operation ends at the deadline, however slowly the other side sends.
pub(super) struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, within: Duration) -> Self {
        // The frames are short and each waits for the next.
        let _ = stream.set_nodelay(true);
        let until = Instant::now() + within;
        Self { stream, until }
    }

    /// The same connection with a new deadline.
    pub(super) fn within(self, within: Duration) -> Self {
        Self::new(self.stream, within)
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(late()),
            false => Ok(left),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the other site did not answer in time",
    )
}

// A socket with a timeout reports EAGAIN.
fn as_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => late(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(room).map_err(as_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects to the other site and proves the code.
///
/// # Errors
/// `PairingError`, or why no address can be reached.
pub(super) fn connect(to: &str, code: &PairingCode) -> anyhow::Result<(Timed, PairingChannel)> {
    let mut timed = Timed::new(dial(to)?.1, PROOF_WITHIN);
    let mut unused = |_: &mut dyn FnMut() -> bool| Ok(true);
    let channel = prove(&mut timed, PairRole::Connects, code, &mut unused)?;
    Ok((timed, channel))
}

/// The address of the other site that takes connections. The connection is closed at once, because the other site gives
/// each one only a short time, and uses up no try.
///
/// # Errors
/// Why no address can be reached.
pub(super) fn reach(to: &str) -> anyhow::Result<SocketAddr> {
    Ok(dial(to)?.0)
}

/// A connection to the first address that takes it.
fn dial(to: &str) -> anyhow::Result<(SocketAddr, TcpStream)> {
    let addresses = to.to_socket_addrs().with_context(|| {
        format!("{to:?} cannot be used as an address; write HOST:PORT, with a name that resolves")
    })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PROOF_WITHIN) {
            Ok(stream) => return Ok((address, stream)),
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error) = last.with_context(|| format!("{to:?} has no address"))?;
    anyhow::bail!(
        "{address} cannot be reached: {error}; start `wardgate pair --listen` at the other site first, and let the \
         firewalls pass this connection"
    )
}

/// A listener on which one partner is expected.
pub(super) struct PairingListener {
    listener: TcpListener,
}

impl PairingListener {
    /// Opens the port.
    ///
    /// # Errors
    /// Why it cannot be opened, and what to do.
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "the running gateway has it, probably: name another port that the firewalls let pass with \
                     --listen, or stop the gateway while you pair"
                }
                io::ErrorKind::PermissionDenied => "run this command as root",
                _ => "name an address of this machine with --listen",
            };
            anyhow::anyhow!("{address} cannot be opened: {error}; {remedy}")
        })?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// The address that is open.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until a side has proved the code. Connections that are not of the partner use up no try unless they
    /// prove a wrong code; how many are examined, and for how long, is bounded.
    ///
    /// # Errors
    /// The code is void.
    pub(super) fn wait(&self, code: &PairingCode) -> anyhow::Result<(Timed, PairingChannel)> {
        let tries = Arc::new(Mutex::new(Tries::new(Instant::now())));
        let (done, results) = mpsc::channel();
        let mut open = OpenConnections::default();
        loop {
            while let Ok((address, (outcome, was_right))) = results.try_recv() {
                open.ended(address);
                match outcome {
                    Ok(proved) => return Ok(proved),
                    Err(error) if was_right => {
                        return Err(anyhow::Error::from(error).context(
                            "the other site proved the code, and then the connection ended; run this command again at \
                             both sites for a new code",
                        ));
                    }
                    Err(error) => report(address, &error, &tries),
                }
            }
            check_tries(&tries, Instant::now())?;
            match self.listener.accept() {
                Ok((stream, address)) => {
                    // LIMIT: CONNECTIONS_MAX.
                    anyhow::ensure!(
                        !open.is_over(),
                        "{CONNECTIONS_MAX} connections have come, and none has proved the code; find out who \
                         connects, then run this command again for a new code"
                    );
                    // LIMIT: UNAUTHENTICATED_MAX, UNAUTHENTICATED_PER_ADDRESS_MAX; dropping it closes it.
                    if open.begin(address.ip()) {
                        let (code, tries, done) = (code.clone(), Arc::clone(&tries), done.clone());
                        thread::Builder::new().spawn(move || {
                            // The command may have ended.
                            let _ = done.send((address.ip(), prove_one(stream, &code, &tries)));
                        })?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(LOOK_EVERY);
                }
                // The client has gone already, or there is no descriptor left for the moment.
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }
}

type ProofOutcome = Result<(Timed, PairingChannel), PairingError>;

/// The outcome of a connection, and whether its proof was right: the code is used then, also if the connection was lost.
fn prove_one(stream: TcpStream, code: &PairingCode, tries: &Mutex<Tries>) -> (ProofOutcome, bool) {
    let mut was_right = false;
    let outcome = prove_on(stream, code, tries, &mut was_right);
    (outcome, was_right)
}

fn prove_on(
    stream: TcpStream,
    code: &PairingCode,
    tries: &Mutex<Tries>,
    was_right: &mut bool,
) -> ProofOutcome {
    stream.set_nonblocking(false)?;
    let mut timed = Timed::new(stream, PROOF_WITHIN);
    let mut check = |is_right: &mut dyn FnMut() -> bool| {
        // Under the lock, so that parallel connections have no more tries than one after another.
        let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = tries.attempt(Instant::now(), is_right);
        *was_right = outcome == Ok(true);
        outcome
    };
    let channel = prove(&mut timed, PairRole::Listens, code, &mut check)?;
    Ok((timed, channel))
}

/// Connections whose clients have not proved the code yet.
#[derive(Default)]
struct OpenConnections {
    count: u32,
    /// The number of each address, of IPv6 each /64. INVARIANT: none is 0, so there are `UNAUTHENTICATED_MAX` entries at
    /// most.
    open: HashMap<Source, usize>,
}

impl OpenConnections {
    /// Whether no further connection is examined.
    fn is_over(&self) -> bool {
        self.count >= CONNECTIONS_MAX
    }

    fn begin(&mut self, address: IpAddr) -> bool {
        let all: usize = self.open.values().sum();
        let source = Source::from(address);
        let own = self.open.get(&source).copied().unwrap_or_default();
        let is_room = all < UNAUTHENTICATED_MAX && own < UNAUTHENTICATED_PER_ADDRESS_MAX;
        if is_room {
            self.open.insert(source, own.saturating_add(1));
            // One that is closed at once costs nothing, and does not bring the pairing nearer to its end.
            self.count = self.count.saturating_add(1);
        }
        is_room
    }

    fn ended(&mut self, address: IpAddr) {
        let source = Source::from(address);
        if let Some(own) = self.open.get_mut(&source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.open.remove(&source);
            }
        }
    }
}

fn report(address: IpAddr, error: &PairingError, tries: &Mutex<Tries>) {
    let left = tries.lock().unwrap_or_else(PoisonError::into_inner).left();
    match error {
        PairingError::WrongCode => {
            eprintln!("wardgate: {address} has a wrong code; {left} tries are left");
        }
        // A port scan, or a gateway of the other site that tries its route.
        PairingError::Closed | PairingError::NotPairing => {}
        error => eprintln!("wardgate: a connection from {address} ended: {error}"),
    }
}

fn check_tries(tries: &Mutex<Tries>, now: Instant) -> anyhow::Result<()> {
    let tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
    // The last try may have been the right one; its result arrives with the next look.
    if tries.is_used() {
        return Ok(());
    }
    anyhow::ensure!(
        tries.left() > 0,
        "the code is void after wrong tries; run this command again for a new code, and read it out again; if \
         no person mistyped it, another machine tries to pair with this site"
    );
    anyhow::ensure!(
        !tries.is_void(now) || !tries.rest(now).is_zero(),
        "the code is void, because {} minutes have passed; run this command again for a new code",
        CODE_LIFE.as_secs() / 60
    );
    Ok(())
}

/// Whether the other site has refused the code as wrong, so that a person may type it again.
pub(super) fn is_wrong_code(error: &anyhow::Error) -> bool {
    let wrong = RejectCode::WrongCode;
    match error.downcast_ref() {
        Some(PairingError::WrongCode) => true,
        Some(PairingError::Rejected { code, .. }) => *code == wrong,
        _ => false,
    }
}
