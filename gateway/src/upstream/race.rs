//! Attempts at the addresses of one target, each begun a moment after the one before (RFC 8305
//! section 5): the first that answers is used.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::stop::stopped;
use crate::uring::{Network, Socket, SocketOptions, sleep_until, until};

/// How a race ended.
pub(super) struct Finish<S> {
    /// The socket that was connected first, and where to.
    pub(super) won: Option<(S, SocketAddr)>,
    /// Addresses that failed, in the order of their failures.
    pub(super) failed: Vec<Failed>,
    /// Addresses that had not answered yet when another one did, and how long each had been tried.
    pub(super) overtaken: Vec<(SocketAddr, Duration)>,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) address: SocketAddr,
    pub(super) error: io::Error,
    /// How long it had been tried.
    pub(super) waited: Duration,
}

struct Attempt<'v, S> {
    address: SocketAddr,
    began: Instant,
    work: Pin<Box<dyn Future<Output = io::Result<S>> + 'v>>,
}

/// Tries `addresses` in their order, which it empties unless one answers: each `delay` after the one
/// before, or at once when that one fails. When `over` says that the time is over, the attempts under
/// way fail, with its words.
///
/// At most one socket leaves a race. The others are aborted, and what they have in flight is awaited;
/// the future itself must not be dropped before it ends.
pub(super) async fn race<V: Network>(
    network: &V,
    options: &SocketOptions,
    addresses: &mut VecDeque<SocketAddr>,
    delay: Duration,
    over: impl Future<Output = &'static str>,
) -> Finish<V::Socket> {
    let (end, ended) = watch::channel(false);
    let mut finish = Finish {
        won: None,
        failed: Vec::new(),
        overtaken: Vec::new(),
    };
    let mut running: Vec<Attempt<'_, V::Socket>> = Vec::new();
    let (mut over, mut late) = (pin!(over), None);
    let mut due = Instant::now();
    loop {
        if due <= Instant::now()
            && let Some(address) = addresses.pop_front()
        {
            match network.connect(address, options) {
                Ok(socket) => {
                    let began = Instant::now();
                    let work = Box::pin(connected(socket, ended.clone()));
                    due = began + delay;
                    running.push(Attempt {
                        address,
                        began,
                        work,
                    });
                }
                Err(error) => finish.failed.push(Failed {
                    address,
                    error,
                    waited: Duration::ZERO,
                }),
            }
            continue;
        }
        if running.is_empty() && addresses.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            (attempt, outcome) = first_of(&mut running) => match outcome {
                Ok(socket) => {
                    finish.won = Some((socket, attempt.address));
                    break;
                }
                Err(error) => {
                    finish.failed.push(attempt.failed(error));
                    due = Instant::now();
                }
            },
            why = &mut over => {
                late = Some(why);
                break;
            }
            () = sleep_until(due), if !addresses.is_empty() => {}
        }
    }
    let _ = end.send(true);
    for mut attempt in running {
        let waited = attempt.began.elapsed();
        // Its socket goes here, unused: one that is dropped unfinished resets.
        drop((&mut attempt.work).await);
        match late {
            None => finish.overtaken.push((attempt.address, waited)),
            Some(why) => finish.failed.push(attempt.failed(in_time(why))),
        }
    }
    if let Some(why) = late {
        finish
            .failed
            .extend(addresses.drain(..).map(|address| Failed {
                address,
                error: in_time(why),
                waited: Duration::ZERO,
            }));
    }
    finish
}

impl<S> Attempt<'_, S> {
    fn failed(&self, error: io::Error) -> Failed {
        Failed {
            address: self.address,
            error,
            waited: self.began.elapsed(),
        }
    }
}

fn in_time(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

// The connected socket, unless it fails or the race ends first.
async fn connected<S: Socket>(socket: S, mut ended: watch::Receiver<bool>) -> io::Result<S> {
    let ended = stopped(&mut ended);
    match until(socket.wait_connected(), ended, || socket.abort()).await {
        (outcome, None) => outcome.map(|()| socket),
        (_, Some(())) => Err(io::ErrorKind::TimedOut.into()),
    }
}

// Waits for one of the attempts, and takes it out. May be dropped: the attempts stay.
async fn first_of<'v, S>(running: &mut Vec<Attempt<'v, S>>) -> (Attempt<'v, S>, io::Result<S>) {
    poll_fn(|context| {
        let mut ready = running.iter_mut().enumerate().filter_map(|(at, attempt)| {
            match attempt.work.as_mut().poll(context) {
                Poll::Ready(outcome) => Some((at, outcome)),
                Poll::Pending => None,
            }
        });
        match ready.next() {
            Some((at, outcome)) => Poll::Ready((running.remove(at), outcome)),
            None => Poll::Pending,
        }
    })
    .await
}
