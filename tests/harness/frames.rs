//! HTTP/2 frames by hand, for what no honest codec would say: over a scripted wire.

use crate::wire::Wire;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// RFC 9113 §6.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Kinds of frames.
#[expect(missing_docs, reason = "RFC 9113 §6 names them")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).expect("a frame").to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A block of fields without tables or Huffman's code (RFC 7541 §6.2.2).
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |text: &str| {
        let len = u8::try_from(text.len()).ok().filter(|len| *len < 127);
        let mut part = vec![len.expect("a short text")];
        part.extend(text.bytes());
        part
    };
    for (name, value) in list {
        out.push(0);
        out.extend(text(name));
        out.extend(text(value));
    }
    out
}

/// A HEADERS frame with all of its fields.
pub fn headers(stream: u32, flags: u8, list: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | END_HEADERS, stream, &fields(list))
}

/// A SETTINGS frame.
pub fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = list
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// One end of an HTTP/2 connection that says what a test tells it to say.
#[derive(Debug)]
pub struct Frames {
    wire: Wire,
}

impl Frames {
    /// A server's end: takes the preface and says these SETTINGS.
    #[track_caller]
    pub fn server(mut wire: Wire, list: &[(u16, u32)]) -> Self {
        let preface = wire.take(PREFACE.len());
        assert_eq!(preface, PREFACE, "no preface");
        wire.send(settings(list));
        Self { wire }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes);
        self
    }

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        let head = self.wire.take(9);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
        };
        let payload = self.wire.take(number(&head[..3]) as usize);
        Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..9]),
            payload,
        }
    }

    /// The next frame of that kind; others are passed over.
    #[track_caller]
    pub fn await_kind(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame();
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The next HEADERS' stream.
    #[track_caller]
    pub fn request(&mut self) -> u32 {
        self.await_kind(kind::HEADERS).stream
    }

    /// The wire itself.
    pub fn into_wire(self) -> Wire {
        self.wire
    }
}
