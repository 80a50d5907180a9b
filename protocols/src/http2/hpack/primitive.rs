//! Numbers and texts (RFC 7541 §5), of which lines are made.

use bytes::{BufMut, BytesMut};

use super::{Bad, huffman};

/// Bytes that a number may go on for: five have room for 32 bits, and more only for zeros.
const MORE_MAX: u32 = 5;
/// The bit of a text's length that says that it is in Huffman's code.
const HUFFMAN: u8 = 0x80;
const TEXT_BITS: u32 = 7;

/// Takes a number that begins in the low bits of the next byte.
#[inline]
pub(super) fn integer(block: &mut &[u8], bits: u32) -> Result<usize, Bad> {
    let (first, rest) = block.split_first().ok_or(Bad::Truncated)?;
    *block = rest;
    let most = (1 << bits) - 1;
    let value = usize::from(*first) & most;
    match value < most {
        true => Ok(value),
        false => long_integer(block, most),
    }
}

/// The rest of one that has no room in its first byte.
fn long_integer(block: &mut &[u8], most: usize) -> Result<usize, Bad> {
    let mut more = 0_u64;
    for place in 0..MORE_MAX {
        let (byte, rest) = block.split_first().ok_or(Bad::Truncated)?;
        *block = rest;
        more |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let value = u32::try_from(more + most as u64);
            return value.map(|value| value as usize).map_err(|_| Bad::Integer);
        }
    }
    Err(Bad::Integer)
}

/// Takes a text: a part of the block, or what it stands for in `scratch`.
#[inline]
pub(super) fn text<'a, 'b: 'a>(
    block: &mut &'b [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], Bad> {
    let is_huffman = block.first().is_some_and(|first| first & HUFFMAN != 0);
    let length = integer(block, TEXT_BITS)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Bad::Truncated)?;
    *block = rest;
    match is_huffman {
        true => huffman::decode(text, scratch),
        false => Ok(text),
    }
}

/// Writes a number behind the bits of `pattern`.
#[inline]
pub(super) fn put_integer(out: &mut BytesMut, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    match u8::try_from(value) {
        Ok(small) if value < most => out.put_u8(pattern | small),
        _ => put_long_integer(out, pattern, most, value),
    }
}

fn put_long_integer(out: &mut BytesMut, pattern: u8, most: usize, value: usize) {
    let [first, ..] = most.to_le_bytes();
    out.put_u8(pattern | first);
    let mut rest = value - most;
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        out.put_u8(low | 0x80);
        rest >>= 7;
    }
    let [last, ..] = rest.to_le_bytes();
    out.put_u8(last);
}

/// Writes a text as it is.
#[inline]
pub(super) fn put_text(out: &mut BytesMut, text: &[u8]) {
    put_integer(out, 0, TEXT_BITS, text.len());
    out.put_slice(text);
}

/// Writes a text in the shorter of its forms: for what is written once and then named by a number.
pub(super) fn put_short_text(out: &mut BytesMut, text: &[u8]) {
    let length = huffman::length(text);
    if length < text.len() {
        put_integer(out, HUFFMAN, TEXT_BITS, length);
        huffman::encode(text, out);
    } else {
        put_text(out, text);
    }
}
