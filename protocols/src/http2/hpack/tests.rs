//! The examples of RFC 7541, Appendix C, both ways; blocks that are none; and what the encoder writes, read back.

use bytes::BytesMut;

use super::primitive::{integer, put_integer, put_short_text, put_text};
use super::table::{Kept, OVERHEAD, Table};
use super::{Bad, Decoder, Encoder, fixed, huffman};
use crate::FieldId;

type Lines = Vec<(String, String)>;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn lines(lines: &[(&str, &str)]) -> Lines {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    lines.iter().map(owned).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Lines, Bad> {
    let mut lines = Vec::new();
    decoder.decode(block, &mut |line| {
        assert_eq!(line.id, FieldId::of(line.name));
        assert!(!line.is_static || fixed::by_name(line.name).is_some());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        lines.push((text(line.name), text(line.value)));
    })?;
    Ok(lines)
}

/// The RFC's examples are in Huffman's code also where it is no shorter.
fn put_huffman(out: &mut BytesMut, text: &[u8]) {
    put_integer(out, 0x80, 7, huffman::length(text));
    huffman::encode(text, out);
}

/// Encodes as the RFC's examples are: everything is kept, and named by the lowest index.
fn encode_all(table: &mut Table, lines: &Lines, is_huffman: bool) -> Vec<u8> {
    let put = if is_huffman { put_huffman } else { put_text };
    let mut out = BytesMut::new();
    for (name, value) in lines {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        let all: Vec<_> = (1..)
            .map_while(|index| match fixed::line(index) {
                Some(line) => Some((index, line.name, line.value)),
                None => {
                    let line = table.get(index - fixed::FIXED - 1)?;
                    Some((index, line.name, line.value))
                }
            })
            .collect();
        if let Some((index, ..)) = all.iter().find(|line| line.1 == name && line.2 == value) {
            put_integer(&mut out, 0x80, 7, *index);
            continue;
        }
        let index = all.iter().find(|line| line.1 == name);
        put_integer(&mut out, 0x40, 6, index.map_or(0, |line| line.0));
        if index.is_none() {
            put(&mut out, name);
        }
        put(&mut out, value);
        table.insert(Kept {
            id: FieldId::of(name),
            fixed: 0,
            name,
            value,
        });
    }
    out.to_vec()
}

/// A block in hex, what it stands for, and the table's size behind it.
type Block<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

/// Checks blocks of one connection.
#[track_caller]
fn check(max: u32, is_huffman: bool, blocks: &[Block<'_>]) {
    let mut decoder = Decoder::new(max);
    let mut table = Table::new(max as usize);
    for (hex, expect, size) in blocks {
        assert_eq!(decode(&mut decoder, &bytes(hex)), Ok(lines(expect)));
        assert_eq!(decoder.table_size(), *size);
        assert_eq!(
            encode_all(&mut table, &lines(expect), is_huffman),
            bytes(hex)
        );
        assert_eq!(table.size(), *size);
    }
}

#[test]
fn numbers_are_those_of_c_1() {
    for (hex, bits, value) in [
        ("0a", 5, 10),
        ("1f 9a 0a", 5, 1337),
        ("2a", 8, 42),
        ("1f 00", 5, 31),
        ("7f 80 80 01", 7, 127 + (1 << 14)),
        ("0f f0 ff ff ff 0f", 4, u32::MAX as usize),
    ] {
        let bytes = bytes(hex);
        assert_eq!(integer(&mut &bytes[..], bits), Ok(value), "{hex}");
        let mut out = BytesMut::new();
        put_integer(&mut out, 0, bits, value);
        assert_eq!(out, bytes, "{hex}");
        for cut in 0..bytes.len() {
            assert_eq!(integer(&mut &bytes[..cut], bits), Err(Bad::Truncated));
        }
    }
}

#[test]
fn lines_are_those_of_c_2() {
    let mut decoder = Decoder::new(4096);
    for (hex, name, value, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key",
            "custom-header",
            55,
        ),
        (
            "040c 2f73 616d 706c 652f 7061 7468",
            ":path",
            "/sample/path",
            55,
        ),
        (
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            "password",
            "secret",
            55,
        ),
        ("82", ":method", "GET", 55),
        ("be", "custom-key", "custom-header", 55),
    ] {
        let expect = Ok(lines(&[(name, value)]));
        assert_eq!(decode(&mut decoder, &bytes(hex)), expect, "{hex}");
        assert_eq!(decoder.table_size(), size);
    }
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

const ANSWERS: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
];

#[test]
fn requests_are_those_of_c_3() {
    let [first, second, third] = REQUESTS;
    check(
        4096,
        false,
        &[
            (
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                first,
                57,
            ),
            ("8286 84be 5808 6e6f 2d63 6163 6865", second, 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                third,
                164,
            ),
        ],
    );
}

#[test]
fn requests_in_huffmans_code_are_those_of_c_4() {
    let [first, second, third] = REQUESTS;
    check(
        4096,
        true,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", second, 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                third,
                164,
            ),
        ],
    );
}

