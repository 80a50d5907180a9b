//! A scripted peer over raw TCP: expects these bytes, sends those, closes or resets when told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::http::Broken;
use crate::wait::{DEADLINE, wait_for};

/// A connect over loopback that takes longer is not answered.
const FULL: Duration = Duration::from_millis(200);

/// One end of a TCP connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).expect("a live socket");
        stream.set_nodelay(true).expect("a live socket");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a live socket");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a live socket");
        Self {
            stream,
            buf: Vec::new(),
        }
    }

    /// Connects to an address.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).expect("somebody listens"))
    }

    /// The socket, for what goes beyond a script; what was read and not taken is not in it any more.
    pub fn stream(&self) -> &TcpStream {
        assert!(self.buf.is_empty(), "something was read ahead");
        &self.stream
    }

    fn fill(&mut self) -> Result<usize, Broken> {
        let mut piece = [0; 64 << 10];
        // A read with a limit is interrupted by the kernel's own work too, as the end of the ring that was tried.
        let n = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buf.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Takes everything up to and with `mark`.
    #[track_caller]
    pub fn until(&mut self, mark: &str) -> String {
        self.try_until(mark).unwrap_or_else(|broken| {
            panic!(
                "{broken} before {mark:?}; came {:?}",
                String::from_utf8_lossy(&self.buf)
            )
        })
    }

    /// Takes everything up to and with `mark`, or says why not.
    pub fn try_until(&mut self, mark: &str) -> Result<String, Broken> {
        let mark = mark.as_bytes();
        loop {
            if let Some(at) = self
                .buf
                .windows(mark.len())
                .position(|window| window == mark)
            {
                let taken: Vec<u8> = self.buf.drain(..at + mark.len()).collect();
                return Ok(String::from_utf8_lossy(&taken).into_owned());
            }
            if self.fill()? == 0 {
                return Err(if self.buf.is_empty() {
                    Broken::Closed
                } else {
                    Broken::Truncated
                });
            }
        }
    }

    /// Takes a head (to the empty line).
    #[track_caller]
    pub fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// Takes exactly these bytes.
    #[track_caller]
    pub fn expect(&mut self, bytes: &str) {
        while self.buf.len() < bytes.len() {
            let n = self.fill().unwrap_or_else(|broken| {
                panic!(
                    "{broken} while waiting for {bytes:?}; came {:?}",
                    String::from_utf8_lossy(&self.buf)
                )
            });
            assert!(
                n > 0,
                "closed while waiting for {bytes:?}; came {:?}",
                String::from_utf8_lossy(&self.buf)
            );
        }
        let taken: Vec<u8> = self.buf.drain(..bytes.len()).collect();
        assert_eq!(String::from_utf8_lossy(&taken), bytes);
    }

    /// Takes so many bytes.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buf.len() < length {
            let n = self.fill().unwrap_or_else(|broken| panic!("{broken}"));
            assert!(n > 0, "closed while waiting for {length} bytes");
        }
        self.buf.drain(..length).collect()
    }

    /// Takes exactly these bytes, whatever they are.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        while self.buf.len() < bytes.len() {
            match self.fill() {
                Ok(1..) => {}
                other => panic!(
                    "{other:?} after {} of {} bytes",
                    self.buf.len(),
                    bytes.len()
                ),
            }
        }
        let taken: Vec<u8> = self.buf.drain(..bytes.len()).collect();
        assert!(taken == bytes, "other bytes");
    }

    /// The other end sends no more; it may go on reading.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.fill(), Ok(0));
        assert!(self.buf.is_empty());
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream
            .write_all(bytes.as_ref())
            .unwrap_or_else(|error| panic!("send: {error}"));
        self
    }

    /// Waits until all that was sent is with the other end: what is sent on another connection afterwards comes after it.
    #[track_caller]
    pub fn arrived(&self) {
        crate::wait::wait_until("the other end has it all", || {
            crate::sys::unacknowledged(&self.stream) == 0
        });
    }

    /// Sends bytes; whether they went.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Waits until the other end closes or resets; gives what came before that.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) | Err(Broken::Reset) => return std::mem::take(&mut self.buf),
                Ok(_) => {}
                Err(other) => panic!("still open: {other}"),
            }
        }
    }

    /// Waits for the end: what came before it, and whether the other end finished (`Closed`) or reset.
    #[track_caller]
    pub fn ending(&mut self) -> (Vec<u8>, Broken) {
        loop {
            match self.fill() {
                Ok(0) => return (std::mem::take(&mut self.buf), Broken::Closed),
                Err(Broken::Reset) => return (std::mem::take(&mut self.buf), Broken::Reset),
                Ok(_) => {}
                Err(other) => panic!("still open: {other}"),
            }
        }
    }

    /// Whether nothing comes, and no end, for so long.
    #[track_caller]
    pub fn expect_silence(&mut self, time: std::time::Duration) {
        assert!(
            self.buf.is_empty(),
            "already here: {:?}",
            String::from_utf8_lossy(&self.buf)
        );
        self.stream
            .set_read_timeout(Some(time))
            .expect("a live socket");
        let outcome = self.fill();
        assert_eq!(
            outcome,
            Err(Broken::TimedOut),
            "came: {:?}",
            String::from_utf8_lossy(&self.buf)
        );
        self.stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a live socket");
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        crate::sys::reset_on_close(&self.stream);
    }
}

