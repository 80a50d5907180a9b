//! Bolt, the protocol of SOFARPC, in its versions 1 and 2.
//!
//! What counts is what Java's sofa-bolt does, where others differ: when a checksum follows (`Head::has_crc`), that lengths are
//! signed, and that a connection speaks the version and sub-version of its first frame for ever ([`Frame::pin`]).

mod block;
mod crc;
mod head;
mod sofa;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::block::Named;
use self::head::Head;
use crate::Fields;
use crate::codec::{
    AmendError, Change, Codec, DecodeError, Frame, GoAway, Kind, Limits, Output, Refusal, Session,
    Sharing, Side, Sniff, Span, Verdict, Why,
};
use crate::reader::{Framer, Taken};

pub use self::sofa::{JsonCall, json_content};

/// The class that answers of SOFARPC carry. Java and Node do not look at it where there is no content; Python does.
const RESPONSE_CLASS: &[u8] = b"com.alipay.sofa.rpc.core.response.SofaResponse";
/// Hessian 2: the serialization that heartbeats name, for want of any content.
const HESSIAN2: u8 = 1;

/// The protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bolt;

impl Codec for Bolt {
    fn name(&self) -> &'static str {
        "bolt"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        let (kind, command) = match prefix {
            [] | [1] | [2] | [2, _] => return Sniff::NeedMore,
            [1, kind, command @ ..] => (*kind, command),
            [2, 1 | 2, kind, command @ ..] => (*kind, command),
            _ => return Sniff::No,
        };
        match (kind, command) {
            // A client's first word is a call or a heartbeat.
            (1 | 2, [] | [0]) => Sniff::NeedMore,
            (1 | 2, [0, 0 | 1, ..]) => Sniff::Yes,
            _ => Sniff::No,
        }
    }

    fn sharing(&self) -> Sharing {
        // 31 bits: ids are signed, and a negative one has surprised a peer before.
        Sharing::Multiplexed { bits: 31 }
    }

    fn goaway(&self) -> GoAway {
        // A word of MOSN's alone. Java's clients would note an error for each.
        GoAway::Asked
    }

    fn start(&self, side: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(BoltSession {
            side,
            limits: *limits,
            framer: Framer::new(limits.frame),
            spoken: None,
        })
    }
}

/// One side of a connection.
struct BoltSession {
    side: Side,
    limits: Limits,
    framer: Framer,
    /// Version and sub-version of the last frame sent or received.
    spoken: Option<(u8, u8)>,
}

