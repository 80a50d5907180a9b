//! The fixed part of a frame. All numbers have their highest byte first.
//!
//! ```text
//!  v1 request   proto=1 · type · cmd(2) · ver2 · id(4) · codec ·          timeout(4) · class(2) · header(2) · content(4)   22
//!  v1 response  proto=1 · 0    · cmd(2) · ver2 · id(4) · codec ·          status(2)  · class(2) · header(2) · content(4)   20
//!  v2 request   proto=2 · ver1 · type · cmd(2) · ver2 · id(4) · codec · switch · timeout(4) · class(2) · header(2) · content(4)   24
//!  v2 response  proto=2 · ver1 · 0    · cmd(2) · ver2 · id(4) · codec · switch · status(2)  · class(2) · header(2) · content(4)   22
//!               then class, header and content, and CRC-32(4) where ver1 is 2 and bit 0 of switch is set
//! ```

use crate::codec::{DecodeError, Span};
use crate::reader::{Measure, Reader};

/// The type of an answer.
pub(super) const RESPONSE: u8 = 0;
/// The type of a call.
pub(super) const REQUEST: u8 = 1;
/// The type of a call that gets no answer.
const ONE_WAY: u8 = 2;

/// The command of a heartbeat and of its answer.
pub(super) const HEARTBEAT: u16 = 0;
/// The command of a call.
pub(super) const RPC_REQUEST: u16 = 1;
/// The command of an answer to a call.
pub(super) const RPC_RESPONSE: u16 = 2;
/// MOSN's command for "send no more".
pub(super) const GOAWAY: u16 = 100;

/// Bytes of the checksum.
pub(super) const CRC: usize = 4;

/// The fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 1 or 2.
    pub(super) proto: u8,
    /// The version of the protocol's version 2; 0 in version 1.
    pub(super) ver1: u8,
    /// One of the types above.
    pub(super) kind: u8,
    pub(super) command: u16,
    pub(super) ver2: u8,
    pub(super) id: u32,
    /// Of the content's serialization.
    pub(super) codec: u8,
    pub(super) switch: u8,
    /// Milliseconds for a request, a status for an answer.
    pub(super) last: i32,
    pub(super) class: usize,
    pub(super) header: usize,
    pub(super) content: usize,
}

impl Head {
    /// Reads it; none if it is not all here. What no frame has is an error as soon as it is here.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let Some(proto) = reader.u8() else {
            return Ok(None);
        };
        let ver1 = match proto {
            1 => Some(0),
            2 => reader.u8(),
            _ => return Err(DecodeError::BadMagic),
        };
        let (Some(ver1), Some(kind)) = (ver1, reader.u8()) else {
            return Ok(None);
        };
        // A sub-version to come may put more behind the content: where such a frame ends is not known.
        if proto == 2 && !matches!(ver1, 1 | 2) {
            return Err(DecodeError::BadVersion);
        }
        if kind > ONE_WAY {
            return Err(DecodeError::BadKind);
        }
        Self::read_rest(reader, proto, ver1, kind).transpose()
    }

    fn read_rest(
        mut reader: Reader<'_>,
        proto: u8,
        ver1: u8,
        kind: u8,
    ) -> Option<Result<Self, DecodeError>> {
        let (command, ver2, id) = (reader.u16()?, reader.u8()?, reader.u32()?);
        let codec = reader.u8()?;
        let switch = if proto == 2 { reader.u8()? } else { 0 };
        let last = match kind {
            RESPONSE => i32::from(reader.u16()?),
            _ => reader.i32()?,
        };
        // Both are signed on the peers' side: what is negative there must not be large here.
        let lengths = (reader.i16()?, reader.i16()?, reader.i32()?);
        let (Ok(class), Ok(header), Ok(content)) = (
            usize::try_from(lengths.0),
            usize::try_from(lengths.1),
            usize::try_from(lengths.2),
        ) else {
            return Some(Err(DecodeError::BadLength));
        };
        Some(Ok(Self {
            proto,
            ver1,
            kind,
            command,
            ver2,
            id,
            codec,
            switch,
            last,
            class,
            header,
            content,
        }))
    }

    /// Whether a checksum follows. What Java does, and so what counts: `switch` alone does not say so, though others think it does.
    pub(super) fn has_crc(&self) -> bool {
        self.proto == 2 && self.ver1 == 2 && self.switch & 1 == 1
    }

    /// Its own length.
    pub(super) fn len(&self) -> usize {
        let status_or_timeout = if self.kind == RESPONSE { 2 } else { 4 };
        18 + status_or_timeout + if self.proto == 2 { 2 } else { 0 }
    }

    /// The length of all of the frame.
    pub(super) fn total(&self) -> usize {
        let crc = if self.has_crc() { CRC } else { 0 };
        self.crc_at() + crc
    }

    /// Where the checksum is, or would be.
    pub(super) fn crc_at(&self) -> usize {
        self.header_at() + self.header + self.content
    }

    /// Where the header block is.
    pub(super) fn header_at(&self) -> usize {
        self.len() + self.class
    }

    /// The header block.
    pub(super) fn header_span(&self) -> Span {
        Span::new(self.header_at(), self.header_at() + self.header).unwrap_or_default()
    }

    /// Where the id is.
    pub(super) fn id_at(&self) -> usize {
        if self.proto == 2 { 6 } else { 5 }
    }

    /// Where the timeout of a request is.
    pub(super) fn timeout_at(&self) -> usize {
        self.len() - 12
    }

    /// Where the length of the header block is.
    pub(super) fn header_len_at(&self) -> usize {
        self.len() - 6
    }

    /// Whether it is a call without an answer.
    pub(super) fn is_one_way(&self) -> bool {
        self.kind == ONE_WAY
    }

    /// Writes it.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.push(self.proto);
        if self.proto == 2 {
            into.push(self.ver1);
        }
        into.push(self.kind);
        into.extend_from_slice(&self.command.to_be_bytes());
        into.push(self.ver2);
        into.extend_from_slice(&self.id.to_be_bytes());
        into.push(self.codec);
        if self.proto == 2 {
            into.push(self.switch);
        }
        let [a, b, c, d] = self.last.to_be_bytes();
        match self.kind {
            RESPONSE => into.extend_from_slice(&[c, d]),
            _ => into.extend_from_slice(&[a, b, c, d]),
        }
        for length in [self.class, self.header] {
            into.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        }
        into.extend_from_slice(&u32::try_from(self.content).unwrap_or(0).to_be_bytes());
    }
}

/// The first bytes, which say whether it is a frame at all.
const START: usize = 3;
/// The shortest head, an answer of version 1, and the longest, a request of version 2.
const HEADS: (usize, usize) = (20, 24);

/// How long the frame is that begins here.
pub(super) fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    Ok(match Head::read(bytes)? {
        Some(head) => Measure::Frame {
            head: head.len(),
            total: head.total(),
        },
        None if bytes.len() < START => Measure::Needs(bytes.len() + 1),
        None => Measure::Needs((bytes.len() + 1).clamp(HEADS.0, HEADS.1)),
    })
}
