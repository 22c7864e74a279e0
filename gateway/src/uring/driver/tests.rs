//! Tests of the loop: every task is woken, also by another thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::task::Wake;
use std::thread;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::{Capabilities, sleep, sleep_until, spawn, start, timeout, turn};
use std::os::fd::RawFd;

use super::*;

pub(super) const DEFERRED: Capabilities = Capabilities { deferred: true };
pub(super) const PLAIN: Capabilities = Capabilities { deferred: false };

/// Fails if a wake-up is lost, instead of hanging.
pub(super) fn within_a_minute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    let limit = Duration::from_secs(60);
    receiver.recv_timeout(limit).expect("no wake-up is lost")
}

/// Completes after `time`, by the notification of another thread.
pub(super) fn elsewhere(time: Duration) -> tokio::sync::oneshot::Receiver<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        thread::sleep(time);
        let _ = sender.send(());
    });
    receiver
}

pub(super) fn pair() -> (Rc<UnixStream>, UnixStream) {
    let (ours, peer) = UnixStream::pair().expect("two sockets");
    ours.set_nonblocking(true).expect("it is a socket");
    (Rc::new(ours), peer)
}

pub(super) fn readable(socket: &Rc<UnixStream>) -> Readiness {
    let driver = Driver::current().expect("it runs");
    driver.submit_poll(Rc::clone(socket) as Rc<dyn AsRawFd>, PollFlags::IN)
}

#[test]
fn another_thread_wakes_a_waiting_loop_each_time() {
    for capabilities in [DEFERRED, PLAIN] {
        within_a_minute(move || {
            let (to, mut from_other) = mpsc::channel(1);
            let (back, mut answers) = mpsc::channel(1);
            let other = thread::spawn(move || {
                let echo = async move {
                    while let Some(number) = from_other.recv().await {
                        back.send(number).await.expect("it listens");
                    }
                };
                start(&capabilities, echo).expect("a ring");
            });
            let ask = async move {
                for number in 0..20_000 {
                    to.send(number).await.expect("it listens");
                    assert_eq!(answers.recv().await, Some(number));
                }
            };
            start(&capabilities, ask).expect("a ring");
            other.join().expect("it ended well");
        });
    }
}

#[test]
fn wake_ups_by_several_threads_are_not_lost() {
    within_a_minute(|| {
        let (to, mut inbox) = mpsc::channel(16);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let to = to.clone();
                thread::spawn(move || {
                    for number in 0..10_000 {
                        to.blocking_send(number).expect("it listens");
                    }
                })
            })
            .collect();
        drop(to);
        let count = async move {
            let mut count = 0;
            while inbox.recv().await.is_some() {
                count += 1;
            }
            count
        };
        assert_eq!(start(&DEFERRED, count).expect("a ring"), 40_000);
        threads
            .into_iter()
            .for_each(|t| t.join().expect("it ended well"));
    });
}

#[test]
fn sockets_are_served_while_another_thread_wakes_the_loop() {
    within_a_minute(|| {
        let (to, mut inbox) = mpsc::channel(1);
        let noise = thread::spawn(move || while to.blocking_send(()).is_ok() {});
        let work = async move {
            let hears = spawn(async move { while inbox.recv().await.is_some() {} });
            let mut echoes = JoinSet::new();
            for _ in 0..8 {
                let (ours, mut peer) = pair();
                let far = thread::spawn(move || {
                    for byte in (0..=255).cycle().take(2_000) {
                        peer.write_all(&[byte]).expect("it is open");
                        let mut answer = [0];
                        peer.read_exact(&mut answer).expect("an answer");
                        assert_eq!(answer, [byte]);
                    }
                });
                echoes.spawn_local(async move {
                    for _ in 0..2_000 {
                        readable(&ours).await.expect("a poll");
                        let mut byte = [0];
                        let count = (&*ours).read(&mut byte).expect("it is there");
                        assert_eq!(count, 1);
                        (&*ours).write_all(&byte).expect("there is room");
                    }
                    far.join().expect("it ended well");
                });
            }
            while let Some(ended) = echoes.join_next().await {
                ended.expect("no panic");
            }
            hears.abort();
        };
        start(&DEFERRED, work).expect("a ring");
        noise.join().expect("it ended well");
    });
}