impl Session for BoltSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let taken = match self.framer.take(input, head::measure)? {
            None => return Ok(None),
            Some(taken) => taken,
        };
        let (bytes, broken) = match taken {
            Taken::Frame(bytes) => (bytes, None),
            Taken::TooLarge(head) => (head, Some(DecodeError::FrameTooLarge)),
        };
        let Some(head) = Head::read(&bytes)? else {
            return Err(DecodeError::BadLength);
        };
        self.spoken = Some((head.proto, head.ver1));
        let mut frame = describe(&head, bytes);
        frame.broken = broken.or_else(|| self.look_inside(&head, &mut frame).err());
        Ok(Some(frame))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        let Ok(Some(head)) = Head::read(&frame.bytes) else {
            return;
        };
        if frame.broken.is_some() {
            return;
        }
        self.spoken = Some((head.proto, head.ver1));
        let new = Head {
            id: u32::from_be_bytes(id_bytes(frame.id)),
            last: frame.timeout.map_or(head.last, millis),
            ..head
        };
        if new == head {
            output.share(frame.bytes.clone());
            return;
        }
        let mut fixed = Vec::with_capacity(head.len());
        new.write(&mut fixed);
        output.put(&fixed);
        match crc_of(&head, &frame.bytes) {
            None => output.share_part(&frame.bytes, head.len(), frame.bytes.len()),
            Some(mut crc) => {
                let end = head.crc_at();
                let mut change = |old: [u8; 4], new: [u8; 4], at: usize| {
                    crc = crc::mended(crc, old, new, end - at - new.len());
                };
                change(head.id.to_be_bytes(), new.id.to_be_bytes(), head.id_at());
                if new.last != head.last {
                    let (old, new) = (head.last.to_be_bytes(), new.last.to_be_bytes());
                    change(old, new, head.timeout_at());
                }
                output.share_part(&frame.bytes, head.len(), end);
                output.put(&crc.to_be_bytes());
            }
        }
    }

    fn limit(&self, frame: &Frame, left: Duration) -> Option<Frame> {
        (frame.kind == Kind::Request).then(|| Frame {
            timeout: Some(left),
            ..frame.clone()
        })
    }

    fn headers(&self, frame: &Frame) -> Fields {
        match Head::read(&frame.bytes) {
            Ok(Some(head)) => block::fields(&frame.bytes, head.header_span()),
            _ => Fields::new(),
        }
    }

    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError> {
        let Ok(Some(head)) = Head::read(&frame.bytes) else {
            return Err(AmendError::Unsupported);
        };
        let old = head.header_span();
        let block = block::amended(&frame.bytes, old, changes, &self.limits)?;
        let length = u16::try_from(block.len()).map_err(|_| AmendError::TooLarge)?;
        let part = |from, to| frame.bytes.get(from..to).unwrap_or_default();
        let at = head.header_len_at();
        let mut bytes = Vec::with_capacity(frame.bytes.len() + block.len());
        bytes.extend_from_slice(part(0, at));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part(at + 2, old.start()));
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(part(old.end(), head.crc_at()));
        if head.has_crc() {
            bytes.extend_from_slice(&crc::sum(&bytes).to_be_bytes());
        }
        if bytes.len() > self.limits.frame {
            return Err(AmendError::TooLarge);
        }
        let Ok(Some(head)) = Head::read(&bytes) else {
            return Err(AmendError::Unsupported);
        };
        let mut amended = describe(&head, bytes.into());
        self.look_inside(&head, &mut amended)
            .map_err(|_| AmendError::TooLarge)?;
        amended.id = frame.id;
        Ok(amended)
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        let head = Head::read(&to.bytes).ok()??;
        (to.kind == Kind::Request).then(|| {
            let answer = Head {
                command: head::RPC_RESPONSE,
                last: status(refusal.why),
                class: RESPONSE_CLASS.len(),
                ..head
            };
            response(answer, RESPONSE_CLASS, to.id)
        })
    }

    fn pong(&mut self, to: &Frame) -> Option<Frame> {
        let head = Head::read(&to.bytes).ok()??;
        let answer = Head {
            command: head::HEARTBEAT,
            last: 0,
            class: 0,
            ..head
        };
        (!head.is_one_way()).then(|| response(answer, b"", to.id))
    }

    fn ping(&mut self, id: u64) -> Option<Frame> {
        self.control(head::HEARTBEAT, id, Kind::Ping)
    }

    fn goaway(&mut self) -> Option<Frame> {
        self.control(head::GOAWAY, 0, Kind::GoAway)
    }
}

impl BoltSession {
    /// The checksum, and what routing wants to know.
    fn look_inside(&self, head: &Head, frame: &mut Frame) -> Result<(), DecodeError> {
        if let Some(crc) = crc_of(head, &frame.bytes)
            && crc != crc::sum(frame.bytes.get(..head.crc_at()).unwrap_or_default())
        {
            return Err(DecodeError::BadChecksum);
        }
        let is_call = matches!(frame.kind, Kind::Request | Kind::OneWay | Kind::Response);
        let command = match frame.kind == Kind::Response {
            true => head::RPC_RESPONSE,
            false => head::RPC_REQUEST,
        };
        if is_call && head.command != command {
            return Err(DecodeError::BadKind);
        }
        // An answer's headers are the client's to judge: the proxy only asks whether they tell of an exception.
        let named = match (is_call, self.side, frame.kind) {
            (false, ..) => Named::default(),
            (true, Side::Upstream, Kind::Response) => {
                block::scan(&frame.bytes, head.header_span(), &self.limits).unwrap_or_default()
            }
            (true, ..) => block::scan(&frame.bytes, head.header_span(), &self.limits)?,
        };
        frame.call.service = named.service;
        frame.call.method = named.method;
        (frame.call.version, frame.call.group) = version_and_unique_id(&frame.bytes, named.service);
        if frame.verdict == Verdict::Good && named.is_exception {
            frame.verdict = Verdict::Exception;
        }
        Ok(())
    }

