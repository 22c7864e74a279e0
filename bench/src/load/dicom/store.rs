//! The two ends of an association: one stores objects, the other keeps them.

use std::collections::HashMap;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use gateway::dicom::PduType;
use hdrhistogram::Histogram;

use super::pdu::{self, Command, Control, Proposal};
use crate::load::{Between, latency};
use crate::pattern::Pattern;
use crate::server;

/// What is stored, and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) sop_class: &'static str,
    /// Octets of an object's pixels.
    pub(super) pixels: u32,
    /// Objects of each association.
    pub(super) objects: u16,
    pub(super) outstanding: u16,
    pub(super) pdu_max: u32,
    pub(super) nodelay: bool,
    pub(super) writes: Writes,
    pub(super) compare: bool,
}

/// How a PDU is handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writes {
    /// In one piece
    Whole,
    /// Its heads, then its fragment, as DCMTK does
    Split,
}

/// The name of an object: no two of a run have the same.
fn object(association: u16, n: u16) -> u32 {
    u32::from(association) << 16 | u32::from(n)
}

impl Job {
    fn instance(object: u32) -> String {
        format!("2.25.{object}")
    }

    fn head(&self, object: u32) -> Vec<u8> {
        pdu::data_set_head(self.sop_class, &Self::instance(object), self.pixels)
    }

    /// All objects that an association stores.
    pub(super) fn objects_of(&self, association: u16) -> impl Iterator<Item = u32> {
        (0..self.objects).map(move |n| object(association, n))
    }

    fn proposal(&self) -> Proposal {
        Proposal {
            sop_class: self.sop_class.to_owned(),
            pdu_max: self.pdu_max,
            outstanding: self.outstanding,
        }
    }
}

/// Writes fragments.
struct Writer<'a> {
    stream: &'a TcpStream,
    writes: Writes,
    pdu: Vec<u8>,
}

/// Octets of the heads before a fragment, which DCMTK writes by themselves.
const HEADS: usize = 12;

impl<'a> Writer<'a> {
    fn new(stream: &'a TcpStream, writes: Writes) -> Self {
        Self {
            stream,
            writes,
            pdu: Vec::new(),
        }
    }

    fn fragment(
        &mut self,
        control: Control,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        pdu::lay(&mut self.pdu, control, length, fill)?;
        match self.writes {
            Writes::Whole => self.stream.write_all(&self.pdu),
            Writes::Split => {
                let (heads, fragment) = self.pdu.split_at(HEADS);
                self.stream.write_all(heads)?;
                self.stream.write_all(fragment)
            }
        }
    }

    fn command(&mut self, command: &Command) -> io::Result<()> {
        let bytes = command.bytes();
        let control = Control {
            command: true,
            last: true,
        };
        self.fragment(control, bytes.len(), |room| room.copy_from_slice(&bytes))
    }
}

/// The end that stores.
pub(super) struct Storer {
    stream: TcpStream,
    job: Job,
    association: u16,
    /// Octets of a fragment that the other end takes.
    fragment_max: usize,
    window: u16,
}

impl Storer {
    /// Connects and negotiates the association.
    pub(super) fn associate(
        job: &Job,
        association: u16,
        connect: SocketAddr,
        between: &Between,
    ) -> anyhow::Result<Self> {
        let mut stream = server::connect(connect, between)?;
        stream.set_nodelay(job.nodelay)?;
        let request = job.proposal().body(PduType::AssociateRq);
        pdu::write(&mut stream, PduType::AssociateRq, &request)?;
        let mut body = Vec::new();
        let kind = pdu::read(&mut stream, &mut body)?;
        anyhow::ensure!(
            kind == Some(PduType::AssociateAc),
            "the association was answered by {kind:?}"
        );
        let answer = Proposal::read(&body).context("the one context was not accepted")?;
        // 0 is no limit (PS3.8 section D.1.1).
        let pdu_max = match answer.pdu_max {
            0 => job.pdu_max,
            theirs => theirs.min(job.pdu_max),
        };
        Ok(Self {
            stream,
            job: job.clone(),
            association,
            fragment_max: pdu::fragment_max(pdu_max),
            window: answer.outstanding.clamp(1, job.outstanding),
        })
    }

