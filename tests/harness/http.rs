//! A strict reader of HTTP/1.1 messages, for clients and origins alike. It forgives nothing: a test must see exactly
//! what the proxy sent.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

/// Why a message could not be read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other end closed before the first byte of a message.
    Closed,
    /// The other end closed in the middle of one.
    Truncated,
    /// The other end reset.
    Reset,
    /// Nothing came in time.
    TimedOut,
    /// What came is not HTTP.
    Syntax(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{TimedOut, WouldBlock};
        if matches!(error.kind(), TimedOut | WouldBlock) {
            Self::TimedOut
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            // TLS that ended without a `close_notify`.
            Self::Truncated
        } else {
            Self::Reset
        }
    }
}

fn syntax<T>(why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Syntax(why.into()))
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over TCP, as its client.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// The limit of each read and write.
    pub fn set_timeout(&self, timeout: Duration) {
        let timeout = Some(timeout);
        match self {
            Self::Tcp(s) => s
                .set_read_timeout(timeout)
                .and_then(|()| s.set_write_timeout(timeout)),
            Self::Unix(s) => s
                .set_read_timeout(timeout)
                .and_then(|()| s.set_write_timeout(timeout)),
            Self::Tls(s) => s
                .sock
                .set_read_timeout(timeout)
                .and_then(|()| s.sock.set_write_timeout(timeout)),
        }
        .expect("a timeout on a live socket");
    }
    /// Whether the other end closes within so long.
    pub fn closes_within(&self, time: Duration) -> bool {
        match self {
            Self::Tcp(s) => crate::sys::closes_within(s, time),
            Self::Unix(s) => crate::sys::closes_within(s, time),
            Self::Tls(s) => crate::sys::closes_within(&s.sock, time),
        }
    }
    /// A second handle of the same socket.
    pub fn again(&self) -> Self {
        match self {
            Self::Tcp(s) => Self::Tcp(s.try_clone().expect("a descriptor")),
            Self::Unix(s) => Self::Unix(s.try_clone().expect("a descriptor")),
            Self::Tls(_) => panic!("a session has one handle"),
        }
    }
    /// Closes one direction or both, for every handle.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Tcp(s) => s.shutdown(how),
            Self::Unix(s) => s.shutdown(how),
            Self::Tls(s) => s.sock.shutdown(how),
        };
    }
    /// Makes closing send a reset.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(s) => crate::sys::reset_on_close(s),
            Self::Unix(_) => {}
            Self::Tls(s) => crate::sys::reset_on_close(&s.sock),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // A read with a timeout is one of those that a signal interrupts for good.
        loop {
            let read = match self {
                Self::Tcp(s) => s.read(buf),
                Self::Unix(s) => s.read(buf),
                Self::Tls(s) => s.read(buf),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(buf),
            Self::Unix(s) => s.write(buf),
            Self::Tls(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(s) => s.flush(),
        }
    }
}

/// A start line and fields, as they came (bytes above 127 as Latin-1).
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The first line.
    pub start: String,
    /// Names as they came, values without the space around them.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field that is there once; none if it is absent.
    ///
    /// # Panics
    /// If there are several lines of it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "{name} is there {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }
    /// The values of all lines of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(same)
            .map(|(_, value)| value.as_str())
            .collect()
    }
    /// Whether a list field holds a word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self
            .all(name)
            .into_iter()
            .flat_map(|value| value.split(','));
        words.any(|w| w.trim().eq_ignore_ascii_case(word))
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// To the end of the connection.
    Close,
}

impl Head {
    /// The framing that its fields announce, `otherwise` where they announce none.
    pub fn framing(&self, otherwise: Framing) -> Result<Framing, Broken> {
        let (te, cl) = (self.all("transfer-encoding"), self.all("content-length"));
        match (te.as_slice(), cl.as_slice()) {
            ([], []) => Ok(otherwise),
            ([one], []) if one.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            ([], [one]) if !one.is_empty() && one.bytes().all(|b| b.is_ascii_digit()) => one
                .parse()
                .map(Framing::Length)
                .or_else(|_| syntax("Content-Length too large")),
            (te, cl) => syntax(format!(
                "framing: Transfer-Encoding {te:?}, Content-Length {cl:?}"
            )),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// How its body was framed.
    pub framing: Framing,
    /// Its body.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The heads of 1xx answers before it.
    pub interim: Vec<Head>,
}

impl Response {
    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The value of a field that is there at most once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }
    /// Whether it says that the connection closes.
    pub fn closes(&self) -> bool {
        self.head.lists("connection", "close")
    }
}

/// The status of an answer's first line, checked to the byte.
pub fn status_of(start: &str) -> Result<u16, Broken> {
    let rest = start
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| start.strip_prefix("HTTP/1.0 "));
    let Some((code, _reason)) = rest.and_then(|rest| rest.split_once(' ')) else {
        return syntax(format!("status line {start:?}"));
    };
    match code.parse::<u16>() {
        Ok(status) if code.len() == 3 && (100..600).contains(&status) => Ok(status),
        Ok(_) | Err(_) => syntax(format!("status {code:?}")),
    }
}

