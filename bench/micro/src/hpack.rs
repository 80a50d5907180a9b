//! Field blocks of HTTP/2: decoded, and encoded.

use std::hint::black_box;

use bytes::BytesMut;
use ringway_protocols::FieldId;
use ringway_protocols::http2::hpack::{Decoder, Encoder};

use crate::Micro;

pub(crate) const MICROS: &[Micro] = &[
    Micro {
        name: "hpack_decode_tool",
        limit: 320,
        run: |times| decode(FIRST, TOOL, 5, times),
    },
    Micro {
        name: "hpack_decode_browser",
        limit: 2_930,
        run: |times| decode(&kept(BROWSER_KEPT), BROWSER, 15, times),
    },
    Micro {
        name: "hpack_decode_first",
        limit: 3_410,
        run: decode_first,
    },
    Micro {
        name: "hpack_encode_answer",
        limit: 555,
        run: |times| encode(ANSWER, times),
    },
    Micro {
        name: "hpack_encode_long_answer",
        limit: 1_835,
        run: |times| encode(LONG_ANSWER, times),
    },
];

/// As a load generator begins: in Huffman's code what is not in the static table, and all of it to be kept.
const FIRST: &[u8] = b"\
    \x82\x86\x44\x88\x62\x3f\x49\x2a\x18\x08\x04\xd7\x41\x8a\x08\x9d\x5c\x0b\x81\x70\xdc\x78\x0f\
    \x03\x7a\x8f\x9c\x54\x1c\x72\x29\x54\xd3\xa5\x35\x89\x80\xae\xd8\x97\x07";
/// And as it goes on.
const TOOL: &[u8] = b"\
    \x82\x86\xc0\xbf\xbe";

/// As a browser asks on a connection that it has asked on: the path and where it was asked from are new, and the other lines are these.
const BROWSER: &[u8] = b"\
    \x82\xc8\x87\x04\x9e\x60\x76\x24\xc4\xa0\xa8\x60\x40\x13\x4c\x57\x61\xfc\x98\xa8\xff\x2b\x1c\
    \xc5\x80\x5f\x07\xb2\x42\xd9\x05\x45\xf0\x54\x27\xc7\xc6\xc5\xc4\xc3\xc2\xc1\x0f\x24\x9c\x9d\
    \x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x7b\x26\x60\x76\x24\xc4\xa0\xa8\x60\
    \x40\x13\x4c\x7f\xc0\xbf\xbe";
const BROWSER_KEPT: &[(&str, &str)] = &[
    (":authority", "www.example.org"),
    (
        "sec-ch-ua",
        "\"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"",
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("sec-fetch-site", "same-origin"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    (
        "cookie",
        "session=0123456789abcdef0123456789abcdef; theme=dark",
    ),
];

/// As the proxy answers for a plain origin.
const ANSWER: &[(&str, &str)] = &[
    ("Content-Type", "application/octet-stream"),
    ("Content-Length", "1024"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Server", "origin"),
];

/// As an application answers: names that the proxy has no use for, too.
const LONG_ANSWER: &[(&str, &str)] = &[
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Length", "10240"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Server", "origin"),
    ("Cache-Control", "public, max-age=3600"),
    ("Etag", "\"5f3c-611f\""),
    ("Vary", "Accept-Encoding"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
];

/// Lines that are kept, as they are.
fn kept(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0x40);
        for text in [name, value] {
            // None is so long that its length would take more.
            block.extend(u8::try_from(text.len()));
            block.extend(text.as_bytes());
        }
    }
    block
}

fn decode(first: &[u8], block: &[u8], lines: usize, times: u32) {
    let mut decoder = Decoder::new(4096);
    let decoded = decoder.decode(first, &mut |_| ());
    debug_assert!(decoded.is_ok());
    for _ in 0..times {
        count(&mut decoder, block, lines);
    }
}

fn decode_first(times: u32) {
    for _ in 0..times {
        count(&mut Decoder::new(4096), FIRST, 5);
    }
}

fn count(decoder: &mut Decoder, block: &[u8], expect: usize) {
    let mut lines = 0;
    let decoded = decoder.decode(black_box(block), &mut |line| {
        black_box(line);
        lines += 1;
    });
    debug_assert!(decoded.is_ok() && lines == expect);
    black_box(lines);
}

fn encode(lines: &[(&str, &str)], times: u32) {
    let mut encoder = Encoder::new();
    let mut out = BytesMut::with_capacity(4 << 10);
    let lines = lines.iter().map(|(name, value)| {
        let name = name.as_bytes();
        (FieldId::of(name), name, value.as_bytes())
    });
    let lines: Vec<_> = lines.collect();
    for _ in 0..times {
        out.clear();
        encoder.begin(&mut out);
        encoder.status(200, &mut out);
        for (id, name, value) in black_box(&lines) {
            encoder.field(*id, name, value, &mut out);
        }
        black_box(&out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_are_right_ones() {
        // In a test build each decoding asserts that all lines came.
        for micro in MICROS {
            (micro.run)(3);
        }
    }
}
