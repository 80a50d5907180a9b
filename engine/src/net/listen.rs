//! Listening: sockets are bound by the control thread, one for each core, and accepted from by their core.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringway_config::ListenAddress;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::{Ready, admit_again};
use crate::request::PeerAddr;

/// Where a listener really listens: port 0 resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BoundAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Who else may hold the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Nobody.
    None,
    /// Sockets of our own that are about to close.
    Closing,
}

/// Binds one listening socket for each core.
///
/// The address is bound once without `SO_REUSEPORT` first, so that another process that listens there is an error and not a
/// partner that silently gets a share of the connections. That socket then keeps the port until the others have it.
pub(crate) fn bind(
    address: &ListenAddress,
    others: Others,
    backlog: u32,
    cores: usize,
) -> io::Result<(BoundAddress, Vec<OwnedFd>)> {
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, others, backlog, cores),
        ListenAddress::Unix { path, mode } => bind_unix(path.clone(), *mode, backlog, cores),
    }
}

fn bind_tcp(
    address: SocketAddr,
    others: Others,
    backlog: u32,
    cores: usize,
) -> io::Result<(BoundAddress, Vec<OwnedFd>)> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    };
    let guard = open()?;
    if others == Others::Closing {
        guard.set_reuse_port(true)?;
    }
    guard.bind(&address.into())?;
    guard.set_reuse_port(true)?;
    let bound = guard.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = open()?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        // Accepted sockets inherit it, which saves a call for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        sockets.push(socket.into());
    }
    Ok((BoundAddress::Tcp(bound), sockets))
}

/// Makes a closing socket one that listens again, with the queue's length that is wanted now.
pub(crate) fn again(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    admit_again(socket)
}

/// A Unix socket has one queue: every core accepts from the same one.
fn bind_unix(
    path: PathBuf,
    mode: u32,
    backlog: u32,
    cores: usize,
) -> io::Result<(BoundAddress, Vec<OwnedFd>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(&path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_left_over(&path, &address)? {
            return Err(error);
        }
        std::fs::remove_file(&path)?;
        socket.bind(&address)?;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let first = OwnedFd::from(socket);
    let mut sockets = (1..cores)
        .map(|_| first.try_clone())
        .collect::<io::Result<Vec<_>>>()?;
    sockets.push(first);
    Ok((BoundAddress::Unix(path), sockets))
}

/// Whether a file is a socket's that a process left when it died: one that somebody answers on is in use, and what is no socket is
/// somebody's file, which a wrong path must not cost them.
fn is_left_over(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !is_socket(path) {
        let why = "a file that is no socket is there";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    let asked = Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(address);
    Ok(asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// A link to one is none.
fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Removes the file of a Unix socket that nobody listens on any more, if it is there: somebody may have put another in its place.
pub fn remove_socket(path: &Path) {
    if is_socket(path)
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(%error, path = %path.display(), "the socket's file cannot be removed");
    }
}

/// A listening socket in its core.
pub(crate) struct Acceptor {
    ready: Ready,
    is_tcp: bool,
    /// Our end of the connections it accepts, where the address says it; asked for each where it is a wildcard.
    local: Option<PeerAddr>,
}

/// A connection that came in.
pub(crate) struct Accepted {
    pub(crate) fd: OwnedFd,
    pub(crate) remote: PeerAddr,
    pub(crate) local: PeerAddr,
}

/// Why nothing was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// The queue is empty.
    Empty,
    /// This one connection failed before it was accepted; there may be others.
    Aborted,
    /// No descriptors or memory are left: wait before trying again.
    Exhausted,
}

impl Acceptor {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let address = SockRef::from(&fd).local_addr()?;
        let local = match address.as_socket() {
            Some(address) if address.ip().is_unspecified() => None,
            Some(address) => Some(PeerAddr::Ip(address)),
            None => Some(unix_peer(&address)),
        };
        Ok(Self {
            is_tcp: address.as_socket().is_some(),
            local,
            ready: Ready::new(fd)?,
        })
    }

    /// Until there is something to accept, or something is wrong with the socket.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.ready.readable().await
    }

    /// Takes one connection off the queue. Never waits.
    #[expect(
        unsafe_code,
        reason = "accept4 with its address, and descriptors that come from it"
    )]
    pub(crate) fn accept(&self) -> Result<Accepted, AcceptError> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `try_init` gives a zeroed sockaddr_storage and its length; accept4 writes within them.
        let accepted = unsafe {
            SockAddr::try_init(|storage, len| {
                match libc::accept4(self.ready.raw(), storage.cast(), len, flags) {
                    -1 => Err(io::Error::last_os_error()),
                    // SAFETY: a fresh descriptor that nobody else owns.
                    fd => Ok(OwnedFd::from_raw_fd(fd)),
                }
            })
        };
        let (fd, remote) = accepted.map_err(|error| match error.raw_os_error() {
            Some(libc::EAGAIN) => AcceptError::Empty,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                AcceptError::Exhausted
            }
            _ => AcceptError::Aborted,
        })?;
        let remote = remote
            .as_socket()
            .map_or_else(|| unix_peer(&remote), PeerAddr::Ip);
        let local = match &self.local {
            Some(local) => local.clone(),
            None => SockRef::from(&fd)
                .local_addr()
                .ok()
                .and_then(|local| local.as_socket())
                .map_or_else(|| remote.clone(), PeerAddr::Ip),
        };
        Ok(Accepted { fd, remote, local })
    }

    /// Lets no new connection begin, while those whose handshake is under way still end in the queue.
    ///
    /// Closing a listening socket resets what is in its queue. So SYNs are dropped first, by a filter that passes all other
    /// segments; the client's kernel tries again a second later and is then refused. A Unix socket has no half-open state.
    /// [`Self::admit_again`] takes the filter off.
    #[expect(unsafe_code, reason = "SO_ATTACH_FILTER")]
    pub(crate) fn refuse_new(&self) -> io::Result<()> {
        if !self.is_tcp {
            return Ok(());
        }
        // A TCP socket's filter sees the segment from its TCP header on: byte 13 holds the flags, SYN = 0x02, ACK = 0x10.
        let op = |code: u32, jt, jf, k| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let mut program = [
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
            op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the program and its instructions live during the call, which copies them.
        let result = unsafe {
            libc::setsockopt(
                self.ready.raw(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Lets new connections begin again after [`Self::refuse_new`].
    pub(crate) fn admit_again(&self) -> io::Result<()> {
        if self.is_tcp {
            admit_again(&self.ready.raw())
        } else {
            Ok(())
        }
    }
}

fn unix_peer(address: &SockAddr) -> PeerAddr {
    PeerAddr::Unix(address.as_pathname().map_or_else(
        || Rc::from("unix"),
        |path| Rc::from(path.to_string_lossy().as_ref()),
    ))
}
