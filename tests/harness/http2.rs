//! A client of HTTP/2 by hand: well-behaved where it is not told otherwise, and able to send any frame there is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::hpack::{self, Decoder, Field};
use crate::http::Broken;
use crate::wait::DEADLINE;

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
pub mod kind {
    #![allow(missing_docs, reason = "the names say it")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM, and ACK.
pub const END: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub mod code {
    #![allow(missing_docs, reason = "the names say it")]
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const CALM: u32 = 11;
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What has come on a stream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Interim answers: status and fields.
    pub interim: Vec<(u16, Vec<Field>)>,
    /// The status, once it is here.
    pub status: u16,
    /// The fields.
    pub fields: Vec<Field>,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Vec<Field>,
    /// It ended in order.
    pub ended: bool,
    /// It was reset, with this code.
    pub reset: Option<u32>,
}

impl Answer {
    /// A field that is there at most once.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(own, _)| own == name);
        field.map(|(_, value)| value.as_str())
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Http2 {
    stream: TcpStream,
    input: Vec<u8>,
    decoder: Decoder,
    next: u32,
    /// What has come, by stream.
    pub answers: BTreeMap<u32, Answer>,
    /// The server's SETTINGS.
    pub settings: BTreeMap<u16, u32>,
    /// GOAWAYs: the last stream, and the code.
    pub goaways: Vec<(u32, u32)>,
    /// Acknowledged PINGs and SETTINGS.
    pub acks: usize,
    /// PINGs that wait for an answer.
    pub pings: Vec<Vec<u8>>,
    /// Windows are opened for what comes, PINGs and SETTINGS answered.
    pub polite: bool,
    /// PINGs wait in `pings` all the same.
    pub holds_pings: bool,
    /// How much may be sent, on the connection (0) and on streams.
    windows: BTreeMap<u32, i64>,
    /// A header block that is not whole: its stream, flags and bytes.
    block: Option<(u32, u8, Vec<u8>)>,
}

impl Http2 {
    /// Connects, and says hello with these settings.
    pub fn connect_with(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::raw(addr);
        client.hello(settings);
        client
    }

    /// Connects, and says hello.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[])
    }

    /// Connects and says nothing.
    pub fn raw(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE)
            .unwrap_or_else(|error| panic!("connect {addr}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self {
            stream,
            input: Vec::new(),
            decoder: Decoder::default(),
            next: 1,
            answers: BTreeMap::new(),
            settings: BTreeMap::new(),
            goaways: Vec::new(),
            acks: 0,
            pings: Vec::new(),
            polite: true,
            holds_pings: false,
            windows: BTreeMap::from([(0, 65_535)]),
            block: None,
        }
    }

    /// Sends the preface and SETTINGS, and waits for the server's.
    #[track_caller]
    pub fn hello(&mut self, settings: &[(u16, u32)]) {
        let entry =
            |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
        let payload: Vec<u8> = settings.iter().flat_map(entry).collect();
        self.send([PREFACE, &frame(kind::SETTINGS, 0, 0, &payload)].concat());
        while self.settings.is_empty() || self.acks == 0 {
            self.read()
                .unwrap_or_else(|broken| panic!("hello: {broken}"));
        }
    }

    /// Says hello with the preface in two pieces, the second when the first has arrived.
    #[track_caller]
    pub fn hello_in_pieces(&mut self, cut: usize) {
        self.send(&PREFACE[..cut]);
        crate::wait::wait_until("the first piece has arrived", || {
            crate::sys::unacknowledged(&self.stream) == 0
        });
        self.send(&PREFACE[cut..]);
        self.frame(kind::SETTINGS, 0, 0, &[]);
        while self.settings.is_empty() || self.acks == 0 {
            self.read()
                .unwrap_or_else(|broken| panic!("hello: {broken}"));
        }
    }

    /// How much the windows allow to send on a stream.
    pub fn room(&self, stream: u32) -> usize {
        let of = |id: u32| self.windows.get(&id).copied().unwrap_or_default();
        usize::try_from(of(0).min(of(stream)).max(0)).unwrap()
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes)
            .unwrap_or_else(|broken| panic!("send: {broken}"));
    }

