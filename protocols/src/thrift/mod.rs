//! Thrift in its transports (framed, unframed, THeader) and protocols (binary, compact); and Dubbo's own wrapping of it.
//!
//! Each frame says itself in which form it is, and an upstream connection carries one form. Servers may answer in any order or
//! only in turn, and there is no way to take a call back: so a connection has one call at a time.

mod dubbo;
mod form;
mod message;
mod skip;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use self::dubbo::DubboThrift;
use self::form::{Form, Header, Transport};
use self::message::{Message, NAME_MAX, Protocol};
use self::skip::Skip;
use crate::Fields;
use crate::codec::{
    AmendError, Call, Change, Codec, DecodeError, Frame, GoAway, Kind, Limits, Output, Refusal,
    Session, Sharing, Side, Sniff,
};
use crate::reader::{Framer, Measure, Reader, Taken};

/// The protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thrift;

impl Codec for Thrift {
    fn name(&self) -> &'static str {
        "thrift"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        match form::detect(prefix) {
            Ok(Some(_)) => Sniff::Yes,
            Ok(None) => Sniff::NeedMore,
            Err(_) => Sniff::No,
        }
    }

    fn sharing(&self) -> Sharing {
        Sharing::OneAtATime
    }

    fn goaway(&self) -> GoAway {
        GoAway::Wordless
    }

    fn start(&self, side: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(ThriftSession {
            side,
            limits: *limits,
            framer: Framer::new(limits.frame),
            skip: None,
        })
    }
}

/// One side of a connection.
struct ThriftSession {
    side: Side,
    limits: Limits,
    framer: Framer,
    /// Of an unframed message under way, how far its struct was passed over.
    skip: Option<Skip>,
}

impl Session for ThriftSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let (skip, limits) = (&mut self.skip, &self.limits);
        let taken = self
            .framer
            .take(input, |bytes| measure(bytes, skip, limits))?;
        let Some(taken) = taken else {
            return Ok(None);
        };
        self.skip = None;
        Ok(Some(match taken {
            Taken::Frame(bytes) => described(bytes, self.side, &self.limits),
            Taken::TooLarge(start) => {
                let frame = described(start, self.side, &self.limits);
                let sealed = frame
                    .broken
                    .filter(|error| *error == DecodeError::Unsupported);
                Frame {
                    broken: sealed.or(Some(DecodeError::FrameTooLarge)),
                    ..frame
                }
            }
        }))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        if frame.broken.is_none() {
            output.share(frame.bytes.clone());
        }
    }

    fn headers(&self, frame: &Frame) -> Fields {
        match self.header(frame) {
            Some(header) => header.fields(&frame.bytes, &self.limits),
            None => Fields::new(),
        }
    }

    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError> {
        let header = self.header(frame).ok_or(AmendError::Unsupported)?;
        let bytes = header.amended(&frame.bytes, changes, &self.limits)?;
        if bytes.len() > self.limits.frame {
            return Err(AmendError::TooLarge);
        }
        let amended = described(bytes.into(), self.side, &self.limits);
        match amended.broken {
            None => Ok(amended),
            Some(_) => Err(AmendError::TooLarge),
        }
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        let (form, message) = match opened(&to.bytes, &self.limits) {
            Ok(opened) => opened,
            Err(DecodeError::Unsupported) => form::sealed(&to.bytes)?,
            Err(_) => return None,
        };
        (to.kind == Kind::Request).then(|| {
            let name = message.name.of(&to.bytes);
            let reply = message::exception(&message, name, refusal.why, refusal.text);
            let bytes = form::wrap(form, &message, &to.bytes, &reply);
            described(bytes.into(), self.side, &self.limits)
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

impl ThriftSession {
    fn header(&self, frame: &Frame) -> Option<Header> {
        match form::detect(&frame.bytes) {
            Ok(Some(form)) if form.transport == Transport::Header => {
                Header::read(&frame.bytes, &self.limits).ok()
            }
            Ok(_) | Err(_) => None,
        }
    }
}

/// So many bytes hold the beginning of any message, its headers aside.
const START: usize = 4 + NAME_MAX + 32;

/// How long the frame is that begins here.
fn measure(bytes: &[u8], skip: &mut Option<Skip>, limits: &Limits) -> Result<Measure, DecodeError> {
    let more = Ok(Measure::Needs(bytes.len() + 1));
    let Some(form) = form::detect(bytes)? else {
        return more;
    };
    match form.transport {
        Transport::Framed | Transport::Header => {
            let length = Reader::new(bytes).length().transpose()?;
            Ok(match length.and_then(|length| length.checked_add(4)) {
                Some(total) => Measure::Frame {
                    head: START + limits.header_bytes,
                    total,
                },
                None => return Err(DecodeError::BadLength),
            })
        }
        Transport::Unframed => {
            let skip = match skip {
                Some(skip) => skip,
                None => match Message::read(Reader::new(bytes), form.protocol)? {
                    None => return more,
                    Some(message) => skip.insert(Skip::new(message.protocol, message.body, limits)),
                },
            };
            Ok(match skip.run(bytes)? {
                Some(end) => Measure::Frame {
                    head: end,
                    total: end,
                },
                None => Measure::Needs(skip.wanted()),
            })
        }
    }
}

/// A frame's form, and the beginning of its message.
fn opened(frame: &[u8], limits: &Limits) -> Result<(Form, Message), DecodeError> {
    let mut form = form::detect(frame)?.ok_or(DecodeError::BadMagic)?;
    let at = match form.transport {
        Transport::Unframed => 0,
        Transport::Framed => 4,
        Transport::Header => {
            let header = Header::read(frame, limits)?;
            form.protocol = header.protocol(frame)?;
            header.message
        }
    };
    let message = Message::read(Reader::starting_at(frame, at), form.protocol)?;
    Ok((form, message.ok_or(DecodeError::BadBody)?))
}

/// What a message says of its frame.
fn described(bytes: Bytes, side: Side, limits: &Limits) -> Frame {
    let (form, message) = match opened(&bytes, limits) {
        Ok(opened) => opened,
        Err(error) => {
            let id = form::sealed(&bytes).map_or(0, |(_, message)| id_of(&message));
            let mut frame = Frame::new(expected(side), id, bytes);
            frame.broken = Some(error);
            return frame;
        }
    };
    let id = id_of(&message);
    let (service, method) = message.call(&bytes);
    let verdict = message.verdict(&bytes);
    let mut frame = Frame::new(message.kind(), id, bytes);
    frame.verdict = verdict;
    frame.pin = pin(form);
    match frame.kind == Kind::Response {
        true => frame.code = message.code(),
        false => {
            frame.call = Call {
                service,
                method,
                ..Call::default()
            }
        }
    }
    frame
}

fn id_of(message: &Message) -> u64 {
    u64::from(message.sequence.cast_unsigned())
}

/// What a frame is that cannot be read.
fn expected(side: Side) -> Kind {
    match side {
        Side::Client => Kind::Request,
        Side::Upstream => Kind::Response,
    }
}

/// A connection carries one form.
fn pin(form: Form) -> u64 {
    let transport = match form.transport {
        Transport::Framed => 0,
        Transport::Unframed => 1,
        Transport::Header => 2,
    };
    let protocol = match form.protocol {
        Protocol::Binary => 0,
        Protocol::Lax => 1,
        Protocol::Compact => 2,
    };
    transport << 2 | protocol
}
