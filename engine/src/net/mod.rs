//! Sockets. Nothing above this module names monoio.
//!
//! A read in flight owns its bytes and lives in its [`Reader`], not in who awaits it: dropping an awaiting future loses
//! nothing, so reads may be raced and timed out. A write that is dropped half done marks its [`Writer`] as broken.

mod connect;
mod doorbell;
mod listen;
mod ready;
mod runtime;
mod stream;

pub(crate) use connect::{ConnectError, connect};
pub use doorbell::Bell;
pub(crate) use doorbell::Doorbell;
pub(crate) use listen::{AcceptError, Accepted, Acceptor};
pub use listen::{BoundAddress, bind};
pub(crate) use ready::Ready;
pub use runtime::{DriverChoice, DriverError, Setup, probe};
pub(crate) use runtime::{run, spawn};
pub(crate) use stream::{Reader, Stream, Writer};

/// Borrows an open descriptor, to set its socket's options.
#[expect(
    unsafe_code,
    reason = "descriptors inside monoio's types are only to be had raw"
)]
fn borrow(fd: &std::os::fd::RawFd) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: every caller passes the descriptor of a socket that it owns and that outlives the call.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(*fd) }
}
