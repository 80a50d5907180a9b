//! The core's one timer: a timerfd that its ring polls.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use super::Ready;

/// A timerfd.
pub(crate) struct Alarm {
    ready: Ready,
}

impl Alarm {
    #[expect(unsafe_code, reason = "timerfd_create has no safe wrapper in std")]
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it becomes an owned descriptor.
        let fd = unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_CLOEXEC | libc::TFD_NONBLOCK,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            ready: Ready::new(fd)?,
        })
    }

    /// Rings after so long, instead of what was set before; `None`: not at all.
    #[expect(unsafe_code, reason = "timerfd_settime")]
    pub(crate) fn set(&self, after: Option<Duration>) {
        let after = after.unwrap_or(Duration::ZERO);
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(after.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_interval: zero,
            it_value: value,
        };
        // SAFETY: `setting` is a valid itimerspec during the call; the old value is not asked for.
        unsafe {
            libc::timerfd_settime(
                self.ready.raw(),
                0,
                &raw const setting,
                std::ptr::null_mut(),
            )
        };
    }

    /// Until it rings; it is silent again afterwards.
    #[expect(unsafe_code, reason = "read(2) on a timerfd")]
    pub(crate) async fn rung(&self) {
        if self.ready.readable().await.is_err() {
            // A poll that the driver cannot do at all: without time a core would hang, so it spins on what it has.
            return;
        }
        let mut count = 0_u64;
        // SAFETY: eight writable bytes, as a timerfd wants.
        unsafe { libc::read(self.ready.raw(), (&raw mut count).cast(), 8) };
    }
}
