//! Field blocks of our own.
//!
//! ```text
//!   line ─► in the static table? ─► an index
//!     └─► kept by policy? ─► place of its hash ─► in the table? ─► an index
//!           │                                       └─► new: kept, in Huffman's code, once it is worth it
//!           └─► a literal as it is
//! ```
//!
//! Lines are found in the table by a hash of their ends in an array of fixed size, in four steps at most; a line whose place others
//! take is sent and kept once more. So neither a table full of lines nor values chosen to have one hash make a line dear.

use bytes::{BufMut, BytesMut};

use super::fixed;
use super::policy::{self, How, Known};
use super::primitive::{put_integer, put_short_text, put_text};
use super::table::{Kept, Table};
use crate::FieldId;

/// The protocol's default: more would be memory for each connection, less saves none that answers do not fill.
const TABLE_MAX: u32 = 4096;
/// Places of lines by their hash: several for each line that a table of answers has.
const PLACES: usize = 64;
/// How many of them may hold a line.
const PROBES: usize = 4;
/// What was seen lately, and not kept: as many lines as some answers have that never come again.
const SEEN: usize = 32;
/// Longer names are not looked up.
const NAME_MAX: usize = 64;

/// A line of the table: part of its hash, and its number in the order in which lines were kept, which wraps.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    tag: u16,
    number: u16,
}

/// Sizes of the table that the peer has to hear of.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    smallest: u32,
    last: u32,
}

/// The encoder of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    max: u32,
    pending: Option<Sizes>,
    /// How many lines were kept.
    kept: u16,
    places: [Place; PLACES],
    seen: [u16; SEEN],
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// With the table that every peer has until it says otherwise.
    pub fn new() -> Self {
        Self {
            table: Table::new(TABLE_MAX as usize),
            max: TABLE_MAX,
            pending: None,
            kept: 0,
            places: [Place::default(); PLACES],
            seen: [0; SEEN],
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE: the table is no larger, and the next block begins with what it is.
    pub fn resize(&mut self, peers_max: u32) {
        let last = peers_max.min(TABLE_MAX);
        let so_far = self.pending.map_or(self.max, |sizes| sizes.smallest);
        let smallest = so_far.min(last);
        self.pending = Some(Sizes { smallest, last });
    }

    /// What the lines of its table count together (RFC 7541 §4.1).
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Begins a block.
    #[inline]
    pub fn begin(&mut self, out: &mut BytesMut) {
        if let Some(sizes) = self.pending.take() {
            self.put_sizes(sizes, out);
        }
    }

    /// RFC 7541 §4.2: the smallest that it has been, then the last.
    fn put_sizes(&mut self, Sizes { smallest, last }: Sizes, out: &mut BytesMut) {
        for size in [smallest, last] {
            if size != self.max {
                put_integer(out, 0x20, 5, size as usize);
                self.table.resize(size as usize);
                self.max = size;
            }
        }
    }

    /// Writes `:status`.
    #[inline]
    pub fn status(&mut self, status: u16, out: &mut BytesMut) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => return put_status(status, out),
        };
        out.put_u8(0x80 | index);
    }

    /// Writes a field, its name in lower case.
    pub fn field(&mut self, id: FieldId, name: &[u8], value: &[u8], out: &mut BytesMut) {
        let is_known = id != FieldId::Other;
        let Known { fixed, how } = match is_known {
            true => policy::by_id(id),
            false => policy::by_name(name, value),
        };
        let index = usize::from(fixed);
        let mut room = [0; NAME_MAX];
        let name = match fixed::line(index) {
            Some(line) => {
                if let Some(index) = whole(index, line.name, line.value, value) {
                    return put_integer(out, 0x80, 7, index);
                }
                line.name
            }
            None if is_known => id.name().as_bytes(),
            None => match lower(name, &mut room) {
                Some(name) => name,
                None => return put_long_name(name, value, out),
            },
        };
        let line = Kept {
            id,
            fixed,
            name,
            value,
        };
        match how {
            How::Keep => self.put_kept(line, true, out),
            How::KeepSeen => self.put_kept(line, false, out),
            How::Plain => put_literal(0x00, line, out),
            How::Never => put_literal(0x10, line, out),
        }
    }

    /// Writes a line that is in the table or may be put there: at once, or once it was seen.
    fn put_kept(&mut self, line: Kept<'_>, at_once: bool, out: &mut BytesMut) {
        let hash = hash(&line);
        let [_, _, a, b, _, _, first, seen] = hash.to_be_bytes();
        let tag = u16::from_be_bytes([a, b]);
        if let Some(age) = self.find(first, tag, &line) {
            return put_integer(out, 0x80, 7, fixed::FIXED + 1 + age);
        }
        // What would leave room for little else is not kept.
        let fits = line.size() <= self.table.max() / 4 * 3;
        if !fits || !at_once && !self.saw(seen, tag) {
            return put_literal(0x00, line, out);
        }
        put_name(0x40, 6, &line, put_short_text, out);
        put_short_text(out, line.value);
        self.table.insert(line);
        self.note(first, tag);
    }

    /// How many newer lines are before that one.
    fn find(&self, first: u8, tag: u16, line: &Kept<'_>) -> Option<usize> {
        (0..PROBES).find_map(|step| {
            let place = self.places.get((usize::from(first) + step) % PLACES)?;
            if place.tag != tag {
                return None;
            }
            let age = self.age(*place);
            let found = self.table.get(age)?;
            let is_it = found.fixed == line.fixed
                && found.value == line.value
                && (line.fixed != 0 || found.name == line.name);
            is_it.then_some(age)
        })
    }

    fn age(&self, place: Place) -> usize {
        usize::from(self.kept.wrapping_sub(place.number))
    }

    /// Notes where the newest line is: in the place of one that has gone, or of the oldest.
    fn note(&mut self, first: u8, tag: u16) {
        self.kept = self.kept.wrapping_add(1);
        let places = (0..PROBES).map(|step| (usize::from(first) + step) % PLACES);
        let age = |at: &usize| self.places.get(*at).map(|place| self.age(*place));
        let oldest = places.max_by_key(age);
        let number = self.kept;
        if let Some(place) = oldest.and_then(|at| self.places.get_mut(at)) {
            *place = Place { tag, number };
        }
    }

    /// Whether a line like that was seen lately; from now on it was.
    fn saw(&mut self, at: u8, tag: u16) -> bool {
        let place = self.seen.get_mut(usize::from(at) % SEEN);
        place.is_some_and(|seen| std::mem::replace(seen, tag) == tag)
    }
}