    /// Stores all objects; how long each took, from its request to its response.
    pub(super) fn store_all(&self) -> anyhow::Result<Histogram<u64>> {
        let begun = Mutex::new(HashMap::new());
        let (done, answered) = channel();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let times = self.read_responses(&begun, &done);
                // Whoever waits for a response that will not come must see that.
                drop(done);
                if times.is_err() {
                    let _ = self.stream.shutdown(Shutdown::Both);
                }
                times
            });
            let written = self.write_requests(&begun, &answered);
            if written.is_err() {
                let _ = self.stream.shutdown(Shutdown::Both);
            }
            let times = reader.join().map_err(|_| anyhow!("a reader panicked"))?;
            match (written, times) {
                (Ok(()), times) => times,
                (Err(written), Ok(_)) => Err(written),
                (Err(written), Err(read)) => Err(read.context(format!("{written:#}"))),
            }
        })
    }

    fn write_requests(&self, begun: &Begun, answered: &Receiver<()>) -> anyhow::Result<()> {
        let mut writer = Writer::new(&self.stream, self.job.writes);
        for (n, object) in self.job.objects_of(self.association).enumerate() {
            if n >= usize::from(self.window) {
                answered.recv().context("the responses ended")?;
            }
            let message = message_of(object);
            lock(begun).insert(message, Instant::now());
            self.store(&mut writer, object)
                .with_context(|| format!("object {n} could not be sent"))?;
        }
        Ok(())
    }

    fn store(&self, writer: &mut Writer, object: u32) -> io::Result<()> {
        writer.command(&Command::Store {
            message: message_of(object),
            sop_class: self.job.sop_class.to_owned(),
            instance: Job::instance(object),
        })?;
        let data_set = DataSet::new(&self.job, object);
        let mut position = 0;
        while position < data_set.length() {
            let left = usize::try_from(data_set.length() - position).unwrap_or(usize::MAX);
            let length = left.min(self.fragment_max);
            let control = Control {
                command: false,
                last: length == left,
            };
            writer.fragment(control, length, |room| data_set.fill(position, room))?;
            position += length as u64;
        }
        Ok(())
    }

    fn read_responses(&self, begun: &Begun, done: &Sender<()>) -> anyhow::Result<Histogram<u64>> {
        let mut times = latency::histogram();
        let mut body = Vec::new();
        for n in 0..self.job.objects {
            let kind = pdu::read(&mut &self.stream, &mut body)
                .with_context(|| format!("no response after {n} objects"))?;
            let now = Instant::now();
            anyhow::ensure!(kind == Some(PduType::Data), "a response was {kind:?}");
            let (_, set) = pdu::fragments(&body).next().context("an empty PDU")??;
            let Some(Command::Stored { message, status }) = Command::read(set) else {
                anyhow::bail!("a response is no C-STORE-RSP");
            };
            anyhow::ensure!(status == 0, "message {message} got status {status:04x}");
            let since = lock(begun).remove(&message);
            let since = since.with_context(|| format!("message {message} was not sent"))?;
            times.saturating_record(latency::micros(now - since));
            // The writer has gone only where it failed, and says so.
            let _ = done.send(());
        }
        Ok(times)
    }

    /// Releases the association in order.
    pub(super) fn release(mut self) -> anyhow::Result<()> {
        pdu::write(&mut self.stream, PduType::ReleaseRq, &[0; 4])?;
        let kind = pdu::read(&mut self.stream, &mut Vec::new())?;
        anyhow::ensure!(
            kind == Some(PduType::ReleaseRp),
            "the release was answered by {kind:?}"
        );
        Ok(())
    }
}

/// When each message was begun.
type Begun = Mutex<HashMap<u16, Instant>>;

fn lock(begun: &Begun) -> impl std::ops::DerefMut<Target = HashMap<u16, Instant>> + '_ {
    // Whoever panicked with it left the table whole.
    begun.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The low half of its name: its number within the association.
fn message_of(object: u32) -> u16 {
    (object & 0xffff) as u16
}

/// An object's data set: a head, then pixels.
struct DataSet {
    head: Vec<u8>,
    pixels: Pattern,
    length: u64,
}

