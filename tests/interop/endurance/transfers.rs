//! The transfers of the load: each checks that all of it arrived, exactly as it was sent.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::dicom::{self, Slice};
use wardgate_tests::stream::{Noise, bounded};
use wardgate_tests::{Background, Outcome, Program};

use super::sites::Link;
use crate::peers::{loopback, storescp, storescu};
use crate::query::{STUDY, configuration};

/// What a transfer carried, in bytes, or what went wrong.
pub(super) type Transfer = Result<usize, String>;

fn check(outcome: &Outcome) -> Result<(), String> {
    match outcome.succeeded() {
        true => Ok(()),
        false => Err(outcome.to_string()),
    }
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("our folder").flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

/// `storescu` at A sends associations of `count` new objects to `storescp` at B.
pub(super) struct Store {
    entry: u16,
    count: u32,
    side: u16,
    sent: TempDir,
    received: TempDir,
    _scp: Background,
}

impl Store {
    pub(super) fn new(link: &Link, count: u32, side: u16) -> Self {
        let [sent, received] = [(); 2].map(|()| TempDir::new().expect("there is room"));
        Self {
            entry: link.entry,
            count,
            side,
            _scp: storescp(link.target, received.path()),
            sent,
            received,
        }
    }

    pub(super) fn transfer(&mut self, turn: u32) -> Transfer {
        let numbers = turn * self.count..(turn + 1) * self.count;
        let slices = numbers.map(|number| Slice {
            number,
            marker: "WARDGATE",
            side: self.side,
        });
        let files: Vec<_> = slices.map(|slice| slice.write(self.sent.path())).collect();
        let outcome = storescu(self.entry, &["-R"], &files).run();
        let (sent, received) = (
            dicom::objects_in(&files),
            dicom::objects(self.received.path()),
        );
        empty(self.sent.path());
        empty(self.received.path());
        check(&outcome)?;
        match received == sent {
            true => Ok(sent.iter().map(|object| object.octets).sum()),
            false => Err(format!(
                "storescu reported success for {} objects; {} arrived, or others: {received:?}",
                sent.len(),
                received.len()
            )),
        }
    }
}

/// `movescu` at A asks `dcmqrscp` at B to send a study to A, which B does by the return route.
pub(super) struct Move {
    entry: u16,
    home: u16,
    files: Vec<PathBuf>,
    received: TempDir,
    _scp: Background,
    _folder: TempDir,
}

impl Move {
    /// Both gateways must run: the study is stored through them.
    pub(super) fn new(query: &Link, moved: &Link) -> Self {
        let [folder, received] = [(); 2].map(|()| TempDir::new().expect("there is room"));
        let config = folder.path().join("dcmqrscp.cfg");
        let store = folder.path().join("store");
        fs::create_dir(&store).expect("there is room");
        fs::write(&config, configuration(&store, moved.entry)).expect("there is room");
        let scp = Program::new("dcmqrscp")
            .args(["-dhl", "-c"])
            .arg(&config)
            .arg(query.target.to_string());
        let scp = Background::listening(&scp, query.target);
        let files = dicom::series(folder.path(), "WARDGATE", 8, 128);
        storescu(query.entry, &["-R", "-aec", "ARCHIVE"], &files)
            .run()
            .expect_success();
        Self {
            entry: query.entry,
            home: moved.target,
            files,
            received,
            _scp: scp,
            _folder: folder,
        }
    }

    pub(super) fn transfer(&mut self) -> Transfer {
        let outcome = Program::new("movescu")
            .args([
                "-aet", "HOME", "-aec", "ARCHIVE", "-S", "-aem", "HOME", "+B",
            ])
            .args(["+P", &self.home.to_string()])
            .args(STUDY)
            .args(["127.0.0.1", &self.entry.to_string()])
            .current_dir(self.received.path())
            .run();
        let sent = dicom::objects_in(&self.files);
        let received = dicom::objects(self.received.path());
        empty(self.received.path());
        check(&outcome)?;
        match received == sent {
            true => Ok(sent.iter().map(|object| object.octets).sum()),
            false => Err(format!(
                "{} of {} objects arrived\n{outcome}",
                received.len(),
                sent.len()
            )),
        }
    }
}

/// Streams move in pieces of this many bytes.
pub(super) const PIECE: usize = 16 << 10;
/// A stream that stands still for so long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves streams until the process ends: compares the bytes with the noise of the seed in the first eight
/// bytes, and sends their number after the client's end.
pub(super) fn serve_streams(port: u16) {
    let listener = TcpListener::bind(loopback(port)).expect("the port is free");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A failure closes the connection, and the client reports the missing answer.
            thread::spawn(move || serve(bounded(stream)));
        }
    });
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut seed = [0; 8];
    stream.read_exact(&mut seed)?;
    let mut noise = Noise::new(u64::from_be_bytes(seed));
    let (mut total, mut piece) = (0_u64, vec![0; PIECE]);
    while let 1.. = fill(&mut stream, &mut piece)? {
        if piece != noise.take(PIECE) {
            return Err(ErrorKind::InvalidData.into());
        }
        total += PIECE as u64;
    }
    stream.write_all(&total.to_be_bytes())
}

/// Fills the whole buffer, or returns 0 at the end of the stream.
fn fill(stream: &mut TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    let first = stream.read(piece)?;
    let rest = piece.get_mut(first..).unwrap_or_default();
    if first > 0 {
        stream.read_exact(rest)?;
    }
    Ok(first)
}

/// A stream of a client at A.
pub(super) struct Stream {
    socket: TcpStream,
    noise: Noise,
    sent: usize,
}

impl Stream {
    pub(super) fn open(entry: u16, seed: u32) -> io::Result<Self> {
        let mut socket = bounded(TcpStream::connect(loopback(entry))?);
        socket.set_read_timeout(Some(SILENCE))?;
        socket.set_write_timeout(Some(SILENCE))?;
        socket.write_all(&u64::from(seed).to_be_bytes())?;
        Ok(Self {
            socket,
            noise: Noise::new(seed.into()),
            sent: 0,
        })
    }

    pub(super) fn send_piece(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.noise.take(PIECE))?;
        self.sent += PIECE;
        Ok(())
    }

    /// Ends the stream and checks the answer of the server, and that it is followed by a clean end.
    pub(super) fn finish(mut self) -> io::Result<usize> {
        self.socket.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        self.socket.read_to_end(&mut answer)?;
        match answer == (self.sent as u64).to_be_bytes() {
            true => Ok(self.sent),
            false => Err(io::Error::other(format!(
                "{} bytes were sent, and the server's answer is {answer:?}",
                self.sent
            ))),
        }
    }
}

/// A stream of `pieces`, with a pause after each.
pub(super) fn stream(entry: u16, seed: u32, pieces: u32, pause: Duration) -> Transfer {
    let transfer = || {
        let mut stream = Stream::open(entry, seed)?;
        for _ in 0..pieces {
            stream.send_piece()?;
            thread::sleep(pause);
        }
        stream.finish()
    };
    transfer().map_err(|error: io::Error| error.to_string())
}
