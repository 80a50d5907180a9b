//! Huffman's code of RFC 7541, Appendix B.
//!
//! The code is canonical: codes of a length are numbers in a row, by symbol, and longer ones go on where shorter ones end. So the
//! lengths say all of it, and every table is made of them when this is compiled.
//!
//! Decoding looks at eight bits at a time. They are enough for letters, digits and most signs; what is longer is found by the length
//! whose codes end last below it.

use bytes::{BufMut, BytesMut};

use super::Bad;

/// Symbols: bytes, and the end of the text, which no text may have.
const SYMBOLS: usize = 257;
/// The shortest code and the longest, in bits.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// Codes up to here are found by their first byte.
const SHORT: usize = 8;
const GROUPS: usize = LONGEST - SHORT;

/// How long each symbol's code is.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// A code, in its low bits, and how many they are.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    length: u8,
}

/// Codes of one length that is not short.
#[derive(Clone, Copy)]
struct Group {
    length: usize,
    /// The first code behind them, at the upper end of a word: what is below it is one of them, or of a shorter group's.
    end: u32,
    /// The first of them, likewise.
    first: u32,
    /// Its place in [`Tables::order`].
    place: usize,
}

/// A code of at most a byte.
#[derive(Clone, Copy)]
struct Short {
    length: u8,
    symbol: u8,
}

struct Tables {
    /// By symbol.
    codes: [Code; SYMBOLS],
    /// By the byte that begins with it; longer ones have no length here.
    short: [Short; 256],
    /// Symbols by the order of their codes.
    order: [u16; SYMBOLS],
    /// By length, from the first that is not short; a length without codes has the end of the one before.
    groups: [Group; GROUPS],
}

static TABLES: Tables = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "run by the compiler, which refuses an index that is wrong; symbols and lengths are small"
)]
const fn tables() -> Tables {
    let none = Group {
        length: 0,
        end: 0,
        first: 0,
        place: 0,
    };
    let mut tables = Tables {
        codes: [Code { bits: 0, length: 0 }; SYMBOLS],
        short: [Short {
            length: 0,
            symbol: 0,
        }; 256],
        order: [0; SYMBOLS],
        groups: [none; GROUPS],
    };
    let (mut next, mut place, mut length) = (0_u32, 0, SHORTEST);
    while length <= LONGEST {
        let (first, first_place) = (next, place);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = Code {
                    bits: next,
                    length: length as u8,
                };
                tables.order[place] = symbol as u16;
                place += 1;
                if length <= SHORT {
                    let step = 1 << (SHORT - length);
                    let mut byte = 0;
                    while byte < step {
                        let at = next as usize * step + byte;
                        tables.short[at] = Short {
                            length: length as u8,
                            symbol: symbol as u8,
                        };
                        byte += 1;
                    }
                }
                next += 1;
            }
            symbol += 1;
        }
        if length > SHORT {
            let shift = 32 - length;
            tables.groups[length - SHORT - 1] = Group {
                length,
                // The longest ones end where a word does.
                end: if length == LONGEST {
                    u32::MAX
                } else {
                    next << shift
                },
                first: first << shift,
                place: first_place,
            };
        }
        next <<= 1;
        length += 1;
    }
    tables
}

/// The bits that come next, at the upper end of a word.
struct Window<'a> {
    bits: u64,
    /// How many of them count.
    have: usize,
    text: &'a [u8],
    /// Bytes of the text that are not yet in the bits.
    left: usize,
}

impl<'a> Window<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            bits: 0,
            have: 0,
            text,
            left: text.len(),
        }
    }

    /// Takes whole bytes while there is room for them.
    #[inline]
    fn fill(&mut self) {
        let at = self.text.len() - self.left;
        let rest = self.text.get(at..).unwrap_or_default();
        let word = match (rest.first_chunk(), self.text.last_chunk()) {
            (Some(word), _) => u64::from_be_bytes(*word),
            (None, Some(_)) if rest.is_empty() => return,
            (None, Some(word)) => u64::from_be_bytes(*word) << (64 - 8 * rest.len()),
            (None, None) => short_word(rest),
        };
        // Bits of a byte that does not fit whole are set already when it is taken: they are the same.
        self.bits |= word >> self.have;
        let bytes = rest.len().min((63 - self.have) / 8);
        self.left -= bytes;
        self.have += bytes * 8;
    }
}

/// The word that begins with these few bytes.
fn short_word(bytes: &[u8]) -> u64 {
    let places = (0..8).rev();
    let placed = bytes.iter().zip(places);
    placed.fold(0, |word, (byte, place)| {
        word | u64::from(*byte) << (8 * place)
    })
}

/// The symbol whose code these bits begin with, and the code's length.
#[inline]
fn symbol(bits: u64) -> Result<(usize, u8), Bad> {
    let [byte, ..] = bits.to_be_bytes();
    match TABLES.short.get(usize::from(byte)) {
        Some(Short { length, symbol }) if *length > 0 => Ok((usize::from(*length), *symbol)),
        _ => long_symbol(bits),
    }
}

#[cold]
fn long_symbol(bits: u64) -> Result<(usize, u8), Bad> {
    let [a, b, c, d, ..] = bits.to_be_bytes();
    let word = u32::from_be_bytes([a, b, c, d]);
    let group = TABLES.groups.iter().find(|group| word < group.end);
    let group = group.ok_or(Bad::Huffman)?;
    let nth = (word - group.first) >> (32 - group.length);
    let symbol = TABLES.order.get(group.place + nth as usize);
    // The end of a text is no byte, and must not be in one (RFC 7541 §5.2).
    let symbol = symbol.and_then(|symbol| u8::try_from(*symbol).ok());
    Ok((group.length, symbol.ok_or(Bad::Huffman)?))
}

