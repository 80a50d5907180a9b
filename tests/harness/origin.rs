//! A real HTTP/1.1 origin, a thread per connection: it remembers what it saw and answers by the path.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | `N` bytes of the pattern with `Content-Length` |
//! | `/chunked/N` | the same in chunks |
//! | `/close/N` | the same to the end of the connection |
//! | `/cut/N` | announces `N` bytes, sends half, closes |
//! | `/cut-chunked/N` | half of `N` bytes in chunks, no last chunk, closes |
//! | `/status/N` | status `N`, the origin's name as body where one may be |
//! | `/trailers` | chunks and two trailers |
//! | `/hints` | 103, then 200 |
//! | `/early` | answers at once, then reads the body |
//! | `/reset` | resets the connection in the place of an answer |
//! | `/echo` | the body that came, framed as it came |
//! | `/hold` | answers once `release` is called |
//! | `/stream` | chunks of the pattern until `release` is called, then the last chunk |
//! | `/ws` | 101, then every byte back |
//! | `/bye` | answers with `Connection: close` and closes |
//! | `/refuse-body` | with `Expect: 100-continue`: 417 at once, the body never read |
//! | else | 200 and the origin's name |

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::client::chunk;
use crate::http::{Broken, Framing, Head, Reader, Stream};
use crate::pattern::Pattern;
use crate::wait::{DEADLINE, wait_for};

/// Bodies up to this are remembered whole.
const KEPT: usize = 64 << 10;

/// A request as an origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which of the origin's connections it came over, from 0.
    pub connection: usize,
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its head.
    pub head: Head,
    /// How its body was framed.
    pub framing: Framing,
    /// The first bytes of its body, up to 64 KiB.
    pub body: Vec<u8>,
    /// How long the body was.
    pub length: u64,
    /// Whether the body was the pattern.
    pub pattern: bool,
    /// Fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Why its body broke off, if it did.
    pub broken: Option<Broken>,
}

impl Seen {
    /// The value of a field that is there at most once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Debug, Default)]
struct Shared {
    name: String,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    begun: AtomicUsize,
    live: Mutex<HashMap<usize, TcpStream>>,
    released: Mutex<bool>,
    release: Condvar,
    stop: AtomicBool,
}

/// An origin, listening until it is dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    /// Listens on a free port.
    pub fn start(name: &str) -> Self {
        Self::start_at(name, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens at an address.
    pub fn start_at(name: &str, addr: SocketAddr) -> Self {
        Self::try_start_at(name, addr).unwrap_or_else(|error| panic!("bind {addr}: {error}"))
    }

    /// Listens at an address, or says why not.
    pub fn try_start_at(name: &str, addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            ..Shared::default()
        });
        let at = Arc::clone(&shared);
        let accepted = listener.try_clone()?;
        let accepting = Some(std::thread::spawn(move || accept(&accepted, &at)));
        Ok(Self {
            addr,
            shared,
            listener,
            accepting,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// All requests so far, each once its body was read.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("whole").clone()
    }
    /// The last of `count` requests, waited for.
    #[track_caller]
    pub fn nth(&self, count: usize) -> Seen {
        wait_for("a request at the origin", || {
            self.seen().get(count - 1).cloned()
        })
    }
    /// The only request so far, waited for.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let seen = self.nth(1);
        assert_eq!(self.seen().len(), 1, "more than one request");
        seen
    }
    /// Requests of which the head was read, whatever became of their bodies.
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::SeqCst)
    }
    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.live.lock().expect("whole").len()
    }
    /// Lets `/hold` answer and `/stream` end.
    pub fn release(&self) {
        *self.shared.released.lock().expect("whole") = true;
        self.shared.release.notify_all();
    }
    /// Closes every connection that is open now.
    pub fn close_all(&self) {
        for stream in self.shared.live.lock().expect("whole").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.release();
        // Who connects from now on is refused, and not let in to find nobody. The accepting thread wakes, and sees the flag.
        crate::sys::stop_listening(&self.listener);
        let _ended = self.accepting.take().map(JoinHandle::join);
        self.close_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let id = shared.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(again) = stream.try_clone() else {
            continue;
        };
        shared.live.lock().expect("whole").insert(id, again);
        let at = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            let mut connection = Connection {
                id,
                reader: Reader::new(Stream::Tcp(stream)),
                shared: &at,
            };
            while let Ok(true) = connection.serve() {}
            connection.reader.stream.shutdown(Shutdown::Both);
            at.live.lock().expect("whole").remove(&id);
        });
    }
}

