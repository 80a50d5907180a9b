//! Sockets, and TLS over them. Nothing above this module names monoio or rustls.
//!
//! A read in flight owns its bytes and lives in its [`Reader`], not in who awaits it: dropping an awaiting future loses
//! nothing, so reads may be raced and timed out. A write that is dropped half done marks its [`Writer`] as broken.

mod alarm;
mod connect;
mod doorbell;
mod listen;
mod poll_io;
mod ready;
mod relay;
mod runtime;
mod spare;
mod splice;
mod stream;
pub mod tls;

use std::time::Duration;

pub(crate) use alarm::Alarm;
pub(crate) use connect::{ConnectError, connect_any};
pub(crate) use doorbell::{Bell, Doorbell};
pub(crate) use listen::{AcceptError, Accepted, Acceptor};
pub use listen::{BoundAddress, remove_socket};
pub(crate) use listen::{Others, again, bind};
pub(crate) use poll_io::{Observer, PollIo, Pump, poll_io};
pub(crate) use ready::Ready;
pub(crate) use relay::{Broken, Pull, relay};
pub use runtime::{DriverChoice, DriverError, Setup, probe};
pub(crate) use runtime::{give_way, run, spawn};
pub(crate) use spare::{Spare, admit_again};
pub(crate) use splice::Pipes;
pub(crate) use stream::{Reader, Stream, Writer};

/// How long more is waited for with a buffer or a pipe in hand: an end that goes on at once need not wait for one to be found.
pub(crate) const QUIET_AFTER: Duration = Duration::from_millis(16);

/// Borrows an open descriptor, to set its socket's options.
#[expect(
    unsafe_code,
    reason = "descriptors inside monoio's types are only to be had raw"
)]
fn borrow(fd: &std::os::fd::RawFd) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: every caller passes the descriptor of a socket that it owns and that outlives the call.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(*fd) }
}

/// Ends the reading side of a connection that somebody else reads: what has come is still read, then the stream ends.
pub(crate) fn end_reading(fd: std::os::fd::RawFd) {
    shutdown(fd, std::net::Shutdown::Read);
}

/// Ends a connection that somebody else uses: its reads and writes fail.
pub(crate) fn cut(fd: std::os::fd::RawFd) {
    shutdown(fd, std::net::Shutdown::Both);
}

/// Resets a connection that somebody else uses: the peer sees that it broke off, and reads and writes here fail. One that is cut
/// only would look as if the peer had ended it in order.
#[expect(unsafe_code, reason = "connect(2) to no address, which std cannot say")]
pub(crate) fn reset(fd: std::os::fd::RawFd) {
    let none = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address lives during the call, and its length is its own; a wrong descriptor would be an error.
    let disconnected = unsafe { libc::connect(fd, &raw const none, length) };
    if disconnected != 0 {
        // A Unix socket knows no reset.
        cut(fd);
    }
}

fn shutdown(fd: std::os::fd::RawFd, how: std::net::Shutdown) {
    // It may be gone already at its other end.
    let _gone = socket2::SockRef::from(&borrow(&fd)).shutdown(how);
}
