//! The dynamic table (RFC 7541 §2.3.2): the lines that both ends have seen last, of one connection and one direction.
//!
//! ```text
//!   bytes    ┊ of lines that have gone ┊ name value name value … name value ┊ room
//!            base                      the oldest line's            the newest
//! ```
//!
//! Names and values lie in one buffer, in order, each in one piece. What has gone is left in front until as much has gone as is there;
//! then the rest moves to the front, so that a byte moves once at most for each that is added, and the buffer stays below twice the table.

use std::collections::VecDeque;

use super::name::{is_equal, is_same};
use crate::FieldId;

/// What a line counts beyond its bytes (RFC 7541 §4.1).
pub(super) const OVERHEAD: usize = 32;
/// The first buffer: some lines.
const FIRST_ROOM: usize = 256;

/// A line of the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it begins, counted from the first byte that was ever added, in 32 bits that wrap.
    at: u32,
    name: u32,
    value: u32,
    id: FieldId,
    /// The index of its name in the static table; zero if it has none.
    fixed: u8,
}

/// A line as it is added or found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) id: FieldId,
    /// The index of its name in the static table; zero if it has none.
    pub(super) fixed: u8,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Kept<'_> {
    /// What it counts.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// The place of the first of `bytes`, as [`Entry::at`] counts.
    base: u32,
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            entries: VecDeque::new(),
            size: 0,
            max,
        }
    }

    /// What its lines count together.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What they may count.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many lines it has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The line before which so many newer ones are.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<Kept<'_>> {
        let entry = self.entries.get(age)?;
        let at = entry.at.wrapping_sub(self.base) as usize;
        let name_end = at + entry.name as usize;
        let end = name_end + entry.value as usize;
        let (name, value) = self.bytes.get(at..end)?.split_at_checked(name_end - at)?;
        Some(Kept {
            id: entry.id,
            fixed: entry.fixed,
            name,
            value,
        })
    }

    /// Whether the line before which so many newer ones are is that one, whatever the case of its name. Nothing is asked of the name that
    /// its id says already.
    #[inline]
    pub(super) fn is(&self, age: usize, id: FieldId, name: &[u8], value: &[u8]) -> bool {
        let Some(entry) = self.entries.get(age) else {
            return false;
        };
        // Lengths first, for they are here.
        if entry.id != id || entry.value as usize != value.len() {
            return false;
        }
        let at = entry.at.wrapping_sub(self.base) as usize;
        let name_end = at + entry.name as usize;
        let found = self.bytes.get(name_end..name_end + value.len());
        if !found.is_some_and(|found| is_equal(found, value)) {
            return false;
        }
        id != FieldId::Other
            || self
                .bytes
                .get(at..name_end)
                .is_some_and(|found| is_same(found, name))
    }

    /// Changes what the lines may count (RFC 7541 §4.3).
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
    }

    /// Adds a line; one that is larger than the table empties it (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, line: Kept<'_>) {
        let size = line.size();
        self.evict(self.max.saturating_sub(size));
        let lengths = (line.name.len().try_into(), line.value.len().try_into());
        let (Ok(name), Ok(value)) = lengths else {
            return;
        };
        if size > self.max {
            return;
        }
        self.make_room(line.name.len() + line.value.len());
        let at = self.end();
        self.bytes.extend_from_slice(line.name);
        self.bytes.extend_from_slice(line.value);
        self.entries.push_front(Entry {
            at,
            name,
            value,
            id: line.id,
            fixed: line.fixed,
        });
        self.size += size;
    }

    /// Drops the oldest until the others count no more than that.
    fn evict(&mut self, max: usize) {
        while self.size > max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.name as usize + oldest.value as usize + OVERHEAD;
        }
    }

    /// Where the next byte goes.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "places wrap, and so much less than 32 bits' worth is kept that they stay apart"
    )]
    fn end(&self) -> u32 {
        self.base.wrapping_add(self.bytes.len() as u32)
    }

    /// Makes room for so many bytes behind the others.
    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        let start = self.entries.back().map_or(self.end(), |oldest| oldest.at);
        let gone = start.wrapping_sub(self.base) as usize;
        if gone * 2 >= self.bytes.len() {
            self.bytes.drain(..gone);
            self.base = start;
        }
        let (has, needs) = (self.bytes.capacity(), self.bytes.len() + more);
        if needs > has {
            let room = needs.max(has * 2).max(FIRST_ROOM).min(self.max * 2);
            self.bytes.reserve_exact(room.max(needs) - self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table, name: &[u8], value: &[u8]) {
        table.insert(Kept {
            id: FieldId::Other,
            fixed: 0,
            name,
            value,
        });
    }

    fn lines(table: &Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = (0..).map_while(|age| table.get(age));
        all.map(|line| (line.name.to_vec(), line.value.to_vec()))
            .collect()
    }

    #[test]
    fn the_oldest_go_first() {
        let mut table = Table::new(34 * 3);
        for value in [b"1", b"2", b"3", b"4"] {
            insert(&mut table, b"a", value);
        }
        let values: Vec<_> = lines(&table).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [b"4", b"3", b"2"]);
        assert_eq!(table.size(), table.max());
        table.resize(34 * 2 - 1);
        assert_eq!(table.len(), 1);
        assert_eq!(table.get(0).unwrap().value, b"4");
        table.resize(0);
        assert_eq!((table.len(), table.size()), (0, 0));
    }

    #[test]
    fn a_line_larger_than_the_table_empties_it() {
        let mut table = Table::new(100);
        insert(&mut table, b"a", b"1");
        insert(&mut table, b"b", &[0; 68]);
        assert_eq!((table.len(), table.size()), (0, 0));
        insert(&mut table, b"b", &[0; 67]);
        assert_eq!((table.len(), table.size()), (1, 100));
    }

    #[test]
    fn the_buffer_stays_below_twice_the_table() {
        let mut table = Table::new(4096);
        let mut expect = Vec::new();
        for turn in 0..20_000_usize {
            let name = vec![b'n'; turn * 7 % 13];
            let value = turn.to_string().repeat(1 + turn * 31 % 200).into_bytes();
            insert(&mut table, &name, &value);
            expect.insert(0, (name, value));
            expect.truncate(table.len());
            assert!(table.bytes.capacity() <= 8192, "{turn}");
            if turn % 97 == 0 {
                assert_eq!(lines(&table), expect, "{turn}");
            }
        }
        // Places have to wrap some time, too.
        table.resize(0);
        table.base = u32::MAX - 300;
        table.bytes.clear();
        table.resize(4096);
        for turn in 0..200 {
            insert(&mut table, b"name", &[turn; 100]);
            assert_eq!(table.get(0).unwrap().value, [turn; 100]);
        }
        assert_eq!(table.len(), 4096 / 136);
        assert_eq!(lines(&table)[10].1, [189; 100]);
    }
}