/// A listening socket whose connections are wires.
#[derive(Debug)]
pub struct WireServer {
    listener: TcpListener,
    addr: SocketAddr,
}

impl WireServer {
    /// Listens on a free port.
    pub fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a live socket");
        let addr = listener.local_addr().expect("a bound socket");
        Self { listener, addr }
    }
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Wire {
        wait_for("a connection to the wire", || self.try_accept())
    }
    /// The next connection if it is there already.
    pub fn try_accept(&self) -> Option<Wire> {
        self.listener
            .accept()
            .ok()
            .map(|(stream, _)| Wire::new(stream))
    }
}

/// An address that refuses connections for as long as this lives: bound, never listening, so that nobody else gets it.
#[derive(Debug)]
pub struct Refusing {
    _socket: Socket,
    addr: SocketAddr,
}

impl Refusing {
    /// Takes a free port.
    #[allow(
        clippy::new_without_default,
        reason = "it takes a port, which a default should not"
    )]
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn at(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Connections of a listener that was there may not have ended yet.
        let is_left = addr.port() != 0;
        socket.set_reuse_address(is_left).expect("a socket");
        socket.bind(&addr.into()).expect("a free port");
        let addr = socket
            .local_addr()
            .ok()
            .and_then(|addr| addr.as_socket())
            .expect("a bound socket");
        Self {
            _socket: socket,
            addr,
        }
    }
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl WireServer {
    /// Listens no more, and keeps the port from others: whoever connects from now on is refused.
    pub fn refuse(self) -> Refusing {
        crate::sys::stop_listening(&self.listener);
        Refusing::at(self.addr)
    }
}

/// An address that answers no connect: it listens, its queue is full, and nobody accepts.
#[derive(Debug)]
pub struct Full {
    _socket: Socket,
    _queue: Vec<TcpStream>,
    addr: SocketAddr,
}

impl Full {
    /// Takes a free port and fills its queue.
    #[allow(
        clippy::new_without_default,
        reason = "it takes a port, which a default should not"
    )]
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        socket.listen(0).expect("a bound socket");
        let addr = socket
            .local_addr()
            .ok()
            .and_then(|addr| addr.as_socket())
            .expect("a bound socket");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, FULL) {
            queue.push(stream);
            assert!(queue.len() < 64, "the queue never fills");
        }
        Self {
            _socket: socket,
            _queue: queue,
            addr,
        }
    }
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A free port below those that the kernel gives to connecting sockets, so that it stays free while nobody listens.
pub fn steady_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at once begin in different places, and far from each other: their numbers may be neighbours.
    let start = u16::try_from(std::process::id().wrapping_mul(193) % 12_000).expect("small");
    wait_for("a free port", || {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        TcpListener::bind(("127.0.0.1", port))
            .is_ok()
            .then_some(port)
    })
}