    /// A frame of the connection's own, in the version that is spoken on it.
    fn control(&self, command: u16, id: u64, kind: Kind) -> Option<Frame> {
        let (proto, ver1) = self.spoken?;
        let head = Head {
            proto,
            ver1,
            kind: head::REQUEST,
            command,
            ver2: 1,
            id: u32::from_be_bytes(id_bytes(id)),
            codec: HESSIAN2,
            switch: 0,
            last: -1,
            class: 0,
            header: 0,
            content: 0,
        };
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        Some(Frame {
            kind,
            ..describe(&head, bytes.into())
        })
    }
}

/// What the head says of a frame.
fn describe(head: &Head, bytes: Bytes) -> Frame {
    let is_heartbeat = head.command == head::HEARTBEAT;
    let kind = match head.kind {
        head::RESPONSE if is_heartbeat => Kind::Pong,
        head::RESPONSE => Kind::Response,
        _ if is_heartbeat => Kind::Ping,
        _ if head.command == head::GOAWAY => Kind::GoAway,
        head::REQUEST => Kind::Request,
        _ => Kind::OneWay,
    };
    let mut frame = Frame::new(kind, u64::from(head.id), bytes);
    frame.pin = u64::from(head.proto) << 8 | u64::from(head.ver1);
    if head.kind == head::RESPONSE {
        frame.code = head.last;
        frame.verdict = if head.last == 0 {
            Verdict::Good
        } else {
            Verdict::Failed
        };
    } else {
        // 0 and below say nothing: the route decides.
        frame.timeout = u64::try_from(head.last)
            .ok()
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis);
    }
    frame
}

/// An answer without content, in the version and serialization of the head it was made from. Its checksum switch is off: Java
/// sends its own exceptions that way.
fn response(head: Head, class: &[u8], id: u64) -> Frame {
    let head = Head {
        kind: head::RESPONSE,
        id: u32::from_be_bytes(id_bytes(id)),
        ver2: 1,
        switch: 0,
        header: 0,
        content: 0,
        ..head
    };
    let mut bytes = Vec::with_capacity(head.total());
    head.write(&mut bytes);
    bytes.extend_from_slice(class);
    describe(&head, bytes.into())
}

/// The checksum that a frame carries.
fn crc_of(head: &Head, bytes: &[u8]) -> Option<u32> {
    let at = head.crc_at();
    let crc = head.has_crc().then(|| bytes.get(at..)?.first_chunk());
    crc.flatten().map(|crc| u32::from_be_bytes(*crc))
}

/// At least one: none and less would say that there is no limit.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1)
}

fn id_bytes(id: u64) -> [u8; 4] {
    let [_, _, _, _, a, b, c, d] = id.to_be_bytes();
    [a, b, c, d]
}

/// `interface:version[:uniqueId]`: version and unique id.
fn version_and_unique_id(bytes: &[u8], service: Span) -> (Span, Span) {
    let mut colons = memchr::memchr_iter(b':', service.of(bytes)).map(|at| service.start() + at);
    let (Some(first), second) = (colons.next(), colons.next()) else {
        return Default::default();
    };
    let span = |start: usize, end| Span::new(start + 1, end).unwrap_or_default();
    match second {
        None => (span(first, service.end()), Span::default()),
        Some(second) => (span(first, second), span(second, service.end())),
    }
}

/// Which status says it. None but these, for Java throws at a number that it does not know; and never success.
fn status(why: Why) -> i32 {
    match why {
        Why::NoRoute | Why::NoHost => 6,       // NO_PROCESSOR
        Why::Overloaded => 4,                  // SERVER_THREADPOOL_BUSY
        Why::Timeout => 7,                     // TIMEOUT
        Why::Unreachable | Why::Reset => 0x10, // CONNECTION_CLOSED
        Why::Malformed | Why::BadAnswer => 9,  // CODEC_EXCEPTION
        Why::Denied | Why::Internal => 2,      // SERVER_EXCEPTION
    }
}
