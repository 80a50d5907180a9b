//! Courier, a private protocol: what it takes to have the proxy speak one, in a crate that the proxy knows nothing of.
//!
//! ```text
//!  VERB id service method headers length LF body      CALL 7 echo say tenant=blue;trace=1 5↵hello
//! ```
//!
//! A verb is `CALL`, `CAST` (a call without an answer), `DONE` and `FAIL` (answers), `PING`, `PONG` or `BYE`. What is not said is `-`.
//! Ids are decimal, so a frame under another id is of another length; headers lie in the line, so that they can be changed.

use std::fmt::Write;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use ringway_protocols::codec::{
    AmendError, Change, Codec, DecodeError, Frame, Kind, Limits, Output, Refusal, Session, Sharing,
    Side, Sniff, Span, Verdict,
};
use ringway_protocols::reader::{Framer, Measure, Taken};
use ringway_protocols::{FieldId, Fields};

/// The longest line: headers within the limits of most protocols.
const LINE_MAX: usize = 8 << 10;
/// The verbs, and what a frame of each is.
const VERBS: [(&str, Kind, Verdict); 7] = [
    ("CALL", Kind::Request, Verdict::Good),
    ("CAST", Kind::OneWay, Verdict::Good),
    ("DONE", Kind::Response, Verdict::Good),
    ("FAIL", Kind::Response, Verdict::Failed),
    ("PING", Kind::Ping, Verdict::Good),
    ("PONG", Kind::Pong, Verdict::Good),
    ("BYE", Kind::GoAway, Verdict::Good),
];
/// What stands for nothing.
const NOTHING: &[u8] = b"-";
/// Of [`Frame::notes`], where the headers lie.
const HEADERS: (usize, usize) = (0, 1);

/// The protocol. Its options, if it had any, would be its fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Courier;

impl Codec for Courier {
    fn name(&self) -> &'static str {
        "courier"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        let begins = |verb: &str| {
            let line = format!("{verb} ");
            (
                line.as_bytes().starts_with(prefix),
                prefix.starts_with(line.as_bytes()),
            )
        };
        // A client's first word is a call or a ping.
        let all = ["CALL", "CAST", "PING"].map(begins);
        match all {
            all if all.iter().any(|(_, whole)| *whole) => Sniff::Yes,
            all if all.iter().any(|(part, _)| *part) => Sniff::NeedMore,
            _ => Sniff::No,
        }
    }

    fn sharing(&self) -> Sharing {
        Sharing::Multiplexed { bits: 63 }
    }

    fn start(&self, _: Side, limits: &Limits) -> Box<dyn Session> {
        Box::new(CourierSession {
            framer: Framer::new(limits.frame),
            limits: *limits,
        })
    }
}

/// One side of a connection.
struct CourierSession {
    framer: Framer,
    limits: Limits,
}

/// What stands before the body.
struct Head {
    kind: Kind,
    verdict: Verdict,
    id: u64,
    /// Where each of the six words lies.
    words: [Range<usize>; 6],
    body: usize,
    /// Its own length, line end and all.
    len: usize,
}

impl Head {
    /// Reads it; none if it is not all here.
    fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_whole = line.len() < bytes.len() || verb.len() < line.len();
        let fits = |known: &str| match is_whole {
            true => known.as_bytes() == verb,
            false => known.as_bytes().starts_with(verb),
        };
        let Some((_, kind, verdict)) = VERBS.into_iter().find(|(known, ..)| fits(known)) else {
            return Err(DecodeError::BadMagic);
        };
        if line.len() > LINE_MAX {
            return Err(DecodeError::HeadersTooLarge);
        }
        if line.len() == bytes.len() {
            return Ok(None);
        }
        let mut at = 0;
        let words: Vec<Range<usize>> = line
            .split(|byte| *byte == b' ')
            .map(|word| {
                let start = at;
                at += word.len() + 1;
                start..start + word.len()
            })
            .collect();
        let words: [Range<usize>; 6] = words.try_into().map_err(|_| DecodeError::BadHeader)?;
        let number = |word: &Range<usize>| -> Option<u64> {
            std::str::from_utf8(line.get(word.clone())?)
                .ok()?
                .parse()
                .ok()
        };
        let [_, id, _, _, _, length] = &words;
        let body = number(length).and_then(|length| usize::try_from(length).ok());
        Ok(Some(Self {
            kind,
            verdict,
            id: number(id).ok_or(DecodeError::BadHeader)?,
            body: body.ok_or(DecodeError::BadLength)?,
            len: line.len() + 1,
            words,
        }))
    }
}

/// How long the frame is that begins here.
fn measure(bytes: &[u8]) -> Result<Measure, DecodeError> {
    Ok(match Head::read(bytes)? {
        // Lines are short, and mostly here with the first read.
        None => Measure::Needs(bytes.len() + 1),
        Some(head) => Measure::Frame {
            head: head.len,
            total: head.len.saturating_add(head.body),
        },
    })
}

