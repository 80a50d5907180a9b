//! A second handle of a listening socket, which control and the socket's core share: whoever takes it first has it.
//!
//! A listener that is given up closes half a second later, when the last handshakes have come into its queue. If its address is
//! wanted again meanwhile, new sockets beside the closing ones would share its connections with them, and those that fall to a
//! closing socket are put off by a second. So the socket itself is taken back, through this handle.
//!
//! ```text
//!  control: listener gone → gate closes …………………………………… address wanted again → take → new gate over the same queue
//!  core:    filter on, accept the last ……… half a second is over → take → empty the queue → close
//! ```

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Taken.
const NONE: i32 = -1;

/// The handle, until one side takes it. Two threads write it, each at most once: it passes an owner on.
#[derive(Debug)]
pub(crate) struct Spare(AtomicI32);

impl Spare {
    /// Of this socket.
    pub(crate) fn of(socket: &OwnedFd) -> io::Result<Self> {
        Ok(Self(AtomicI32::new(socket.try_clone()?.into_raw_fd())))
    }

    /// The handle, for the first who asks.
    #[expect(unsafe_code, reason = "an owner that went through a number")]
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        // Sequentially consistent, as `is_taken`: what each side does to the socket's filter before and after must not pass it.
        match self.0.swap(NONE, Ordering::SeqCst) {
            NONE => None,
            // SAFETY: the number came from an `OwnedFd` in `of`, and the swap gives it to one caller only.
            fd => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }

    /// Whether somebody has taken it.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::SeqCst) == NONE
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Takes off what keeps new connections from a listening socket. One that has no filter stays as it is.
#[expect(unsafe_code, reason = "SO_DETACH_FILTER")]
pub(crate) fn admit_again(socket: &impl AsRawFd) -> io::Result<()> {
    let nothing: libc::c_int = 0;
    // SAFETY: the descriptor is open while `socket` is borrowed; the option takes one int, which it does not look at.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const nothing).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_side_gets_it() {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let spare = Spare::of(&socket).unwrap();
        assert!(!spare.is_taken());
        assert!(spare.take().is_some());
        assert!(spare.is_taken() && spare.take().is_none());
        assert!(admit_again(&socket).is_ok(), "without a filter");
    }
}
