//! Frames that come in (RFC 9113 §6).

use bytes::{Buf, BytesMut};

use super::block::{self, Fault, Rules};
use super::budget::FrameKind;
use super::frame::{self, FRAME, HEAD, Head};
use super::reason::{By, Failure, Reason};
use super::stream::{Key, Stream};
use super::{Codec, Incoming, OpenBlock, PREFACE, Phase};
use crate::http2::hpack;

/// Frames of one field block beside those that it takes at least.
const BLOCK_FRAMES: usize = 8;

pub(super) type Received = Result<(), Failure>;

impl Codec {
    /// Takes all whole frames of `input`; `saw` hears of each. After a failure the connection is to be ended with its reason.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        saw: &mut impl FnMut(FrameKind),
    ) -> Result<(), Failure> {
        if !self.begun && !self.preface(input)? {
            return Ok(());
        }
        while !self.is_clogged() {
            if self.phase == Phase::Over {
                input.clear();
                return Ok(());
            }
            let Some(head) = input.first_chunk::<HEAD>().map(Head::of) else {
                break;
            };
            if head.len > FRAME {
                let text = "a frame is larger than was agreed";
                return Err(Failure::new(Reason::FRAME_SIZE_ERROR, text));
            }
            let whole = HEAD + head.len;
            if input.len() < whole {
                break;
            }
            let kind = FrameKind::of(head);
            saw(kind);
            self.budget.pay(kind, head)?;
            if head.kind == frame::DATA && self.block.is_none() && self.greeted {
                input.advance(HEAD);
                self.data(head, input)?;
            } else {
                let payload = input.get(HEAD..whole).unwrap_or_default();
                self.frame(head, payload)?;
                input.advance(whole);
            }
        }
        Ok(())
    }

    /// Whether the preface is here.
    fn preface(&mut self, input: &mut BytesMut) -> Result<bool, Failure> {
        let here = input.len().min(PREFACE.len());
        if input.get(..here) != PREFACE.get(..here) {
            return Err(Failure::protocol("no preface of HTTP/2"));
        }
        self.begun = here == PREFACE.len();
        if self.begun {
            input.advance(here);
        }
        Ok(self.begun)
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Received {
        let is_first = !self.greeted;
        if is_first && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(Failure::protocol("the first frame is not SETTINGS"));
        }
        match &self.block {
            Some(open) if head.kind != frame::CONTINUATION || head.id != open.id => {
                return Err(Failure::protocol("a field block is interrupted"));
            }
            None if head.kind == frame::CONTINUATION => {
                return Err(Failure::protocol("CONTINUATION of nothing"));
            }
            Some(_) | None => {}
        }
        match head.kind {
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::PRIORITY => self.priority(head, payload),
            frame::RST_STREAM => self.reset_by_peer(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PUSH_PROMISE => Err(Failure::protocol("PUSH_PROMISE of a client")),
            frame::PING => self.ping_or_pong(head, payload),
            frame::GOAWAY => self.left(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            // DATA within a block is refused above.
            _ => Ok(()),
        }
    }

    fn data(&mut self, head: Head, input: &mut BytesMut) -> Received {
        if head.id == 0 {
            return Err(Failure::protocol("DATA of no stream"));
        }
        let padding = match head.has(frame::PADDED) {
            true => 1 + usize::from(*input.first().ok_or(SHORT)?),
            false => 0,
        };
        let length = (head
            .len
            .checked_sub(padding)
            .filter(|_| head.len > 0 || padding == 0))
        .ok_or(Failure::protocol("more padding than payload"))?;
        let all = i64::try_from(head.len).unwrap_or(i64::MAX);
        if all > self.received_window {
            let text = "more data than the connection's window";
            return Err(Failure::new(Reason::FLOW_CONTROL_ERROR, text));
        }
        self.received_window -= all;
        let data = Payload {
            lead: usize::from(padding > 0),
            length,
            whole: head.len,
        };
        let Some(key) = self.streams.find(head.id) else {
            input.advance(head.len);
            self.release_all(0);
            return self.nobodys(head.id);
        };
        self.data_of(key, head.has(frame::END_STREAM), data, input)
    }

    /// Data of an open stream.
    fn data_of(
        &mut self,
        key: Key,
        ended: bool,
        payload: Payload,
        input: &mut BytesMut,
    ) -> Received {
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        if stream.received {
            return Err(CLOSED);
        }
        let wrong = if i64::try_from(payload.whole).unwrap_or(i64::MAX) > stream.window {
            Some(Reason::FLOW_CONTROL_ERROR)
        } else {
            let left = match stream.expected {
                Some(left) => left.checked_sub(payload.length as u64).map(Some),
                None => Some(None),
            };
            match left {
                Some(left) if !ended || left.is_none_or(|left| left == 0) => {
                    stream.expected = left;
                    None
                }
                Some(_) | None => Some(Reason::PROTOCOL_ERROR),
            }
        };
        if let Some(reason) = wrong {
            input.advance(payload.whole);
            self.release_all(0);
            return self.refuse(key, reason);
        }
        stream.window -= i64::try_from(payload.whole).unwrap_or(0);
        input.advance(payload.lead);
        let length = payload.length;
        if Stream::is_few(length) {
            stream.gather(input.get(..length).unwrap_or_default());
            input.advance(length);
        } else {
            stream.push(input.split_to(length).freeze());
        }
        input.advance(payload.whole - payload.lead - length);
        stream.held += u32::try_from(length).unwrap_or(u32::MAX);
        stream.received = ended;
        stream.wake_reader();
        let closed = stream.is_closed();
        self.held += length as u64;
        if payload.whole > length {
            self.refill_stream(key);
            self.release_all(0);
        }
        if closed {
            self.streams.close(key);
        }
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Received {
        if head.id.is_multiple_of(2) {
            return Err(Failure::protocol("HEADERS of no client's stream"));
        }
        let mut payload = unpadded(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(frame::WITH_PRIORITY) {
            let (priority, rest) = payload.split_first_chunk::<5>().ok_or(SHORT)?;
            let [a, b, c, d, _weight] = *priority;
            depends_on_itself = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1) == head.id;
            payload = rest;
        }
        let ended = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.fields(head.id, ended, depends_on_itself, payload);
        }
        self.block = Some(OpenBlock {
            id: head.id,
            ended,
            depends_on_itself,
            bytes: BytesMut::from(payload),
            frames: 1,
        });
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Received {
        // Coded fields are not larger than decoded ones, or not by much.
        let most = (self.config.header_list as usize).max(FRAME);
        let Some(open) = &mut self.block else {
            return Ok(());
        };
        open.bytes.extend_from_slice(payload);
        open.frames += 1;
        if open.bytes.len() > most || open.frames > most / FRAME + BLOCK_FRAMES {
            return Err(Failure::calm("a field block has no end"));
        }
        if !head.has(frame::END_HEADERS) {
            return Ok(());
        }
        match self.block.take() {
            Some(open) => self.fields(open.id, open.ended, open.depends_on_itself, &open.bytes),
            None => Ok(()),
        }
    }

    /// A whole field block. It is decoded whatever becomes of it, since the tables of both ends have to stay the same.
    fn fields(&mut self, id: u32, ended: bool, depends_on_itself: bool, block: &[u8]) -> Received {
        let rules = Rules {
            list: self.config.header_list as usize,
            connect_protocol: self.config.connect_protocol,
        };
        if id <= self.latest {
            return self.trailers(id, ended, depends_on_itself, block, rules);
        }
        let decoded =
            block::request(&mut self.decoder, block, ended, rules).map_err(compression)?;
        self.latest = id;
        if matches!(self.phase, Phase::Leaving(last) if id > last) {
            return Ok(());
        }
        if self.streams.len() >= self.config.concurrent_streams as usize {
            frame::reset(&mut self.out, id, Reason::REFUSED_STREAM);
            self.streams.note_reset(id);
            return self.count_error();
        }
        let decoded = if depends_on_itself {
            Err(Fault::Malformed)
        } else {
            decoded
        };
        let (parts, expected) = match decoded {
            Ok(request) => request,
            Err(Fault::Malformed) => {
                frame::reset(&mut self.out, id, Reason::PROTOCOL_ERROR);
                self.streams.note_reset(id);
                return self.count_error();
            }
            Err(Fault::TooLarge) => {
                self.answer_too_large(id, ended);
                return self.count_error();
            }
        };
        let key = self.streams.insert(Box::new(Stream {
            id,
            window: i64::from(self.window),
            room: i64::from(self.peer_window),
            expected,
            received: ended,
            is_new: true,
            is_served: true,
            ..Stream::default()
        }));
        self.incoming.push_back(Incoming { key, parts });
        Ok(())
    }

    fn trailers(
        &mut self,
        id: u32,
        ended: bool,
        depends_on_itself: bool,
        block: &[u8],
        rules: Rules,
    ) -> Received {
        let decoded = block::trailers(&mut self.decoder, block, rules).map_err(compression)?;
        let Some(key) = self.streams.find(id) else {
            return if self.streams.was_reset(id) {
                Ok(())
            } else if self.streams.has_ended(id) {
                Err(CLOSED)
            } else {
                Err(Failure::protocol(
                    "a stream's number is not above all before",
                ))
            };
        };
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        if stream.received {
            return Err(CLOSED);
        }
        let is_short = stream.expected.is_some_and(|left| left > 0);
        match decoded {
            Ok(fields) if ended && !is_short && !depends_on_itself => {
                stream.trailers = Some(fields);
                stream.received = true;
                stream.wake_reader();
                if stream.is_closed() {
                    self.streams.close(key);
                }
                Ok(())
            }
            Ok(_) | Err(Fault::Malformed | Fault::TooLarge) => {
                self.refuse(key, Reason::PROTOCOL_ERROR)
            }
        }
    }

    /// Whether a stream has not begun.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        id > self.latest || id.is_multiple_of(2)
    }

    /// Data of no open stream: what we have reset may still be sent on, and what was refused.
    fn nobodys(&self, id: u32) -> Received {
        let is_past = matches!(self.phase, Phase::Leaving(last) if id > last);
        if self.is_idle(id) {
            return Err(Failure::protocol("DATA of a stream that has not begun"));
        }
        match is_past || self.streams.was_reset(id) {
            true => Ok(()),
            false => Err(CLOSED),
        }
    }

    /// Resets a stream that broke a rule.
    #[cold]
    pub(super) fn refuse(&mut self, key: Key, reason: Reason) -> Received {
        self.reset_for(key, reason, By::Rule);
        self.count_error()
    }

    pub(super) fn count_error(&mut self) -> Received {
        let left = self.errors_left.checked_sub(1);
        self.errors_left = left.ok_or(Failure::calm("too many streams break rules"))?;
        Ok(())
    }
}

/// A DATA frame's payload.
#[derive(Clone, Copy)]
struct Payload {
    /// Bytes before the data, and of the data; and of all, with the padding behind.
    lead: usize,
    length: usize,
    whole: usize,
}

pub(super) const SIZE: Failure = Failure::new(
    Reason::FRAME_SIZE_ERROR,
    "a frame has not the length of its kind",
);
const CLOSED: Failure = Failure::new(Reason::STREAM_CLOSED, "more of a stream that has ended");
const SHORT: Failure = Failure::new(Reason::FRAME_SIZE_ERROR, "a frame is too short");

fn compression(_: hpack::Bad) -> Failure {
    Failure::new(Reason::COMPRESSION_ERROR, "a field block cannot be decoded")
}

/// A payload without its padding (RFC 9113 §6.2).
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Failure> {
    if !head.has(frame::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(SHORT)?;
    let length = rest.len().checked_sub(usize::from(*padding));
    let length = length.ok_or(Failure::protocol("more padding than payload"))?;
    Ok(rest.get(..length).unwrap_or_default())
}
