//! The io_uring calls that the `io-uring` crate offers only as unsafe functions.

use std::io;
use std::os::fd::RawFd;

use io_uring::{IoUring, opcode, types};

/// A request of a worker to its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingRequest {
    /// A one-shot poll of `descriptor` for `events`. Its completion carries `token`.
    Poll {
        /// The file descriptor to poll.
        descriptor: RawFd,
        /// The events, as in poll(2).
        events: u32,
        /// Identifies this request in its completion.
        token: u64,
    },
    /// Cancels the poll with the token `of`. If the cancellation comes first, the poll completes with
    /// ECANCELED. The completion of this request carries `token`.
    Cancel {
        /// The token of the poll.
        of: u64,
        /// Identifies this request in its completion.
        token: u64,
    },
}

/// The operations of all requests, to which a ring is restricted.
pub(crate) const RING_OPERATIONS: [u8; 2] = [opcode::PollAdd::CODE, opcode::PollRemove::CODE];

/// Puts a request into the submission queue. Returns false if the queue is full and must be submitted first.
#[must_use]
pub(crate) fn push_request(ring: &mut IoUring, request: &RingRequest) -> bool {
    let entry = match *request {
        RingRequest::Poll {
            descriptor,
            events,
            token,
        } => {
            let poll = opcode::PollAdd::new(types::Fd(descriptor), events);
            poll.build().user_data(token)
        }
        RingRequest::Cancel { of, token } => opcode::PollRemove::new(of).build().user_data(token),
    };
    // JUSTIFICATION: `push` is unsafe because an entry may name memory that the kernel reads or writes later.
    // SAFETY: a poll names a file descriptor and no memory; a cancellation names a number. If the descriptor
    // is closed in the meantime, or is reused for another file, the result is wrong or an error, but no
    // memory is touched.
    let pushed = unsafe { ring.submission().push(&entry) };
    pushed.is_ok()
}

/// Submits queued requests and posts the completions that are due, without waiting.
///
/// # Errors
/// The error of io_uring_enter(2).
pub(crate) fn submit_and_look(ring: &mut IoUring) -> io::Result<()> {
    let queued = u32::try_from(ring.submission().len()).unwrap_or(u32::MAX);
    enter(ring, queued)
}

/// Posts the completions that are due, without submitting requests.
///
/// # Errors
/// The error of io_uring_enter(2).
pub(crate) fn look(ring: &IoUring) -> io::Result<()> {
    enter(ring, 0)
}

fn enter(ring: &IoUring, queued: u32) -> io::Result<()> {
    // JUSTIFICATION: the crate requests completions (GETEVENTS) only when it waits for some. With
    // DEFER_TASKRUN, none are posted otherwise.
    // SAFETY: the kernel takes no more entries than the queue holds, and every entry is a `RingRequest`. No
    // argument is passed, so the kernel reads no memory of this process.
    let entered = unsafe {
        ring.submitter()
            .enter::<libc::sigset_t>(queued, 0, GET_EVENTS, None)
    };
    entered.map(|_| ())
}

// IORING_ENTER_GETEVENTS of linux/io_uring.h.
const GET_EVENTS: u32 = 1;

/// Puts a request into the queue that no worker makes, for tests of the restrictions.
#[cfg(test)]
pub(crate) fn push_nop(ring: &mut IoUring) {
    let entry = opcode::Nop::new().build();
    // SAFETY: the operation has no argument.
    unsafe { ring.submission().push(&entry) }.expect("the queue is empty");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_poll_is_submitted_and_completed_without_waiting() {
        let mut ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(2)
            .expect("io_uring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        let (mut peer, _) = listener.accept().expect("a connection");
        let readable = u32::from(rustix::event::PollFlags::IN.bits());
        let mut push = |token| {
            let request = RingRequest::Poll {
                descriptor: ours.as_raw_fd(),
                events: readable,
                token,
            };
            push_request(&mut ring, &request)
        };
        assert!(push(7));
        assert!(push(8));
        assert!(!push(9), "the queue has two entries");
        submit_and_look(&mut ring).expect("it is ours");
        assert_eq!(
            ring.completion().count(),
            0,
            "the socket has received nothing"
        );
        peer.write_all(b"x").expect("it is connected");
        let mut tokens = Vec::new();
        for _ in 0..1000 {
            submit_and_look(&mut ring).expect("it is ours");
            tokens.extend(ring.completion().map(|entry| entry.user_data()));
            if tokens.len() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        tokens.sort_unstable();
        assert_eq!(tokens, [7, 8]);
    }
}
