//! How other threads wake a core: an eventfd that its ring polls.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use super::Ready;

/// The outside: may be rung by any thread, and never blocks.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

/// The core's side, to be opened on its thread.
#[derive(Debug)]
pub(crate) struct Doorbell {
    fd: OwnedFd,
}

impl Bell {
    /// Both sides.
    #[expect(unsafe_code, reason = "eventfd has no safe wrapper in std")]
    pub(crate) fn pair() -> io::Result<(Self, Doorbell)> {
        // SAFETY: no pointers; the result is checked before it becomes an owned descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let other = fd.try_clone()?;
        Ok((Self(Arc::new(fd)), Doorbell { fd: other }))
    }

    /// Wakes the core. A bell that rings already is not an error.
    #[expect(unsafe_code, reason = "write(2) on an eventfd")]
    pub(crate) fn ring(&self) {
        let one = 1_u64;
        // SAFETY: eight readable bytes, as an eventfd wants; EAGAIN (counter full) means that it rings already.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }
}

impl Doorbell {
    /// Whether it rings; it is silent again afterwards. For who has no driver.
    #[cfg(debug_assertions)]
    #[expect(unsafe_code, reason = "read(2) on an eventfd")]
    pub(crate) fn is_rung(&self) -> bool {
        let mut count = 0_u64;
        // SAFETY: eight writable bytes, as an eventfd wants; EAGAIN means that it is silent.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), 8) };
        read == 8
    }

    /// The descriptor, for who has a driver of their own.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Takes it into this core's driver.
    pub(crate) fn open(self) -> io::Result<OpenDoorbell> {
        Ok(OpenDoorbell {
            ready: Ready::new(self.fd)?,
        })
    }
}

/// The core's side, in its driver.
pub(crate) struct OpenDoorbell {
    ready: Ready,
}

impl OpenDoorbell {
    /// Until it rings; it is silent again afterwards.
    #[expect(unsafe_code, reason = "read(2) on an eventfd")]
    pub(crate) async fn rung(&self) -> io::Result<()> {
        self.ready.readable().await?;
        let mut count = 0_u64;
        // SAFETY: eight writable bytes, as an eventfd wants.
        unsafe { libc::read(self.ready.raw(), (&raw mut count).cast(), 8) };
        Ok(())
    }
}
