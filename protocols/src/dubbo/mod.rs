//! Dubbo 2 over TCP, and what of it Dubbo 3 still speaks there.
//!
//! Bodies in Hessian 2 are read as far as routing wants; in other serializations they are passed on unread, to routes that ask
//! for no service.

mod generic;
mod head;
mod invocation;
mod serialization;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::head::{EVENT, Head, REQUEST, TWO_WAY, status};
use self::serialization::Event;
use crate::Fields;
use crate::codec::{
    AmendError, Change, Codec, DecodeError, Frame, Kind, Limits, Output, Refusal, Session, Sharing,
    Side, Sniff, Verdict, Why,
};
use crate::hessian::{Item, Skipper};
use crate::reader::{Framer, Reader, Taken};

pub use self::generic::{GenericAnswer, GenericCall, generic_answer};

/// The protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dubbo;

impl Codec for Dubbo {
    fn name(&self) -> &'static str {
        "dubbo"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        match prefix {
            [] | [0xda] | [0xda, 0xbb] => Sniff::NeedMore,
            // A client's first word is a request or an event.
            [0xda, 0xbb, flags, ..] if flags & REQUEST != 0 => Sniff::Yes,
            _ => Sniff::No,
        }
    }

    fn sharing(&self) -> Sharing {
        // 63 bits: ids are signed.
        Sharing::Multiplexed { bits: 63 }
    }

    fn start(&self, _: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(DubboSession {
            limits: *limits,
            framer: Framer::new(limits.frame),
        })
    }
}

/// One side of a connection.
struct DubboSession {
    limits: Limits,
    framer: Framer,
}

/// Of [`Frame::notes`], where the attachments begin, or 0.
const ATTACHMENTS: usize = 0;

impl Session for DubboSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let (bytes, broken) = match self.framer.take(input, head::measure)? {
            None => return Ok(None),
            Some(Taken::Frame(bytes)) => (bytes, None),
            Some(Taken::TooLarge(head)) => (head, Some(DecodeError::FrameTooLarge)),
        };
        let Some(head) = Head::read(&bytes)? else {
            return Err(DecodeError::BadLength);
        };
        let mut frame = describe(&head, bytes);
        frame.broken = broken.or_else(|| self.look_inside(&head, &mut frame).err());
        Ok(Some(frame))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        if frame.broken.is_none() {
            output.share_patched(&frame.bytes, head::ID_AT, &frame.id.to_be_bytes());
        }
    }

    fn headers(&self, frame: &Frame) -> Fields {
        match has_attachments(frame) {
            true => invocation::fields(&frame.bytes, &self.limits),
            false => Fields::new(),
        }
    }

    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError> {
        let (true, Ok(Some(head))) = (has_attachments(frame), Head::read(&frame.bytes)) else {
            return Err(AmendError::Unsupported);
        };
        let body = invocation::amended(&frame.bytes, changes, &self.limits)?;
        let head = Head {
            id: frame.id,
            body: body.len(),
            ..head
        };
        if head::LEN + body.len() > self.limits.frame {
            return Err(AmendError::TooLarge);
        }
        let mut amended = describe(&head, head.write(&body).into());
        self.look_inside(&head, &mut amended)
            .map_err(|_| AmendError::TooLarge)?;
        Ok(amended)
    }

    fn limit(&self, frame: &Frame, left: Duration) -> Option<Frame> {
        frame.timeout?;
        let millis = left.as_millis().max(1).to_string();
        let change = Change {
            name: b"timeout",
            value: Some(millis.as_bytes()),
        };
        self.amend(frame, &[change]).ok()
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        let head = Head::read(&to.bytes).ok()??;
        (to.kind == Kind::Request).then(|| {
            let serialization = head.serialization();
            let body = serialization::text_body(serialization, refusal.text);
            let answer = Head {
                flags: serialization,
                status: status_of(refusal.why),
                id: to.id,
                body: body.len(),
            };
            describe(&answer, answer.write(&body).into())
        })
    }

    fn pong(&mut self, to: &Frame) -> Option<Frame> {
        let head = Head::read(&to.bytes).ok()??;
        (head.is(TWO_WAY) && to.broken.is_none()).then(|| {
            // What it said is said back: a null of its own serialization, which need not be known here.
            let body = to.bytes.get(head::LEN..).unwrap_or_default();
            let answer = Head {
                flags: EVENT | head.serialization(),
                status: status::OK,
                id: to.id,
                body: body.len(),
            };
            describe(&answer, answer.write(body).into())
        })
    }

    fn ping(&mut self, id: u64) -> Option<Frame> {
        Some(event(TWO_WAY, id, serialization::NULL))
    }

    fn goaway(&mut self) -> Option<Frame> {
        Some(event(0, 0, serialization::READONLY))
    }
}

