//! A complete private protocol, small: the one to copy. A crate of one's own needs no more than this, and a name to register.
//!
//! ```text
//!  magic "rx"(2) · kind(1) · id(4) · timeout in ms, or the status of an answer(4) · service(1+n) · method(1+n) · length(4) · body
//! ```
//!
//! It knows no headers. A kind is a call (1), a call without an answer (2), an answer (3), a ping (4), a pong (5) or a goodbye (6).

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::Fields;
use crate::codec::{
    AmendError, Change, Codec, DecodeError, Frame, Kind, Limits, Output, Refusal, Session, Sharing,
    Side, Sniff, Span, Verdict,
};
use crate::reader::{Framer, Measure, Reader, Taken};

const MAGIC: [u8; 2] = *b"rx";
/// Where the id is.
const ID_AT: usize = 3;
/// The status of an answer of the proxy's own; 0 is success, and what is above 0 the service's own.
const REFUSED: i32 = -1;

/// The protocol. Its options, if it had any, would be its fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Example;

impl Codec for Example {
    fn name(&self) -> &'static str {
        "example"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        match prefix {
            [] | [b'r'] => Sniff::NeedMore,
            [b'r', b'x', ..] => Sniff::Yes,
            _ => Sniff::No,
        }
    }

    fn sharing(&self) -> Sharing {
        Sharing::Multiplexed { bits: 32 }
    }

    fn start(&self, _: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(ExampleSession {
            framer: Framer::new(limits.frame),
        })
    }
}

/// One side of a connection. A protocol whose connections remember something has more fields here.
struct ExampleSession {
    framer: Framer,
}

/// What stands before the body.
struct Head {
    kind: Kind,
    id: u32,
    last: i32,
    service: Span,
    method: Span,
    /// The body's length.
    body: usize,
    /// Its own length.
    len: usize,
}

impl Head {
    /// Reads it; none if it is not all here. What is wrong is an error as soon as it is seen.
    fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let start = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        if !MAGIC.starts_with(start) {
            return Err(DecodeError::BadMagic);
        }
        let mut reader = Reader::starting_at(bytes, MAGIC.len());
        let kind = match reader.u8() {
            None => return Ok(None),
            Some(1) => Kind::Request,
            Some(2) => Kind::OneWay,
            Some(3) => Kind::Response,
            Some(4) => Kind::Ping,
            Some(5) => Kind::Pong,
            Some(6) => Kind::GoAway,
            Some(_) => return Err(DecodeError::BadKind),
        };
        Self::read_rest(kind, reader).transpose()
    }

    /// With `?` on what may be missing: the reader never goes beyond the end.
    fn read_rest(kind: Kind, mut reader: Reader<'_>) -> Option<Result<Self, DecodeError>> {
        let (id, last) = (reader.u32()?, reader.i32()?);
        let length = usize::from(reader.u8()?);
        let service = reader.span(length)?;
        let length = usize::from(reader.u8()?);
        let method = reader.span(length)?;
        let body = match reader.length()? {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Self {
            kind,
            id,
            last,
            service,
            method,
            body,
            len: reader.position(),
        }))
    }
}

/// How long the frame is that begins here. Asked again only once there are as many bytes as it said it needs.
fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    Ok(match Head::read(bytes)? {
        None => Measure::Needs(bytes.len() + 1),
        Some(head) => Measure::Frame {
            head: head.len,
            total: head.len + head.body,
        },
    })
}

impl Session for ExampleSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let (bytes, broken) = match self.framer.take(input, measure)? {
            None => return Ok(None),
            Some(Taken::Frame(bytes)) => (bytes, None),
            // Only its head is here. It can be answered, and the connection goes on behind it.
            Some(Taken::TooLarge(head)) => (head, Some(DecodeError::FrameTooLarge)),
        };
        let Some(head) = Head::read(&bytes)? else {
            return Err(DecodeError::BadLength);
        };
        let mut frame = describe(&head, bytes);
        frame.broken = broken;
        Ok(Some(frame))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        if frame.broken.is_none() {
            output.share_patched(&frame.bytes, ID_AT, &id_bytes(frame.id));
        }
    }

    fn headers(&self, _: &Frame) -> Fields {
        Fields::new()
    }

    fn amend(&self, _: &Frame, _: &[Change<'_>]) -> Result<Frame, AmendError> {
        Err(AmendError::Unsupported)
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        // Nothing for calls that want no answer, and nothing for what is no call.
        (to.kind == Kind::Request).then(|| own(3, to.id, REFUSED, refusal.text.as_bytes()))
    }

    fn pong(&mut self, to: &Frame) -> Option<Frame> {
        Some(own(5, to.id, 0, b""))
    }

    fn ping(&mut self, id: u64) -> Option<Frame> {
        Some(own(4, id, 0, b""))
    }

    fn goaway(&mut self) -> Option<Frame> {
        Some(own(6, 0, 0, b""))
    }
}

