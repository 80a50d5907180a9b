//! What a session writes: small frames run together, so that one send carries many; large ones stay where they are, so that no
//! megabyte is copied.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Up to here copying is cheaper than another part to send.
const COPY_MAX: usize = 8 << 10;

/// Bytes to send, in order.
#[derive(Debug, Default)]
pub struct Output {
    parts: VecDeque<Bytes>,
    last: BytesMut,
    len: usize,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies bytes behind the others.
    pub fn put(&mut self, bytes: &[u8]) {
        self.last.put_slice(bytes);
        self.len += bytes.len();
    }

    /// Puts bytes behind the others: copied where they are few, else as they are.
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_MAX {
            self.put(&bytes);
            return;
        }
        if !self.last.is_empty() {
            self.parts.push_back(self.last.split().freeze());
        }
        self.len += bytes.len();
        self.parts.push_back(bytes);
    }

    /// Puts a span of a frame's bytes behind the others; nothing where it does not lie in them.
    pub fn share_part(&mut self, bytes: &Bytes, from: usize, to: usize) {
        match bytes.get(from..to) {
            Some(part) if part.len() <= COPY_MAX => self.put(part),
            Some(_) => self.share(bytes.slice(from..to)),
            None => {}
        }
    }

    /// Puts a frame's bytes behind the others, those at `at` replaced.
    pub fn share_patched(&mut self, bytes: &Bytes, at: usize, patch: &[u8]) {
        let end = at.saturating_add(patch.len());
        self.put(bytes.get(..at).unwrap_or_default());
        self.put(patch);
        self.share_part(bytes, end, bytes.len());
    }

    /// The next bytes to send; none when all are taken.
    pub fn take(&mut self) -> Option<Bytes> {
        let part = match self.parts.pop_front() {
            Some(part) => part,
            None if self.last.is_empty() => return None,
            None => self.last.split().freeze(),
        };
        self.len -= part.len();
        Some(part)
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_run_together_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![7; COPY_MAX + 1]);
        let mut output = Output::new();
        output.put(b"ab");
        output.share(Bytes::from_static(b"cd"));
        output.share(large.clone());
        output.share_patched(&Bytes::from_static(b"0123"), 1, b"xy");
        assert_eq!(output.len(), 4 + large.len() + 4);
        assert_eq!(output.take().as_deref(), Some(&b"abcd"[..]));
        assert_eq!(
            output.take().map(|part| part.as_ptr()),
            Some(large.as_ptr())
        );
        assert_eq!(output.take().as_deref(), Some(&b"0xy3"[..]));
        assert_eq!((output.take(), output.len()), (None, 0));
    }
}