impl DubboSession {
    fn look_inside(&self, head: &Head, frame: &mut Frame) -> Result<(), DecodeError> {
        if !serialization::is_hessian(head.serialization()) {
            return Ok(());
        }
        match frame.kind {
            Kind::Request | Kind::OneWay => {
                let invocation = invocation::read(&frame.bytes, &self.limits)?;
                frame.call = invocation.call;
                frame.timeout = invocation.timeout;
                if let Some(note) = frame.notes.get_mut(ATTACHMENTS) {
                    *note = u32::try_from(invocation.attachments).unwrap_or(0);
                }
            }
            // An int says what follows: 0 and 3, an exception, without and with attachments.
            Kind::Response if frame.verdict == Verdict::Good => {
                let body = Reader::starting_at(&frame.bytes, head::LEN);
                if let Ok(Item::Int(0 | 3)) = Skipper::new(body, &self.limits).item() {
                    frame.verdict = Verdict::Exception;
                }
            }
            Kind::Response
            | Kind::Ping
            | Kind::Pong
            | Kind::GoAway
            | Kind::Resume
            | Kind::Push
            | Kind::Notice => {}
        }
        Ok(())
    }
}

/// Whether it is known where the attachments of a request are.
fn has_attachments(frame: &Frame) -> bool {
    frame.notes.get(ATTACHMENTS).is_some_and(|note| *note > 0)
}

/// What the head says of a frame.
fn describe(head: &Head, bytes: Bytes) -> Frame {
    let kind = match (head.is(REQUEST), head.is(EVENT)) {
        (false, true) => Kind::Pong,
        (false, false) => Kind::Response,
        (true, false) if head.is(TWO_WAY) => Kind::Request,
        (true, false) => Kind::OneWay,
        (true, true) => match serialization::event(bytes.get(head::LEN..).unwrap_or_default()) {
            Event::Heartbeat => Kind::Ping,
            Event::ReadOnly => Kind::GoAway,
            Event::Writeable => Kind::Resume,
        },
    };
    let mut frame = Frame::new(kind, head.id, bytes);
    if kind == Kind::Response {
        frame.code = i32::from(head.status);
        if head.status != status::OK {
            frame.verdict = Verdict::Failed;
        }
    }
    frame
}

/// A word of the connection's own.
fn event(two_way: u8, id: u64, body: &[u8]) -> Frame {
    let head = Head {
        flags: REQUEST | EVENT | two_way | serialization::COMMON,
        status: 0,
        id,
        body: body.len(),
    };
    describe(&head, head.write(body).into())
}

/// Which status says it: only such as clients of all ages know. At a newer one, as 100 for a full thread pool, some lose their
/// place in the connection.
fn status_of(why: Why) -> u8 {
    match why {
        Why::NoRoute | Why::NoHost => status::SERVICE_NOT_FOUND,
        Why::Timeout => status::SERVER_TIMEOUT,
        Why::Denied => status::SERVICE_ERROR,
        Why::Malformed => status::BAD_REQUEST,
        Why::Overloaded | Why::Unreachable | Why::Reset | Why::BadAnswer | Why::Internal => {
            status::SERVER_ERROR
        }
    }
}
