//! A strict HTTP/1.1 client: says exactly what it is told to say, believes only what is exactly right.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::http::{Broken, Framing, Head, Reader, Response, Stream, response_framing};
use crate::pattern::Pattern;
use crate::wait::DEADLINE;

/// The pace of a client that trickles: slower than any rate that is asked for, quicker than any silence that is forbidden.
const TRICKLE: Duration = Duration::from_millis(20);

/// One connection of a client.
#[derive(Debug)]
pub struct Client {
    reader: Reader,
}

impl Client {
    /// Connects over TCP.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect {addr}: {error}"))
    }

    /// Connects over TCP, or says why not.
    pub fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
        // A port that nobody listens on may be given to this very socket, which then talks to itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream)))
    }

    /// Connects over a Unix socket, or says why not.
    pub fn try_unix(path: &Path) -> std::io::Result<Self> {
        UnixStream::connect(path).map(|stream| Self::over(Stream::Unix(stream)))
    }

    /// Over a TLS session whose handshake is done.
    pub fn secure(session: ClientConnection, socket: TcpStream) -> Self {
        Self::over(Stream::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// The TLS session.
    pub fn session(&mut self) -> &mut ClientConnection {
        match &mut self.reader.stream {
            Stream::Tls(stream) => &mut stream.conn,
            Stream::Tcp(_) | Stream::Unix(_) => panic!("this connection has no TLS"),
        }
    }

    fn over(stream: Stream) -> Self {
        stream.set_timeout(DEADLINE);
        Self {
            reader: Reader::new(stream),
        }
    }

    /// The address of this end.
    pub fn local(&self) -> SocketAddr {
        match &self.reader.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("a connected socket"),
            Stream::Tls(stream) => stream.sock.local_addr().expect("a connected socket"),
            Stream::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        match &self.reader.stream {
            Stream::Tcp(stream) => stream.peer_addr().expect("a connected socket"),
            Stream::Tls(stream) => stream.sock.peer_addr().expect("a connected socket"),
            Stream::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    /// Segments that this end had to send again, those of its connect among them.
    pub fn retransmitted(&self) -> u32 {
        match &self.reader.stream {
            Stream::Tcp(stream) => crate::sys::retransmitted(stream),
            Stream::Tls(stream) => crate::sys::retransmitted(&stream.sock),
            Stream::Unix(_) => 0,
        }
    }

    /// The limit of each read and write from now on.
    pub fn set_timeout(&self, timeout: Duration) {
        self.reader.stream.set_timeout(timeout);
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes)
            .unwrap_or_else(|broken| panic!("send: {broken}"));
        self
    }

    /// Sends bytes, or says why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        Ok(self.reader.stream.write_all(bytes.as_ref())?)
    }

    /// Sends so many bytes of the pattern; `wrap` makes the wire's form of each piece (for chunks).
    pub fn try_send_pattern(
        &mut self,
        length: u64,
        wrap: fn(&[u8]) -> Vec<u8>,
    ) -> Result<(), Broken> {
        let mut pattern = Pattern::default();
        while pattern.at() < length {
            let left = usize::try_from(length - pattern.at()).expect("64 bits");
            let piece = pattern.take(left.min(32 << 10));
            self.try_send(wrap(piece))?;
        }
        Ok(())
    }

    /// A `GET` of a path at `test.example`, and its answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n"
        ))
    }

    /// A `POST` of these bytes, and its answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        let body = body.as_ref();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: test.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body].concat()).read("POST")
    }

    /// Sends this text and reads the answer to it.
    #[track_caller]
    pub fn ask(&mut self, text: &str) -> Response {
        let method = text.split(' ').next().unwrap_or_default();
        self.send(text).read(method)
    }

    /// Sends this text and reads the answer to it, or why there is none.
    pub fn try_ask(&mut self, text: &str) -> Result<Response, Broken> {
        let method = text.split(' ').next().unwrap_or_default();
        // An answer may be there even when the request could not be sent whole.
        let sent = self.try_send(text);
        self.try_read(method)
            .map_err(|broken| sent.err().unwrap_or(broken))
    }

    /// Reads an answer.
    #[track_caller]
    pub fn read(&mut self, method: &str) -> Response {
        self.try_read(method)
            .unwrap_or_else(|broken| panic!("no answer: {broken}"))
    }

    /// Reads an answer, or says why there is none.
    pub fn try_read(&mut self, method: &str) -> Result<Response, Broken> {
        self.reader.response(method)
    }

    /// Reads the head of an answer, 1xx and all.
    pub fn try_head(&mut self) -> Result<Head, Broken> {
        self.reader.head()
    }

    /// Reads the head of a final answer and tells how its body is framed.
    #[track_caller]
    pub fn head(&mut self, method: &str) -> (u16, Head, Framing) {
        let (status, head, _) = self
            .reader
            .response_head()
            .unwrap_or_else(|broken| panic!("no head: {broken}"));
        let framing =
            response_framing(method, status, &head).unwrap_or_else(|broken| panic!("{broken}"));
        (status, head, framing)
    }

    /// Reads a body and holds it against the pattern: how long it was, or why it broke.
    pub fn pattern_body(&mut self, framing: Framing) -> Result<u64, Broken> {
        let mut pattern = Pattern::default();
        let mut same = true;
        self.reader
            .body(framing, &mut |piece| same &= pattern.check(piece))?;
        if same {
            Ok(pattern.at())
        } else {
            Err(Broken::Syntax("not the pattern".to_owned()))
        }
    }

    /// The same, and calls `then` once so many bytes have come.
    pub fn pattern_body_until(
        &mut self,
        framing: Framing,
        mark: u64,
        then: impl FnOnce(),
    ) -> Result<u64, Broken> {
        let mut pattern = Pattern::default();
        let mut same = true;
        let mut then = Some(then);
        self.reader.body(framing, &mut |piece| {
            same &= pattern.check(piece);
            if pattern.at() >= mark
                && let Some(then) = then.take()
            {
                then();
            }
        })?;
        if same {
            Ok(pattern.at())
        } else {
            Err(Broken::Syntax("not the pattern".to_owned()))
        }
    }

    /// Reads exactly so many raw bytes.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let framing = Framing::Length(length as u64);
        let result = self
            .reader
            .body(framing, &mut |piece| out.extend_from_slice(piece));
        result
            .unwrap_or_else(|broken| panic!("{broken} after {:?}", String::from_utf8_lossy(&out)));
        out
    }

    /// Reads whatever comes until the end, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, Result<(), Broken>) {
        let mut out = Vec::new();
        let end = self
            .reader
            .body(Framing::Close, &mut |piece| out.extend_from_slice(piece));
        (out, end.map(|_| ()))
    }

    /// Whether the other end has closed (or reset) with nothing more to say; waits for it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (rest, end) = self.rest();
        assert!(
            rest.is_empty(),
            "bytes where the end should be: {:?}",
            String::from_utf8_lossy(&rest)
        );
        assert_ne!(end, Err(Broken::TimedOut), "the connection stays open");
    }

    /// Holds that nothing comes for so long: neither bytes nor an end.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        self.set_timeout(time);
        let left = self.reader.leftover().to_vec();
        assert!(
            left.is_empty(),
            "already here: {:?}",
            String::from_utf8_lossy(&left)
        );
        let outcome = self.reader.fill();
        assert_eq!(
            outcome,
            Err(Broken::TimedOut),
            "came: {:?}",
            String::from_utf8_lossy(self.reader.leftover())
        );
        self.set_timeout(DEADLINE);
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.reader.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.reader.stream.reset_on_close();
    }

    /// Sends this piece again and again from a thread of its own, one each 20 ms, until the other end closes.
    pub fn trickle(&self, piece: &'static str) -> JoinHandle<()> {
        let mut writer = self.again();
        std::thread::spawn(move || {
            while writer.try_send(piece).is_ok() && !writer.reader.stream.closes_within(TRICKLE) {}
        })
    }

    /// A second handle, to write from another thread.
    pub fn again(&self) -> Self {
        Self {
            reader: Reader::new(self.reader.stream.again()),
        }
    }
}

/// Bytes as one chunk on the wire.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
