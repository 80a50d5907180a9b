//! Field blocks of a peer, decoded line by line.

use super::fixed::{self, FIXED};
use super::primitive::{integer, text};
use super::table::{Kept, Table};
use super::{Bad, Line};
use crate::FieldId;

/// Buffers of Huffman's code that are larger are given back at the end of a block: few texts are so long.
const SCRATCH_MAX: usize = 512;

/// The decoder of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the peer may make the table.
    announced: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// With a table of so many bytes at most, which is what SETTINGS_HEADER_TABLE_SIZE says to the peer.
    pub fn new(max_table: u32) -> Self {
        let announced = max_table as usize;
        Self {
            table: Table::new(announced),
            announced,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// What the lines of its table count together (RFC 7541 §4.1).
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Bytes in the buffers of Huffman's code.
    #[cfg(test)]
    pub(super) fn scratch(&self) -> usize {
        self.name.capacity() + self.value.capacity()
    }

    /// Decodes a whole field block; `take` is given each line, before the block is known to be right. After an error the connection
    /// cannot go on: the table is not the peer's any more.
    pub fn decode(&mut self, mut block: &[u8], take: &mut impl FnMut(Line<'_>)) -> Result<(), Bad> {
        while let Some(0x20..0x40) = block.first() {
            let max = integer(&mut block, 5)?;
            if max > self.announced {
                return Err(Bad::Size);
            }
            self.table.resize(max);
        }
        while let Some(first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    take(line(&self.table, index)?);
                }
                0x40.. => self.kept(&mut block, take)?,
                // A size is told before the first line (RFC 7541 §4.2).
                0x20.. => return Err(Bad::Size),
                _ => self.literal(&mut block, take)?,
            }
        }
        for scratch in [&mut self.name, &mut self.value] {
            if scratch.capacity() > SCRATCH_MAX {
                *scratch = Vec::new();
            }
        }
        Ok(())
    }

    /// A line that is not kept.
    fn literal(&mut self, block: &mut &[u8], take: &mut impl FnMut(Line<'_>)) -> Result<(), Bad> {
        let index = integer(block, 4)?;
        let name = match name(index, block, &mut self.name)? {
            Some(name) => name,
            None => Name::of(self.table.get(index - FIXED - 1).ok_or(Bad::Index)?),
        };
        let value = text(block, &mut self.value)?;
        take(name.line(value));
        Ok(())
    }

    /// A line that comes into the table.
    fn kept(&mut self, block: &mut &[u8], take: &mut impl FnMut(Line<'_>)) -> Result<(), Bad> {
        let index = integer(block, 6)?;
        let name = match name(index, block, &mut self.name)? {
            Some(name) => name,
            None => {
                let kept = self.table.get(index - FIXED - 1).ok_or(Bad::Index)?;
                // The line that it is of may have to go for this one.
                self.name.clear();
                self.name.extend_from_slice(kept.name);
                Name {
                    id: kept.id,
                    fixed: kept.fixed,
                    name: &self.name,
                }
            }
        };
        let value = text(block, &mut self.value)?;
        take(name.line(value));
        self.table.insert(Kept {
            id: name.id,
            fixed: name.fixed,
            name: name.name,
            value,
        });
        Ok(())
    }
}

/// The name of a line, and what is known of it.
#[derive(Clone, Copy)]
struct Name<'a> {
    id: FieldId,
    fixed: u8,
    name: &'a [u8],
}

impl<'a> Name<'a> {
    fn of(kept: Kept<'a>) -> Self {
        Self {
            id: kept.id,
            fixed: kept.fixed,
            name: kept.name,
        }
    }

    #[inline]
    fn line(self, value: &'a [u8]) -> Line<'a> {
        Line {
            id: self.id,
            name: self.name,
            value,
            is_static: self.fixed != 0,
        }
    }
}

/// A name that follows or is in the static table; none if the index is one of the dynamic table.
#[inline]
fn name<'a, 'b: 'a>(
    index: usize,
    block: &mut &'b [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Option<Name<'a>>, Bad> {
    if index == 0 {
        let name = text(block, scratch)?;
        let id = FieldId::of(name);
        return Ok(Some(Name { id, fixed: 0, name }));
    }
    Ok(fixed::line(index).map(|line| Name {
        id: line.id,
        fixed: u8::try_from(index).unwrap_or(u8::MAX),
        name: line.name,
    }))
}

/// The line of an index.
#[inline]
fn line(table: &Table, index: usize) -> Result<Line<'_>, Bad> {
    if let Some(line) = fixed::line(index) {
        return Ok(Line {
            id: line.id,
            name: line.name,
            value: line.value,
            is_static: true,
        });
    }
    // Of the index 0 this makes one that no table has.
    let line = table.get(index.wrapping_sub(FIXED + 1)).ok_or(Bad::Index)?;
    Ok(Name::of(line).line(line.value))
}
