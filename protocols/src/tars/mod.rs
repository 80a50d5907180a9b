//! Tars: its own packets, and TUP's.

mod jce;
mod packet;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::packet::{LENGTH, Layout, Packet};
use crate::Fields;
use crate::codec::{
    AmendError, Call, Change, Codec, DecodeError, Frame, Kind, Limits, Output, Refusal, Session,
    Sharing, Side, Sniff, Span, Verdict, Why,
};
use crate::reader::{Framer, Measure, Reader, Taken};

/// The packet type of a call that gets no answer.
const ONE_WAY: i64 = 1;
/// The function that every servant has, and that asks whether it lives.
const PING: &[u8] = b"tars_ping";
/// The description of a push that asks the client to come back over a new connection.
const RECONNECT: &[u8] = b"_reconnect_";

/// The protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tars;

impl Codec for Tars {
    fn name(&self) -> &'static str {
        "tars"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        /// A length of four bytes, of which the first is small: frames have less than 256 MiB.
        const HIGH_MAX: u8 = 0x0f;
        let looks_right = |(at, byte): (usize, &u8)| match at {
            0 => *byte <= HIGH_MAX,
            4 => *byte == packet::VERSION_HEAD,
            5 => packet::VERSIONS.contains(byte),
            6 => packet::PACKET_TYPE_HEADS.contains(byte),
            _ => true,
        };
        match prefix.iter().take(7).enumerate().all(looks_right) {
            false => Sniff::No,
            true if prefix.len() < 7 => Sniff::NeedMore,
            true => Sniff::Yes,
        }
    }

    fn sharing(&self) -> Sharing {
        // 31 bits: ids are signed, and 0 is a push.
        Sharing::Multiplexed { bits: 31 }
    }

    fn start(&self, side: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(TarsSession {
            side,
            limits: *limits,
            framer: Framer::new(limits.frame),
            servant: Bytes::new(),
            pinged: None,
        })
    }
}

/// One side of a connection.
struct TarsSession {
    side: Side,
    limits: Limits,
    framer: Framer,
    /// The servant of the last call that went out: a ping has to name one.
    servant: Bytes,
    /// The id of our last ping, whose answer is an answer like any other.
    pinged: Option<u64>,
}

/// Of [`Frame::notes`], where the id's field begins and ends, and the context's.
const ID: (usize, usize) = (0, 1);
const CONTEXT: (usize, usize) = (2, 3);

