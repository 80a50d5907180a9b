//! An HTTP/2 origin (cleartext, by prior knowledge) on the `h2` crate, on a thread of its own.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | `N` bytes of the pattern with `content-length` |
//! | `/data/N` | the same without |
//! | `/cut/N` | half of `N` bytes, then RST_STREAM with INTERNAL_ERROR |
//! | `/reset/NAME` | RST_STREAM at once, with that code (`refused`, `cancel`, `internal`) |
//! | `/status/N` | status `N` without a body |
//! | `/hints` | 103, then 200 |
//! | `/trailers` | data and two trailers |
//! | `/echo` | the body that came, its trailers behind it |
//! | `/early` | 200 at once, then RST_STREAM with NO_ERROR; the body is never read |
//! | `/hold` | answers once `release` is called |
//! | `/stream` | data of the pattern until `release` is called |
//! | else | 200 and the origin's name |

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use crate::h2_sent::{Counted, Sent};
use crate::pattern::Pattern;
use crate::wait::{until, wait_for};

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct H2Seen {
    /// Which of the origin's connections it came over, from 0.
    pub connection: usize,
    /// Method, `:scheme`, `:authority`, `:path` and fields.
    pub head: Arc<Request<()>>,
    /// How long its body was.
    pub length: u64,
    /// Whether the body was the pattern.
    pub pattern: bool,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// The code that it was reset with.
    pub reset: Option<Reason>,
}

impl H2Seen {
    /// A field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    }
}

#[derive(Debug, Default)]
struct Shared {
    name: String,
    /// What every stream is reset with, if this origin is to serve nobody.
    resets: Option<Reason>,
    seen: Mutex<Vec<H2Seen>>,
    /// Streams begun, ever.
    begun: AtomicUsize,
    /// Streams of which the other end has not heard the end.
    active: AtomicUsize,
    most: AtomicUsize,
    connections: AtomicUsize,
    live: Mutex<HashSet<usize>>,
    released: AtomicBool,
    stop: AtomicBool,
}

/// An origin, listening until it is dropped.
#[derive(Debug)]
pub struct H2Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

/// How an origin speaks.
#[derive(Clone, Debug)]
pub struct H2Setup {
    name: String,
    resets: Option<Reason>,
    builder: Builder,
}

impl H2Setup {
    /// As `h2` has it.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            resets: None,
            builder: Builder::new(),
        }
    }
    /// Streams at once.
    #[must_use]
    pub fn streams(mut self, max: u32) -> Self {
        self.builder.max_concurrent_streams(max);
        self
    }
    /// What a stream may send before it is read.
    #[must_use]
    pub fn window(mut self, bytes: u32) -> Self {
        self.builder.initial_window_size(bytes);
        self
    }
    /// Resets every stream.
    #[must_use]
    pub fn resets(mut self, reason: Reason) -> Self {
        self.resets = Some(reason);
        self
    }
    /// Takes extended CONNECT.
    #[must_use]
    pub fn extended_connect(mut self) -> Self {
        self.builder.enable_connect_protocol();
        self
    }
    /// Listens on a free port.
    pub fn start(self) -> H2Origin {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let addr = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            name: self.name,
            resets: self.resets,
            ..Shared::default()
        });
        let (at, builder) = (Arc::clone(&shared), self.builder);
        std::thread::spawn(move || run(listener, &builder, &at));
        H2Origin { addr, shared }
    }
}

impl H2Origin {
    /// Listens on a free port.
    pub fn start(name: &str) -> Self {
        H2Setup::new(name).start()
    }
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// All requests so far, each once its body was read or broke off.
    pub fn seen(&self) -> Vec<H2Seen> {
        self.shared.seen.lock().expect("whole").clone()
    }
    /// The last of `count` requests, waited for.
    #[track_caller]
    pub fn nth(&self, count: usize) -> H2Seen {
        wait_for("a request at the origin", || {
            self.seen().get(count - 1).cloned()
        })
    }
    /// Requests begun so far.
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::SeqCst)
    }
    /// Requests under way.
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::SeqCst)
    }
    /// The most requests that were under way at once.
    pub fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
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
        self.shared.released.store(true, Ordering::SeqCst);
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn run(listener: std::net::TcpListener, builder: &Builder, shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a socket");
        loop {
            let stop = until(|| shared.stop.load(Ordering::SeqCst));
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.expect("a connection").0,
                () = stop => return,
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, builder.clone(), Arc::clone(shared)));
        }
    });
}

