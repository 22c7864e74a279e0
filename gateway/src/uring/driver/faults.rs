//! Tests of the loop on a kernel without memory, and of what tasks leave behind.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::task::Wake;
use std::thread;

use super::super::{sleep, spawn, start, timeout, turn, wait_acceptable};
use super::tests::{DEFERRED, PLAIN, elsewhere, pair, readable, within_a_minute};
use super::*;

/// Answers io_uring_enter calls in place of the kernel.
#[derive(Default)]
pub(super) struct Faults {
    once: RefCell<VecDeque<Errno>>,
    always: Cell<Option<Errno>>,
}

impl Faults {
    pub(super) fn next(&self) -> io::Result<()> {
        let fault = self.once.borrow_mut().pop_front().or(self.always.get());
        fault.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

fn driver() -> Rc<Driver> {
    Driver::current().expect("it runs")
}

// Discards one completion.
fn lose_a_completion(driver: &Driver) {
    loop {
        look(&driver.ring.borrow()).expect("it is ours");
        if driver.ring.borrow_mut().completion().next().is_some() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn completions_are_taken_while_the_kernel_has_no_memory_for_requests() {
    for (capabilities, fault) in [
        (DEFERRED, Errno::AGAIN),
        (DEFERRED, Errno::NOMEM),
        (PLAIN, Errno::AGAIN),
    ] {
        within_a_minute(move || {
            let work = async move {
                let (early, mut early_peer) = pair();
                let (late, mut late_peer) = pair();
                let waiting = spawn({
                    let early = Rc::clone(&early);
                    async move { readable(&early).await }
                });
                turn().await.expect("it runs");
                driver().faults.always.set(Some(fault));
                let refused = readable(&late);
                early_peer.write_all(b"x").expect("it is open");
                late_peer.write_all(b"x").expect("it is open");
                waiting.await.expect("no panic").expect("a poll");
                sleep(Duration::from_millis(5)).await;
                driver().faults.always.set(None);
                refused.await.expect("a poll");
            };
            start(&capabilities, work).expect("a ring");
        });
    }
}

#[test]
fn polls_without_kernel_memory_delay_no_other_task_and_are_made_later() {
    within_a_minute(|| {
        let work = async {
            let (ours, mut peer) = pair();
            peer.write_all(b"x").expect("it is open");
            driver().faults.always.set(Some(Errno::AGAIN));
            let begun = Instant::now();
            let polls: Vec<_> = (0..3000).map(|_| readable(&ours)).collect();
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?}",
                begun.elapsed()
            );
            assert!(!driver().backlog.borrow().is_empty(), "the backlog is used");
            sleep(Duration::from_millis(5)).await;
            driver().faults.always.set(None);
            for poll in polls {
                poll.await.expect("a poll");
            }
            assert!(driver().backlog.borrow().is_empty(), "the backlog is empty");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_lost_completion_loses_no_wait() {
    within_a_minute(|| {
        let work = async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            let listener = Rc::new(listener);
            let waiting = spawn({
                let listener = Rc::clone(&listener);
                async move { wait_acceptable(&listener).await }
            });
            let (quiet, mut quiet_peer) = pair();
            let asked_before = readable(&quiet);
            turn().await.expect("it runs");
            let _peer = std::net::TcpStream::connect(address).expect("it listens");
            lose_a_completion(&driver());
            driver().faults.once.borrow_mut().push_back(Errno::BADR);
            waiting.await.expect("no panic").expect("it is acceptable");
            // The other tasks are woken to poll again. Completions of the earlier polls must not count for
            // the later ones.
            let error = asked_before.await.expect_err("its completion may be lost");
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
            let (other, mut other_peer) = pair();
            let asked_again = spawn(async move { readable(&other).await });
            quiet_peer.write_all(b"x").expect("it is open");
            sleep(Duration::from_millis(20)).await;
            assert!(
                !asked_again.is_finished(),
                "this socket has received nothing"
            );
            other_peer.write_all(b"x").expect("it is open");
            asked_again.await.expect("no panic").expect("a poll");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_lost_completion_of_the_parker_loses_no_wake_up() {
    within_a_minute(|| {
        let work = async {
            let waiting = elsewhere(Duration::from_millis(50));
            turn().await.expect("it runs");
            // The parker's poll completes, and its completion is lost.
            rustix::io::write(driver().parker.event(), &1_u64.to_ne_bytes()).expect("room");
            lose_a_completion(&driver());
            driver().parker.clear_event();
            driver().faults.once.borrow_mut().push_back(Errno::BADR);
            waiting.await.expect("the other thread ends well");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn only_permanent_errors_end_the_loop() {
    within_a_minute(|| {
        let work = async {
            let faults = [
                Errno::INTR,
                Errno::BUSY,
                Errno::TIME,
                Errno::AGAIN,
                Errno::NOMEM,
            ];
            driver().faults.once.borrow_mut().extend(faults);
            sleep(Duration::from_millis(20)).await;
            while !driver().faults.once.borrow().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            driver().faults.always.set(Some(Errno::INVAL));
            std::future::pending::<()>().await;
        };
        let error = start(&DEFERRED, work).expect_err("the kernel refuses");
        assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    });
}

#[test]
fn a_poll_that_fails_wakes_its_task_with_the_error() {
    within_a_minute(|| {
        let work = async {
            let (ours, _peer) = pair();
            for errno in [Errno::NOMEM, Errno::CANCELED] {
                let poll = readable(&ours);
                let number = poll.driver.polls.borrow()[poll.key].serial;
                let token = token(number, poll.key);
                let waiting = spawn(poll);
                turn().await.expect("it runs");
                drop(driver().complete(token, -errno.raw_os_error()));
                let error = waiting.await.expect("no panic").expect_err("it failed");
                assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
            }
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn a_dropped_wait_closes_its_file_without_an_event() {
    for capabilities in [DEFERRED, PLAIN] {
        within_a_minute(move || {
            let work = async {
                let (ours, _peer) = pair();
                for waits in [1, 3] {
                    let polls: Vec<_> = (0..waits).map(|_| readable(&ours)).collect();
                    turn().await.expect("it runs");
                    drop(polls);
                    assert_eq!(Rc::strong_count(&ours), 1 + waits, "the kernel still polls");
                    while Rc::strong_count(&ours) > 1 {
                        turn().await.expect("it runs");
                    }
                }
                while !a_new_file_with_an_old_number_waits().await {}
            };
            start(&capabilities, work).expect("a ring");
        });
    }
}

// False if another test's thread received the descriptor number first: then nothing was tested.
async fn a_new_file_with_an_old_number_waits() -> bool {
    let (ours, mut peer) = pair();
    // Dropped before the kernel has received the request.
    drop(readable(&ours));
    let number = ours.as_raw_fd();
    drop(ours);
    while !driver().polls.borrow().is_empty() {
        turn().await.expect("it runs");
    }
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0, "it is closed");
    let (new, mut new_peer) = pair();
    if new.as_raw_fd() != number {
        return false;
    }
    // The polls of the earlier file must not end the waits of this one.
    let early = timeout(Duration::from_millis(20), readable(&new)).await;
    assert!(early.is_err(), "nothing was sent");
    new_peer.write_all(b"x").expect("it is open");
    readable(&new).await.expect("a poll");
    true
}

#[test]
fn a_task_that_panics_leaves_no_poll_and_other_tasks_continue() {
    within_a_minute(|| {
        let work = async {
            let (ours, mut peer) = pair();
            let other = spawn({
                let ours = Rc::clone(&ours);
                async move { readable(&ours).await }
            });
            let (theirs, mut their_peer) = pair();
            let panics = spawn(async move {
                let _wait = readable(&theirs);
                turn().await.expect("it runs");
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panics.await.expect_err("a panic").is_panic());
            assert_eq!(their_peer_end(&mut their_peer).await, 0, "it is closed");
            peer.write_all(b"x").expect("it is open");
            other.await.expect("no panic").expect("a poll");
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

async fn their_peer_end(peer: &mut std::os::unix::net::UnixStream) -> usize {
    peer.set_nonblocking(true).expect("it is a socket");
    loop {
        match peer.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                turn().await.expect("it runs");
            }
            outcome => return outcome.expect("an end"),
        }
    }
}

#[test]
fn a_loop_that_ends_closes_the_files_that_it_polls() {
    within_a_minute(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let work = async move {
            let (ours, peer) = pair();
            sender.send(peer).expect("the receiver exists");
            spawn(async move { readable(&ours).await });
            turn().await.expect("it runs");
        };
        start(&DEFERRED, work).expect("a ring");
        let mut peer = receiver.recv().expect("it was sent");
        assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
    });
}

#[test]
fn sleeps_end_in_time_while_sockets_are_always_ready() {
    within_a_minute(|| {
        let work = async {
            let (ours, mut peer) = pair();
            peer.write_all(b"x").expect("it is open");
            let busy: Vec<_> = (0..200)
                .map(|_| {
                    let ours = Rc::clone(&ours);
                    spawn(async move {
                        loop {
                            readable(&ours).await.expect("a poll");
                        }
                    })
                })
                .collect();
            for _ in 0..20 {
                let begun = Instant::now();
                sleep(Duration::from_millis(10)).await;
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(20), "{took:?}");
            }
            busy.iter().for_each(tokio::task::JoinHandle::abort);
        };
        start(&DEFERRED, work).expect("a ring");
    });
}

#[test]
fn the_wait_of_the_loop_is_bounded_and_rounded_up() {
    let now = Instant::now();
    let wait = |time| wait_until(now + time, now);
    assert_eq!(wait(Duration::ZERO), Duration::ZERO);
    assert_eq!(wait(Duration::from_micros(1)), Duration::from_millis(1));
    assert_eq!(wait(Duration::from_micros(2000)), Duration::from_millis(2));
    let centuries = Duration::from_secs(300 * 365 * 24 * 3600);
    assert_eq!(wait(centuries), RING_WAIT_MAX);
}

/// A waker may be the last owner of a task. Dropping the waker then ends the waits and sleeps of that task.
#[test]
fn dropping_a_waker_may_use_the_loop() {
    struct LastOwner;
    impl Wake for LastOwner {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for LastOwner {
        fn drop(&mut self) {
            let (ours, _peer) = pair();
            drop(readable(&ours));
            let mut sleep = Box::pin(sleep(Duration::from_secs(60)));
            let polled = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
    }
    let work = async {
        let (ours, _peer) = pair();
        let mut wait = readable(&ours);
        let mut rest = Box::pin(sleep(Duration::from_secs(60)));
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(LastOwner));
            let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(LastOwner));
            let polled = rest.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        drop(wait);
        drop(rest);
        assert_eq!(driver().timers.next_deadline(), None, "no sleep is left");
    };
    start(&DEFERRED, work).expect("a ring");
}