impl Session for TarsSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let mut frame = match self.framer.take(input, measure)? {
            None => return Ok(None),
            Some(Taken::Frame(bytes)) => self.describe(bytes),
            Some(Taken::TooLarge(start)) => self.describe_start(start),
        };
        if frame.kind == Kind::Response && self.pinged.is_some_and(|id| id == frame.id) {
            (frame.kind, self.pinged) = (Kind::Pong, None);
        }
        Ok(Some(frame))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        if frame.broken.is_some() {
            return;
        }
        if matches!(frame.kind, Kind::Request | Kind::OneWay) && frame.service() != self.servant {
            self.servant = Bytes::copy_from_slice(frame.service());
        }
        let field = noted(frame, ID);
        let (id, old) = (id_of(frame.id), wire_id(&frame.bytes, field));
        if old == Some(id) || field.is_empty() {
            output.share(frame.bytes.clone());
            return;
        }
        let mut new = Vec::with_capacity(5);
        let tag = frame.bytes.get(field.start()).map_or(0, |head| head >> 4);
        jce::write_int(tag, id, &mut new);
        let length = frame.bytes.len() - field.len() + new.len();
        output.put(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        output.share_part(&frame.bytes, LENGTH, field.start());
        output.put(&new);
        output.share_part(&frame.bytes, field.end(), frame.bytes.len());
    }

    fn headers(&self, frame: &Frame) -> Fields {
        packet::fields(&frame.bytes, noted(frame, CONTEXT), &self.limits)
    }

    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError> {
        let context = noted(frame, CONTEXT);
        if frame.broken.is_some() || context.end() == 0 {
            return Err(AmendError::Unsupported);
        }
        let field = packet::amended(&frame.bytes, context, changes, &self.limits)?;
        let total = frame.bytes.len() - context.len() + field.len();
        if total > self.limits.frame {
            return Err(AmendError::TooLarge);
        }
        let part = |from, to| frame.bytes.get(from..to).unwrap_or_default();
        let mut body = Vec::with_capacity(total);
        body.extend_from_slice(part(LENGTH, context.start()));
        body.extend_from_slice(&field);
        body.extend_from_slice(part(context.end(), frame.bytes.len()));
        // A request, whichever side of the proxy asks.
        let mut amended = described(framed(&body), Layout::Request, &self.limits);
        amended.id = frame.id;
        match amended.broken {
            None => Ok(amended),
            Some(_) => Err(AmendError::TooLarge),
        }
    }

    fn limit(&self, frame: &Frame, left: Duration) -> Option<Frame> {
        frame.timeout?;
        let packet = packet::read(&frame.bytes, Layout::Request, &self.limits).ok()?;
        let (old, part) = (packet.timeout_field, |from, to| frame.bytes.get(from..to));
        let mut body = part(LENGTH, old.start())?.to_vec();
        let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        jce::write_int(packet::TIMEOUT, millis.max(1), &mut body);
        body.extend_from_slice(part(old.end(), frame.bytes.len())?);
        Some(Frame {
            id: frame.id,
            ..described(framed(&body), Layout::Request, &self.limits)
        })
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        let packet = packet::read_start(&to.bytes, Layout::Request, &self.limits).ok()?;
        let packet = packet::read(&to.bytes, Layout::Request, &self.limits).unwrap_or(packet);
        (to.kind == Kind::Request && to.id != 0)
            .then(|| answer(&to.bytes, &packet, to.id, code(refusal.why), refusal.text))
    }

    fn pong(&mut self, to: &Frame) -> Option<Frame> {
        let packet = packet::read(&to.bytes, Layout::Request, &self.limits).ok()?;
        (packet.packet_type != ONE_WAY && to.id != 0).then(|| Frame {
            kind: Kind::Pong,
            ..answer(&to.bytes, &packet, to.id, 0, "")
        })
    }

    fn ping(&mut self, id: u64) -> Option<Frame> {
        if self.servant.is_empty() {
            return None;
        }
        let mut body = Vec::new();
        for (tag, value) in [(1, 1), (2, 0), (3, 0), (4, id_of(id))] {
            jce::write_int(tag, value, &mut body);
        }
        jce::write_text(5, &self.servant, &mut body);
        jce::write_text(6, PING, &mut body);
        jce::write_bytes(7, b"", &mut body);
        jce::write_int(8, 0, &mut body);
        jce::write_map(9, 0, &mut body);
        jce::write_map(10, 0, &mut body);
        self.pinged = Some(id);
        Some(described(framed(&body), Layout::Request, &self.limits))
    }

    fn goaway(&mut self) -> Option<Frame> {
        let body = response(1, 0, 0, 0, RECONNECT);
        Some(described(framed(&body), Layout::Response, &self.limits))
    }
}

impl TarsSession {
    fn describe(&self, bytes: Bytes) -> Frame {
        let layout = self.layout(&bytes);
        described(bytes, layout, &self.limits)
    }

    /// Of a frame over the limit, what it takes to answer it.
    fn describe_start(&self, start: Bytes) -> Frame {
        let layout = self.layout(&start);
        let packet = packet::read_start(&start, layout, &self.limits).unwrap_or_default();
        Frame {
            broken: Some(DecodeError::FrameTooLarge),
            ..of_packet(&packet, start, layout)
        }
    }

    fn layout(&self, bytes: &[u8]) -> Layout {
        let version = bytes.get(LENGTH + 1).copied().unwrap_or(0);
        match self.side {
            Side::Client => Layout::Request,
            Side::Upstream if packet::is_tup(version) => Layout::TupResponse,
            Side::Upstream => Layout::Response,
        }
    }
}

/// Bytes in which every id comes: four small numbers and their heads.
const START: usize = 32;

/// How long the frame is that begins here.
fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    Ok(match Reader::new(bytes).length().transpose()? {
        None => Measure::Needs(LENGTH),
        Some(total) if total < LENGTH => return Err(DecodeError::BadLength),
        Some(total) => Measure::Frame { head: START, total },
    })
}

/// Reads a packet.
fn described(bytes: Bytes, layout: Layout, limits: &Limits) -> Frame {
    match packet::read(&bytes, layout, limits) {
        Ok(packet) => of_packet(&packet, bytes, layout),
        // Under its id it can still be answered.
        Err(error) => {
            let packet = packet::read_start(&bytes, layout, limits).unwrap_or_default();
            Frame {
                broken: Some(error),
                ..of_packet(&packet, bytes, layout)
            }
        }
    }
}

