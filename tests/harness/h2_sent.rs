//! A socket under the `h2` crate, whose user is told nothing of what has gone out: it counts the bytes of DATA that the kernel has taken.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of DATA that have gone out, by stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<Mutex<HashMap<u32, u64>>>);

impl Sent {
    /// Of a stream.
    pub(crate) fn on(&self, stream: u32) -> u64 {
        let sent = self.0.lock().expect("whole");
        sent.get(&stream).copied().unwrap_or_default()
    }
}

/// The socket.
pub(crate) struct Counted {
    stream: TcpStream,
    sent: Sent,
    /// What is here of a frame's head, and what is left of its payload: of DATA on a stream, or of another.
    head: Vec<u8>,
    left: usize,
    data: Option<u32>,
}

impl Counted {
    /// A socket on which nothing has gone out.
    pub(crate) fn new(stream: TcpStream) -> (Self, Sent) {
        let sent = Sent::default();
        let counted = Self {
            stream,
            sent: sent.clone(),
            head: Vec::new(),
            left: 0,
            data: None,
        };
        (counted, sent)
    }

    fn count(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let now = self.left.min(bytes.len());
                if let Some(stream) = self.data {
                    let mut sent = self.sent.0.lock().expect("whole");
                    *sent.entry(stream).or_default() += now as u64;
                }
                self.left -= now;
                bytes = &bytes[now..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if let [high, middle, low, kind, _, id @ ..] = &self.head[..]
                && let Ok(id) = <[u8; 4]>::try_from(id)
            {
                self.left = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
                self.data = (*kind == 0).then(|| u32::from_be_bytes(id));
                self.head.clear();
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.count(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
