//! Attempts at the addresses of one target, each started a short delay after the previous one (RFC 8305
//! section 5). The first address that answers is used.

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

/// The result of a race.
pub(super) struct Finish<S> {
    /// The first connected socket, with its address.
    pub(super) won: Option<(S, SocketAddr)>,
    /// Failed addresses, in the order of their failures.
    pub(super) failed: Vec<FailedAttempt>,
    /// Addresses that had not answered when another one did, with the duration of each attempt.
    pub(super) overtaken: Vec<(SocketAddr, Duration)>,
}

/// A failed attempt.
pub(super) struct FailedAttempt {
    pub(super) address: SocketAddr,
    pub(super) error: io::Error,
    /// The duration of the attempt.
    pub(super) waited: Duration,
}

struct Attempt<'v, S> {
    address: SocketAddr,
    began: Instant,
    work: Pin<Box<dyn Future<Output = io::Result<S>> + 'v>>,
}

/// Tries `addresses` in order: each `delay` after the previous one, or at once when that one fails. Empties
/// `addresses` unless one answers. When `over` returns, the running attempts fail with its reason.
///
/// A race returns at most one socket. It aborts the others and awaits their operations in flight. The future
/// must not be dropped before it ends.
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
                Err(error) => finish.failed.push(FailedAttempt {
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
        // The unused socket is dropped here; a socket that is dropped without `finish` resets.
        drop((&mut attempt.work).await);
        match late {
            None => finish.overtaken.push((attempt.address, waited)),
            Some(why) => finish.failed.push(attempt.failed(in_time(why))),
        }
    }
    if let Some(why) = late {
        finish
            .failed
            .extend(addresses.drain(..).map(|address| FailedAttempt {
                address,
                error: in_time(why),
                waited: Duration::ZERO,
            }));
    }
    finish
}

impl<S> Attempt<'_, S> {
    fn failed(&self, error: io::Error) -> FailedAttempt {
        FailedAttempt {
            address: self.address,
            error,
            waited: self.began.elapsed(),
        }
    }
}

fn in_time(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

// Returns the connected socket, unless the connect fails or the race ends first.
async fn connected<S: Socket>(socket: S, mut ended: watch::Receiver<bool>) -> io::Result<S> {
    let ended = stopped(&mut ended);
    match until(socket.wait_connected(), ended, || socket.abort()).await {
        (outcome, None) => outcome.map(|()| socket),
        (_, Some(())) => Err(io::ErrorKind::TimedOut.into()),
    }
}

// Waits for one of the attempts and removes it. Cancel-safe: the attempts stay.
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
