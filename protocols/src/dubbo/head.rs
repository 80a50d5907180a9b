//! The fixed part of a frame: `0xdabb(2) · flags(1) · status(1) · id(8) · body's length(4)`.

use crate::codec::DecodeError;
use crate::reader::{Measure, Reader};

/// What every frame begins with.
pub(super) const MAGIC: [u8; 2] = [0xda, 0xbb];
/// All of the fixed part.
pub(super) const LEN: usize = 16;
/// Where the id is.
pub(super) const ID_AT: usize = 4;

/// A request, not an answer.
pub(super) const REQUEST: u8 = 0x80;
/// An answer is wanted.
pub(super) const TWO_WAY: u8 = 0x40;
/// A word between the two ends of the connection.
pub(super) const EVENT: u8 = 0x20;
/// The bits that name the serialization.
const SERIALIZATION: u8 = 0x1f;

/// Statuses that clients of all ages know.
pub(super) mod status {
    pub(in super::super) const OK: u8 = 20;
    pub(in super::super) const SERVER_TIMEOUT: u8 = 31;
    pub(in super::super) const BAD_REQUEST: u8 = 40;
    pub(in super::super) const SERVICE_NOT_FOUND: u8 = 60;
    pub(in super::super) const SERVICE_ERROR: u8 = 70;
    pub(in super::super) const SERVER_ERROR: u8 = 80;
}

/// The fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: u8,
    pub(super) status: u8,
    pub(super) id: u64,
    /// The body's length.
    pub(super) body: usize,
}

impl Head {
    /// Reads it; none if it is not all here.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        if !MAGIC.starts_with(bytes.get(..MAGIC.len()).unwrap_or(bytes)) {
            return Err(DecodeError::BadMagic);
        }
        Self::read_all(Reader::starting_at(bytes, MAGIC.len())).transpose()
    }

    fn read_all(mut reader: Reader<'_>) -> Option<Result<Self, DecodeError>> {
        let (flags, status, id) = (reader.u8()?, reader.u8()?, reader.u64()?);
        let body = reader.length()?;
        Some(body.map(|body| Self {
            flags,
            status,
            id,
            body,
        }))
    }

    /// Whether all of these flags are up.
    pub(super) fn is(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The number of the serialization.
    pub(super) fn serialization(&self) -> u8 {
        self.flags & SERIALIZATION
    }

    /// A frame with this head and that body.
    pub(super) fn write(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.flags, self.status]);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// How long the frame is that begins here.
pub(super) fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    Ok(match Head::read(bytes)? {
        Some(head) => Measure::Frame {
            head: LEN,
            total: LEN + head.body,
        },
        None if bytes.len() < MAGIC.len() => Measure::Needs(MAGIC.len()),
        None => Measure::Needs(LEN),
    })
}
