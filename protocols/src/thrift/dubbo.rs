//! Thrift as Dubbo wraps it, with ids of its own:
//! `length(4) · 0xdabc · length(4) · header's length(2) · version=1 · length(4) · service · id(8) · message in the binary protocol`.

use bytes::{Bytes, BytesMut};

use super::message::{self, Message, Protocol};
use crate::Fields;
use crate::codec::{
    AmendError, Call, Change, Codec, DecodeError, Frame, GoAway, Kind, Limits, Output, Refusal,
    Session, Sharing, Side, Sniff, Span,
};
use crate::reader::{Framer, Measure, Reader, Taken};

const MAGIC: [u8; 2] = [0xda, 0xbc];
const VERSION: u8 = 1;
/// Where the service's name begins, with its length.
const SERVICE_AT: usize = 13;
/// No service has a longer name; so many bytes hold all that comes before the arguments.
const SERVICE_MAX: usize = 1024;
const START: usize = SERVICE_AT + SERVICE_MAX + message::NAME_MAX + 32;

/// The protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct DubboThrift;

impl Codec for DubboThrift {
    fn name(&self) -> &'static str {
        "dubbo-thrift"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        let magic = prefix.get(4..).unwrap_or_default();
        let start = magic.get(..MAGIC.len()).unwrap_or(magic);
        match MAGIC.starts_with(start) && prefix.first().is_none_or(|first| *first < 0x80) {
            false => Sniff::No,
            true if start.len() < MAGIC.len() => Sniff::NeedMore,
            true => Sniff::Yes,
        }
    }

    fn sharing(&self) -> Sharing {
        Sharing::Multiplexed { bits: 63 }
    }

    fn goaway(&self) -> GoAway {
        GoAway::Wordless
    }

    fn start(&self, side: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(DubboSession {
            side,
            framer: Framer::new(limits.frame),
        })
    }
}

/// One side of a connection.
struct DubboSession {
    side: Side,
    framer: Framer,
}

/// What comes before the arguments.
struct Head {
    service: Span,
    id: u64,
    id_at: usize,
    message: Message,
}

impl Head {
    fn read(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::starting_at(frame, SERVICE_AT - 1);
        if reader.u8() != Some(VERSION) {
            return Err(DecodeError::BadVersion);
        }
        let length = reader.length().ok_or(DecodeError::BadHeader)??;
        if length > SERVICE_MAX {
            return Err(DecodeError::BadHeader);
        }
        let service = reader.span(length).ok_or(DecodeError::BadHeader)?;
        let id_at = reader.position();
        let id = reader.u64().ok_or(DecodeError::BadHeader)?;
        if !reader.rest().starts_with(&[0x80, 1]) {
            return Err(DecodeError::BadBody);
        }
        let message = Message::read(reader, Protocol::Binary)?.ok_or(DecodeError::BadBody)?;
        Ok(Self {
            service,
            id,
            id_at,
            message,
        })
    }
}

fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.length().transpose()? else {
        return Ok(Measure::Needs(4));
    };
    match reader.rest().first_chunk() {
        None => Ok(Measure::Needs(4 + MAGIC.len())),
        Some(magic) if *magic != MAGIC => Err(DecodeError::BadMagic),
        Some(_) if length < MAGIC.len() => Err(DecodeError::BadLength),
        Some(_) => Ok(Measure::Frame {
            head: START,
            total: length + 4,
        }),
    }
}

impl Session for DubboSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        Ok(match self.framer.take(input, measure)? {
            None => None,
            Some(Taken::Frame(bytes)) => Some(described(bytes, self.side)),
            Some(Taken::TooLarge(start)) => Some(Frame {
                broken: Some(DecodeError::FrameTooLarge),
                ..described(start, self.side)
            }),
        })
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        if let (None, Ok(head)) = (frame.broken, Head::read(&frame.bytes)) {
            output.share_patched(&frame.bytes, head.id_at, &frame.id.to_be_bytes());
        }
    }

    fn headers(&self, _: &Frame) -> Fields {
        Fields::new()
    }

    fn amend(&self, _: &Frame, _: &[Change<'_>]) -> Result<Frame, AmendError> {
        Err(AmendError::Unsupported)
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        let head = Head::read(&to.bytes).ok()?;
        (to.kind == Kind::Request).then(|| {
            let name = head.message.name.of(&to.bytes);
            let reply = message::exception(&head.message, name, refusal.why, refusal.text);
            let bytes = wrapped(head.service.of(&to.bytes), to.id, &reply);
            described(bytes.into(), self.side)
        })
    }

    fn pong(&mut self, _: &Frame) -> Option<Frame> {
        None
    }

    fn ping(&mut self, _: u64) -> Option<Frame> {
        None
    }

    fn goaway(&mut self) -> Option<Frame> {
        None
    }
}

fn wrapped(service: &[u8], id: u64, message: &[u8]) -> Vec<u8> {
    // All lengths but the service's count from the magic.
    let header = SERVICE_AT - 4 + 4 + service.len() + 8;
    let length = u32::try_from(header + message.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(header + message.len() + 4);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(header).unwrap_or(0).to_be_bytes());
    bytes.push(VERSION);
    bytes.extend_from_slice(&u32::try_from(service.len()).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(service);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

fn described(bytes: Bytes, side: Side) -> Frame {
    let head = match Head::read(&bytes) {
        Ok(head) => head,
        Err(error) => {
            let mut frame = Frame::new(super::expected(side), 0, bytes);
            frame.broken = Some(error);
            return frame;
        }
    };
    let message = head.message;
    let verdict = message.verdict(&bytes);
    let mut frame = Frame::new(message.kind(), head.id, bytes);
    frame.verdict = verdict;
    match frame.kind == Kind::Response {
        true => frame.code = message.code(),
        false => {
            frame.call = Call {
                service: head.service,
                method: message.name,
                ..Call::default()
            }
        }
    }
    frame
}
