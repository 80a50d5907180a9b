//! Frames that go out for streams.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::block::is_sendable;
use super::frame::{self, FRAME, FRAME_ROOM, HEAD};
use super::reason::{Broken, By, Reason};
use super::stream::Key;
use super::{Codec, Phase};
use crate::Fields;

/// Why a head did not go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsent {
    /// One of its fields cannot be in HTTP.
    Unsendable,
    /// The stream is there no more.
    Broken(Broken),
}

/// What a stream that has ended in good order says to who goes on with it.
pub(super) const ENDED: Broken = Broken {
    reason: Reason::STREAM_CLOSED,
    by: By::Us,
};

impl Codec {
    /// Sends the head of an answer; an interim one is followed by others.
    pub fn send_head(
        &mut self,
        key: Key,
        status: u16,
        fields: &Fields,
        ended: bool,
    ) -> Result<(), Unsent> {
        self.send_fields(key, Some(status), fields, ended)
    }

    /// Sends trailers, and with them the stream ends.
    pub fn send_trailers(&mut self, key: Key, fields: &Fields) -> Result<(), Unsent> {
        self.send_fields(key, None, fields, true)
    }

    fn send_fields(
        &mut self,
        key: Key,
        status: Option<u16>,
        fields: &Fields,
        ended: bool,
    ) -> Result<(), Unsent> {
        let id = self.sendable(key).map_err(Unsent::Broken)?;
        if !fields
            .iter()
            .all(|field| is_sendable(field.id, field.name, field.value))
        {
            return Err(Unsent::Unsendable);
        }
        self.put_block(id, status, fields, ended);
        if ended {
            self.sent_all(key);
        }
        Ok(())
    }

    /// Puts a field block into as many frames as it takes.
    fn put_block(&mut self, id: u32, status: Option<u16>, fields: &Fields, ended: bool) {
        let start = self.out.len();
        // Its place; what it is follows when its length is known.
        self.out.extend_from_slice(&[0; HEAD]);
        self.encoder.begin(&mut self.out);
        if let Some(status) = status {
            self.encoder.status(status, &mut self.out);
        }
        for field in fields.iter() {
            self.encoder
                .field(field.id, field.name, field.value, &mut self.out);
        }
        let length = self.out.len() - start - HEAD;
        let rest = match length > FRAME {
            true => self.out.split_off(start + HEAD + FRAME),
            false => BytesMut::new(),
        };
        let end_stream = if ended { frame::END_STREAM } else { 0 };
        let flags = end_stream | end_headers(rest.is_empty());
        let head = frame::bytes(length.min(FRAME), frame::HEADERS, flags, id);
        if let Some(place) = self.out.get_mut(start..start + HEAD) {
            place.copy_from_slice(&head);
        }
        let mut parts = rest.chunks(FRAME).peekable();
        while let Some(part) = parts.next() {
            let flags = end_headers(parts.peek().is_none());
            frame::head(&mut self.out, part.len(), frame::CONTINUATION, flags, id);
            self.out.extend_from_slice(part);
        }
    }

    /// How many bytes of data a stream may send now; at least one. While others are before it, it waits though there is room.
    pub fn poll_room(&mut self, key: Key, cx: &Context<'_>) -> Poll<Result<usize, Broken>> {
        let here = self.here().min(FRAME_ROOM);
        let (round, others) = (self.round, !self.waiting.is_empty() || self.promised > 0);
        let Some(stream) = self.streams.get(key) else {
            return Poll::Ready(Err(ENDED));
        };
        if let Some(broken) = stream.broken {
            return Poll::Ready(Err(broken));
        }
        if stream.sent {
            return Poll::Ready(Err(ENDED));
        }
        let is_its_turn = stream.granted == round;
        if stream.room > 0 && here > 0 && (is_its_turn || !others) {
            return Poll::Ready(Ok(usize::try_from(here.min(stream.room)).unwrap_or(0)));
        }
        stream.written_by(cx);
        if stream.room > 0 && !std::mem::replace(&mut stream.waits, true) {
            self.waiting.push_back(key);
        }
        Poll::Pending
    }