impl DataSet {
    fn new(job: &Job, object: u32) -> Self {
        let head = job.head(object);
        Self {
            length: head.len() as u64 + u64::from(job.pixels),
            head,
            pixels: Pattern::of_stream(object),
        }
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn fill(&self, position: u64, room: &mut [u8]) {
        let (head, room) = room.split_at_mut(self.of_head(position, room.len()));
        head.copy_from_slice(&self.head[self.head.len().min(position as usize)..][..head.len()]);
        let position = position + head.len() as u64;
        self.pixels
            .fill(position.saturating_sub(self.head.len() as u64), room);
    }

    fn holds(&self, position: u64, bytes: &[u8]) -> bool {
        let (head, bytes) = bytes.split_at(self.of_head(position, bytes.len()));
        let from = self.head.len().min(position as usize);
        let place = position + head.len() as u64;
        let pixels = place.saturating_sub(self.head.len() as u64);
        head == &self.head[from..][..head.len()] && self.pixels.holds(pixels, bytes)
    }

    /// Octets of the head among so many at a position.
    fn of_head(&self, position: u64, length: usize) -> usize {
        let left = (self.head.len() as u64).saturating_sub(position);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }
}

/// Keeps what an association stores, until it is released; the objects that came whole.
pub(super) fn keep(mut stream: TcpStream, job: &Job) -> io::Result<Vec<u32>> {
    stream.set_nodelay(job.nodelay)?;
    let mut body = Vec::new();
    if pdu::read(&mut stream, &mut body)? != Some(PduType::AssociateRq) {
        return Err(io::Error::other(
            "an association did not begin with its request",
        ));
    }
    let request = Proposal::read(&body).ok_or_else(|| io::Error::other("a broken request"))?;
    let answer = Proposal {
        pdu_max: job.pdu_max,
        ..request
    };
    pdu::write(
        &mut stream,
        PduType::AssociateAc,
        &answer.body(PduType::AssociateAc),
    )?;
    let mut keeper = Keeper {
        job,
        writer: Writer::new(&stream, job.writes),
        command: Vec::new(),
        open: None,
        kept: Vec::new(),
    };
    let mut reader = BufReader::with_capacity(256 << 10, &stream);
    loop {
        match pdu::read(&mut reader, &mut body)? {
            Some(PduType::Data) => keeper.take(&body)?,
            Some(PduType::ReleaseRq) => {
                let kept = keeper.kept;
                pdu::write(&mut &stream, PduType::ReleaseRp, &[0; 4])?;
                return Ok(kept);
            }
            other => {
                let what = format!("an association went on with {other:?}");
                return Err(io::Error::other(what));
            }
        }
    }
}

struct Keeper<'a> {
    job: &'a Job,
    writer: Writer<'a>,
    /// What has come of a command.
    command: Vec<u8>,
    /// The object whose data set comes, and how much of it has.
    open: Option<(u32, DataSet, u64)>,
    kept: Vec<u32>,
}

impl Keeper<'_> {
    fn take(&mut self, body: &[u8]) -> io::Result<()> {
        for fragment in pdu::fragments(body) {
            let (control, bytes) = fragment?;
            if control.command {
                self.command.extend_from_slice(bytes);
            } else {
                self.compare(bytes)?;
            }
            match (control.command, control.last) {
                (_, false) => {}
                (true, true) => self.begin()?,
                (false, true) => self.end()?,
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let command = Command::read(&self.command);
        self.command.clear();
        let object = match &command {
            Some(Command::Store { instance, .. }) => instance.strip_prefix("2.25."),
            _ => None,
        };
        let object = object.and_then(|object| object.parse().ok());
        let object = object.ok_or_else(|| io::Error::other("a command is no C-STORE of ours"))?;
        self.open = Some((object, DataSet::new(self.job, object), 0));
        Ok(())
    }

    fn compare(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((object, data_set, position)) = &mut self.open else {
            return Err(io::Error::other("a data set without a command"));
        };
        if self.job.compare && !data_set.holds(*position, bytes) {
            let n = bytes.len();
            let what = format!("object {object:08x} differs in the {n} octets after {position}");
            return Err(io::Error::other(what));
        }
        *position += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some((object, data_set, position)) = self.open.take() else {
            return Err(io::Error::other("an end without a data set"));
        };
        if position != data_set.length() {
            let length = data_set.length();
            let what = format!("object {object:08x} has {position} octets of {length}");
            return Err(io::Error::other(what));
        }
        self.kept.push(object);
        self.writer.command(&Command::Stored {
            message: message_of(object),
            status: 0,
        })
    }
}
