//! A short text made for one comparison (a lower-cased host, a decoded parameter) without an allocation.

/// Longer than any DNS name; what does not fit spills to the heap.
const INLINE: usize = 256;

pub(super) struct Scratch {
    inline: [u8; INLINE],
    spill: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            inline: [0; INLINE],
            spill: Vec::new(),
        }
    }

    /// Takes the bytes in the place of what it held before.
    pub(super) fn fill(&mut self, bytes: impl IntoIterator<Item = u8>) -> &[u8] {
        self.spill.clear();
        let mut len = 0;
        for byte in bytes {
            if let Some(place) = self.inline.get_mut(len) {
                *place = byte;
            } else {
                if self.spill.is_empty() {
                    self.spill.extend_from_slice(&self.inline);
                }
                self.spill.push(byte);
            }
            len += 1;
        }
        if self.spill.is_empty() {
            &self.inline[..len]
        } else {
            &self.spill
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_given_last() {
        let mut scratch = Scratch::new();
        for len in [0, 1, 255, 256, 257, 1000, 3] {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            assert_eq!(scratch.fill(text.iter().copied()), text);
        }
    }
}
