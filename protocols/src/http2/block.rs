//! Field blocks of trailers, walked for pseudo-fields: the codec drops those and tells nobody, where RFC 9113 §8.1 calls the message malformed.
//!
//! ```text
//!   first byte ─► index … ─┬─► (indexed, size of the table) ────────────────────────► first byte
//!                          └─► name: length … bytes ─► value: length … bytes ───────► first byte
//! ```
//!
//! HPACK's lines (RFC 7541 §6) can be told apart without its table, and names in the static one are known; so only a name that
//! stands in the connection's own table passes unseen, and that one the codec still drops. Trailers are rare and short, so bytes go one by one.

use super::heads::{HEAD, length};

/// PADDED and PRIORITY, of HEADERS.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What PRIORITY puts before the fields.
const PRIORITY_LEN: u32 = 5;
/// The last entry of the static table whose name begins with a colon (RFC 7541, Appendix A).
const LAST_PSEUDO: u32 = 14;
/// The code of `:` (RFC 7541, Appendix B), where it begins a byte.
const COLON: u8 = 0b1011_1000;

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At a line's first byte.
    Line,
    /// In a number that goes on.
    Number { of: Number, value: u32, shift: u32 },
    /// Before a text's length.
    Length { name: bool },
    /// In a text.
    Text {
        name: bool,
        huffman: bool,
        left: u32,
        first: bool,
    },
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// The index of a whole field.
    Field,
    /// That of a name, before a value.
    Name,
    /// A size of the table.
    Size,
    /// A text's length.
    Text { name: bool, huffman: bool },
}

/// A walk through one field block, which may lie in several frames.
#[derive(Debug)]
pub(super) struct Block {
    state: State,
    /// Bytes before the fields in this frame: of padding's length, and of a priority.
    lead: u32,
    padded: bool,
    /// Bytes of fields in this frame.
    left: u32,
}

impl Block {
    /// The block that a frame of HEADERS begins.
    pub(super) fn new(head: &[u8; HEAD]) -> Self {
        let mut block = Self {
            state: State::Line,
            lead: 0,
            padded: false,
            left: 0,
        };
        block.go_on(head);
        block
    }

    /// A further frame of it.
    pub(super) fn go_on(&mut self, head: &[u8; HEAD]) {
        let [_, _, _, kind, flags, ..] = *head;
        // CONTINUATION has neither flag.
        let flags = if kind == 1 { flags } else { 0 };
        self.padded = flags & PADDED != 0;
        self.lead = if flags & PRIORITY != 0 {
            PRIORITY_LEN
        } else {
            0
        };
        self.left = length(head);
    }

    /// The next bytes of the frame; says whether a pseudo-field begins in them.
    pub(super) fn has_pseudo(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| self.byte(*byte))
    }

    fn byte(&mut self, byte: u8) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.padded {
            self.padded = false;
            self.left = self.left.saturating_sub(u32::from(byte));
            return false;
        }
        if self.lead > 0 {
            self.lead -= 1;
            return false;
        }
        match self.state {
            State::Line => {
                let (of, bits) = match byte {
                    0x80.. => (Number::Field, 7),
                    0x40.. => (Number::Name, 6),
                    0x20.. => (Number::Size, 5),
                    _ => (Number::Name, 4),
                };
                self.begin(of, byte, bits)
            }
            State::Number { of, value, shift } => {
                let more = u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
                let value = value.saturating_add(more);
                if byte & 0x80 == 0 {
                    return self.number(of, value);
                }
                let shift = shift + 7;
                self.state = State::Number { of, value, shift };
                false
            }
            State::Length { name } => {
                let huffman = byte & 0x80 != 0;
                self.begin(Number::Text { name, huffman }, byte, 7)
            }
            State::Text {
                name,
                huffman,
                left,
                first,
            } => {
                self.text(name, huffman, left.saturating_sub(1), false);
                first && name && is_colon(byte, huffman)
            }
        }
    }

    /// A number that begins in the low bits of a byte (RFC 7541 §5.1).
    fn begin(&mut self, of: Number, byte: u8, bits: u32) -> bool {
        let most = (1 << bits) - 1;
        let value = u32::from(byte) & most;
        if value < most {
            return self.number(of, value);
        }
        let shift = 0;
        self.state = State::Number { of, value, shift };
        false
    }

    /// What comes after a number; says whether it is that of a pseudo-field.
    fn number(&mut self, of: Number, value: u32) -> bool {
        match of {
            Number::Field | Number::Size => self.state = State::Line,
            Number::Name => self.state = State::Length { name: value == 0 },
            Number::Text { name, huffman } => self.text(name, huffman, value, true),
        }
        let is_index = matches!(of, Number::Field | Number::Name);
        is_index && (1..=LAST_PSEUDO).contains(&value)
    }

    fn text(&mut self, name: bool, huffman: bool, left: u32, first: bool) {
        self.state = match (left, name) {
            (0, true) => State::Length { name: false },
            (0, false) => State::Line,
            _ => State::Text {
                name,
                huffman,
                left,
                first,
            },
        };
    }
}