    /// The same, for who does not wait for a turn, since it is little; 0: none.
    pub fn room(&mut self, key: Key) -> usize {
        let here = self.here();
        let here = match self.streams.get(key) {
            Some(stream) if !stream.is_closed() && !stream.sent => here.min(stream.room),
            Some(_) | None => 0,
        };
        usize::try_from(here.min(FRAME_ROOM)).unwrap_or(0)
    }

    /// Whether streams wait though there is room: the next round ([`Self::set_backlog`]) is theirs.
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() && self.here() > 0
    }

    /// Until the other end has taken enough of what it is sent for more, windows apart.
    pub fn poll_taken(&mut self, key: Key, cx: &Context<'_>) -> Poll<()> {
        if self.free() > 0 {
            return Poll::Ready(());
        }
        let Some(stream) = self
            .streams
            .get(key)
            .filter(|stream| stream.broken.is_none())
        else {
            return Poll::Ready(());
        };
        stream.written_by(cx);
        if !self.untaken.contains(&key) {
            self.untaken.push(key);
        }
        Poll::Pending
    }

    /// Sends data, no more than [`Self::poll_room`] has just said.
    pub fn send_data(&mut self, key: Key, data: &[u8], ended: bool) -> Result<(), Broken> {
        let id = self.sendable(key)?;
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        self.room -= length;
        let round = self.round;
        if let Some(stream) = self.streams.get(key) {
            stream.room -= length;
            if std::mem::take(&mut stream.granted) == round {
                self.promised = self.promised.saturating_sub(1);
            }
        }
        let flags = if ended { frame::END_STREAM } else { 0 };
        self.out.reserve(HEAD + data.len());
        frame::head(&mut self.out, data.len(), frame::DATA, flags, id);
        self.out.extend_from_slice(data);
        if ended {
            self.sent_all(key);
        }
        Ok(())
    }

    /// Ends a stream before its time.
    pub fn reset(&mut self, key: Key, reason: Reason) {
        self.reset_for(key, reason, By::Us);
    }

    pub(super) fn reset_for(&mut self, key: Key, reason: Reason, by: By) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.is_closed() {
            return;
        }
        let id = stream.id;
        if self.phase != Phase::Over {
            frame::reset(&mut self.out, id, reason);
        }
        self.break_off(key, Broken { reason, by });
    }

    /// 431 for a request whose fields are more than was announced (RFC 6585 §5). It is no stream for anybody else.
    pub(super) fn answer_too_large(&mut self, id: u32, ended: bool) {
        self.put_block(id, Some(431), &Fields::new(), true);
        if !ended {
            frame::reset(&mut self.out, id, Reason::NO_ERROR);
        }
        self.streams.note_reset(id);
    }

    /// What the connection and `out` have room for.
    fn here(&self) -> i64 {
        self.room
            .min(i64::try_from(self.free()).unwrap_or(i64::MAX))
    }

    /// What `out` has.
    fn free(&self) -> usize {
        self.config
            .output
            .saturating_sub(self.out.len() + self.backlog)
    }

    /// Tells as many of those who wait as there is room for.
    pub(super) fn grant(&mut self) {
        if self.free() > 0 {
            for key in std::mem::take(&mut self.untaken) {
                if let Some(stream) = self.streams.get(key) {
                    stream.wake_writer();
                }
            }
        }
        // Who was told before and has not come has lost its turn.
        self.round += 1;
        self.promised = 0;
        let (round, mut here) = (self.round, self.here());
        while here > 0 {
            let Some(key) = self.waiting.pop_front() else {
                return;
            };
            if let Some(stream) = self.streams.get(key) {
                stream.waits = false;
                stream.granted = round;
                stream.wake_writer();
                self.promised += 1;
                here -= FRAME_ROOM;
            }
        }
    }

    /// The number of a stream that may be sent on.
    fn sendable(&mut self, key: Key) -> Result<u32, Broken> {
        let stream = self.streams.get(key).ok_or(ENDED)?;
        match stream.broken {
            Some(broken) => Err(broken),
            None if stream.sent => Err(ENDED),
            None => Ok(stream.id),
        }
    }

    fn sent_all(&mut self, key: Key) {
        if let Some(stream) = self.streams.get(key) {
            stream.sent = true;
            if stream.is_closed() {
                self.streams.close(key);
            }
        }
    }
}

fn end_headers(is_last: bool) -> u8 {
    if is_last { frame::END_HEADERS } else { 0 }
}
