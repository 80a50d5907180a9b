//! Bytes from one socket to another through a pipe in the kernel, uncopied: `splice(2)`, non-blocking, after readiness.
//!
//! As operations of the ring it would be done by kernel threads, at four times the cost of a copy. A pipe takes two
//! descriptors and, full, 256 KiB of the kernel's memory, so a core has a bounded number of them; where none is left, or
//! the kernel forbids it, bytes are copied. A pipe goes back empty: one with bytes in it is closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::relay::Broken;
use super::{QUIET_AFTER, Reader, Writer, give_way};
use crate::observe::{CoreStats, Slot};
use crate::time::{Deadline, Timer};

/// What a pipe is to hold: less makes more calls of it, and more is beyond what users may ask for (`fs.pipe-max-size`) in places.
const PIPE_BYTES: i32 = 256 << 10;
/// A pipe that the kernel made smaller than this (`fs.pipe-user-pages-soft`) gains nothing.
const PIPE_BYTES_MIN: i32 = 64 << 10;
/// A turn that moves less than this is a small one.
const SMALL: usize = 16 << 10;
/// So many small turns one after the other, and the direction is no large one any more.
const SMALL_TURNS: u32 = 16;

/// A core's pipes.
pub(crate) struct Pipes {
    idle: RefCell<Vec<Pipe>>,
    /// In use or idle.
    open: Cell<u32>,
    /// How many there may be; written by control.
    max: Arc<AtomicU32>,
    stats: Slot<CoreStats>,
}

impl Pipes {
    pub(crate) fn new(max: Arc<AtomicU32>, stats: Slot<CoreStats>) -> Self {
        Self {
            idle: RefCell::default(),
            open: Cell::new(0),
            max,
            stats,
        }
    }

    fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    fn count(&self, open: u32) {
        self.open.set(open);
        self.stats.splice_pipes.set(i64::from(open));
    }

    /// A pipe to move bytes through; none if all are in use or the kernel has none.
    fn lease(&self) -> Option<Lease<'_>> {
        let kept = self.idle.borrow_mut().pop();
        let pipe = match kept {
            Some(pipe) => pipe,
            None if self.open.get() >= self.max() => {
                self.stats.splice_no_pipe.inc();
                return None;
            }
            None => {
                let Ok(pipe) = Pipe::new() else {
                    self.stats.splice_no_pipe.inc();
                    return None;
                };
                self.count(self.open.get() + 1);
                pipe
            }
        };
        Some(Lease {
            pipes: self,
            pipe: Some(pipe),
            held: 0,
        })
    }
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    #[expect(unsafe_code, reason = "pipe2 and its size have no safe wrapper in std")]
    fn new() -> io::Result<Self> {
        let mut fds = [-1; 2];
        // SAFETY: room for two descriptors, which are owned by nobody else once the call has made them.
        let (read, write) = unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
                return Err(io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        };
        // SAFETY: no pointers; the descriptor is open.
        let size = unsafe {
            let fd = write.as_raw_fd();
            match libc::fcntl(fd, libc::F_SETPIPE_SZ, PIPE_BYTES) {
                -1 => libc::fcntl(fd, libc::F_GETPIPE_SZ),
                size => size,
            }
        };
        if size < PIPE_BYTES_MIN {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { read, write })
    }
}

/// A pipe in use.
struct Lease<'p> {
    pipes: &'p Pipes,
    pipe: Option<Pipe>,
    /// Bytes in it.
    held: usize,
}

impl Lease<'_> {
    fn ends(&self) -> (RawFd, RawFd) {
        self.pipe.as_ref().map_or((-1, -1), |pipe| {
            (pipe.read.as_raw_fd(), pipe.write.as_raw_fd())
        })
    }

    /// Takes in what the socket has, as far as the pipe holds it.
    fn take_in(&mut self, from: RawFd) -> io::Result<usize> {
        let moved = move_bytes(from, self.ends().1, PIPE_BYTES as usize)?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives the socket what it takes.
    fn give_out(&mut self, to: RawFd) -> io::Result<usize> {
        let moved = move_bytes(self.ends().0, to, self.held)?;
        self.held -= moved;
        Ok(moved)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let pipes = self.pipes;
        match self.pipe.take() {
            Some(pipe) if self.held == 0 && pipes.open.get() <= pipes.max() => {
                pipes.idle.borrow_mut().push(pipe);
            }
            Some(_) | None => pipes.count(pipes.open.get().saturating_sub(1)),
        }
    }
}

#[expect(unsafe_code, reason = "splice(2) has no safe wrapper in std")]
fn move_bytes(from: RawFd, to: RawFd, most: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let none = std::ptr::null_mut();
    // SAFETY: no offsets are given, so that no memory of ours is read or written; both descriptors are open, and a wrong one
    // would be an error.
    let moved = unsafe { libc::splice(from, none, to, none, most, flags) };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}

/// How moving bytes in the kernel ended.
pub(super) enum Spliced {
    /// The direction went quiet or small, or its stream ended, which the next read will see.
    Quiet,
    /// It is not to be had here.
    Impossible,
}

/// Moves bytes for as long as many come. Nothing is left in between when it returns `Ok`.
pub(super) async fn splice(
    from: &Reader,
    to: &Writer,
    pipes: &Pipes,
    timer: &Timer,
    moved: &dyn Fn(usize),
) -> Result<Spliced, Broken> {
    let (Some(source), Some(sink)) = (from.bare_fd(), to.bare_fd()) else {
        return Ok(Spliced::Impossible);
    };
    if pipes.max() == 0 {
        return Ok(Spliced::Impossible);
    }
    let Some(mut pipe) = pipes.lease() else {
        return Ok(Spliced::Quiet);
    };
    let mut small = 0;
    while small < SMALL_TURNS {
        give_way().await;
        let soon = Deadline::after(QUIET_AFTER);
        match timer.within(soon, from.readable()).await {
            Ok(ready) => ready.map_err(Broken::Reading)?,
            Err(_elapsed) => break,
        }
        let taken = match pipe.take_in(source) {
            Ok(0) => break,
            Ok(taken) => taken,
            Err(error) if is_transient(&error) => continue,
            Err(error) if is_refusal(&error) => return Ok(Spliced::Impossible),
            Err(error) => return Err(Broken::Reading(error)),
        };
        while pipe.held > 0 {
            match pipe.give_out(sink) {
                Ok(given) => {
                    pipes.stats.splice_bytes.add(given as u64);
                    moved(given);
                }
                Err(error) if is_transient(&error) => {
                    give_way().await;
                    to.writable().await.map_err(Broken::Writing)?;
                }
                Err(error) => return Err(Broken::Writing(error)),
            }
        }
        small = if taken < SMALL { small + 1 } else { 0 };
    }
    Ok(Spliced::Quiet)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The kernel cannot with this kind of socket, or a sandbox forbids it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::ENOMEM)
    )
}
