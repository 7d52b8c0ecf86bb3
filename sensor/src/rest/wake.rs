//! Wakes the daemon when a call waits for it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::event::{EventfdFlags, eventfd};

/// A counter of the kernel's (`eventfd(2)`) that is readable from [`Waker::wake`] until
/// [`Waker::clear`].
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    /// One that is not readable.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes it readable. A counter that is full is readable as it is.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable, until somebody wakes again. One that was not readable stays so.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
