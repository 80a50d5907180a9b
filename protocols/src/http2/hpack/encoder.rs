//! Field blocks of our own.
//!
//! ```text
//!   line ─► in the dynamic table? ─► an index
//!             └─► in the static one? ─► an index
//!                   └─► what is its name's policy? ─► kept: from now on an index
//!                                                └─► a literal as it is
//! ```
//!
//! Lines are found in the dynamic table by a hash of their ends, which has four places in an array; a line whose place others take is
//! sent and kept once more. So neither a table full of lines nor values chosen to have one hash make a line dear.

use bytes::{BufMut, BytesMut};

use super::fixed::{self, Fixed};
use super::name::CASE;
use super::policy::{self, How, Known};
use super::primitive::{put_integer, put_short_text, put_text};
use super::table::{Kept, Table};
use crate::FieldId;

/// The protocol's default: more would be memory for each connection, less saves none that answers do not fill.
const TABLE_MAX: u32 = 4096;
/// Sets of places by a line's hash: a few lines' for each that answers repeat.
const SETS: usize = 32;
/// Places of a set.
const PLACES: usize = 4;
/// Sets of what was seen lately, and not kept, and the places of each: for more lines than come again, each of some answers.
const SEEN_SETS: usize = 16;
const SEEN: usize = 4;
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
    places: [[Place; PLACES]; SETS],
    /// By tag; of a set, the latest first.
    seen: [[u16; SEEN]; SEEN_SETS],
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
            places: [[Place::default(); PLACES]; SETS],
            seen: [[0; SEEN]; SEEN_SETS],
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
        let known = policy::by_id(id);
        if known.how == How::Plain {
            let line = Kept {
                id,
                fixed: known.fixed,
                name: id.name().as_bytes(),
                value,
            };
            return put_literal(0x00, &line, out);
        }
        let hash = Hash::of(id, name, value);
        match self.find(hash, id, name, value) {
            Some(age) => put_integer(out, 0x80, 7, fixed::FIXED + 1 + age),
            None => self.put_unkept((id, name, value), hash, out),
        }
    }

    /// Writes a line that is not in the table.
    fn put_unkept(
        &mut self,
        (id, name, value): (FieldId, &[u8], &[u8]),
        hash: Hash,
        out: &mut BytesMut,
    ) {
        let is_known = id != FieldId::Other;
        let Known { fixed, how } = match is_known {
            true => policy::by_id(id),
            false => policy::by_name(name, value),
        };
        let index = usize::from(fixed);
        let mut room = [0; NAME_MAX];
        let name = match fixed::line(index) {
            Some(line) => {
                if let Some(index) = whole(index, line, value) {
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
        // What would leave room for little else is not kept.
        let fits = line.size() <= self.table.max() / 4 * 3;
        match how {
            How::Keep if fits => self.keep(line, hash, out),
            How::KeepSeen if fits && self.saw(hash) => self.keep(line, hash, out),
            How::Keep | How::KeepSeen | How::Plain => put_literal(0x00, &line, out),
            How::Never => put_literal(0x10, &line, out),
        }
    }

    /// Writes a line that both ends keep.
    fn keep(&mut self, line: Kept<'_>, hash: Hash, out: &mut BytesMut) {
        put_integer(out, 0x40, 6, usize::from(line.fixed));
        if line.fixed == 0 {
            put_short_text(out, line.name);
        }
        put_short_text(out, line.value);
        self.table.insert(line);
        self.note(hash);
    }

    /// How many newer lines are before that one.
    #[inline]
    fn find(&self, hash: Hash, id: FieldId, name: &[u8], value: &[u8]) -> Option<usize> {
        let set = self.places.get(hash.set())?;
        // Of two with one tag there is only the newer.
        let place = set.iter().find(|place| place.tag == hash.tag())?;
        let age = usize::from(self.kept.wrapping_sub(place.number));
        self.table.is(age, id, name, value).then_some(age)
    }

    /// Notes where the newest line is: in the place of one with that tag, of one that has gone, or of the oldest; among those that were
    /// never used in the first, which is looked at first.
    fn note(&mut self, hash: Hash) {
        self.kept = self.kept.wrapping_add(1);
        let (tag, number) = (hash.tag(), self.kept);
        let set = self.places.get_mut(hash.set());
        let age = |place: &&mut Place| (place.tag == tag, number.wrapping_sub(place.number));
        if let Some(oldest) = set.and_then(|set| set.iter_mut().rev().max_by_key(age)) {
            *oldest = Place { tag, number };
        }
    }

    /// Whether a line like that was seen lately; from now on it was.
    fn saw(&mut self, hash: Hash) -> bool {
        let Some(set) = self.seen.get_mut(hash.seen()) else {
            return false;
        };
        let saw = set.contains(&hash.tag());
        if !saw {
            set.rotate_right(1);
            let [latest, ..] = set;
            *latest = hash.tag();
        }
        saw
    }
}

/// A hash of both ends of a name and a value. It need not be a good one: lines are compared, and looked for in few places.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    #[inline]
    fn of(id: FieldId, name: &[u8], value: &[u8]) -> Self {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let name = match id == FieldId::Other {
            true => ends(name, CASE),
            false => id as u64,
        };
        Self((name.rotate_left(29) ^ ends(value, 0)).wrapping_mul(ODD))
    }

    /// The upper bits of a product are of all bits of what was multiplied.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the other bits are the set"
    )]
    fn tag(self) -> u16 {
        (self.0 >> 43) as u16
    }

    #[inline]
    fn set(self) -> usize {
        usize::try_from(self.0 >> 59).unwrap_or(0) % SETS
    }

    fn seen(self) -> usize {
        usize::try_from(self.0 >> 39).unwrap_or(0) % SEEN_SETS
    }
}

/// The line of the static table with that name and value, of which the first with that name is given.
#[inline]
fn whole(first: usize, line: &Fixed, value: &[u8]) -> Option<usize> {
    if line.value.is_empty() {
        return value.is_empty().then_some(first);
    }
    let lines = (first..).map_while(|index| Some((index, fixed::line(index)?)));
    let mut lines = lines.take_while(|(_, other)| other.name == line.name);
    let found = lines.find(|(_, other)| other.value == value);
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
fn put_literal(pattern: u8, line: &Kept<'_>, out: &mut BytesMut) {
    let length = u8::try_from(line.value.len());
    if let (Ok(length @ ..0x7f), 0x0f..) = (length, line.fixed) {
        // Nearly all are like that: an index of two bytes, and a length of one.
        out.put_slice(&[pattern | 0x0f, line.fixed - 0x0f, length]);
        return out.put_slice(line.value);
    }
    put_integer(out, pattern, 4, usize::from(line.fixed));
    if line.fixed == 0 {
        put_text(out, line.name);
    }
    put_text(out, line.value);
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

/// The first bytes of a text, the last, and how many there are; with some bits set in each byte.
#[inline]
fn ends(text: &[u8], set: u64) -> u64 {
    let (first, last) = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) => (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)) << 32,
            ),
            _ => {
                let join = |bytes: u64, byte: &u8| bytes << 8 | u64::from(*byte);
                (text.iter().fold(0, join), 0)
            }
        },
    };
    (first | set) ^ (last | set).rotate_left(23) ^ (text.len() as u64) << 56
}
