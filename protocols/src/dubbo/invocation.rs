//! The body of a request in Hessian 2: what is called, and where the attachments are.
//!
//! What a provider would read otherwise than it is read here could be called past the routes that are to keep it from being: so that a
//! body has to be readable to its end, texts in chunks have no place in what routes ask for, and where a provider looks in two places
//! (path and version, whose attachments count more), so does this.
//!
//! ```text
//!  Dubbo's version · path · service's version or null · method · [-1, of Dubbox] · descriptor of the arguments' types
//!  · argument … · attachments
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::head;
use crate::codec::{AmendError, Call, Change, DecodeError, Limits, Span};
use crate::hessian::{Item, Skipper, write_text};
use crate::reader::Reader;
use crate::{FieldId, Fields};

/// The int that Dubbox puts before the descriptor: -1.
const DUBBOX: u8 = 0x8f;
/// What a call without a type of its own calls: the method is the first argument.
const GENERIC: [&[u8]; 2] = [b"$invoke", b"$invokeAsync"];

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Invocation {
    pub(super) call: Call,
    pub(super) timeout: Option<Duration>,
    /// Where the attachments begin, which are the end of the body.
    pub(super) attachments: usize,
}

/// Reads the body of a whole frame.
pub(super) fn read(frame: &[u8], limits: &Limits) -> Result<Invocation, DecodeError> {
    let (mut call, mut skipper) = call(frame, limits)?;
    let attachments = skipper.position();
    let named = named(frame, &mut skipper, limits)?;
    call.service = named.path.unwrap_or(call.service);
    call.version = named.version.unwrap_or(call.version);
    call.group = named.group.unwrap_or_default();
    Ok(Invocation {
        call,
        timeout: named.timeout,
        attachments,
    })
}

/// What is called, and a skipper that stands at the attachments.
fn call<'a>(frame: &'a [u8], limits: &Limits) -> Result<(Call, Skipper<'a>), DecodeError> {
    let mut skipper = Skipper::new(Reader::starting_at(frame, head::LEN), limits);
    let _dubbo_version = text(&mut skipper)?;
    let mut call = Call {
        service: text(&mut skipper)?,
        version: text(&mut skipper)?,
        method: text(&mut skipper)?,
        ..Call::default()
    };
    if skipper.peek() == Some(DUBBOX) {
        skipper.item()?;
    }
    let types = text(&mut skipper)?.of(frame);
    let is_generic = GENERIC.contains(&call.method.of(frame));
    for at in 0..count_arguments(types).ok_or(DecodeError::BadBody)? {
        let item = skipper.item()?;
        if at > 0 || !is_generic {
            continue;
        }
        if let Item::Text(method) = item {
            call.method = trimmed(frame, method);
        } else if item == Item::Chunks {
            return Err(DecodeError::BadBody);
        }
    }
    Ok((call, skipper))
}

/// A text in one piece, or a null.
fn text(skipper: &mut Skipper<'_>) -> Result<Span, DecodeError> {
    if skipper.peek() == Some(b'N') {
        skipper.item()?;
        return Ok(Span::default());
    }
    let Item::Text(text) = skipper.string()? else {
        return Err(DecodeError::BadBody);
    };
    Ok(text)
}

/// A text without the blanks around it, as Java's `trim` takes them off the method of a generic call.
fn trimmed(frame: &[u8], text: Span) -> Span {
    let is_blank = |byte: &u8| *byte <= b' ';
    let bytes = text.of(frame);
    let front = bytes.iter().take_while(|byte| is_blank(byte)).count();
    let back = bytes.iter().rev().take_while(|byte| is_blank(byte)).count();
    Span::new(text.start() + front, text.end().saturating_sub(back)).unwrap_or_default()
}

/// How many arguments a descriptor names: `[I`, `Ljava/lang/String;`, one after the other. None if it is no descriptor.
fn count_arguments(types: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (types, 0);
    while let [first, after @ ..] = rest {
        rest = match first {
            b'[' if !after.is_empty() => {
                rest = after;
                continue;
            }
            b'L' => after.get(memchr::memchr(b';', after)? + 1..)?,
            b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' | b'V' | b'Z' => after,
            _ => return None,
        };
        count += 1;
    }
    Some(count)
}

/// A pair of the attachments.
struct Pair {
    whole: Span,
    key: Span,
    value: Item,
}

/// Walks the attachments, which must end where the frame does.
fn walk(
    skipper: &mut Skipper<'_>,
    limits: &Limits,
    mut see: impl FnMut(Pair),
) -> Result<(), DecodeError> {
    let start = skipper.position();
    let mut count = 0;
    if !skipper.begin_map()? {
        // A null, or, of old versions, nothing at all.
        return match skipper.is_empty() || (skipper.item()? == Item::Null && skipper.is_empty()) {
            true => Ok(()),
            false => Err(DecodeError::BadBody),
        };
    }
    while !skipper.is_end() {
        let from = skipper.position();
        let (key, value) = (skipper.item()?, skipper.item()?);
        count += 1;
        let to = skipper.position();
        if count > limits.headers || to - start > limits.header_bytes {
            return Err(DecodeError::HeadersTooLarge);
        }
        if key == Item::Chunks || value == Item::Chunks {
            return Err(DecodeError::BadHeader);
        }
        if let (Item::Text(key), Some(whole)) = (key, Span::new(from, to)) {
            see(Pair { whole, key, value });
        }
    }
    match skipper.is_empty() {
        true => Ok(()),
        false => Err(DecodeError::BadBody),
    }
}

