//! One connection of the generator: a request out, its answer in, again.
//!
//! ```text
//!            send                  head whole              body whole
//!   Idle ────────────▶ Answer ────────────────▶ Body ────────────────▶ Idle      (kept alive)
//!     ▲  not yet                                  └──────────────────▶ Ending    (to be closed)
//!     └── Connecting ◀── open                                            └─ end of stream ▶ open again
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::form::Form;
use crate::poller::Poller;

/// What every request is and every answer must be.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Where the proxy is.
    pub target: SocketAddr,
    /// What is spoken.
    pub form: Form,
    /// The bytes of one request.
    pub request: Vec<u8>,
    /// The length of a right answer's body.
    pub length: u64,
    /// One connection a request.
    pub close: bool,
}

/// A connection and where it stands.
#[derive(Debug)]
pub(crate) struct Exchange {
    stream: Option<TcpStream>,
    state: State,
    /// When the request was due, which in an open loop is before it could be sent.
    due: Instant,
    /// The part of an answer's head that has come without its end; empty but for torn heads.
    torn: Vec<u8>,
    /// Body bytes yet to come.
    left: u64,
    /// The answer said that the connection closes.
    last: bool,
}

/// Where an exchange stands; see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Connected, nothing asked.
    Idle,
    /// The request waits for the connection.
    Connecting,
    /// The request is out.
    Answer,
    /// The head is in.
    Body,
    /// The answer is whole, the end of the stream is not in.
    Ending,
}

/// What became of an exchange when its socket was looked at.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It goes on.
    Pending,
    /// The answer is whole and the connection may be used again.
    Done(Duration),
    /// The answer is whole and the connection will close.
    DoneEnding(Duration),
    /// The connection has closed after its last answer; a new one is needed.
    Closed,
    /// The connection broke, or the answer is not what it must be.
    Failed,
}

impl Exchange {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            stream: None,
            state: State::Ending,
            due: Instant::now(),
            torn: Vec::new(),
            left: 0,
            last: false,
        }
    }

    /// Connects anew and asks as soon as the connection stands.
    pub(crate) fn open(
        &mut self,
        script: &Script,
        poller: &Poller,
        token: usize,
        due: Instant,
    ) -> io::Result<()> {
        self.stream = None;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&script.target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from(socket);
        poller.watch(&stream, token)?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.torn.clear();
        self.due = due;
        Ok(())
    }

    /// Asks once more on a connection that stands.
    pub(crate) fn ask(&mut self, script: &Script, due: Instant) -> io::Result<()> {
        self.due = due;
        self.send(script)
    }

    /// How long the answer has been awaited.
    pub(crate) fn waiting(&self, now: Instant) -> Duration {
        match self.state {
            State::Idle => Duration::ZERO,
            State::Connecting | State::Answer | State::Body | State::Ending => {
                now.saturating_duration_since(self.due)
            }
        }
    }

    /// Whether it stands and has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Takes what the socket has.
    pub(crate) fn advance(&mut self, script: &Script, buffer: &mut [u8]) -> Progress {
        if self.state == State::Connecting {
            return match self.send(script) {
                Ok(()) => Progress::Pending,
                Err(error) if is_not_ready(&error) => Progress::Pending,
                Err(_) => Progress::Failed,
            };
        }
        loop {
            let Some(stream) = &mut self.stream else {
                return Progress::Pending;
            };
            let count = match stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Pending,
                Err(_) => return self.ended(),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return self.ended();
            }
            let full = count == buffer.len();
            let progress = self.take(bytes, script);
            match progress {
                // A short read emptied the socket: the next bytes make a new edge.
                Progress::Pending if !full => return Progress::Pending,
                Progress::Pending => {}
                Progress::Done(_)
                | Progress::DoneEnding(_)
                | Progress::Closed
                | Progress::Failed => {
                    return progress;
                }
            }
        }
    }

    fn send(&mut self, script: &Script) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Err(ErrorKind::NotConnected.into());
        };
        let sent = stream.write(&script.request)?;
        if sent != script.request.len() {
            return Err(ErrorKind::WriteZero.into());
        }
        self.state = State::Answer;
        Ok(())
    }

    fn ended(&mut self) -> Progress {
        self.stream = None;
        match self.state {
            State::Ending => Progress::Closed,
            State::Idle | State::Connecting | State::Answer | State::Body => Progress::Failed,
        }
    }

    fn take(&mut self, bytes: &[u8], script: &Script) -> Progress {
        match self.state {
            State::Answer => self.take_head(bytes, script),
            State::Body => self.take_body(bytes.len() as u64, script),
            State::Idle | State::Connecting | State::Ending => Progress::Failed,
        }
    }

    fn take_head(&mut self, bytes: &[u8], script: &Script) -> Progress {
        let answer = if self.torn.is_empty() {
            script.form.answer(bytes)
        } else {
            self.torn.extend_from_slice(bytes);
            script.form.answer(&self.torn)
        };
        let Some(answer) = answer else {
            if self.torn.is_empty() {
                self.torn.extend_from_slice(bytes);
            }
            return Progress::Pending;
        };
        self.torn.clear();
        if answer.status != 200 || answer.length != Some(script.length) {
            return Progress::Failed;
        }
        self.state = State::Body;
        self.left = script.length;
        self.last = answer.closes || script.close;
        self.take_body(answer.body, script)
    }

    fn take_body(&mut self, count: u64, script: &Script) -> Progress {
        let Some(left) = self.left.checked_sub(count) else {
            return Progress::Failed;
        };
        self.left = left;
        if left > 0 {
            return Progress::Pending;
        }
        let latency = self.due.elapsed();
        if self.last || script.close {
            self.state = State::Ending;
            return Progress::DoneEnding(latency);
        }
        self.state = State::Idle;
        Progress::Done(latency)
    }
}

/// `EINPROGRESS`: a connection that is being made.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(close: bool) -> Script {
        Script {
            target: SocketAddr::from(([127, 0, 0, 1], 1)),
            form: Form::Http,
            request: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            length: 4,
            close,
        }
    }

    /// How an answer ends that comes in these pieces.
    fn take(close: bool, pieces: &[&[u8]]) -> Progress {
        let mut exchange = Exchange::new();
        exchange.state = State::Answer;
        let mut last = Progress::Pending;
        for piece in pieces {
            last = exchange.take(piece, &script(close));
        }
        last
    }

    #[test]
    fn an_answer_is_whole_wherever_it_is_cut() {
        let answer = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 4\r\n\r\nbody";
        for cut in 1..answer.len() {
            let (first, second) = answer.split_at(cut);
            let done = take(false, &[first, second]);
            assert!(matches!(done, Progress::Done(_)), "cut at {cut}: {done:?}");
        }
        assert!(matches!(take(true, &[answer]), Progress::DoneEnding(_)));
    }

    #[test]
    fn a_wrong_answer_fails() {
        for answer in [
            &b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\nbody"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbodyx",
            b"HTTP/1.1 200 OK\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody!",
        ] {
            assert!(matches!(take(false, &[answer]), Progress::Failed));
        }
    }

    #[test]
    fn a_close_said_is_a_close_awaited() {
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
        assert!(matches!(take(false, &[answer]), Progress::DoneEnding(_)));
    }
}