/// The line of the static table with that name and value, of which the first with that name is given.
#[inline]
fn whole(first: usize, name: &[u8], its_value: &[u8], value: &[u8]) -> Option<usize> {
    if its_value == value {
        return Some(first);
    }
    if its_value.is_empty() {
        return None;
    }
    let lines = (first..).map_while(|index| Some((index, fixed::line(index)?)));
    let mut lines = lines.take_while(|(_, line)| line.name == name);
    let found = lines.find(|(_, line)| line.value == value);
    found.map(|(index, _)| index)
}

/// A name in lower case; none if it is too long.
#[inline]
fn lower<'a>(name: &[u8], room: &'a mut [u8; NAME_MAX]) -> Option<&'a [u8]> {
    let room = room.get_mut(..name.len())?;
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    Some(room)
}

/// A status without a line of its own: of three digits, as RFC 9110 §15 has it.
fn put_status(status: u16, out: &mut BytesMut) {
    let digit = |of: u16| {
        let [_, digit] = (of % 10).to_be_bytes();
        b'0' + digit
    };
    let digits = [digit(status / 100), digit(status / 10), digit(status)];
    let [hundreds, tens, ones] = digits;
    out.put_slice(&[0x08, 0x03, hundreds, tens, ones]);
}

/// Writes a line that is not kept: the pattern says by whom.
fn put_literal(pattern: u8, line: Kept<'_>, out: &mut BytesMut) {
    out.reserve(line.size());
    put_name(pattern, 4, &line, put_text, out);
    put_text(out, line.value);
}

/// Writes the pattern with the name's index, or before the name.
#[inline]
fn put_name(
    pattern: u8,
    bits: u32,
    line: &Kept<'_>,
    put: fn(&mut BytesMut, &[u8]),
    out: &mut BytesMut,
) {
    put_integer(out, pattern, bits, usize::from(line.fixed));
    if line.fixed == 0 {
        put(out, line.name);
    }
}

/// Writes a line with a name too long to be looked up.
fn put_long_name(name: &[u8], value: &[u8], out: &mut BytesMut) {
    out.put_u8(0x00);
    put_text(out, name);
    let start = out.len() - name.len();
    if let Some(name) = out.get_mut(start..) {
        name.make_ascii_lowercase();
    }
    put_text(out, value);
}

/// A hash of the name and of both ends of the value. It need not be a good one: lines are compared, and looked for in few places.
#[inline]
fn hash(line: &Kept<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let name = match line.fixed {
        0 => ends(line.name),
        fixed => u64::from(fixed),
    };
    let mixed = (name.rotate_left(32) ^ ends(line.value)).wrapping_mul(ODD);
    (mixed ^ mixed >> 32).wrapping_mul(ODD) ^ mixed >> 29
}

/// The first and the last bytes, and how many there are.
#[inline]
fn ends(text: &[u8]) -> u64 {
    let (first, last) = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) => (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)) << 32,
            ),
            _ => {
                let byte = |at: usize| text.get(at).map_or(0, |byte| u64::from(*byte));
                (byte(0) | byte(1) << 8 | byte(2) << 16, 0)
            }
        },
    };
    first ^ last.rotate_left(23) ^ (text.len() as u64) << 56
}