#[test]
fn answers_with_eviction_are_those_of_c_5() {
    let [first, second, third] = ANSWERS;
    check(
        256,
        false,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
                 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
                 6c65 2e63 6f6d",
                first,
                222,
            ),
            ("4803 3330 37c1 c0bf", second, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
                 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
                 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
                 3d31",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn answers_in_huffmans_code_are_those_of_c_6() {
    let [first, second, third] = ANSWERS;
    check(
        256,
        true,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                first,
                222,
            ),
            ("4883 640e ffc1 c0bf", second, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn what_is_no_block_has_a_name() {
    for (hex, expect) in [
        // Indices of no line: 0, behind an empty table, of a name, and the largest.
        ("80", Bad::Index),
        ("be", Bad::Index),
        ("7e 01 61", Bad::Index),
        ("0f 2f 01 61", Bad::Index),
        ("ff 80 ff ff ff 0f", Bad::Index),
        // A line that was too large for the table is not in it.
        ("3f 05 40 01 61 04 61 61 61 61 be", Bad::Index),
        // Numbers beyond 32 bits, and with more bytes than it takes.
        ("ff 81 ff ff ff 0f", Bad::Integer),
        ("ff ff ff ff ff 7f", Bad::Integer),
        ("ff 80 80 80 80 80 00", Bad::Integer),
        ("00 7f ff ff ff ff ff ff ff ff 01", Bad::Integer),
        ("3f 80 80 80 80 80 01", Bad::Integer),
        // Sizes beyond the announced one, and behind a line.
        ("3f e2 1f", Bad::Size),
        ("82 20", Bad::Size),
        ("20 82 3f e1 1f", Bad::Size),
        // Codes that are none.
        ("00 81 ff 01 61", Bad::Huffman),
        ("00 01 61 84 ff ff ff ff", Bad::Huffman),
        ("40 01 61 82 07 ff", Bad::Huffman),
        // Ends within a line.
        ("00", Bad::Truncated),
        ("00 01", Bad::Truncated),
        ("00 01 61", Bad::Truncated),
        ("00 01 61 02 61", Bad::Truncated),
        ("40 02 61", Bad::Truncated),
        ("41", Bad::Truncated),
        ("ff 80", Bad::Truncated),
        ("3f", Bad::Truncated),
        ("00 01 61 82 07", Bad::Truncated),
    ] {
        assert_eq!(
            decode(&mut Decoder::new(4096), &bytes(hex)),
            Err(expect),
            "{hex}"
        );
    }
}

#[test]
fn sizes_at_the_start_change_the_table() {
    let mut decoder = Decoder::new(4096);
    let all = lines(&[("a", "1"), ("b", "2")]);
    let block = bytes("40 01 61 01 31 40 01 62 01 32");
    assert_eq!(decode(&mut decoder, &block), Ok(all));
    // 34 has room for one.
    assert_eq!(
        decode(&mut decoder, &bytes("3f 03 be")),
        Ok(lines(&[("b", "2")]))
    );
    assert_eq!(decode(&mut decoder, &bytes("bf")), Err(Bad::Index));
    // The smallest first, and then as large as announced; even as all of a block.
    assert_eq!(decode(&mut decoder, &bytes("20 3f e1 1f")), Ok(Vec::new()));
    assert_eq!(decoder.table_size(), 0);
    assert_eq!(decode(&mut decoder, &bytes("")), Ok(Vec::new()));
    assert_eq!(
        decode(&mut Decoder::new(0), &bytes("3f 00")),
        Err(Bad::Size)
    );
}

#[test]
fn a_name_may_be_of_the_line_that_goes_for_it() {
    let mut decoder = Decoder::new(40);
    let block = bytes("40 03 61 62 63 01 31 7e 02 32 33");
    let expect = lines(&[("abc", "1"), ("abc", "23")]);
    assert_eq!(decode(&mut decoder, &block), Ok(expect));
    assert_eq!(
        decode(&mut decoder, &bytes("be")),
        Ok(lines(&[("abc", "23")]))
    );
    // And of one that is not kept, which moves nothing.
    assert_eq!(
        decode(&mut decoder, &bytes("0f 2f 01 34 be")),
        Ok(lines(&[("abc", "4"), ("abc", "23")]))
    );
}

#[test]
fn a_large_text_leaves_no_large_buffer() {
    let mut out = BytesMut::from(&b"\x00"[..]);
    put_short_text(&mut out, &[b'a'; 9000]);
    put_short_text(&mut out, &[b'e'; 9000]);
    let mut decoder = Decoder::new(4096);
    let expect = lines(&[(&"a".repeat(9000), &"e".repeat(9000))]);
    assert_eq!(decode(&mut decoder, &out), Ok(expect));
    assert_eq!(decoder.scratch(), 0);
}

/// Encodes one block.
fn encode(encoder: &mut Encoder, lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encoder.begin(&mut out);
    for (name, value) in lines {
        let id = FieldId::of(name.as_bytes());
        encoder.field(id, name.as_bytes(), value.as_bytes(), &mut out);
    }
    out.to_vec()
}

#[test]
fn lines_that_repeat_become_an_index() {
    let answer = [
        ("Server", "ringway"),
        ("Content-Type", "text/html"),
        ("Content-Length", "17"),
        ("X-Frame-Options", "DENY"),
    ];
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096);
    let lower = answer.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let sizes = [(); 4].map(|()| {
        let block = encode(&mut encoder, &answer);
        assert_eq!(decode(&mut decoder, &block), Ok(lower.to_vec()));
        block.len()
    });
    // What only others say is kept when it comes again; a length is none to keep.
    assert_eq!(sizes[2..], [8, 8]);
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
}

#[test]
fn many_lines_become_an_index() {
    let lines: Vec<_> = (0..20)
        .map(|at| (format!("X-Name-{}", at * 7), format!("a value of {at}")))
        .collect();
    let lines: Vec<_> = lines.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let mut encoder = Encoder::new();
    let sizes = [(); 4].map(|()| encode(&mut encoder, &lines).len());
    assert_eq!(sizes[2..], [20, 20]);
}

#[test]
fn secrets_are_kept_by_nobody() {
    let mut encoder = Encoder::new();
    for (line, expect) in [
        (("set-cookie", "a=b"), &b"\x1f\x28\x03a=b"[..]),
        (("Authorization", "x"), b"\x1f\x08\x01x"),
        (("proxy-authorization", "x"), b"\x1f\x22\x01x"),
        (("cookie", "a=b"), b"\x1f\x11\x03a=b"),
        (("content-length", "5"), b"\x0f\x0d\x015"),
        (("X-Request-Id", "5"), b"\x00\x0cx-request-id\x015"),
    ] {
        for _ in 0..3 {
            assert_eq!(encode(&mut encoder, &[line]), expect, "{line:?}");
        }
    }
    assert_eq!(encoder.table_size(), 0);
}

#[test]
fn lines_of_the_static_table_are_an_index() {
    for index in 1..=fixed::FIXED {
        let line = fixed::line(index).unwrap();
        if line.id == FieldId::ContentLength {
            // Nobody sends an empty one, and others are not looked for.
            continue;
        }
        let mut out = BytesMut::new();
        Encoder::new().field(line.id, line.name, line.value, &mut out);
        assert_eq!(out[..], [0x80 | u8::try_from(index).unwrap()]);
    }
}

#[test]
fn a_status_is_an_index_or_three_digits() {
    for status in 0..=1099 {
        let mut out = BytesMut::new();
        Encoder::new().status(status, &mut out);
        let expect = format!("{:03}", status % 1000);
        let got = decode(&mut Decoder::new(4096), &out);
        assert_eq!(got, Ok(lines(&[(":status", &expect)])));
        let is_known = [200, 204, 206, 304, 400, 404, 500].contains(&status);
        assert_eq!(out.len(), if is_known { 1 } else { 5 });
    }
}

#[test]
fn sizes_go_out_with_the_next_block() {
    let mut encoder = Encoder::new();
    for (sizes, expect) in [
        (&[][..], ""),
        (&[4096], ""),
        (&[65_536], ""),
        (&[100], "3f 45"),
        (&[100], ""),
        (&[50, 200], "3f 13 3f a9 01"),
        (&[300, 4096, 250], "3f db 01"),
        (&[0, 4097], "20 3f e1 1f"),
        (&[0], "20"),
        (&[0, 30], "3e"),
    ] {
        sizes.iter().for_each(|size| encoder.resize(*size));
        assert_eq!(encode(&mut encoder, &[]), bytes(expect), "{sizes:?}");
        assert_eq!(encode(&mut encoder, &[]), [], "{sizes:?}");
    }
}

#[test]
fn values_that_vary_fill_no_table() {
    let mut encoder = Encoder::new();
    let mut out = BytesMut::new();
    encode(&mut encoder, &[("server", "ringway")]);
    for turn in 0..1000 {
        encode(&mut encoder, &[("x-trace", &format!("{turn:032x}"))]);
    }
    // Some look like one before; so few that what repeats stays.
    assert!(encoder.table_size() < 2048, "{}", encoder.table_size());
    encoder.field(FieldId::Server, b"server", b"ringway", &mut out);
    assert_eq!(out.len(), 1);
}

/// A small generator of numbers (xorshift), so that every run is the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % most
    }

    fn text(&mut self, most: usize) -> String {
        const SIGNS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_ABCXYZ";
        let length = self.below(most);
        let sign = |_| char::from(SIGNS[self.below(SIGNS.len())]);
        (0..length).map(sign).collect()
    }

    fn line(&mut self) -> (String, String) {
        let name = match self.below(4) {
            0 => format!("x-{}", self.below(200)),
            1 => self.text(90),
            _ => {
                let line = fixed::line(1 + self.below(fixed::FIXED)).unwrap();
                str::from_utf8(line.name).unwrap().to_owned()
            }
        };
        let value = match self.below(8) {
            0 => self.text(300),
            1 => self.text(4200),
            2 => "same ends, \u{fc} ".repeat(1 + self.below(3)),
            _ => format!("value {}", self.below(20)),
        };
        (name, value)
    }
}