struct Connection<'a> {
    id: usize,
    reader: Reader,
    shared: &'a Shared,
}

impl Connection<'_> {
    /// One request; whether another may follow.
    fn serve(&mut self) -> Result<bool, Broken> {
        let head = self.reader.head()?;
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        let mut words = head.start.split(' ');
        let (method, target) = (word(&mut words)?, word(&mut words)?);
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let framing = head.framing(Framing::None)?;
        if head
            .get("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            if path == "/refuse-body" {
                self.note(method, target, head, framing);
                self.write(b"HTTP/1.1 417 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(false);
            }
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if path == "/early" {
            self.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly")?;
            let _broken = self.see(method, target, head, framing);
            return Ok(false);
        }
        let mut seen = self.see(method, target, head, framing);
        let (close, version) = (
            seen.head.lists("connection", "close"),
            seen.head.start.ends_with("1.1"),
        );
        let broken = seen.broken.clone();
        let answer = (seen.method.clone(), std::mem::take(&mut seen.body));
        seen.body.clone_from(&answer.1);
        let trailers = seen.trailers.clone();
        self.shared.seen.lock().expect("whole").push(seen);
        if let Some(broken) = broken {
            return Err(broken);
        }
        let keep = self.answer(&answer.0, &path, framing, &answer.1, &trailers)?;
        Ok(keep && version && !close)
    }

    fn see(&mut self, method: String, target: String, head: Head, framing: Framing) -> Seen {
        let mut body = Vec::new();
        let mut check = Pattern::default();
        let (mut length, mut pattern) = (0, true);
        let outcome = self.reader.body(framing, &mut |piece| {
            length += piece.len() as u64;
            pattern = pattern && check.check(piece);
            body.extend_from_slice(&piece[..piece.len().min(KEPT - body.len())]);
        });
        let (trailers, broken) = match outcome {
            Ok(trailers) => (trailers, None),
            Err(broken) => (Vec::new(), Some(broken)),
        };
        Seen {
            connection: self.id,
            method,
            target,
            head,
            framing,
            body,
            length,
            pattern,
            trailers,
            broken,
        }
    }

    fn note(&self, method: String, target: String, head: Head, framing: Framing) {
        let (connection, body, trailers) = (self.id, Vec::new(), Vec::new());
        let seen = Seen {
            connection,
            method,
            target,
            head,
            framing,
            body,
            length: 0,
            pattern: false,
            trailers,
            broken: None,
        };
        self.shared.seen.lock().expect("whole").push(seen);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        Ok(self.reader.stream.write_all(bytes)?)
    }

    fn answer(
        &mut self,
        method: &str,
        path: &str,
        framing: Framing,
        body: &[u8],
        trailers: &[(String, String)],
    ) -> Result<bool, Broken> {
        let (kind, number) = path.rsplit_once('/').unwrap_or((path, ""));
        let n: u64 = number.parse().unwrap_or(0);
        match (kind, path) {
            ("/bytes", _) => {
                self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n").as_bytes())?;
                if method != "HEAD" {
                    self.pattern(n, <[u8]>::to_vec)?;
                }
            }
            ("/chunked", _) => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                if method != "HEAD" {
                    self.pattern(n, chunk)?;
                    self.write(b"0\r\n\r\n")?;
                }
            }
            ("/close", _) => {
                self.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                self.pattern(n, <[u8]>::to_vec)?;
                return Ok(false);
            }
            ("/cut", _) => {
                self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n").as_bytes())?;
                self.pattern(n / 2, <[u8]>::to_vec)?;
                return Ok(false);
            }
            ("/cut-chunked", _) => {
                self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                self.pattern(n / 2, chunk)?;
                return Ok(false);
            }
            ("/status", _) if n == 204 || n == 304 => {
                self.write(format!("HTTP/1.1 {n} S\r\nETag: \"x\"\r\n\r\n").as_bytes())?;
            }
            ("/status", _) => self.named(method, number, "")?,
            (_, "/trailers") => self.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Two\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 4\r\nX-Two: b\r\n\r\n",
            )?,
            (_, "/hints") => {
                self.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
                self.named(method, "200", "")?;
            }
            (_, "/reset") => {
                self.reader.stream.reset_on_close();
                return Ok(false);
            }
            (_, "/echo") => self.echo(framing, body, trailers)?,
            (_, "/hold") => {
                self.wait_released();
                self.named(method, "200", "")?;
            }
            (_, "/stream") => self.stream()?,
            (_, "/ws") => return self.web_socket(),
            (_, "/bye") => {
                self.named(method, "200", "Connection: close\r\n")?;
                return Ok(false);
            }
            _ => self.named(method, "200", "")?,
        }
        Ok(true)
    }

    fn named(&mut self, method: &str, status: &str, fields: &str) -> Result<(), Broken> {
        let name = if method == "HEAD" {
            ""
        } else {
            &self.shared.name
        };
        let length = self.shared.name.len();
        let text = format!(
            "HTTP/1.1 {status} S\r\nContent-Length: {length}\r\nX-Origin: {}\r\n{fields}\r\n{name}",
            self.shared.name
        );
        self.write(text.as_bytes())
    }

    fn pattern(&mut self, length: u64, wrap: fn(&[u8]) -> Vec<u8>) -> Result<(), Broken> {
        let mut pattern = Pattern::default();
        while pattern.at() < length {
            let left = usize::try_from(length - pattern.at()).expect("64 bits");
            let piece = wrap(pattern.take(left.min(64 << 10)));
            self.write(&piece)?;
        }
        Ok(())
    }

    fn echo(
        &mut self,
        framing: Framing,
        body: &[u8],
        trailers: &[(String, String)],
    ) -> Result<(), Broken> {
        if framing != Framing::Chunked {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            return self.write(&[head.as_bytes(), body].concat());
        }
        self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        if !body.is_empty() {
            self.write(&chunk(body))?;
        }
        let fields: String = trailers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.write(format!("0\r\n{fields}\r\n").as_bytes())
    }

    fn wait_released(&self) {
        let released = self.shared.released.lock().expect("whole");
        let wait = self
            .shared
            .release
            .wait_timeout_while(released, DEADLINE * 3, |released| !*released);
        drop(wait);
    }

    fn stream(&mut self) -> Result<(), Broken> {
        self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let mut pattern = Pattern::default();
        loop {
            self.write(&chunk(pattern.take(1000)))?;
            let released = self.shared.released.lock().expect("whole");
            let pause = Duration::from_millis(2);
            let (released, _) = self
                .shared
                .release
                .wait_timeout(released, pause)
                .expect("whole");
            if *released {
                break;
            }
        }
        self.write(b"0\r\n\r\n")
    }

    fn web_socket(&mut self) -> Result<bool, Broken> {
        let early = self.reader.leftover().to_vec();
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        self.write(&[head.as_slice(), &early].concat())?;
        let mut buf = [0; 16 << 10];
        loop {
            let n = self.reader.stream.read(&mut buf)?;
            if n == 0 {
                return Ok(false);
            }
            self.write(&buf[..n])?;
        }
    }
}

fn word<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<String, Broken> {
    words
        .next()
        .map(str::to_owned)
        .ok_or_else(|| Broken::Syntax("request line".to_owned()))
}
