//! HPACK (RFC 7541) as far as a test needs it: literals out, everything in.

use std::collections::VecDeque;
use std::sync::OnceLock;

/// The static table's names and values (RFC 7541, Appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The lengths of the Huffman codes of bytes (Appendix B), from which the codes follow: they are canonical.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// A field.
pub type Field = (String, String);

/// A literal without indexing, as clients write what they want nobody to repair.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.extend(number(0, 7, text.len()));
        out.extend(text);
    }
    out
}

/// A list of literals.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literals = fields.iter();
    literals
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect()
}

fn number(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let max = (1 << bits) - 1;
    if value < max {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut out = vec![first | u8::try_from(max).unwrap()];
    let mut rest = value - max;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
    out
}

/// Decodes header blocks of one connection.
#[derive(Debug)]
pub struct Decoder {
    dynamic: VecDeque<Field>,
    size: usize,
    max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            dynamic: VecDeque::new(),
            size: 0,
            max: 4096,
        }
    }
}

impl Decoder {
    /// The fields of a block. Panics at what is no HPACK: the proxy wrote it.
    pub fn decode(&mut self, mut block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            match first {
                0x80.. => fields.push(self.entry(take_number(&mut block, 7))),
                0x40..0x80 => {
                    let field = self.literal(&mut block, 6);
                    self.insert(field.clone());
                    fields.push(field);
                }
                0x20..0x40 => {
                    self.max = take_number(&mut block, 5);
                    self.shrink();
                }
                _ => fields.push(self.literal(&mut block, 4)),
            }
        }
        fields
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Field {
        let name = match take_number(block, bits) {
            0 => text(block),
            index => self.entry(index).0,
        };
        (name, text(block))
    }

    fn entry(&self, index: usize) -> Field {
        let found = match index.checked_sub(1 + STATIC.len()) {
            Some(at) => self.dynamic.get(at).cloned(),
            None => STATIC
                .get(index.wrapping_sub(1))
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        };
        found.unwrap_or_else(|| panic!("no entry {index} in the tables"))
    }

    fn insert(&mut self, field: Field) {
        self.size += field.0.len() + field.1.len() + 32;
        self.dynamic.push_front(field);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.size > self.max {
            let (name, value) = self.dynamic.pop_back().expect("what has a size");
            self.size -= name.len() + value.len() + 32;
        }
    }
}

fn take_number(block: &mut &[u8], bits: u32) -> usize {
    let max = (1 << bits) - 1;
    let mut value = usize::from(take(block)) & max;
    if value < max {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = take(block);
        value += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn take(block: &mut &[u8]) -> u8 {
    let (first, rest) = block.split_first().expect("a whole block");
    *block = rest;
    *first
}

fn text(block: &mut &[u8]) -> String {
    let huffman = *block.first().expect("a whole block") >= 0x80;
    let length = take_number(block, 7);
    let (text, rest) = block.split_at(length);
    *block = rest;
    let bytes = match huffman {
        true => decode_huffman(text),
        false => text.to_vec(),
    };
    bytes.into_iter().map(char::from).collect()
}

/// Codes by length and value.
fn codes() -> &'static Vec<(u8, u32, u8)> {
    static CODES: OnceLock<Vec<(u8, u32, u8)>> = OnceLock::new();
    CODES.get_or_init(|| {
        let mut codes = Vec::new();
        let mut next = 0_u32;
        for length in 1..=30 {
            next <<= 1;
            for (byte, of) in LENGTHS.iter().enumerate() {
                if *of == length {
                    codes.push((length, next, u8::try_from(byte).unwrap()));
                    next += 1;
                }
            }
        }
        codes
    })
}

fn decode_huffman(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_u8);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let found = codes().iter().find(|(l, c, _)| (*l, *c) == (length, code));
            if let Some((_, _, byte)) = found {
                out.push(*byte);
                (code, length) = (0, 0);
            }
        }
    }
    assert!(length < 8 && code == (1 << length) - 1, "padding of ones");
    out
}
