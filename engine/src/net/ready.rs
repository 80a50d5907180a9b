//! Waiting for a descriptor to become ready. Such a wait may be dropped: it has taken no bytes.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use monoio::net::TcpStream;

/// Any pollable descriptor, owned. monoio's stream is only the way to its poll operation; none of its socket calls is used.
pub(crate) struct Ready {
    stream: Option<TcpStream>,
}

impl Ready {
    #[expect(
        unsafe_code,
        reason = "monoio takes descriptors only through std's socket types"
    )]
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned here and given away; std's type is a plain wrapper that makes no call by itself.
        let std = unsafe { std::net::TcpStream::from_raw_fd(fd.into_raw_fd()) };
        Ok(Self {
            stream: Some(TcpStream::from_std(std)?),
        })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Until a read would not block.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.stream {
            Some(stream) => stream.readable(false).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Until a write would not block.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match &self.stream {
            Some(stream) => stream.writable(false).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The stream inside, when all waits on it have ended.
    pub(crate) fn into_stream(mut self) -> io::Result<TcpStream> {
        self.stream
            .take()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