/// What a packet says of its frame.
fn of_packet(packet: &Packet, bytes: Bytes, layout: Layout) -> Frame {
    let kind = match layout {
        Layout::Request if packet.function.of(&bytes) == PING => Kind::Ping,
        Layout::Request if packet.packet_type == ONE_WAY => Kind::OneWay,
        Layout::Request => Kind::Request,
        Layout::Response | Layout::TupResponse if packet.id != 0 => Kind::Response,
        Layout::Response if packet.description.of(&bytes) == RECONNECT => Kind::GoAway,
        Layout::Response | Layout::TupResponse => Kind::Push,
    };
    let mut frame = Frame::new(kind, u64::from(packet.id.cast_unsigned()), bytes);
    frame.notes = notes(packet.id_field, packet.context);
    if kind == Kind::Request && packet.id == 0 {
        // Its answer would be a push.
        frame.broken = Some(DecodeError::BadBody);
    }
    if layout == Layout::Request {
        frame.call = Call {
            service: packet.servant,
            method: packet.function,
            ..Call::default()
        };
        frame.timeout = u64::try_from(packet.timeout)
            .ok()
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis);
    } else {
        frame.code = i32::try_from(packet.code).unwrap_or(i32::MIN);
        // Below 0 are the framework's codes, above it the service's own.
        frame.verdict = match packet.code {
            0 => Verdict::Good,
            1.. => Verdict::Exception,
            _ => Verdict::Failed,
        };
    }
    frame
}

fn notes(id: Span, context: Span) -> [u32; 4] {
    let (id, context) = (id.place(), context.place());
    [id.0, id.0 + id.1, context.0, context.0 + context.1]
}

fn noted(frame: &Frame, (start, end): (usize, usize)) -> Span {
    let note = |at: usize| frame.notes.get(at).map_or(0, |note| *note as usize);
    Span::new(note(start), note(end)).unwrap_or_default()
}

/// The id that a frame's bytes have.
fn wire_id(bytes: &[u8], field: Span) -> Option<i32> {
    let mut fields = jce::Fields::new(Reader::within(bytes, field), &Limits::default());
    let head = fields.head().ok()??;
    match fields.value(head) {
        Ok(jce::Value::Int(id)) => i32::try_from(id).ok(),
        Ok(jce::Value::Text(_) | jce::Value::Map | jce::Value::Other) | Err(_) => None,
    }
}

fn id_of(id: u64) -> i32 {
    let [_, _, _, _, a, b, c, d] = id.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

/// A frame: its length, which counts itself, and its packet.
fn framed(body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(LENGTH + body.len());
    let length = u32::try_from(LENGTH + body.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.into()
}

/// An answer without a result, in the request's version.
fn answer(request: &[u8], packet: &Packet, id: u64, code: i32, text: &str) -> Frame {
    let (id, text) = (id_of(id), text.as_bytes());
    let (body, layout) = match packet::is_tup(packet.version) {
        true => (
            tup_response(request, packet, id, code, text),
            Layout::TupResponse,
        ),
        false => {
            let packet_type = i32::try_from(packet.packet_type).unwrap_or(0);
            let version = i32::from(packet.version);
            (
                response(version, packet_type, id, code, text),
                Layout::Response,
            )
        }
    };
    described(framed(&body), layout, &Limits::default())
}

fn response(version: i32, packet_type: i32, id: i32, code: i32, text: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (tag, value) in [(1, version), (2, packet_type), (3, id), (4, 0), (5, code)] {
        jce::write_int(tag, value, &mut body);
    }
    jce::write_bytes(6, b"", &mut body);
    jce::write_map(7, 0, &mut body);
    jce::write_text(8, text, &mut body);
    jce::write_map(9, 0, &mut body);
    body
}

fn tup_response(request: &[u8], packet: &Packet, id: i32, code: i32, text: &[u8]) -> Vec<u8> {
    /// A map of no results, as TUP packs them into its bytes.
    const NO_RESULTS: &[u8] = &[0x08, 0x0c];
    let mut body = Vec::new();
    let packet_type = i32::try_from(packet.packet_type).unwrap_or(0);
    for (tag, value) in [
        (1, i32::from(packet.version)),
        (2, packet_type),
        (3, 0),
        (4, id),
    ] {
        jce::write_int(tag, value, &mut body);
    }
    jce::write_text(5, packet.servant.of(request), &mut body);
    jce::write_text(6, packet.function.of(request), &mut body);
    jce::write_bytes(7, NO_RESULTS, &mut body);
    jce::write_int(8, 0, &mut body);
    jce::write_map(9, 0, &mut body);
    jce::write_map(10, 2, &mut body);
    for (key, value) in [
        (packet::TUP_CODE, code.to_string().as_bytes()),
        (packet::TUP_DESCRIPTION, text),
    ] {
        jce::write_text(0, key, &mut body);
        jce::write_text(1, value, &mut body);
    }
    body
}

/// Which code says it.
fn code(why: Why) -> i32 {
    match why {
        Why::NoRoute => -4,                  // no servant
        Why::NoHost => -10,                  // no adapter
        Why::Overloaded => -9,               // overload
        Why::Timeout => -7,                  // invoke timeout
        Why::Unreachable | Why::Reset => -8, // proxy connect
        Why::Malformed => -1,                // server decode
        Why::BadAnswer => -12,               // client decode
        Why::Denied | Why::Internal => -99,  // unknown
    }
}
