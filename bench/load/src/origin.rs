//! The origin: `/bytes/N` answers N bytes, `/head` answers the head it was asked with, `/connections` how many it took.
//!
//! Answers up to 64 KiB lie ready with their heads and go out in one send; longer ones are sent from one block, again
//! and again, as fast as the other side reads.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::args::Args;
use crate::error::LoadError;
use crate::poller::Poller;

/// The token of the listening socket; connections have theirs from zero.
const LISTENER: usize = usize::MAX - 1;

/// Body bytes that repeat: a multiple of 256, so that every block begins where the last ended.
const BLOCK: usize = 256 << 10;

/// Longer heads than any proxy here makes are cut off.
const HEAD_MAX: usize = 16 << 10;

/// Answers until it is killed.
pub(crate) fn run(args: &Args) -> Result<(), LoadError> {
    let address: SocketAddr = args.need("listen")?;
    let listener = TcpListener::bind(address).map_err(LoadError::io("bind"))?;
    listener
        .set_nonblocking(true)
        .map_err(LoadError::io("nonblocking"))?;
    let local = listener
        .local_addr()
        .map_err(LoadError::io("local address"))?;
    println!("{local}");
    let poller = Poller::new()?;
    let watched = poller.watch_level(&listener, LISTENER);
    watched.map_err(LoadError::io("watching the listener"))?;
    Origin {
        listener,
        poller,
        clients: Vec::new(),
        free: Vec::new(),
        taken: 0,
        answers: Answers::new(),
    }
    .serve()
}

struct Origin {
    listener: TcpListener,
    poller: Poller,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    taken: u64,
    answers: Answers,
}

impl Origin {
    fn serve(mut self) -> Result<(), LoadError> {
        let mut tokens = Vec::new();
        let mut buffer = vec![0; HEAD_MAX];
        loop {
            self.poller.wait(&mut tokens)?;
            for &token in &tokens {
                if token == LISTENER {
                    self.accept();
                    continue;
                }
                let Some(Some(client)) = self.clients.get_mut(token) else {
                    continue;
                };
                self.answers.taken = self.taken;
                if client.advance(&mut self.answers, &mut buffer).is_err() {
                    self.drop_client(token);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.taken += 1;
            if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
                continue;
            }
            let token = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            if self.poller.watch(&stream, token).is_err() {
                self.free.push(token);
                continue;
            }
            if let Some(place) = self.clients.get_mut(token) {
                *place = Some(Client::new(stream));
            }
        }
    }

    fn drop_client(&mut self, token: usize) {
        if let Some(place) = self.clients.get_mut(token) {
            *place = None;
            self.free.push(token);
        }
    }
}

/// A connection to the origin.
struct Client {
    stream: TcpStream,
    /// Request bytes that have come without the end of their head.
    torn: Vec<u8>,
    /// What is yet to be sent of the answer.
    unsent: Unsent,
    /// Close after this answer.
    last: bool,
}

/// What is yet to be sent.
enum Unsent {
    Nothing,
    /// Of a ready answer, from here on.
    Ready {
        key: u64,
        at: usize,
    },
    /// Of bytes made for this answer.
    Made {
        bytes: Vec<u8>,
        at: usize,
    },
    /// A head, then blocks until `length` bytes of body are `sent`.
    Blocks {
        head: Vec<u8>,
        at: usize,
        sent: u64,
        length: u64,
    },
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            torn: Vec::new(),
            unsent: Unsent::Nothing,
            last: false,
        }
    }

    /// Sends what is unsent, then reads and answers, until the socket has no more; an error closes it.
    fn advance(&mut self, answers: &mut Answers, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.flush(answers) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
                Ok(()) if self.last => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(()) => {}
            }
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.torn.is_empty() && bytes.ends_with(b"\r\n\r\n") {
                self.ask(bytes, answers)?;
                continue;
            }
            self.torn.extend_from_slice(bytes);
            if self.torn.ends_with(b"\r\n\r\n") {
                let head = std::mem::take(&mut self.torn);
                self.ask(&head, answers)?;
            } else if self.torn.len() > HEAD_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }

    /// A request is here: prepares its answer.
    fn ask(&mut self, head: &[u8], answers: &mut Answers) -> io::Result<()> {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        self.last = says_close(head);
        self.unsent = answers.find(path, head).ok_or(ErrorKind::InvalidData)?;
        Ok(())
    }

    fn flush(&mut self, answers: &Answers) -> io::Result<()> {
        match &mut self.unsent {
            Unsent::Nothing => return Ok(()),
            Unsent::Ready { key, at } => {
                let bytes = answers.ready.get(key).map_or(&[][..], Vec::as_slice);
                send_all(&mut self.stream, bytes, at)?;
            }
            Unsent::Made { bytes, at } => send_all(&mut self.stream, bytes, at)?,
            Unsent::Blocks {
                head,
                at,
                sent,
                length,
            } => {
                send_all(&mut self.stream, head, at)?;
                while *sent < *length {
                    let start = usize::try_from(*sent % BLOCK as u64).unwrap_or(0);
                    let block = answers.block.get(start..).unwrap_or_default();
                    let most = usize::try_from(*length - *sent).unwrap_or(BLOCK);
                    let part = block.get(..most.min(block.len())).unwrap_or_default();
                    *sent += self.stream.write(part)? as u64;
                }
            }
        }
        self.unsent = Unsent::Nothing;
        Ok(())
    }
}

fn send_all(stream: &mut TcpStream, bytes: &[u8], at: &mut usize) -> io::Result<()> {
    while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
        *at += stream.write(rest)?;
    }
    Ok(())
}

/// A proxy that keeps no connection says so; ours and the peers' never do.
fn says_close(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii().eq_ignore_ascii_case(b"connection: close"))
}

/// What bodies begin with.
pub(crate) fn pattern() -> Vec<u8> {
    (0..BLOCK).map(|at| (at % 251) as u8).collect()
}

/// Answers that lie ready, and what the others are made of.
struct Answers {
    ready: HashMap<u64, Vec<u8>>,
    block: Vec<u8>,
    taken: u64,
}

impl Answers {
    fn new() -> Self {
        Self {
            ready: HashMap::new(),
            block: pattern(),
            taken: 0,
        }
    }

    fn find(&mut self, path: &[u8], head: &[u8]) -> Option<Unsent> {
        if path == b"/head" {
            return Some(made(head));
        }
        if path == b"/connections" {
            return Some(made(self.taken.to_string().as_bytes()));
        }
        let length = path.strip_prefix(b"/bytes/")?;
        let length: u64 = std::str::from_utf8(length).ok()?.parse().ok()?;
        if let Some(body) = usize::try_from(length).ok().filter(|n| *n <= 64 << 10) {
            let block = &self.block;
            self.ready.entry(length).or_insert_with(|| {
                let mut answer = answer_head(length);
                answer.extend_from_slice(block.get(..body).unwrap_or_default());
                answer
            });
            return Some(Unsent::Ready { key: length, at: 0 });
        }
        Some(Unsent::Blocks {
            head: answer_head(length),
            at: 0,
            sent: 0,
            length,
        })
    }
}

fn made(body: &[u8]) -> Unsent {
    let mut bytes = answer_head(body.len() as u64);
    bytes.extend_from_slice(body);
    Unsent::Made { bytes, at: 0 }
}

fn answer_head(length: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}
