//! The opening handshake of WebSocket over HTTP/1.1 (RFC 6455 §4), for streams of HTTP/2 that need none (RFC 8441 §5): who turns one
//! into the other asks with a key of its own, and checks what the upstream makes of it.

/// What is hashed with the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Key`: sixteen bytes of chance.
pub fn key(chance: [u8; 16]) -> Vec<u8> {
    base64(&chance)
}

/// `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &[u8]) -> Vec<u8> {
    base64(&sha1(&[key, GUID].concat()))
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let there = digit <= three.len();
            let digit = DIGITS.get(value as usize).copied().filter(|_| there);
            out.push(digit.unwrap_or(b'='));
        }
    }
    out
}

/// SHA-1 (RFC 3174), which here protects nothing: the handshake only shows that the other end has read it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let (blocks, _) = padded.as_chunks::<64>();
    for block in blocks {
        let added = round(state, block);
        for (word, more) in state.iter_mut().zip(added) {
            *word = word.wrapping_add(more);
        }
    }
    let mut out = [0; 20];
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    out
}

fn round(state: [u32; 5], block: &[u8; 64]) -> [u32; 5] {
    let (words, _) = block.as_chunks::<4>();
    let mut schedule: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
    for at in 16..80 {
        let before = |back: usize| schedule.get(at - back).copied().unwrap_or(0);
        schedule.push((before(3) ^ before(8) ^ before(14) ^ before(16)).rotate_left(1));
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for (at, word) in schedule.into_iter().enumerate() {
        let (mix, constant) = match at {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    [a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = key(*b"the sample nonce");
        assert_eq!(key, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn hashes_are_those_of_others() {
        let hex = |message: &[u8]| {
            let hash = sha1(message);
            let digits = hash.iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>()
        };
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&[b'a'; 1000]),
            "291e9a6c66994949b57ba5e650361e98fc36b1ba"
        );
        for length in 50..70 {
            assert_eq!(sha1(&vec![7; length]).len(), 20);
        }
    }

    #[test]
    fn base64_pads_what_is_no_multiple_of_three() {
        for (text, expect) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expect.as_bytes());
        }
    }
}