/// What a text stands for. `scratch` grows to what it may take and stays so; what is in it means nothing.
pub(super) fn decode<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Bad> {
    // One more, so that the last never finds it full.
    let most = text.len() * 8 / SHORTEST + 1;
    if scratch.len() < most {
        scratch.resize(most, 0);
    }
    let room = scratch.len();
    let mut places = scratch.iter_mut();
    let mut window = Window::new(text);
    loop {
        window.fill();
        while window.have >= LONGEST {
            let (length, symbol) = symbol(window.bits)?;
            window.bits <<= length;
            window.have -= length;
            *places.next().ok_or(Bad::Huffman)? = symbol;
        }
        if window.left == 0 {
            break;
        }
    }
    while window.have > 0 {
        let padded = window.bits | u64::MAX >> window.have;
        if padded == u64::MAX {
            // Padding is the beginning of the end's code, and less than a byte.
            match window.have < 8 {
                true => break,
                false => return Err(Bad::Huffman),
            }
        }
        let (length, symbol) = symbol(padded)?;
        window.have = window.have.checked_sub(length).ok_or(Bad::Huffman)?;
        window.bits <<= length;
        *places.next().ok_or(Bad::Huffman)? = symbol;
    }
    let length = room - places.len();
    Ok(scratch.get(..length).unwrap_or_default())
}

/// How many bytes a text takes in this code.
pub(super) fn length(text: &[u8]) -> usize {
    let lengths = text.iter().map(|byte| usize::from(code(*byte).length));
    lengths.sum::<usize>().div_ceil(8)
}

fn code(byte: u8) -> Code {
    let none = Code { bits: 0, length: 0 };
    TABLES.codes.get(usize::from(byte)).copied().unwrap_or(none)
}

/// Writes a text in this code.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    let (mut bits, mut have) = (0_u64, 0);
    for byte in text {
        let Code { bits: more, length } = code(*byte);
        bits = bits << length | u64::from(more);
        have += u32::from(length);
        if have >= 32 {
            have -= 32;
            let [_, _, _, _, a, b, c, d] = (bits >> have).to_be_bytes();
            out.put_slice(&[a, b, c, d]);
        }
    }
    let padding = have.next_multiple_of(8) - have;
    bits = (bits << padding) | ((1 << padding) - 1);
    have += padding;
    while have > 0 {
        have -= 8;
        let [.., byte] = (bits >> have).to_be_bytes();
        out.put_u8(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decoded(text: &[u8]) -> Result<Vec<u8>, Bad> {
        decode(text, &mut Vec::new()).map(<[u8]>::to_vec)
    }

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(text, &mut out);
        assert_eq!(out.len(), length(text));
        out.to_vec()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (symbol, bits, length) in [
            (usize::from(b'0'), 0x0, 5),
            (usize::from(b't'), 0x9, 5),
            (usize::from(b' '), 0x14, 6),
            (usize::from(b'Z'), 0xfd, 8),
            (usize::from(b'!'), 0x3f8, 10),
            (0, 0x1ff8, 13),
            (127, 0xfff_fffc, 28),
            (255, 0x3ff_ffee, 26),
            (10, 0x3fff_fffc, 30),
            (256, 0x3fff_ffff, 30),
        ] {
            let code = TABLES.codes[symbol];
            assert_eq!((code.bits, code.length), (bits, length), "{symbol}");
        }
    }

    #[test]
    fn every_byte_comes_back_at_every_place() {
        for byte in 0..=255 {
            for before in 0..9 {
                let text = [&vec![b'0'; before][..], &[byte; 3], b"a"].concat();
                assert_eq!(decoded(&encoded(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        for (text, expect) in [
            (&[][..], Ok(&b""[..])),
            // 0 is 00000, and seven bits of padding are the most.
            (&[0b0000_0111], Ok(b"0")),
            (&[0b0000_0110], Err(Bad::Huffman)),
            (&[0b0000_0000], Err(Bad::Huffman)),
            (&[0b1111_1111], Err(Bad::Huffman)),
            (&[0b1111_1110], Err(Bad::Huffman)),
            (&[0b0000_0111, 0xff], Err(Bad::Huffman)),
            // X is 11111100, and comes out even; '&' is 11111000.
            (&[0b1111_1100], Ok(b"X")),
            (&[0b1111_1100, 0xff], Err(Bad::Huffman)),
            (&[0b1111_1000, 0b0000_0111], Ok(b"&0")),
        ] {
            assert_eq!(decoded(text), expect.map(<[u8]>::to_vec), "{text:x?}");
        }
    }

    #[test]
    fn the_end_of_a_text_is_no_part_of_one() {
        for text in [
            &[0xff, 0xff, 0xff, 0xff][..],
            &[0xff, 0xff, 0xff, 0xfc],
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        ] {
            assert_eq!(decoded(text), Err(Bad::Huffman), "{text:x?}");
        }
    }

    #[test]
    fn a_code_that_is_cut_off_is_none() {
        // What is left of it is no padding, unless it is one by chance.
        for byte in (0..=255).filter(|byte| code(*byte).length > 8) {
            let whole = encoded(&[byte]);
            for cut in 1..whole.len() {
                assert_eq!(decoded(&whole[..cut]), Err(Bad::Huffman), "{byte}");
            }
        }
    }
}
