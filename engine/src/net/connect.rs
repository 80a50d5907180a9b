//! Connecting: a socket of our own, `connect(2)`, and a wait for it to become writable.
//!
//! monoio's connect cannot be cancelled without leaking its descriptor; this wait can, and dropping it closes the socket.

use std::fmt;
use std::io;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Ready, Stream};

/// Why a connection was not made.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The other end refused it.
    Refused(io::Error),
    /// Anything else: unreachable, no local port, no descriptor.
    Failed(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            // A Unix socket whose file is gone has as little of a server behind it as a closed port.
            Some(libc::ECONNREFUSED | libc::ENOENT) => Self::Refused(error),
            _ => Self::Failed(error),
        }
    }
}

/// Keep-alive of idle upstream connections, so that a peer that vanished is found while it is not needed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes a connection. Takes as long as the kernel does; the caller bounds it.
pub(crate) async fn connect(address: &SockAddr) -> Result<Stream, ConnectError> {
    let socket = open(address)?;
    match socket.connect(address) {
        Ok(()) => return Ok(Stream::new(socket.into())?),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        // A full backlog of a Unix socket: there is nothing to wait for.
        Err(error) => return Err(error.into()),
    }
    let ready = Ready::new(socket.into())?;
    ready.writable().await?;
    if let Some(error) = socket2::SockRef::from(&super::borrow(&ready.raw())).take_error()? {
        return Err(error.into());
    }
    Ok(Stream::from_ready(ready)?)
}

fn open(address: &SockAddr) -> io::Result<Socket> {
    let domain = address.domain();
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    if domain != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(
            &socket2::TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE / 3),
        )?;
    }
    Ok(socket)
}