#[test]
fn what_goes_in_comes_out() {
    for seed in 1..=60 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed);
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for _ in 0..60 {
            for _ in 0..numbers.below(3) / 2 * 2 {
                encoder.resize([0, 100, 4096][numbers.below(3)]);
            }
            let some: Vec<_> = (0..numbers.below(12)).map(|_| numbers.line()).collect();
            let borrowed: Vec<_> = some.iter().map(|(n, v)| (&n[..], &v[..])).collect();
            let block = encode(&mut encoder, &borrowed);
            let lower = some.into_iter().map(|(n, v)| (n.to_ascii_lowercase(), v));
            assert_eq!(decode(&mut decoder, &block), Ok(lower.collect::<Lines>()));
            assert_eq!(decoder.table_size(), encoder.table_size());
        }
    }
}

#[test]
fn no_bytes_are_a_panic_or_a_larger_table() {
    let mut numbers = Numbers(7);
    for turn in 0..3000 {
        let mut decoder = Decoder::new(200);
        for _ in 0..4 {
            let block: Vec<u8> = (0..numbers.below(60))
                // Bytes of lines more than of texts: few signs, and short lengths.
                .map(|_| [numbers.below(256), numbers.below(8), 0x40, 0xbe][numbers.below(4)])
                .map(|byte| u8::try_from(byte).unwrap())
                .collect();
            if decoder.decode(&block, &mut |_| ()).is_err() {
                break;
            }
            let size = decoder.table_size();
            assert!(size <= 200 && (size == 0 || size >= OVERHEAD), "{turn}");
        }
    }
}
