//! A core's pool of pipes.
//!
//! Bytes that pass through unchanged go from socket to socket through a pipe: the kernel hands its
//! pages on, and nothing is copied. A direction borrows a pipe when bytes have come and gives it back
//! when they are gone, so an idle connection holds none.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Deref;

use super::Pipe;
use crate::limits::PIPES_MAX;

/// Lends empty pipes, a bounded number at a time.
#[derive(Debug)]
pub struct Pipes<P> {
    // INVARIANT: all of these are empty.
    free: RefCell<Vec<P>>,
    // Pipes that were never made yet; with `free` and those lent, this is the bound.
    unmade: Cell<usize>,
}

impl<P> Default for Pipes<P> {
    fn default() -> Self {
        Self::new(PIPES_MAX)
    }
}

impl<P> Pipes<P> {
    /// A pool that lends at most `most` pipes at a time. They are made when they are first lent, and
    /// kept from then on.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            free: RefCell::new(Vec::with_capacity(most)),
            unmade: Cell::new(most),
        }
    }
}

impl<P: Pipe> Pipes<P> {
    /// Lends an empty pipe; `make` makes one where none lies ready and the bound allows it. `None`
    /// where all are lent, or the system gives no further one.
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
        // What the system refuses now it may grant when the next one is asked for.
        let pipe = make().ok()?;
        self.unmade.set(rest);
        Some(pipe)
    }

    fn give_back(&self, pipe: P) {
        if pipe.held() == 0 {
            self.free.borrow_mut().push(pipe);
        } else {
            // A connection that failed has left bytes in it, which must never reach another one: the
            // pipe is closed here, and a new one may be made for it.
            self.unmade.set(self.unmade.get().saturating_add(1));
        }
    }
}

/// A pipe that is lent. It goes back when this is dropped, unless something is left in it.
#[derive(Debug)]
pub struct LentPipe<'p, P: Pipe> {
    // `None` while it is dropped, and never else.
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
    fn no_more_are_lent_than_the_bound() {
        let (pipes, maker) = (Pipes::new(2), Maker(Cell::new(0)));
        let first = pipes.take(|| maker.make()).expect("there are two");
        let second = pipes.take(|| maker.make()).expect("there are two");
        assert!(pipes.take(|| maker.make()).is_none());
        assert_eq!(maker.0.get(), 2);
        drop(second);
        let again = pipes.take(|| maker.make()).expect("one came back");
        assert_eq!((first.0, again.0), (1, 2), "it is the same one");
    }

    #[test]
    fn a_pipe_with_something_left_in_it_is_not_lent_again() {
        let (pipes, maker) = (Pipes::new(1), Maker(Cell::new(0)));
        let pipe = pipes.take(|| maker.make()).expect("there is one");
        pipe.1.set(1);
        drop(pipe);
        let other = pipes.take(|| maker.make()).expect("a new one is made");
        assert_eq!((other.0, other.held()), (2, 0));
    }

    #[test]
    fn a_pipe_that_the_system_refuses_is_asked_for_again() {
        let (pipes, maker) = (Pipes::new(1), Maker(Cell::new(0)));
        let refused = || Err(io::ErrorKind::OutOfMemory.into());
        assert!(pipes.take(refused).is_none());
        assert!(pipes.take(|| maker.make()).is_some());
    }
}
