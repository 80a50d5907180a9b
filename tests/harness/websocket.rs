//! What a server of WebSocket answers to a key (RFC 6455 §4.2.2).

/// `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &str) -> String {
    base64(&sha1(
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    ))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut out = String::new();
    for six in bits.as_bytes().chunks(6) {
        let six = format!("{:0<6}", String::from_utf8_lossy(six));
        out.push(DIGITS[usize::from_str_radix(&six, 2).unwrap()].into());
    }
    out + &"=".repeat((3 - bytes.len() % 3) % 3)
}

fn sha1(message: &[u8]) -> Vec<u8> {
    let mut h: [u32; 5] = [
        0x6745_2301,
        0xEFCD_AB89,
        0x98BA_DCFE,
        0x1032_5476,
        0xC3D2_E1F0,
    ];
    let mut data = message.to_vec();
    data.push(0x80);
    data.resize(data.len().next_multiple_of(64), 0);
    let room = 64 - message.len() % 64;
    if room < 9 {
        data.resize(data.len() + 64, 0);
    }
    let end = data.len() - 8;
    data[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in data.chunks(64) {
        let mut w: Vec<u32> = block
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        for t in 16..80 {
            w.push((w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1));
        }
        let mut s = h;
        for (t, word) in w.iter().enumerate() {
            let (b, c, d) = (s[1], s[2], s[3]);
            let (f, k) = match t / 20 {
                0 => ((b & c) | (!b & d), 0x5A82_7999),
                1 => (b ^ c ^ d, 0x6ED9_EBA1),
                2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
            };
            let next = [f, s[4], k, *word]
                .into_iter()
                .fold(s[0].rotate_left(5), u32::wrapping_add);
            s = [next, s[0], b.rotate_left(30), c, d];
        }
        for (sum, more) in h.iter_mut().zip(s) {
            *sum = sum.wrapping_add(more);
        }
    }
    h.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn the_example_of_the_rfc() {
    assert_eq!(
        accept("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}