#[test]
fn polls_beyond_the_size_of_both_queues_all_complete() {
    within_a_minute(|| {
        let work = async {
            let (ours, mut peer) = pair();
            let mut waits = JoinSet::new();
            for _ in 0..40_000 {
                let wait = readable(&ours);
                waits.spawn_local(async move { wait.await.expect("a poll") });
            }
            turn().await.expect("it runs");
            peer.write_all(b"x").expect("it is open");
            let mut count = 0;
            while let Some(ended) = waits.join_next().await {
                ended.expect("no panic");
                count += 1;
            }
            assert_eq!(count, 40_000);
            let driver = Driver::current().expect("it runs");
            assert!(driver.polls.borrow().is_empty(), "no poll is left");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_dropped_wait_keeps_its_file_open_and_uses_no_other_completion() {
    within_a_minute(|| {
        let work = async {
            let (first, mut first_peer) = pair();
            let (second, mut second_peer) = pair();
            drop(readable(&first));
            assert_eq!(Rc::strong_count(&first), 2, "the poll holds the file");
            let wait = spawn({
                let second = Rc::clone(&second);
                async move { readable(&second).await }
            });
            turn().await.expect("it runs");
            first_peer.write_all(b"x").expect("it is open");
            while Rc::strong_count(&first) > 1 {
                turn().await.expect("it runs");
            }
            assert!(!wait.is_finished(), "this socket has received nothing");
            second_peer.write_all(b"x").expect("it is open");
            wait.await.expect("no panic").expect("a poll");
            // A wait whose completion arrived before its first poll keeps the completion.
            let early = readable(&second);
            for _ in 0..10 {
                turn().await.expect("it runs");
            }
            let later = readable(&first);
            assert_ne!(early.key, later.key);
            early.await.expect("a poll");
            later.await.expect("a poll");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_wait_for_a_file_that_cannot_be_polled_is_an_error() {
    let work = async {
        struct Closed;
        impl AsRawFd for Closed {
            fn as_raw_fd(&self) -> RawFd {
                -1
            }
        }
        let driver = Driver::current().expect("it runs");
        let error = driver.submit_poll(Rc::new(Closed), PollFlags::IN).await;
        let error = error.expect_err("there is no such file");
        assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
    };
    start(&DEFERRED, work).expect("a ring");
}

#[test]
fn sleeps_end_at_their_deadlines_and_not_early() {
    within_a_minute(|| {
        let work = async {
            let begun = Instant::now();
            let mut sleeps = JoinSet::new();
            for millis in [60, 20, 40, 20, 0] {
                sleeps.spawn_local(async move {
                    sleep(Duration::from_millis(millis)).await;
                    (millis, begun.elapsed())
                });
            }
            let mut ended = Vec::new();
            while let Some(one) = sleeps.join_next().await {
                let (millis, took) = one.expect("no panic");
                assert!(took >= Duration::from_millis(millis), "{millis}: {took:?}");
                ended.push(millis);
            }
            assert_eq!(ended, [0, 20, 20, 40, 60]);
            sleep_until(begun).await;
            let driver = Driver::current().expect("it runs");
            assert_eq!(driver.timers.next_deadline(), None, "no sleep is left");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_sleep_wakes_the_task_that_polled_it_last_and_none_when_dropped() {
    within_a_minute(|| {
        let work = async {
            let second = Duration::from_secs(1);
            let late = timeout(Duration::from_millis(5), sleep(60 * second)).await;
            assert!(late.is_err());
            assert_eq!(timeout(60 * second, async { 7 }).await, Ok(7));
            let driver = Driver::current().expect("it runs");
            assert_eq!(driver.timers.next_deadline(), None, "no sleep is left");
            let mut moved = Box::pin(sleep(Duration::from_millis(500)));
            let polled = timeout(Duration::from_millis(5), &mut moved).await;
            assert!(polled.is_err());
            spawn(moved).await.expect("it ends there");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_waiting_loop_uses_no_cpu_time() {
    within_a_minute(|| {
        let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let work = async move {
            // An earlier notification by another thread must not cost CPU time later.
            let notified = elsewhere(Duration::from_millis(20)).await;
            notified.expect("the other thread ends well");
            let before = used();
            sleep(Duration::from_millis(500)).await;
            let after = used();
            let nanos = |t: rustix::time::Timespec| t.tv_sec * 1_000_000_000 + t.tv_nsec;
            let spent = nanos(after) - nanos(before);
            assert!(spent < 50_000_000, "{spent} ns of 500,000,000");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

/// Tries every interleaving of the steps of a worker and of a thread that notifies it. Each step is one
/// atomic operation of the parker.
#[test]
fn a_worker_never_parks_after_a_notification_in_any_interleaving() {
    // Each bit chooses the thread that takes the next step.
    for order in 0..1_u32 << 16 {
        let parker = Parker::new().expect("a descriptor");
        let (mut wanted, mut seen, mut parked) = (0, 0, false);
        let mut worker = 0;
        let mut other = 0;
        for step in 0..16 {
            if order >> step & 1 == 1 {
                match other % 2 {
                    0 => wanted += 1,
                    _ => Arc::clone(&parker).wake(),
                }
                other += 1;
            } else if parked {
                if is_readable(&parker) {
                    parked = false;
                    parker.unpark();
                    parker.clear_event();
                }
            } else {
                match worker % 2 {
                    0 if parker.take_notification() => seen = wanted,
                    0 => {}
                    _ => parked = parker.try_park(),
                }
                worker += 1;
            }
        }
        if other % 2 == 1 {
            Arc::clone(&parker).wake();
        }
        let will_look = !parked || is_readable(&parker);
        let notified = parker.take_notification();
        assert!(seen == wanted || will_look && notified, "{order:016b}");
    }
}

fn is_readable(parker: &Arc<Parker>) -> bool {
    let mut polled = [rustix::event::PollFd::new(parker.event(), PollFlags::IN)];
    let at_once = rustix::event::Timespec::default();
    rustix::event::poll(&mut polled, Some(&at_once)).expect("it is open") > 0
}
