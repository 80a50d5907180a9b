//! Connecting: a socket of our own, `connect(2)`, and a wait for it to become writable.
//!
//! monoio's connect cannot be cancelled without leaking its descriptor; this wait can, and dropping it closes the socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ringway_config::UpstreamSocket;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Ready, Stream};
use crate::time::{Deadline, Timer};

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

/// How long an address has before the next is tried beside it (RFC 8305 §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connection being made.
type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + 'a>>;

/// Makes a connection to whichever of these addresses takes one first (RFC 8305 §5): each has a moment for itself, the next begins
/// when that is over or the connection was refused, and what was begun goes on. Takes as long as the kernel does; the caller
/// bounds it.
pub(crate) async fn connect_any(
    addresses: &[SockAddr],
    options: &UpstreamSocket,
) -> Result<Stream, ConnectError> {
    if let [only] = addresses {
        return connect(only, options).await;
    }
    let timer = Timer::new();
    let mut rest = addresses.iter();
    let mut racing: Vec<Attempt<'_>> = Vec::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable).into();
    loop {
        match rest.next() {
            Some(address) => racing.push(Box::pin(connect(address, options))),
            None if racing.is_empty() => return Err(last),
            None => {}
        }
        let first = std::future::poll_fn(|cx| {
            for (at, attempt) in racing.iter_mut().enumerate() {
                if let Poll::Ready(ended) = attempt.as_mut().poll(cx) {
                    return Poll::Ready((at, ended));
                }
            }
            Poll::Pending
        });
        let pause = match rest.len() {
            0 => Deadline::NEVER,
            _ => Deadline::after(ATTEMPT_DELAY),
        };
        match timer.within(pause, first).await {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((at, Err(error))) => {
                last = error;
                drop(racing.swap_remove(at));
            }
            Err(_elapsed) => {}
        }
    }
}

/// Makes a connection.
async fn connect(address: &SockAddr, options: &UpstreamSocket) -> Result<Stream, ConnectError> {
    let socket = open(address, options)?;
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

fn open(address: &SockAddr, options: &UpstreamSocket) -> io::Result<Socket> {
    let domain = address.domain();
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    if let Some(to) = address.as_socket() {
        socket.set_tcp_nodelay(true)?;
        if !options.keep_alive.is_zero() {
            socket.set_tcp_keepalive(
                &socket2::TcpKeepalive::new()
                    .with_time(options.keep_alive)
                    .with_interval(options.keep_alive_interval)
                    .with_retries(options.keep_alive_probes),
            )?;
        }
        socket.set_tcp_user_timeout(options.user_timeout)?;
        let same = |from: &&IpAddr| from.is_ipv4() == to.is_ipv4();
        if let Some(from) = options.bind.iter().find(same) {
            late_port(&socket)?;
            socket.bind(&SocketAddr::new(*from, 0).into())?;
        }
    }
    Ok(socket)
}

/// Has the kernel choose the port when it connects: a port then serves many destinations at once, and not only one.
#[expect(unsafe_code, reason = "socket2 does not know this option")]
fn late_port(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the descriptor is the socket's, which lives through the call, and the value is an int of the length that is said.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
