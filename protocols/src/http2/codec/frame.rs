//! Frames on their way out (RFC 9113 §6).

use bytes::{BufMut, BytesMut};

use super::Reason;

/// What the largest frame is that either end takes as long as nothing else was agreed (RFC 9113 §6.5.2): ours stays so.
pub(super) const FRAME: usize = 16 << 10;
/// The same, as a window counts.
pub(super) const FRAME_ROOM: i64 = 16 << 10;
/// A frame's head.
pub(super) const HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// The settings that are known here (RFC 9113 §6.5.2, RFC 8441 §3).
pub(super) mod setting {
    pub(in super::super) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in super::super) const ENABLE_PUSH: u16 = 2;
    pub(in super::super) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in super::super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in super::super) const MAX_FRAME_SIZE: u16 = 5;
    pub(in super::super) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(in super::super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// A frame's head, read.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) id: u32,
}

impl Head {
    pub(super) fn of(bytes: &[u8; HEAD]) -> Self {
        let [high, middle, low, kind, flags, id @ ..] = *bytes;
        Self {
            len: u32::from_be_bytes([0, high, middle, low]) as usize,
            kind,
            flags,
            id: u32::from_be_bytes(id) & (u32::MAX >> 1),
        }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(super) fn bytes(len: usize, kind: u8, flags: u8, id: u32) -> [u8; HEAD] {
    // No frame is made that is longer than the other end takes, which is less than 2^24.
    let [_, high, middle, low] = u32::try_from(len).unwrap_or(0).to_be_bytes();
    let [a, b, c, d] = id.to_be_bytes();
    [high, middle, low, kind, flags, a, b, c, d]
}

pub(super) fn head(out: &mut BytesMut, len: usize, kind: u8, flags: u8, id: u32) {
    out.extend_from_slice(&bytes(len, kind, flags, id));
}

pub(super) fn settings(out: &mut BytesMut, entries: &[(u16, u32)]) {
    head(out, entries.len() * 6, SETTINGS, 0, 0);
    for (name, value) in entries {
        out.put_u16(*name);
        out.put_u32(*value);
    }
}

pub(super) fn settings_ack(out: &mut BytesMut) {
    head(out, 0, SETTINGS, ACK, 0);
}

pub(super) fn ping(out: &mut BytesMut, payload: [u8; 8], flags: u8) {
    head(out, 8, PING, flags, 0);
    out.extend_from_slice(&payload);
}

pub(super) fn go_away(out: &mut BytesMut, last: u32, reason: Reason) {
    head(out, 8, GOAWAY, 0, 0);
    out.put_u32(last);
    out.put_u32(reason.0);
}

pub(super) fn window_update(out: &mut BytesMut, id: u32, more: u32) {
    head(out, 4, WINDOW_UPDATE, 0, id);
    out.put_u32(more);
}

pub(super) fn reset(out: &mut BytesMut, id: u32, reason: Reason) {
    head(out, 4, RST_STREAM, 0, id);
    out.put_u32(reason.0);
}
