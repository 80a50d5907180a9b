//! Bytes whose every position is known, so that a body of any size is checked while it streams.

use std::sync::OnceLock;

/// A prime, so that no buffer size of anybody's is a multiple of the period: a shifted or repeated piece is seen.
const PERIOD: usize = 65_521;

fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..PERIOD)
            .map(|_| {
                // xorshift64: any fixed noise will do.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    })
}

/// A place in the pattern; each use moves it on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pattern {
    at: u64,
}

impl Pattern {
    /// Bytes passed so far.
    pub fn at(&self) -> u64 {
        self.at
    }
    /// The next bytes, at most `max`, and at most what is left of the period.
    pub fn take(&mut self, max: usize) -> &'static [u8] {
        let start = usize::try_from(self.at).expect("64 bits") % PERIOD;
        let end = PERIOD.min(start + max);
        self.at += (end - start) as u64;
        &block()[start..end]
    }
    /// Whether these are the next bytes.
    pub fn check(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expect = self.take(bytes.len());
            if &bytes[..expect.len()] != expect {
                return false;
            }
            bytes = &bytes[expect.len()..];
        }
        true
    }
}

/// The first `len` bytes.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut pattern = Pattern::default();
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        out.extend_from_slice(pattern.take(len - out.len()));
    }
    out
}