impl Session for CourierSession {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let (bytes, broken) = match self.framer.take(input, measure)? {
            None => return Ok(None),
            Some(Taken::Frame(bytes)) => (bytes, None),
            // Only its head is here. It can be answered, and the connection goes on behind it.
            Some(Taken::TooLarge(head)) => (head, Some(DecodeError::FrameTooLarge)),
        };
        let mut frame = described(bytes)?;
        frame.broken = broken;
        Ok(Some(frame))
    }

    fn wants(&self, have: usize) -> usize {
        self.framer.wants(have)
    }

    fn encode(&mut self, frame: &Frame, output: &mut Output) {
        let Ok(Some(head)) = Head::read(&frame.bytes) else {
            return;
        };
        if frame.broken.is_some() {
            return;
        }
        // Only the line is written anew: a large body goes out where it is.
        let [verb, id, ..] = &head.words;
        output.share_part(&frame.bytes, verb.start, id.start);
        output.put(frame.id.to_string().as_bytes());
        output.share_part(&frame.bytes, id.end, frame.bytes.len());
    }

    fn headers(&self, frame: &Frame) -> Fields {
        let mut fields = Fields::over(frame.bytes.clone(), 4);
        for (name, value) in pairs(frame) {
            let id = FieldId::of(name.of(&frame.bytes));
            fields.push_span(id, name.place(), value.place());
        }
        fields
    }

    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError> {
        let Ok(Some(head)) = Head::read(&frame.bytes) else {
            return Err(AmendError::Unsupported);
        };
        let is_word = |text: &[u8]| !text.iter().any(|byte| b" ;=\n".contains(byte));
        let mut line: Vec<Vec<u8>> = Vec::new();
        for (name, value) in pairs(frame) {
            let name = name.of(&frame.bytes);
            if !changes
                .iter()
                .any(|change| change.name.eq_ignore_ascii_case(name))
            {
                line.push([name, b"=", value.of(&frame.bytes)].concat());
            }
        }
        for change in changes {
            let Some(value) = change.value else { continue };
            if !is_word(change.name) || !is_word(value) {
                return Err(AmendError::Unsupported);
            }
            line.push([change.name, b"=", value].concat());
        }
        let headers = match line.is_empty() {
            true => NOTHING.to_vec(),
            false => line.join(&b';'),
        };
        let [_, _, _, _, old, _] = &head.words;
        let part = |from, to| frame.bytes.get(from..to).unwrap_or_default();
        let rest = part(old.end, frame.bytes.len());
        let bytes = [part(0, old.start), &headers, rest].concat();
        if headers.len() > self.limits.header_bytes || bytes.len() > self.limits.frame {
            return Err(AmendError::TooLarge);
        }
        let amended = described(bytes.into()).map_err(|_| AmendError::TooLarge)?;
        Ok(Frame {
            id: frame.id,
            ..amended
        })
    }

    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame> {
        // Nothing for calls that want no answer, and nothing for what is no call.
        (to.kind == Kind::Request).then(|| own("FAIL", to.id, refusal.text))?
    }

    fn pong(&mut self, to: &Frame) -> Option<Frame> {
        own("PONG", to.id, "")
    }

    fn ping(&mut self, id: u64) -> Option<Frame> {
        own("PING", id, "")
    }

    fn goaway(&mut self) -> Option<Frame> {
        own("BYE", 0, "")
    }
}

/// What a frame's line says of it.
fn described(bytes: Bytes) -> Result<Frame, DecodeError> {
    let Some(head) = Head::read(&bytes)? else {
        return Err(DecodeError::BadLength);
    };
    let [_, _, service, method, headers, _] = &head.words;
    let said = |word: &Range<usize>| match bytes.get(word.clone()) {
        Some(text) if text != NOTHING => Span::new(word.start, word.end).unwrap_or_default(),
        Some(_) | None => Span::default(),
    };
    let (service, method, headers) = (said(service), said(method), said(headers));
    let mut frame = Frame::new(head.kind, head.id, bytes);
    (frame.call.service, frame.call.method) = (service, method);
    (frame.verdict, frame.code) = (head.verdict, i32::from(head.verdict == Verdict::Failed));
    let (start, length) = headers.place();
    frame.notes = [start, start + length, 0, 0];
    Ok(frame)
}

/// The headers of a frame: names and values.
fn pairs(frame: &Frame) -> impl Iterator<Item = (Span, Span)> {
    let note = |at: usize| frame.notes.get(at).map_or(0, |note| *note as usize);
    let (start, end) = (note(HEADERS.0), note(HEADERS.1));
    let mut at = start;
    let block = frame.bytes.get(start..end).unwrap_or_default();
    block.split(|byte| *byte == b';').filter_map(move |pair| {
        let from = at;
        at += pair.len() + 1;
        let equals = from + pair.iter().position(|byte| *byte == b'=')?;
        let name = Span::new(from, equals)?;
        Some((name, Span::new(equals + 1, from + pair.len())?))
    })
}

/// A frame of the proxy's own.
fn own(verb: &str, id: u64, text: &str) -> Option<Frame> {
    let mut line = String::new();
    writeln!(line, "{verb} {id} - - - {}", text.len()).ok()?;
    described((line + text).into()).ok()
}
