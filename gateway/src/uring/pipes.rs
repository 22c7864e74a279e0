//! A core's pool of pipes.
//!
//! Unmodified bytes go from socket to socket through a pipe: the kernel moves its pages, and nothing is
//! copied. A direction borrows a pipe when bytes arrive and returns it when they are sent, so an idle
//! connection holds none.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Deref;

use super::Pipe;
use crate::uring::limits::PIPES_MAX;

/// Lends empty pipes, a bounded number at a time.
#[derive(Debug)]
pub struct Pipes<P> {
    // INVARIANT: all of these are empty.
    free: RefCell<Vec<P>>,
    // The number of pipes that may still be created. Together with `free` and the lent pipes this is the
    // limit.
    unmade: Cell<usize>,
}

impl<P> Default for Pipes<P> {
    fn default() -> Self {
        Self::new(PIPES_MAX)
    }
}

impl<P> Pipes<P> {
    /// A pool that lends at most `most` pipes at a time. Pipes are created when they are first lent, and
    /// kept.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            free: RefCell::new(Vec::with_capacity(most)),
            unmade: Cell::new(most),
        }
    }
}

impl<P: Pipe> Pipes<P> {
    /// Lends an empty pipe. If no free pipe exists and the limit allows it, `make` creates one. `None` if all
    /// pipes are lent, or the system refuses another one.
    pub fn take(&self, make: impl FnOnce() -> io::Result<P>) -> Option<LentPipe<'_, P>> {
        let kept = self.free.borrow_mut().pop();
        let pipe = kept.or_else(|| self.make(make))?;
        Some(LentPipe {
            pipe: Some(pipe),
            home: self,
        })
    }

    fn make(&self, make: impl FnOnce() -> io::Result<P>) -> Option<P> {
        let rest = self.unmade.get().checked_sub(1)?;
        // The system may allow another pipe at a later request.
        let pipe = make().ok()?;
        self.unmade.set(rest);
        Some(pipe)
    }

    fn give_back(&self, pipe: P) {
        if pipe.held() == 0 {
            self.free.borrow_mut().push(pipe);
        } else {
            // A failed connection has left bytes in the pipe, which must never reach another connection. The
            // pipe is closed here, and a new one may be created.
            self.unmade.set(self.unmade.get().saturating_add(1));
        }
    }
}

/// A lent pipe. Returned to the pool on drop, unless bytes are left in it.
#[derive(Debug)]
pub struct LentPipe<'p, P: Pipe> {
    // `None` only during drop.
    pipe: Option<P>,
    home: &'p Pipes<P>,
}

impl<P: Pipe> Deref for LentPipe<'_, P> {
    type Target = P;

    fn deref(&self) -> &P {
        self.pipe.as_ref().expect("it is lent")
    }
}

impl<P: Pipe> Drop for LentPipe<'_, P> {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.home.give_back(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbered(usize, Cell<usize>);

    impl Pipe for Numbered {
        fn held(&self) -> usize {
            self.1.get()
        }
    }

    struct Maker(Cell<usize>);

    impl Maker {
        fn make(&self) -> io::Result<Numbered> {
            self.0.set(self.0.get() + 1);
            Ok(Numbered(self.0.get(), Cell::new(0)))
        }
    }

    #[test]
    fn lent_pipes_are_bounded() {
        let (pipes, maker) = (Pipes::new(2), Maker(Cell::new(0)));
        let first = pipes.take(|| maker.make()).expect("there are two");
        let second = pipes.take(|| maker.make()).expect("there are two");
        assert!(pipes.take(|| maker.make()).is_none());
        assert_eq!(maker.0.get(), 2);
        drop(second);
        let again = pipes.take(|| maker.make()).expect("one came back");
        assert_eq!((first.0, again.0), (1, 2), "the same pipe is lent again");
    }

    #[test]
    fn a_pipe_with_bytes_left_in_it_is_not_lent_again() {
        let (pipes, maker) = (Pipes::new(1), Maker(Cell::new(0)));
        let pipe = pipes.take(|| maker.make()).expect("there is one");
        pipe.1.set(1);
        drop(pipe);
        let other = pipes.take(|| maker.make()).expect("a new one is made");
        assert_eq!((other.0, other.held()), (2, 0));
    }

    #[test]
    fn after_the_system_refuses_a_pipe_a_later_request_tries_again() {
        let (pipes, maker) = (Pipes::new(1), Maker(Cell::new(0)));
        let refused = || Err(io::ErrorKind::OutOfMemory.into());
        assert!(pipes.take(refused).is_none());
        assert!(pipes.take(|| maker.make()).is_some());
    }
}