async fn serve(stream: TcpStream, builder: Builder, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    shared.live.lock().expect("whole").insert(number);
    let (stream, sent) = Counted::new(stream);
    if let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await {
        while let Some(Ok((request, respond))) = connection.accept().await {
            let place = (number, sent.clone());
            let stream = Exchange::new(place, request, respond, Arc::clone(&shared));
            tokio::spawn(stream.run());
        }
    }
    shared.live.lock().expect("whole").remove(&number);
}

/// Counts a request under way.
struct Active(Arc<Shared>);

impl Active {
    fn new(shared: Arc<Shared>) -> Self {
        shared.begun.fetch_add(1, Ordering::SeqCst);
        let now = shared.active.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Exchange {
    connection: usize,
    sent: Sent,
    head: Arc<Request<()>>,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
    _active: Active,
}

impl Exchange {
    fn new(
        (connection, sent): (usize, Sent),
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        shared: Arc<Shared>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            connection,
            sent,
            head: Arc::new(Request::from_parts(parts, ())),
            body,
            respond,
            _active: Active::new(Arc::clone(&shared)),
            shared,
        }
    }

    async fn run(mut self) {
        let path = self.head.uri().path().to_owned();
        let mut parts = path.trim_start_matches('/').split('/');
        let (what, rest) = (parts.next().unwrap_or_default(), parts.next());
        let number = rest
            .and_then(|text| text.parse::<usize>().ok())
            .unwrap_or(0);
        // Errors end the exchange: the other end has gone, as some tests want it.
        let _ended = match what {
            _ if let Some(reason) = self.shared.resets => {
                self.respond.send_reset(reason);
                Ok(())
            }
            "reset" => {
                self.note(0, true, None, None);
                self.respond.send_reset(code(rest.unwrap_or_default()));
                Ok(())
            }
            "early" => self.early().await,
            "echo" => self.echo().await,
            "stream" => self.stream().await,
            _ if self.head.method() == Method::CONNECT => self.echo().await,
            _ => self.answer(what, number).await,
        };
    }

    fn note(&self, length: u64, pattern: bool, trailers: Option<HeaderMap>, reset: Option<Reason>) {
        let seen = H2Seen {
            connection: self.connection,
            head: Arc::clone(&self.head),
            length,
            pattern,
            trailers,
            reset,
        };
        self.shared.seen.lock().expect("whole").push(seen);
    }

    /// Reads the body to its end.
    async fn read(&mut self) -> Result<(), h2::Error> {
        let mut pattern = Pattern::default();
        let (mut length, mut whole) = (0, true);
        loop {
            match self.body.data().await {
                Some(Ok(bytes)) => {
                    length += bytes.len() as u64;
                    whole &= pattern.check(&bytes);
                    let _ = self.body.flow_control().release_capacity(bytes.len());
                }
                Some(Err(error)) => {
                    self.note(length, whole, None, error.reason());
                    return Err(error);
                }
                None => break,
            }
        }
        let trailers = self.body.trailers().await?;
        self.note(length, whole, trailers, None);
        Ok(())
    }

    async fn answer(&mut self, what: &str, number: usize) -> Result<(), h2::Error> {
        self.read().await?;
        let head = Response::builder();
        match what {
            "bytes" if self.head.method() == Method::HEAD => {
                let head = head.header("content-length", number);
                self.respond.send_response(whole(head), true)?;
            }
            "bytes" => {
                let head = head.header("content-length", number);
                let mut send = self.respond.send_response(whole(head), number == 0)?;
                pour(&mut send, number).await?;
                if number > 0 {
                    end(&mut send)?;
                }
            }
            "data" => {
                let mut send = self.respond.send_response(whole(head), false)?;
                pour(&mut send, number).await?;
                end(&mut send)?;
            }
            "cut" => {
                let mut send = self.respond.send_response(whole(head), false)?;
                pour(&mut send, number / 2).await?;
                // What is queued would go with the stream.
                let stream = send.stream_id().as_u32();
                until(|| self.sent.on(stream) >= (number / 2) as u64).await;
                send.send_reset(Reason::INTERNAL_ERROR);
            }
            "trailers" => {
                let mut send = self.respond.send_response(whole(head), false)?;
                pour(&mut send, 10).await?;
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "10".parse().expect("a value"));
                trailers.insert("x-two", "2".parse().expect("a value"));
                send.send_trailers(trailers)?;
            }
            "status" => {
                let head = head.status(u16::try_from(number).unwrap_or(500));
                self.respond.send_response(whole(head), true)?;
            }
            other => {
                if other == "hints" {
                    let hints = Response::builder().status(103).header("link", "</a>");
                    self.respond.send_informational(whole(hints))?;
                }
                if other == "hold" {
                    let shared = Arc::clone(&self.shared);
                    let released = until(|| shared.released.load(Ordering::SeqCst));
                    tokio::select! {
                        () = released => {}
                        reason = std::future::poll_fn(|cx| self.respond.poll_reset(cx)) => {
                            self.note(0, true, None, reason.ok());
                            return Ok(());
                        }
                    }
                }
                let name = Bytes::from(self.shared.name.clone());
                let mut send = self.respond.send_response(whole(head), false)?;
                send.send_data(name, true)?;
            }
        }
        Ok(())
    }

