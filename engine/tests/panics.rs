//! What a panic takes with it: its connection, and nothing else.
//!
//! The proxy itself has nothing that panics, so a filter that does stands in a registry of this test's own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and these test panics"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ringway_config::{self as config, Config, Filter as FilterConfig, IoDriver, Name};
use ringway_engine::filter::{Filter, FilterSpec, Flow, Parsed, Registry, Step};
use ringway_engine::observe::{Stats, log_ring};
use ringway_engine::request::{Outcome, RequestCx};
use ringway_engine::rng::Rng;
use ringway_engine::{BoundAddress, Handle, Inputs, Options, Snapshot};
use ringway_protocols::message::ResponseHead;

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Panics where the request's path says: `/request`, `/waiting`, `/response`, `/end`.
struct Panics;

impl FilterSpec for Panics {
    fn start<'a>(&'a self, _rng: &'a Rng) -> Box<dyn Filter + 'a> {
        Box::new(Panics)
    }
}

fn panic_at(place: &str, request: &RequestCx) {
    assert_ne!(request.head.target, place, "as the test wants");
}

impl Filter for Panics {
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        panic_at("/request", request);
        Step::Later(Box::pin(async move {
            panic_at("/waiting", request);
            Flow::Continue
        }))
    }
    fn on_response<'a>(&'a mut self, request: &'a RequestCx, _: &'a mut ResponseHead) -> Step<'a> {
        panic_at("/response", request);
        Step::Now(Flow::Continue)
    }
    fn on_end(&mut self, request: &RequestCx, _: &Outcome) {
        panic_at("/end", request);
    }
}

fn registry() -> Registry {
    Registry::builtin().filter("panics", |_| -> Parsed { Ok(Arc::new(Panics)) })
}

/// Answers everything itself, behind this filter.
fn behind(filter: Option<&str>) -> Config {
    let text = "listeners: [{ name: web, address: 127.0.0.1:0, routes: [{ match: { prefix: / }, respond: { status: 200, body: well } }] }]";
    let parsed = config::parse(text, config::Format::Yaml, "t", &|_| None, Path::new("/"));
    let mut config = parsed.expect("a sound configuration").config;
    let filters = filter.into_iter().map(|name| FilterConfig {
        name: Name::new(name),
        config: serde_json::Value::Null,
    });
    config.listeners[0].chains[0].filters.extend(filters);
    config
}

struct Engine {
    handle: Handle,
    stats: Arc<Stats>,
    failures: mpsc::Receiver<usize>,
    addr: SocketAddr,
}

impl Engine {
    fn build(config: &Config, stats: &Arc<Stats>) -> Arc<Snapshot> {
        Snapshot::build(config, &registry(), &Inputs::default(), stats, None)
            .expect("a sound configuration")
    }

    fn start(driver: IoDriver, filter: &str) -> Self {
        let stats = Arc::new(Stats::new(1));
        let (logs, _lines) = log_ring::ring(1);
        let (failing, failures) = mpsc::channel();
        let options = Options {
            cores: vec![0],
            pin: false,
            driver,
            max_connections: 100,
            pipes: 0,
            logs,
            stats: Arc::clone(&stats),
            seed: 1,
            on_failure: Arc::new(move |core| failing.send(core).expect("the test listens")),
        };
        let snapshot = Self::build(&behind(Some(filter)), &stats);
        let handle = Handle::start(options, snapshot).expect("it starts");
        let (_, BoundAddress::Tcp(addr)) = handle.listeners()[0].clone() else {
            panic!("a TCP address");
        };
        Self {
            handle,
            stats,
            failures,
            addr,
        }
    }

    fn panics(&self) -> u64 {
        self.stats.core().sum(|core| core.panics.value())
    }

    /// Waits until so many panics were counted: the connection's end may be seen a moment before.
    fn wait_panics(&self, count: u64) {
        let start = Instant::now();
        while self.panics() < count {
            assert!(start.elapsed() < DEADLINE, "{count} panics are not counted");
            std::thread::yield_now();
        }
        assert_eq!(self.panics(), count);
    }

    /// Waits until no connection is counted any more: those that ended, however, gave back their places.
    fn wait_empty(&self) {
        let start = Instant::now();
        while self.handle.connections() > 0 {
            assert!(start.elapsed() < DEADLINE, "a connection is still counted");
            std::thread::yield_now();
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream
    }
}

/// The answer's text as far as it comes, up to the body `well` or the end.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.ends_with(b"well") {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{path}: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The drivers that this kernel allows.
fn drivers() -> impl Iterator<Item = IoDriver> {
    [IoDriver::IoUring, IoDriver::Epoll]
        .into_iter()
        .filter(|driver| ringway_engine::probe(*driver).is_ok())
}

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    for driver in drivers() {
        let engine = Engine::start(driver, "panics");
        let mut other = engine.connect();
        assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200"));
        for (at, path) in ["/request", "/waiting", "/response"]
            .into_iter()
            .enumerate()
        {
            assert_eq!(ask(&mut engine.connect(), path), "", "{path}");
            engine.wait_panics(at as u64 + 1);
            assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200"), "{path}");
        }
        // After the answer: it is out, and the connection ends.
        let mut late = engine.connect();
        assert!(ask(&mut late, "/end").starts_with("HTTP/1.1 200"));
        assert_eq!(late.read(&mut [0; 1]).unwrap_or(0), 0);
        assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200"));
        engine.wait_panics(4);
        assert_eq!(engine.handle.alive(), 1);
        drop((other, late));
        engine.wait_empty();
        assert!(engine.failures.try_recv().is_err());
        engine.handle.stop();
        assert!(
            engine.failures.try_recv().is_err(),
            "an end that was asked for is no failure"
        );
    }
}
