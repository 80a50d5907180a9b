//! The header block: `length(4) · key · length(4) · value`, again and again to its end. A length of -1 is a null.

use bytes::Bytes;

use crate::codec::{AmendError, Change, DecodeError, Limits, Span};
use crate::reader::Reader;
use crate::{FieldId, Fields};

/// Java and Node read the block's length as a signed number of two bytes.
const BLOCK_MAX: usize = 0x7fff;

/// A pair, nulls and all.
struct Pair {
    /// Both with their lengths.
    whole: Span,
    key: Option<Span>,
    value: Option<Span>,
}

/// The pairs of a block.
struct Pairs<'a>(Reader<'a>);

impl<'a> Pairs<'a> {
    fn of(frame: &'a [u8], block: Span) -> Self {
        Self(Reader::within(frame, block))
    }

    fn string(&mut self) -> Option<Option<Span>> {
        match self.0.i32()? {
            -1 => Some(None),
            len => Some(Some(self.0.span(usize::try_from(len).ok()?)?)),
        }
    }

    fn pair(&mut self) -> Option<Pair> {
        let start = self.0.position();
        let (key, value) = (self.string()?, self.string()?);
        let whole = Span::new(start, self.0.position())?;
        Some(Pair { whole, key, value })
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<Pair, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.pair().ok_or(DecodeError::BadHeader);
        if pair.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(pair)
    }
}

/// What routing wants of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) service: Span,
    pub(super) method: Span,
    /// An answer that carries an exception of the application's says so here.
    pub(super) is_exception: bool,
}

/// Walks the block once. Of keys that come twice the last one counts, as in Java's map.
pub(super) fn scan(frame: &[u8], block: Span, limits: &Limits) -> Result<Named, DecodeError> {
    if block.len() > limits.header_bytes {
        return Err(DecodeError::HeadersTooLarge);
    }
    let (mut named, mut service, mut target) = (Named::default(), None, None);
    for (count, pair) in Pairs::of(frame, block).enumerate() {
        let pair = pair?;
        if count >= limits.headers {
            return Err(DecodeError::HeadersTooLarge);
        }
        let (Some(key), Some(value)) = (pair.key, pair.value) else {
            continue;
        };
        match key.of(frame) {
            b"service" => service = Some(value),
            b"sofa_head_target_service" => target = Some(value),
            b"sofa_head_method_name" => named.method = value,
            b"sofa_head_response_error" => named.is_exception = value.of(frame) == b"true",
            _ => {}
        }
    }
    let not_empty = |span: &Span| !span.is_empty();
    named.service = service.filter(not_empty).or(target).unwrap_or_default();
    Ok(named)
}

/// All pairs without nulls.
pub(super) fn fields(frame: &Bytes, block: Span) -> Fields {
    let mut fields = Fields::over(frame.clone(), 8);
    for pair in Pairs::of(frame, block).flatten() {
        if let (Some(key), Some(value)) = (pair.key, pair.value) {
            fields.put_span(FieldId::of(key.of(frame)), key.place(), value.place());
        }
    }
    fields
}

/// The block with changes: what they do not name stays as it was, nulls and duplicates too.
pub(super) fn amended(
    frame: &[u8],
    block: Span,
    changes: &[Change<'_>],
    limits: &Limits,
) -> Result<Vec<u8>, AmendError> {
    let mut out = Vec::with_capacity(block.len() + 64);
    let mut count = 0;
    for pair in Pairs::of(frame, block) {
        let pair = pair.map_err(|_| AmendError::Unsupported)?;
        let is_named = |change: &Change<'_>| {
            pair.key
                .is_some_and(|key| key.of(frame).eq_ignore_ascii_case(change.name))
        };
        if !changes.iter().any(is_named) {
            out.extend_from_slice(pair.whole.of(frame));
            count += 1;
        }
    }
    for change in changes {
        if let Some(value) = change.value {
            string(&mut out, change.name)?;
            string(&mut out, value)?;
            count += 1;
        }
    }
    match out.len() > BLOCK_MAX.min(limits.header_bytes) || count > limits.headers {
        true => Err(AmendError::TooLarge),
        false => Ok(out),
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), AmendError> {
    let len = u32::try_from(text.len()).map_err(|_| AmendError::TooLarge)?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text);
    Ok(())
}