/// What the head says of a frame.
fn describe(head: &Head, bytes: Bytes) -> Frame {
    let mut frame = Frame::new(head.kind, u64::from(head.id), bytes);
    frame.call.service = head.service;
    frame.call.method = head.method;
    if head.kind == Kind::Response {
        frame.code = head.last;
        frame.verdict = match head.last {
            0 => Verdict::Good,
            1.. => Verdict::Exception,
            _ => Verdict::Failed,
        };
    } else {
        let millis = u64::try_from(head.last).ok().filter(|millis| *millis > 0);
        frame.timeout = millis.map(Duration::from_millis);
    }
    frame
}

/// A frame of the proxy's own.
fn own(kind: u8, id: u64, last: i32, body: &[u8]) -> Frame {
    let length = u32::try_from(body.len()).unwrap_or(0);
    let mut bytes = MAGIC.to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&id_bytes(id));
    bytes.extend_from_slice(&last.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    let kind = match kind {
        3 => Kind::Response,
        4 => Kind::Ping,
        5 => Kind::Pong,
        _ => Kind::GoAway,
    };
    let mut frame = Frame::new(kind, id, bytes.into());
    if kind == Kind::Response {
        (frame.code, frame.verdict) = (last, Verdict::Failed);
    }
    frame
}

fn id_bytes(id: u64) -> [u8; 4] {
    let [_, _, _, _, a, b, c, d] = id.to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Cuts, trial};

    const CALL: &[u8] = b"rx\x01\0\0\0\x07\0\0\x03\xe8\x04echo\x03say\0\0\0\x02hi";

    /// All the rules at once, wherever the bytes are cut: the whole test of a codec, but for what it says of frames.
    fn check(side: Side, bytes: &[u8]) -> Vec<Frame> {
        let limits = Limits {
            frame: 100,
            ..Limits::default()
        };
        let seen = trial(&Example, side, &limits, bytes, Cuts::Everywhere).unwrap();
        assert_eq!((seen.end, seen.left), (None, 0));
        seen.frames
    }

    #[test]
    fn a_call_says_service_method_and_timeout() {
        let frames = check(Side::Client, &CALL.repeat(2));
        assert_eq!(
            (frames.len(), frames[0].kind, frames[0].id),
            (2, Kind::Request, 7)
        );
        assert_eq!(
            (frames[0].service(), frames[0].method()),
            (&b"echo"[..], &b"say"[..])
        );
        assert_eq!(frames[0].timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn pings_and_goodbyes_are_what_they_are() {
        let mut session = Example.start(Side::Client, &Limits::default());
        let (ping, goaway) = (session.ping(3).unwrap(), session.goaway().unwrap());
        let read = |side, frame: &Frame| check(side, &frame.bytes).pop().map(|frame| frame.kind);
        assert_eq!(read(Side::Client, &ping), Some(Kind::Ping));
        assert_eq!(read(Side::Upstream, &goaway), Some(Kind::GoAway));
        assert_eq!(session.pong(&ping).unwrap().kind, Kind::Pong);
    }

    #[test]
    fn a_call_over_the_limit_is_answered_and_passed_over() {
        let mut large = CALL.to_vec();
        large[CALL.len() - 3] = 200;
        large.resize(CALL.len() - 2 + 200, 0);
        large.extend_from_slice(CALL);
        let frames = check(Side::Client, &large);
        let broken: Vec<_> = frames.iter().map(|frame| frame.broken).collect();
        assert_eq!(broken, [Some(DecodeError::FrameTooLarge), None]);
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        for (bytes, error) in [
            (&b"ry"[..], DecodeError::BadMagic),
            (b"rx\x07", DecodeError::BadKind),
            (
                b"rx\x01\0\0\0\x07\0\0\0\0\0\0\xff\0\0\0",
                DecodeError::BadLength,
            ),
        ] {
            let seen = trial(
                &Example,
                Side::Client,
                &Limits::default(),
                bytes,
                Cuts::Everywhere,
            );
            assert_eq!(seen.unwrap().end, Some(error));
        }
    }
}
