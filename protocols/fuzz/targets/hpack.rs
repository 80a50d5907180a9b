//! HPACK: any bytes as blocks of one connection, and any lines through both ends.
//!
//! The first byte says which: even, blocks, each behind a byte with its length; odd, lines of few names and values, and sizes of the table.
#![no_main]

use std::fmt::Debug;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::FieldId;
use ringway_protocols::http2::hpack::{Decoder, Encoder};

const SMALL: u32 = 200;
/// Of each policy some; what is beyond them is a name of the input's.
const NAMES: &[&[u8]] = &[
    b":method",
    b":path",
    b"Content-Type",
    b"content-length",
    b"date",
    b"Set-Cookie",
    b"cookie",
    b"X-Frame-Options",
    b"x-a",
    b"",
];

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    if first & 1 == 0 {
        blocks(rest);
    } else {
        lines(rest);
    }
});

fn blocks(mut bytes: &[u8]) {
    let mut decoder = Decoder::new(SMALL);
    while let Some((length, rest)) = bytes.split_first() {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let mut lines = 0;
        let decoded = decoder.decode(block, &mut |line| {
            lines += 1;
            assert_eq!(line.id, FieldId::of(line.name));
        });
        // A line is a byte at least.
        assert!(lines <= block.len());
        if decoded.is_err() {
            return;
        }
        assert!(decoder.table_size() <= SMALL as usize);
    }
}

/// A byte chooses what comes; most are lines, with a name and a value by the next bytes.
fn lines(mut bytes: &[u8]) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut block: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut out = BytesMut::new();
    encoder.begin(&mut out);
    while let Some(byte) = next(&mut bytes) {
        match byte {
            0..=15 => {
                compare(&mut decoder, &encoder, &block, &out);
                (0..byte % 4).for_each(|_| encoder.resize(size(&mut bytes)));
                (block, out) = (Vec::new(), BytesMut::new());
                encoder.begin(&mut out);
            }
            _ => {
                let name = match NAMES.get(usize::from(byte) % 16) {
                    Some(name) => name,
                    None => taken(&mut bytes, byte >> 4),
                };
                let length = next(&mut bytes).unwrap_or(0);
                let value = taken(&mut bytes, length).repeat(1 + usize::from(byte >> 6) * 5);
                encoder.field(FieldId::of(name), name, &value, &mut out);
                block.push((name.to_ascii_lowercase(), value));
            }
        }
    }
    compare(&mut decoder, &encoder, &block, &out);
}

fn compare(decoder: &mut Decoder, encoder: &Encoder, lines: &[(Vec<u8>, Vec<u8>)], block: &[u8]) {
    let mut expect = lines.iter();
    let decoded = decoder.decode(block, &mut |line| {
        let (name, value) = expect.next().expect("a line more than went in");
        same(line.name, name);
        same(line.value, value);
    });
    same(decoded, Ok(()));
    same(expect.len(), 0);
    same(decoder.table_size(), encoder.table_size());
}

fn same<A: PartialEq<B> + Debug, B: Debug>(got: A, expect: B) {
    assert_eq!(got, expect);
}

fn size(bytes: &mut &[u8]) -> u32 {
    u32::from(next(bytes).unwrap_or(0)) * 20
}

fn next(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn taken<'a>(bytes: &mut &'a [u8], length: u8) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(bytes.len().min(usize::from(length)));
    *bytes = rest;
    taken
}