#[derive(Default)]
struct Named {
    path: Option<Span>,
    version: Option<Span>,
    group: Option<Span>,
    timeout: Option<Duration>,
}

/// What routing wants of the attachments. Of keys that come twice the last one counts, as in Java's map.
fn named(frame: &[u8], skipper: &mut Skipper<'_>, limits: &Limits) -> Result<Named, DecodeError> {
    let mut named = Named::default();
    let text = |item| {
        let Item::Text(text) = item else { return None };
        Some(text)
    };
    walk(skipper, limits, |pair| match pair.key.of(frame) {
        b"path" => named.path = text(pair.value),
        b"version" => named.version = text(pair.value),
        b"group" => named.group = text(pair.value),
        b"timeout" => named.timeout = millis(frame, pair.value),
        _ => {}
    })?;
    Ok(named)
}

/// As text or, from Node, as a number. 0 and less say nothing.
fn millis(frame: &[u8], value: Item) -> Option<Duration> {
    let millis = match value {
        Item::Int(int) => u64::try_from(int).ok()?,
        Item::Text(span) => std::str::from_utf8(span.of(frame)).ok()?.parse().ok()?,
        Item::Null | Item::Bool(_) | Item::Chunks | Item::Plain | Item::Compound => return None,
    };
    Some(Duration::from_millis(millis)).filter(|timeout| !timeout.is_zero())
}

/// The attachments that are texts, numbers or truths.
pub(super) fn fields(frame: &Bytes, limits: &Limits) -> Fields {
    let mut fields = Fields::over(frame.clone(), 8);
    let Ok((_, mut skipper)) = call(frame, limits) else {
        return fields;
    };
    // It was walked when the frame came in, and does not fail now.
    let _walked = walk(&mut skipper, limits, |pair| match pair.value {
        Item::Text(value) => {
            let id = FieldId::of(pair.key.of(frame));
            fields.put_span(id, pair.key.place(), value.place());
        }
        Item::Int(value) => fields.set(frame.slice(pair.key.range()), value.to_string()),
        Item::Bool(value) => fields.set(frame.slice(pair.key.range()), value.to_string()),
        Item::Null | Item::Chunks | Item::Plain | Item::Compound => {}
    });
    fields
}

/// The body with other attachments.
///
/// Nothing else is touched: arguments may be referred to by number, and texts and numbers take none, so that adding and removing
/// them at the end shifts nothing. A value that others might refer to stays; one that is set again behind it counts instead.
pub(super) fn amended(
    frame: &[u8],
    changes: &[Change<'_>],
    limits: &Limits,
) -> Result<Vec<u8>, AmendError> {
    let Ok((_, mut skipper)) = call(frame, limits) else {
        return Err(AmendError::Unsupported);
    };
    let attachments = skipper.position();
    let mut inside = skipper.clone();
    let is_map = inside.begin_map().map_err(|_| AmendError::Unsupported)?;
    let start = inside.position();
    let mut kept = Vec::new();
    let (mut stays, mut count, mut kept_to) = (false, 0, start);
    walk(&mut skipper, limits, |pair| {
        count += 1;
        let name = pair.key.of(frame);
        let Some(change) = changes
            .iter()
            .find(|change| change.name.eq_ignore_ascii_case(name))
        else {
            return;
        };
        if pair.value == Item::Compound {
            stays |= change.value.is_none();
            return;
        }
        kept.extend_from_slice(frame.get(kept_to..pair.whole.start()).unwrap_or_default());
        kept_to = pair.whole.end();
        count -= 1;
    })
    .map_err(|_| AmendError::Unsupported)?;
    if stays {
        return Err(AmendError::Unsupported);
    }
    let mut body = frame
        .get(head::LEN..attachments)
        .unwrap_or_default()
        .to_vec();
    if is_map {
        body.extend_from_slice(frame.get(attachments..start).unwrap_or_default());
        body.extend_from_slice(&kept);
        let to = frame.len().saturating_sub(1);
        body.extend_from_slice(frame.get(kept_to..to).unwrap_or_default());
    } else {
        body.push(b'H');
    }
    for change in changes {
        let Some(value) = change.value else { continue };
        for text in [change.name, value] {
            let text = std::str::from_utf8(text).map_err(|_| AmendError::Unsupported)?;
            write_text(text, &mut body);
        }
        count += 1;
    }
    body.push(b'Z');
    let length = body.len().saturating_sub(attachments - head::LEN);
    match count > limits.headers || length > limits.header_bytes {
        true => Err(AmendError::TooLarge),
        false => Ok(body),
    }
}
