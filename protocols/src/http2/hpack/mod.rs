//! HPACK (RFC 7541): the fields of HTTP/2 as numbers, and as bytes where they are new.
//!
//! ```text
//!   block    = size update* line*
//!   line     = 1 index                        ─► a line of the tables, whole
//!            | 01 index name? value           ─► new; and kept in the table
//!            | 0000 index name? value         ─► new; not kept
//!            | 0001 index name? value         ─► new; nobody on the way may keep it
//!   index    = 1 ..= 61 the static table · 62 .. the dynamic one, its newest line first · 0 the name follows
//!   name, value = H length bytes              ─► H: Huffman's code
//! ```
//!
//! Both ends keep the same dynamic table, so that every block has to be decoded, also one whose request is refused; and whatever is
//! wrong with a block is wrong with the connection (RFC 9113 §4.3: COMPRESSION_ERROR).

mod decoder;
mod encoder;
mod fixed;
mod huffman;
mod name;
mod policy;
mod primitive;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;

use crate::FieldId;

/// One decoded line, borrowed from a table, the block or a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which of the known names.
    pub id: FieldId,
    /// The name as it came.
    pub name: &'a [u8],
    /// The value as it came.
    pub value: &'a [u8],
    /// Its name is one of the static table's, and needs no check.
    pub is_static: bool,
}

/// What is wrong with a block: each a COMPRESSION_ERROR of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// No line has that index.
    Index,
    /// A number is larger than any that can be meant, or is written with more bytes than it may have.
    Integer,
    /// A code that is none, or padding that is none.
    Huffman,
    /// A size of the table beyond what was announced, or one that does not stand at the start.
    Size,
    /// The block ends within a line.
    Truncated,
}