    /// Sends bytes, or says why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Sends a frame.
    #[track_caller]
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(frame(kind, flags, stream, payload));
    }

    /// The number of the next stream.
    pub fn new_stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        let first = self.settings.get(&4).copied().unwrap_or(65_535);
        self.windows.insert(stream, i64::from(first));
        stream
    }

    /// The frame of a request's head on a new stream, with `fields` after the pseudo-fields.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        end: bool,
    ) -> (u32, Vec<u8>) {
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test.example"),
        ];
        all.extend(fields);
        let stream = self.new_stream();
        let flags = END_HEADERS | if end { END } else { 0 };
        (
            stream,
            frame(kind::HEADERS, flags, stream, &hpack::block(&all)),
        )
    }

    /// Begins a request.
    #[track_caller]
    pub fn start(&mut self, method: &str, path: &str, fields: &[(&str, &str)], end: bool) -> u32 {
        let (stream, bytes) = self.request(method, path, fields, end);
        self.send(bytes);
        stream
    }

    /// Sends this head, pseudo-fields and all, as a request without a body, and waits for what becomes of it.
    #[track_caller]
    pub fn head(&mut self, fields: &[(&str, &str)]) -> Answer {
        let stream = self.new_stream();
        let block = hpack::block(fields);
        let (first, rest) = block.split_at(block.len().min(16_000));
        let whole = |rest: &[u8]| if rest.is_empty() { END_HEADERS } else { 0 };
        let mut bytes = frame(kind::HEADERS, END | whole(rest), stream, first);
        let mut pieces = rest.chunks(16_000).peekable();
        while let Some(piece) = pieces.next() {
            let last = whole(pieces.peek().copied().unwrap_or_default());
            bytes.extend(frame(kind::CONTINUATION, last, stream, piece));
        }
        self.send(bytes);
        self.answer(stream)
    }

    /// Sends of a body as much as the windows allow, and waits for more.
    #[track_caller]
    pub fn data(&mut self, stream: u32, mut bytes: &[u8], end: bool) {
        loop {
            let room = self.room(stream);
            let (now, later) = bytes.split_at(bytes.len().min(room).min(16_384));
            if now.is_empty() && !bytes.is_empty() {
                if self
                    .answers
                    .get(&stream)
                    .is_some_and(|answer| answer.reset.is_some())
                {
                    return;
                }
                self.read()
                    .unwrap_or_else(|broken| panic!("data: {broken}"));
                continue;
            }
            for id in [0, stream] {
                *self.windows.entry(id).or_default() -= i64::try_from(now.len()).unwrap();
            }
            let last = later.is_empty();
            self.frame(kind::DATA, if last && end { END } else { 0 }, stream, now);
            if last {
                return;
            }
            bytes = later;
        }
    }

    /// Sends trailers.
    #[track_caller]
    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.frame(
            kind::HEADERS,
            END_HEADERS | END,
            stream,
            &hpack::block(fields),
        );
    }

    /// Resets a stream.
    #[track_caller]
    pub fn reset(&mut self, stream: u32) {
        self.frame(kind::RESET, 0, stream, &code::CANCEL.to_be_bytes());
    }

    /// Opens a window.
    #[track_caller]
    pub fn open(&mut self, stream: u32, bytes: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// A `GET`, and its answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let stream = self.start("GET", path, &[], true);
        self.answer(stream)
    }

    /// A `POST` of these bytes, and its answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        let stream = self.start("POST", path, &[], false);
        self.data(stream, body, true);
        self.answer(stream)
    }

    /// Waits until a stream has ended, one way or the other.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Answer {
        self.until("the end of a stream", |client| {
            let answer = client.answers.get(&stream)?;
            (answer.ended || answer.reset.is_some()).then(|| answer.clone())
        })
    }

    /// Reads until `probe` finds what it looks for.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "no {what} in time: {self:#?}");
            if let Err(broken) = self.read() {
                panic!(
                    "{broken} while waiting for {what}: goaways {:?}, answers {:?}",
                    self.goaways, self.answers
                );
            }
        }
    }

    /// Waits for the last GOAWAY and the end of the connection; the codes that came.
    #[track_caller]
    pub fn closed(&mut self) -> Vec<u32> {
        let began = Instant::now();
        loop {
            match self.read() {
                Ok(_) => assert!(began.elapsed() < DEADLINE, "still open"),
                Err(Broken::Closed | Broken::Reset | Broken::Truncated) => {
                    return self.goaways.iter().map(|(_, code)| *code).collect();
                }
                Err(broken) => panic!("still open: {broken}"),
            }
        }
    }

    /// Nothing comes for so long.
    #[track_caller]
    pub fn silence(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        match self.read() {
            Err(Broken::TimedOut) => {}
            other => panic!("something came: {other:?}"),
        }
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    /// Reads a frame, and does with it what a client does.
    pub fn read(&mut self) -> Result<Frame, Broken> {
        let frame = self.next_frame()?;
        match frame.kind {
            kind::SETTINGS if frame.flags & END != 0 => self.acks += 1,
            kind::SETTINGS => {
                for entry in frame.payload.chunks_exact(6) {
                    let id = u16::from_be_bytes([entry[0], entry[1]]);
                    let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
                    let before = self.settings.insert(id, value);
                    if id == 4 {
                        let change = i64::from(value) - i64::from(before.unwrap_or(65_535));
                        let streams = self.windows.iter_mut().filter(|(id, _)| **id != 0);
                        streams.for_each(|(_, window)| *window += change);
                    }
                }
                if self.polite {
                    self.try_send(crate::http2::frame(kind::SETTINGS, END, 0, &[]))?;
                }
            }
            kind::PING if frame.flags & END != 0 => self.acks += 1,
            kind::PING if self.polite && !self.holds_pings => {
                self.try_send(crate::http2::frame(kind::PING, END, 0, &frame.payload))?;
            }
            kind::PING => self.pings.push(frame.payload.clone()),
            kind::GOAWAY => {
                let number =
                    |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
                self.goaways.push((number(0), number(4)));
            }
            kind::WINDOW_UPDATE => {
                let more = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                *self.windows.entry(frame.stream).or_default() += i64::from(more);
            }
            kind::DATA => self.came_data(&frame)?,
            kind::RESET => {
                let code = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                self.answers.entry(frame.stream).or_default().reset = Some(code);
            }
            kind::HEADERS | kind::CONTINUATION => self.came_headers(&frame),
            _ => {}
        }
        Ok(frame)
    }

    fn came_data(&mut self, frame: &Frame) -> Result<(), Broken> {
        let answer = self.answers.entry(frame.stream).or_default();
        assert!(!answer.ended && answer.status >= 200, "DATA out of place");
        answer.body.extend(&frame.payload);
        answer.ended = frame.flags & END != 0;
        if self.polite && !frame.payload.is_empty() {
            let more = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
            self.try_send(crate::http2::frame(kind::WINDOW_UPDATE, 0, 0, &more))?;
            self.try_send(crate::http2::frame(
                kind::WINDOW_UPDATE,
                0,
                frame.stream,
                &more,
            ))?;
        }
        Ok(())
    }

    fn came_headers(&mut self, frame: &Frame) {
        let (stream, flags, mut bytes) =
            self.block
                .take()
                .unwrap_or((frame.stream, frame.flags, Vec::new()));
        assert_eq!(stream, frame.stream, "a header block that is interrupted");
        bytes.extend(&frame.payload);
        if frame.flags & END_HEADERS == 0 {
            self.block = Some((stream, flags, bytes));
            return;
        }
        let fields = self.decoder.decode(&bytes);
        let answer = self.answers.entry(stream).or_default();
        assert!(!answer.ended, "HEADERS after the end");
        let status = fields.first().filter(|(name, _)| name == ":status");
        let status = status.map(|(_, value)| value.parse::<u16>().expect("a status"));
        let rest = |fields: Vec<Field>| fields.into_iter().skip(1).collect();
        match status {
            Some(status) if status < 200 => answer.interim.push((status, rest(fields))),
            Some(status) => (answer.status, answer.fields) = (status, rest(fields)),
            None => answer.trailers = fields,
        }
        answer.ended = flags & END != 0;
    }

    fn next_frame(&mut self) -> Result<Frame, Broken> {
        loop {
            if let Some(head) = self.input.first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                let (kind, flags) = (head[3], head[4]);
                if self.input.len() >= 9 + length {
                    let payload = self.input.drain(..9 + length).skip(9).collect();
                    return Ok(Frame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            let mut piece = [0; 64 << 10];
            let came = match self.stream.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if came == 0 {
                return Err(if self.input.is_empty() {
                    Broken::Closed
                } else {
                    Broken::Truncated
                });
            }
            self.input.extend(&piece[..came]);
        }
    }
}