/// Reads messages from a socket.
#[derive(Debug)]
pub struct Reader {
    /// The socket.
    pub stream: Stream,
    buf: Vec<u8>,
    at: usize,
}

impl Reader {
    /// A reader with nothing read.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            buf: Vec::new(),
            at: 0,
        }
    }

    /// Bytes read and not yet taken.
    pub fn leftover(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    /// Reads more; 0 at the end.
    pub fn fill(&mut self) -> Result<usize, Broken> {
        if self.at == self.buf.len() {
            self.buf.clear();
            self.at = 0;
        }
        let mut piece = [0; 64 << 10];
        let n = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buf.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    fn line(&mut self) -> Result<String, Broken> {
        let mut seen = self.at;
        loop {
            if let Some(n) = self.buf[seen..].iter().position(|&b| b == b'\n') {
                let end = seen + n;
                let line = &self.buf[self.at..end];
                let Some(line) = line.strip_suffix(b"\r") else {
                    return syntax("a bare LF");
                };
                if let Some(bad) = line.iter().find(|&&b| b == 127 || (b < 32 && b != b'\t')) {
                    return syntax(format!("byte {bad} in a line"));
                }
                let text = line.iter().map(|&b| char::from(b)).collect();
                self.at = end + 1;
                return Ok(text);
            }
            seen = self.buf.len();
            let nothing = seen == self.at;
            let moved = self.at;
            if self.fill()? == 0 {
                return Err(if nothing {
                    Broken::Closed
                } else {
                    Broken::Truncated
                });
            }
            // `fill` forgets what was taken when nothing was left.
            seen = if moved != self.at { 0 } else { seen };
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, Broken> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().map_err(inside)?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return syntax(format!("no colon in {line:?}"));
            };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(token) {
                return syntax(format!("field name {name:?}"));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A start line and fields.
    pub fn head(&mut self) -> Result<Head, Broken> {
        let start = self.line()?;
        Ok(Head {
            start,
            fields: self.fields()?,
        })
    }

    /// A body, piece by piece, and its trailers.
    pub fn body(
        &mut self,
        framing: Framing,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Vec<(String, String)>, Broken> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => self.exactly(length, sink)?,
            Framing::Close => loop {
                let piece = &self.buf[self.at..];
                sink(piece);
                self.at = self.buf.len();
                if self.fill()? == 0 {
                    break;
                }
            },
            Framing::Chunked => loop {
                let line = self.line().map_err(inside)?;
                let size = line.split(';').next().unwrap_or_default();
                let hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
                let Ok(size) = u64::from_str_radix(size, 16) else {
                    return syntax(format!("chunk {line:?}"));
                };
                if !hex {
                    return syntax(format!("chunk {line:?}"));
                }
                if size == 0 {
                    return self.fields();
                }
                self.exactly(size, sink)?;
                if !self.line().map_err(inside)?.is_empty() {
                    return syntax("no line end after a chunk");
                }
            },
        }
        Ok(Vec::new())
    }

    fn exactly(&mut self, mut length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        while length > 0 {
            if self.at == self.buf.len() && self.fill()? == 0 {
                return Err(Broken::Truncated);
            }
            let have = (self.buf.len() - self.at) as u64;
            let take = usize::try_from(have.min(length)).expect("fits a buffer");
            sink(&self.buf[self.at..self.at + take]);
            self.at += take;
            length -= take as u64;
        }
        Ok(())
    }

    /// The head of the next final answer, with the 1xx before it.
    pub fn response_head(&mut self) -> Result<(u16, Head, Vec<Head>), Broken> {
        let mut interim = Vec::new();
        loop {
            let head = self.head()?;
            let status = status_of(&head.start)?;
            if !(100..200).contains(&status) || status == 101 {
                return Ok((status, head, interim));
            }
            if head.framing(Framing::None)? != Framing::None {
                return syntax("a 1xx answer with a body");
            }
            interim.push(head);
        }
    }

    /// A whole answer to a request of this method.
    pub fn response(&mut self, method: &str) -> Result<Response, Broken> {
        let (status, head, interim) = self.response_head()?;
        let framing = response_framing(method, status, &head)?;
        let mut body = Vec::new();
        let trailers = self.body(framing, &mut |piece| body.extend_from_slice(piece))?;
        Ok(Response {
            status,
            head,
            framing,
            body,
            trailers,
            interim,
        })
    }
}

/// How an answer's body is framed (RFC 9112 §6.3).
pub fn response_framing(method: &str, status: u16, head: &Head) -> Result<Framing, Broken> {
    let announced = head.framing(Framing::Close)?;
    if status == 204 && announced != Framing::Close {
        return syntax("a 204 that announces a body");
    }
    let bare = method == "HEAD" || status < 200 || status == 204 || status == 304;
    Ok(if bare { Framing::None } else { announced })
}

fn inside(broken: Broken) -> Broken {
    match broken {
        Broken::Closed => Broken::Truncated,
        other @ (Broken::Truncated | Broken::Reset | Broken::TimedOut | Broken::Syntax(_)) => other,
    }
}
