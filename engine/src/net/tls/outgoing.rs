//! Encrypted records on their way out, in buffers that a core keeps for the next ones.

use std::cell::RefCell;

use monoio::buf::IoBuf;

use super::{CHUNK, RECORD};

/// What a record has beside its data: a header of 5 bytes, and with TLS 1.2 a nonce of 8 and a tag of 16.
const OVERHEAD: usize = 32;
/// Room for what a session says of its own: updates of keys, alerts.
const CONTROL: usize = 512;

/// Buffers by size, and how many of each a core keeps: what it sends at once in a busy moment.
const SIZES: [(usize, usize); 2] = [
    (RECORD + 2 * OVERHEAD + CONTROL, 64),
    (CHUNK + (CHUNK / RECORD + 3) * OVERHEAD + CONTROL, 32),
];

thread_local! {
    static KEPT: [RefCell<Vec<Box<[u8]>>>; SIZES.len()] = const { [const { RefCell::new(Vec::new()) }; SIZES.len()] };
}

/// Records to send: `bytes[from..to]`, written up to the end whatever its size, so that it need not be cleared again.
pub(in crate::net) struct Outgoing {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Outgoing {
    /// With room for records of that much data in so many parts, after so many bytes that are records already.
    pub(super) fn with_room(data: usize, parts: usize, before: usize) -> Self {
        let need = data + (data / RECORD + parts) * OVERHEAD + before + CONTROL;
        let kept = KEPT.with(|kept| {
            let place = SIZES.iter().position(|(size, _)| *size >= need)?;
            let kept = kept.get(place)?.borrow_mut().pop();
            Some(kept.unwrap_or_else(|| vec![0; SIZES[place].0].into_boxed_slice()))
        });
        Self {
            bytes: kept.unwrap_or_else(|| vec![0; need].into_boxed_slice()),
            from: 0,
            to: 0,
        }
    }

    /// Without room, for what is seldom said at all.
    pub(super) fn none() -> Self {
        Self {
            bytes: Box::default(),
            from: 0,
            to: 0,
        }
    }

    /// Where the next record goes.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.to..]
    }

    /// So much was written where `room` said.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.to = (self.to + bytes).min(self.bytes.len());
    }

    /// Makes `room` at least that large.
    pub(super) fn grow(&mut self, room: usize) {
        let mut larger = vec![0; self.to + room];
        larger[..self.to].copy_from_slice(&self.bytes[..self.to]);
        self.give_back();
        self.bytes = larger.into_boxed_slice();
    }

    /// Appends records that were made before.
    pub(super) fn put(&mut self, records: &[u8]) {
        if self.room().len() < records.len() {
            self.grow(records.len());
        }
        self.room()[..records.len()].copy_from_slice(records);
        self.filled(records.len());
    }

    /// What is to be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// Whether all was sent.
    pub(in crate::net) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// So much was sent.
    pub(in crate::net) fn advance(&mut self, sent: usize) {
        self.from = (self.from + sent).min(self.to);
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let Some(place) = SIZES.iter().position(|(size, _)| *size == bytes.len()) else {
            return;
        };
        // A thread that ends has given its buffers up already.
        let _ended = KEPT.try_with(|kept| {
            let mut kept = kept[place].borrow_mut();
            if kept.len() < SIZES[place].1 {
                kept.push(bytes);
            }
        });
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[expect(unsafe_code, reason = "monoio's contract for buffers")]
// SAFETY: the bytes are on the heap and do not move while `Outgoing` is owned by the operation; `from..to` lies within them.
unsafe impl IoBuf for Outgoing {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes().len()
    }
}
