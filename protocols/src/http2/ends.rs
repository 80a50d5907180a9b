//! Which of its streams a server has ended, seen before the codec forgets it.
//!
//! A server that needs no more of a request ends its answer and resets the stream with NO_ERROR behind it (RFC 9113 §8.1). Where both
//! come at once, a codec tells of the reset alone, and an answer that was never ended looks the same: cut off, and taken for whole.

use super::heads::{END_STREAM, HEAD, Heads, stream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// Reads a server's bytes for the ends of streams.
#[derive(Debug)]
pub struct EndScanner {
    heads: Heads,
}

impl Default for EndScanner {
    /// For a connection of which nothing has come: a server's preface is a frame (RFC 9113 §3.4).
    fn default() -> Self {
        Self {
            heads: Heads::behind(0),
        }
    }
}

impl EndScanner {
    /// Looks at the next bytes; `ended` hears of each stream that a frame which begins in them ends.
    pub fn scan(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u32)) {
        while !bytes.is_empty() {
            let (_payload, head) = self.heads.next(&mut bytes);
            if let Some(head) = head
                && ends(&head)
            {
                ended(stream(&head));
            }
        }
    }
}

fn ends(head: &[u8; HEAD]) -> bool {
    let [_, _, _, kind, flags, ..] = *head;
    matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a small frame");
        let mut out = length.to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    #[test]
    fn ends_are_found_wherever_the_bytes_are_cut() {
        let bytes = [
            frame(4, 1, 0, &[]),
            frame(1, 4, 1, b"fields"),
            frame(0, 0, 1, b"data"),
            // With the reserved bit, which means nothing.
            frame(0, 1, 1 | 1 << 31, b"the last"),
            frame(3, 1, 3, &[0; 4]),
            frame(1, 5, 5, b"all of it"),
        ]
        .concat();
        for cut in 1..bytes.len() {
            let mut scanner = EndScanner::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                scanner.scan(piece, |stream| found.push(stream));
            }
            assert_eq!(found, [1, 5], "in pieces of {cut}");
        }
    }
}
