//! The heads of frames, found in bytes however they are cut (RFC 9113 §4.1).

/// A frame's head.
pub(super) const HEAD: usize = 9;
/// END_STREAM, of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// The largest number of a stream; the bit above it means nothing.
pub(super) const STREAM: u32 = (1 << 31) - 1;

/// Where one is between two heads.
#[derive(Debug)]
pub(super) struct Heads {
    /// Bytes to pass over before the next head.
    skip: u32,
    head: [u8; HEAD],
    /// How much of `head` is here.
    filled: usize,
}

impl Heads {
    /// Of a connection that begins with so many bytes of something else.
    pub(super) fn behind(skip: u32) -> Self {
        Self {
            skip,
            head: [0; HEAD],
            filled: 0,
        }
    }

    /// Takes from `bytes` up to the end of the next head: what was passed over, and the head, once it is whole.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> (&'b [u8], Option<[u8; HEAD]>) {
        let skip = bytes.len().min(self.skip as usize);
        self.skip -= u32::try_from(skip).unwrap_or(self.skip);
        let (passed, rest) = bytes.split_at_checked(skip).unwrap_or_default();
        let (more, rest) = rest
            .split_at_checked(HEAD - self.filled)
            .unwrap_or((rest, &[]));
        for (to, from) in self.head.iter_mut().skip(self.filled).zip(more) {
            *to = *from;
        }
        self.filled += more.len();
        *bytes = rest;
        if self.filled < HEAD {
            return (passed, None);
        }
        self.filled = 0;
        self.skip = length(&self.head);
        (passed, Some(self.head))
    }
}

/// Of the payload.
pub(super) fn length(head: &[u8; HEAD]) -> u32 {
    let [high, middle, low, ..] = *head;
    u32::from_be_bytes([0, high, middle, low])
}

/// The stream.
pub(super) fn stream(head: &[u8; HEAD]) -> u32 {
    let [_, _, _, _, _, id @ ..] = *head;
    u32::from_be_bytes(id) & STREAM
}