/// Whether a name that begins with this byte begins with a colon.
fn is_colon(byte: u8, huffman: bool) -> bool {
    match huffman {
        true => byte & 0b1111_1110 == COLON,
        false => byte == b':',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame's head and payload.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> ([u8; HEAD], Vec<u8>) {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [high, middle, low, kind, flags, 0, 0, 0, 1];
        (head, payload.to_vec())
    }

    /// Whether a walk through these frames finds one, however they are cut.
    #[track_caller]
    fn check(frames: &[([u8; HEAD], Vec<u8>)], expect: bool) {
        for cut in 1..8 {
            let mut walk: Option<Block> = None;
            let mut found = false;
            for (head, payload) in frames {
                match &mut walk {
                    None => walk = Some(Block::new(head)),
                    Some(walk) => walk.go_on(head),
                }
                for piece in payload.chunks(cut) {
                    found |= walk.as_mut().unwrap().has_pseudo(piece);
                }
            }
            assert_eq!(found, expect, "{frames:?} cut by {cut}");
        }
    }

    #[test]
    fn pseudo_fields_are_found_wherever_they_stand_in_a_block() {
        let long = [&b"\x00\x7f\x00"[..], &[b'a'; 127], b"\x01:"].concat();
        for (block, expect) in [
            // Literal names: plain, and Huffman's `:path` and `x-t`.
            (&b"\x00\x05:path\x01x"[..], true),
            (b"\x40\x05:path\x01x", true),
            (b"\x10\x05:path\x01x", true),
            (b"\x00\x84\xb9\x58\xd3\x3f\x01x", true),
            (b"\x00\x83\xf2\xb4\xff\x01x", false),
            (b"\x00\x03x-t\x05:path", false),
            (b"\x00\x00\x05:path", false),
            (b"\x00\x03x:t\x01x", false),
            // Names and fields of the static table.
            (b"\x04\x02/x", true),
            (b"\x44\x02/x", true),
            (b"\x88", true),
            (b"\x8e", true),
            (b"\x8f", false),
            (b"\x90", false),
            (b"\x0f\x00\x01x", false),
            (b"\x1f\x00\x01x", false),
            (b"\xbe", false),
            (b"\xff\x00", false),
            // Behind others, and behind a size of the table.
            (b"\x00\x03x-t\x01y\x00\x05:path\x01x", true),
            (b"\x20\x3f\xe1\x1f\x84", true),
            (b"\x20\x3f\xe1\x1f\xbe", false),
            (&long, false),
            // What never ends, and what is no HPACK at all.
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x84", false),
            (b"\x00\x7f\xff\xff\xff\xff\xff\xff:path", false),
            (b"\x80", false),
            (b"", false),
        ] {
            check(&[frame(1, 5, block)], expect);
        }
    }

    #[test]
    fn padding_and_priority_are_no_fields() {
        let padded = frame(1, 5 | PADDED, b"\x03\x00\x01x\x01y\x84\x84\x84");
        check(&[padded], false);
        let padded = frame(1, 5 | PADDED, b"\x03\x84\x00\x00\x00");
        check(&[padded], true);
        let both = frame(
            1,
            5 | PADDED | PRIORITY,
            b"\x01\x84\x84\x84\x84\x84\xbe\x84",
        );
        check(&[both], false);
        let too_much = frame(1, 5 | PADDED, b"\xff\x84");
        check(&[too_much], false);
    }

    #[test]
    fn a_block_goes_on_in_the_next_frame() {
        let (head, rest) = (frame(1, 1, b"\x00\x05"), frame(9, 4, b":path\x01x"));
        check(&[head, rest], true);
        // A flag that CONTINUATION does not have.
        let (head, rest) = (
            frame(1, 1, b"\x00"),
            frame(9, 4 | PADDED, b"\x05:path\x01x"),
        );
        check(&[head, rest], true);
        let (head, rest) = (frame(1, 1, b"\x00\x05x-abc"), frame(9, 4, b"\x05:path"));
        check(&[head, rest], false);
    }
}