    async fn echo(&mut self) -> Result<(), h2::Error> {
        let mut send = self.respond.send_response(Response::new(()), false)?;
        let (mut pattern, mut length, mut right) = (Pattern::default(), 0, true);
        while let Some(bytes) = self.body.data().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.note(length, right, None, error.reason());
                    return Err(error);
                }
            };
            length += bytes.len() as u64;
            right &= pattern.check(&bytes);
            let taken = bytes.len();
            give(&mut send, bytes).await?;
            let _ = self.body.flow_control().release_capacity(taken);
        }
        let trailers = self.body.trailers().await?;
        self.note(length, right, trailers.clone(), None);
        match trailers {
            Some(trailers) => send.send_trailers(trailers),
            None => send.send_data(Bytes::new(), true),
        }
    }

    async fn early(&mut self) -> Result<(), h2::Error> {
        self.note(0, true, None, None);
        let mut send = self.respond.send_response(Response::new(()), false)?;
        send.send_data(Bytes::from_static(b"early"), true)?;
        let stream = send.stream_id().as_u32();
        until(|| self.sent.on(stream) == 5).await;
        send.send_reset(Reason::NO_ERROR);
        Ok(())
    }

    async fn stream(&mut self) -> Result<(), h2::Error> {
        let mut send = self.respond.send_response(Response::new(()), false)?;
        let mut pattern = Pattern::default();
        while !self.shared.released.load(Ordering::SeqCst) {
            let sent = give(&mut send, Bytes::from_static(pattern.take(1000))).await;
            if sent.is_err() {
                let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
                self.note(0, true, None, reason.ok());
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        end(&mut send)
    }
}

fn whole(head: http::response::Builder) -> Response<()> {
    head.body(()).expect("a head")
}

fn code(name: &str) -> Reason {
    match name {
        "refused" => Reason::REFUSED_STREAM,
        "cancel" => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}

fn end(send: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    send.send_data(Bytes::new(), true)
}

/// Sends so much of the pattern, as the other end makes room.
async fn pour(send: &mut SendStream<Bytes>, mut left: usize) -> Result<(), h2::Error> {
    let mut pattern = Pattern::default();
    while left > 0 {
        let part = Bytes::from_static(pattern.take(left.min(16 << 10)));
        left -= part.len();
        give(send, part).await?;
    }
    Ok(())
}

async fn give(send: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let room = match send.capacity() {
            0 => match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(Reason::CANCEL.into()),
            },
            room => room,
        };
        send.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}
