//! How codecs read: a cursor over bytes that never indexes past their end, and a framer that cuts a stream into frames of a
//! known length.
//!
//! Both serve private protocols as much as our own: [`crate::example`] shows them in use.

use bytes::{Bytes, BytesMut};

use crate::codec::{DecodeError, Span};

/// A cursor over bytes. Whatever is asked of it beyond their end is `None`, and it stays where it was.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// At `at`, or at the end where that is beyond it.
    pub fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        let at = at.min(bytes.len());
        Self { bytes, at }
    }

    /// Within a span of `bytes`; positions stay those of `bytes`.
    pub fn within(bytes: &'a [u8], span: Span) -> Self {
        let bytes = bytes.get(..span.end()).unwrap_or(bytes);
        Self::starting_at(bytes, span.start())
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// What is left, without moving.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte, without moving.
    pub fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..len)?;
        self.at += len;
        Some(taken)
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(drop)
    }

    /// Where the next `len` bytes lie.
    pub fn span(&mut self, len: usize) -> Option<Span> {
        let start = self.at;
        self.skip(len)?;
        Span::new(start, self.at)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.rest().first_chunk()?;
        self.at += N;
        Some(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes, the higher first.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, the highest first.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, the highest first.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// A signed number of two bytes.
    pub fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// A signed number of four bytes.
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A length of four bytes that is signed on the wire: `None` beyond the end, an error where it is negative.
    pub fn length(&mut self) -> Option<Result<usize, DecodeError>> {
        let length = self.i32()?;
        Some(usize::try_from(length).map_err(|_| DecodeError::BadLength))
    }
}

/// What the bytes of a frame that have come say of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// So many bytes are needed to say more.
    Needs(usize),
    /// The frame is so long.
    Frame {
        /// Its first part, which suffices to answer it.
        head: usize,
        /// All of it.
        total: usize,
    },
}

/// What a framer cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A whole frame.
    Frame(Bytes),
    /// The head of a frame that is longer than the limit; the rest of it is passed over as it comes, and never kept.
    TooLarge(Bytes),
}

/// Cuts a stream into frames, and keeps its place: what has been measured is not measured again before the rest has come.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    /// Bytes that have to be there before looking again is of use.
    wanted: usize,
    /// Bytes of a frame over the limit that are still to be passed over.
    skipping: usize,
}

impl Framer {
    /// With a limit of one frame's bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            wanted: 0,
            skipping: 0,
        }
    }

    /// How many more bytes the frame under way needs at least, beside the `have` that are there.
    pub fn wants(&self, have: usize) -> usize {
        self.wanted.saturating_sub(have)
    }

    /// Takes the next frame off the front of `input`, if it is all here. `measure` sees what is here of it.
    pub fn take(
        &mut self,
        input: &mut BytesMut,
        measure: impl FnOnce(&[u8]) -> Result<Measure, DecodeError>,
    ) -> Result<Option<Taken>, DecodeError> {
        if self.skipping > 0 {
            let passed = self.skipping.min(input.len());
            drop(input.split_to(passed));
            self.skipping -= passed;
        }
        if self.skipping > 0 || input.is_empty() || input.len() < self.wanted {
            return Ok(None);
        }
        let (head, total) = match measure(input)? {
            Measure::Needs(bytes) if bytes > input.len() => {
                self.wanted = bytes;
                return Ok(None);
            }
            // A measure that asks for what it has would wait for ever.
            Measure::Needs(_) | Measure::Frame { total: 0, .. } => {
                return Err(DecodeError::BadLength);
            }
            Measure::Frame { head, total } => (head.min(total), total),
        };
        let enough = if total > self.limit { head } else { total };
        if input.len() < enough {
            self.wanted = enough;
            return Ok(None);
        }
        self.wanted = 0;
        let taken = input.split_to(enough);
        if total > self.limit {
            self.skipping = total - enough;
            return Ok(Some(Taken::TooLarge(Bytes::copy_from_slice(&taken))));
        }
        Ok(Some(Taken::Frame(taken.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that says how many follow.
    fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
        Ok(match bytes.first() {
            None => Measure::Needs(1),
            Some(len) => Measure::Frame {
                head: 1,
                total: usize::from(*len) + 1,
            },
        })
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.take(4), None);
        assert_eq!(reader.u16(), Some(0x0102));
        assert_eq!(reader.span(2), None);
        assert_eq!(reader.span(1).map(|span| span.range()), Some(2..3));
        assert_eq!((reader.u8(), reader.remaining()), (None, 0));
        assert_eq!(Reader::starting_at(&[1], 7).peek(), None);
    }

    #[test]
    fn a_negative_length_is_an_error() {
        let negative = 0x8000_0000_u32.to_be_bytes();
        assert_eq!(
            Reader::new(&negative).length(),
            Some(Err(DecodeError::BadLength))
        );
        assert_eq!(Reader::new(&negative[..3]).length(), None);
    }

    #[test]
    fn a_frame_over_the_limit_is_passed_over_and_the_next_one_read() {
        let mut framer = Framer::new(4);
        let mut input = BytesMut::from(&b"\x05ab"[..]);
        let taken = framer.take(&mut input, measure).unwrap();
        assert_eq!(taken, Some(Taken::TooLarge(Bytes::from_static(b"\x05"))));
        input.extend_from_slice(b"cd");
        assert_eq!(framer.take(&mut input, measure), Ok(None));
        assert!(input.is_empty());
        input.extend_from_slice(b"e\x02xy");
        let taken = framer.take(&mut input, measure).unwrap();
        assert_eq!(taken, Some(Taken::Frame(Bytes::from_static(b"\x02xy"))));
    }

    #[test]
    fn a_frame_is_not_measured_again_before_it_is_whole() {
        let mut framer = Framer::new(100);
        let mut input = BytesMut::from(&b"\x03a"[..]);
        assert_eq!(framer.take(&mut input, measure), Ok(None));
        assert_eq!(framer.wants(input.len()), 2);
        input.extend_from_slice(b"b");
        assert_eq!(
            framer.take(&mut input, |_| Err(DecodeError::BadMagic)),
            Ok(None)
        );
        input.extend_from_slice(b"c");
        assert!(framer.take(&mut input, measure).unwrap().is_some());
    }
}
