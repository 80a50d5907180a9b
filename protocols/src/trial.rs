//! What every codec must hold, put to the test: for the tests and fuzz targets of our codecs, and of anybody's.
//!
//! [`trial`] reads bytes as a connection would, in all portions that it is told to, and then asks of each frame that it goes
//! out as it came in, under any id, with any header; and that what the proxy answers is an answer. Nothing here panics: a
//! codec that breaks a rule is named in the [`Breach`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::BytesMut;

use crate::codec::{
    Change, Codec, DecodeError, Frame, Kind, Limits, Output, Refusal, Session, Sharing, Side,
    Sniff, Verdict, Why,
};

/// A rule that a codec broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub rule: &'static str,
    /// The frame's number, or the byte at which the input was cut.
    pub at: usize,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.rule, self.at)
    }
}

impl Error for Breach {}

/// What bytes were read as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The frames.
    pub frames: Vec<Frame>,
    /// The error that ended it.
    pub end: Option<DecodeError>,
    /// Bytes that wait for more; none counted behind an error.
    pub left: usize,
}

/// How bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// At every place, once: for goldens.
    Everywhere,
    /// In portions of up to so many bytes, and at one place: for fuzzing.
    Some(usize),
}

/// Every reason for an answer of the proxy's own.
const REASONS: &[Why] = &[
    Why::NoRoute,
    Why::NoHost,
    Why::Denied,
    Why::Overloaded,
    Why::Timeout,
    Why::Unreachable,
    Why::Reset,
    Why::BadAnswer,
    Why::Malformed,
    Why::Internal,
];

/// Reads bytes that come in these portions.
pub fn read<'a>(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    portions: impl Iterator<Item = &'a [u8]>,
) -> Seen {
    let (mut session, mut input) = (codec.start(side, limits), BytesMut::new());
    let mut seen = Seen::default();
    for portion in portions {
        input.extend_from_slice(portion);
        loop {
            match session.decode(&mut input) {
                Ok(Some(frame)) => seen.frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    seen.end = Some(error);
                    return seen;
                }
            }
        }
    }
    seen.left = input.len();
    seen
}

/// Holds a codec to the rules over these bytes.
pub fn trial(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    bytes: &[u8],
    cuts: Cuts,
) -> Result<Seen, Breach> {
    let whole = read(codec, side, limits, std::iter::once(bytes));
    cut(codec, side, limits, bytes, cuts, &whole)?;
    sniffed(codec, side, bytes, &whole)?;
    for (at, frame) in whole.frames.iter().enumerate() {
        if frame.broken.is_none() {
            passed_on(codec, side, limits, frame).map_err(|rule| Breach { rule, at })?;
            amended(codec, side, limits, frame).map_err(|rule| Breach { rule, at })?;
            limited(codec, side, limits, frame).map_err(|rule| Breach { rule, at })?;
        }
        answered(codec, limits, frame).map_err(|rule| Breach { rule, at })?;
    }
    Ok(whole)
}

fn cut(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    bytes: &[u8],
    cuts: Cuts,
    whole: &Seen,
) -> Result<(), Breach> {
    let breach = |rule, at| Breach { rule, at };
    let read = |portions: &mut dyn Iterator<Item = &[u8]>| read(codec, side, limits, portions);
    if read(&mut bytes.chunks(1)) != *whole {
        return Err(breach("byte by byte it reads as something else", 1));
    }
    let places = match cuts {
        Cuts::Everywhere => 0..bytes.len(),
        Cuts::Some(size) => {
            if read(&mut bytes.chunks(size.max(1))) != *whole {
                return Err(breach("in portions it reads as something else", size));
            }
            let place = size % bytes.len().max(1);
            place..place + 1
        }
    };
    for at in places {
        let (front, back) = bytes.split_at_checked(at).unwrap_or_default();
        if !front.is_empty() && read(&mut [front, back].into_iter()) != *whole {
            return Err(breach("cut in two it reads as something else", at));
        }
        let short = read(&mut std::iter::once(front));
        if !whole.frames.starts_with(&short.frames) {
            return Err(breach("truncated it reads as a frame that never was", at));
        }
        if short.end.is_some() && short.end != whole.end {
            return Err(breach("truncated it is an error, and whole it is not", at));
        }
    }
    Ok(())
}

/// What is read from its first byte must not be taken for another protocol.
fn sniffed(codec: &dyn Codec, side: Side, bytes: &[u8], whole: &Seen) -> Result<(), Breach> {
    let is_call = matches!(
        whole.frames.first(),
        Some(Frame {
            kind: Kind::Request,
            broken: None,
            ..
        })
    );
    if side == Side::Upstream || !is_call {
        return Ok(());
    }
    let mut sure = false;
    for at in 0..bytes.len().min(64) {
        match codec.sniff(bytes.get(..at).unwrap_or_default()) {
            Sniff::No => return Err(rule("a request is sniffed as another protocol", at)),
            Sniff::NeedMore if sure => return Err(rule("sniffing is sure, and then not", at)),
            Sniff::NeedMore => {}
            Sniff::Yes => sure = true,
        }
    }
    Ok(())
}

fn rule(rule: &'static str, at: usize) -> Breach {
    Breach { rule, at }
}

/// The bytes that a session writes for a frame.
fn written(session: &mut dyn Session, frame: &Frame) -> Vec<u8> {
    let (mut output, mut bytes) = (Output::new(), Vec::new());
    session.encode(frame, &mut output);
    while let Some(part) = output.take() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

/// A frame comes out as it went in; under another id it is the same but for the id, and back again.
fn passed_on(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    frame: &Frame,
) -> Result<(), &'static str> {
    let mut session = codec.start(side, limits);
    if written(&mut *session, frame) != frame.bytes {
        return Err("unchanged, it goes out as something else");
    }
    let Sharing::Multiplexed { bits } = codec.sharing() else {
        return Ok(());
    };
    if !matches!(frame.kind, Kind::Request | Kind::OneWay | Kind::Response) {
        return Ok(());
    }
    for id in [1, 0x1234, (1 << bits) - 1] {
        let mut other = frame.clone();
        other.id = id;
        let bytes = written(&mut *session, &other);
        let mut seen = read(codec, side, limits, std::iter::once(&bytes[..])).frames;
        let (Some(mut again), 0) = (seen.pop(), seen.len()) else {
            return Err("under another id it is not one frame");
        };
        if again.id != id {
            return Err("it does not bear the id that it was given");
        }
        if facts(&again) != facts(frame) {
            return Err("under another id it says something else");
        }
        again.id = frame.id;
        let restored = written(&mut *session, &again);
        let seen = read(codec, side, limits, std::iter::once(&restored[..])).frames;
        // Where ids have one length, to the byte; else a number may have been written longer than it had to be.
        let same = match restored.len() == frame.bytes.len() {
            true => restored == frame.bytes,
            false => matches!(&seen[..], [one] if one.id == frame.id && facts(one) == facts(frame)),
        };
        if !same {
            return Err("with its id restored it is not what it was");
        }
    }
    Ok(())
}

/// What a frame says beside its id.
fn facts(frame: &Frame) -> impl PartialEq + use<> {
    let names = [
        frame.service(),
        frame.method(),
        frame.version(),
        frame.group(),
    ]
    .map(<[u8]>::to_vec);
    let answer = (frame.verdict, frame.code, frame.pin, frame.broken);
    (frame.kind, names, frame.timeout, answer)
}

/// Headers can be set, come out as they were set, and nothing else changes.
fn amended(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    frame: &Frame,
) -> Result<(), &'static str> {
    if !matches!(frame.kind, Kind::Request | Kind::OneWay) {
        return Ok(());
    }
    const NAME: &[u8] = b"x-trial";
    // What goes upstream is changed by that side of the proxy.
    let mut session = codec.start(Side::Upstream, limits);
    let change = |value| Change { name: NAME, value };
    let Ok(set) = session.amend(frame, &[change(Some(&b"yes"[..]))]) else {
        return Ok(());
    };
    let bytes = written(&mut *session, &set);
    let seen = read(codec, side, limits, std::iter::once(&bytes[..])).frames;
    let [again] = &seen[..] else {
        return Err("with a header more it is not one frame");
    };
    if again.id != frame.id || facts(again) != facts(frame) {
        return Err("with a header more it says something else");
    }
    if session.headers(again).all(NAME).last() != Some(b"yes") {
        return Err("a header that was set is not there");
    }
    match session.amend(again, &[change(None)]) {
        Ok(removed) if session.headers(&removed).get(NAME).is_some() => {
            Err("a header that was removed is there")
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// With less time nothing else changes.
fn limited(
    codec: &dyn Codec,
    side: Side,
    limits: &Limits,
    frame: &Frame,
) -> Result<(), &'static str> {
    if !matches!(frame.kind, Kind::Request | Kind::OneWay) {
        return Ok(());
    }
    let left = Duration::from_millis(77);
    // What goes upstream is changed by that side of the proxy.
    let mut session = codec.start(Side::Upstream, limits);
    let Some(less) = session.limit(frame, left) else {
        return Ok(());
    };
    let bytes = written(&mut *session, &less);
    let seen = read(codec, side, limits, std::iter::once(&bytes[..])).frames;
    let [mut again] =
        <[Frame; 1]>::try_from(seen).map_err(|_| "with less time it is not one frame")?;
    if again.timeout != Some(left) {
        return Err("it does not say the time that it was given");
    }
    again.timeout = frame.timeout;
    match again.id == frame.id && facts(&again) == facts(frame) {
        true => Ok(()),
        false => Err("with less time it says something else"),
    }
}

/// Requests get an answer that says no, whatever the reason; nothing else gets one. Pings get a pong at most.
fn answered(codec: &dyn Codec, limits: &Limits, frame: &Frame) -> Result<(), &'static str> {
    let mut session = codec.start(Side::Client, limits);
    for why in REASONS {
        let refusal = Refusal {
            why: *why,
            text: "a reason",
        };
        let Some(reply) = session.reply(frame, &refusal) else {
            // What is too long to be read may be too short to be answered.
            match frame.kind == Kind::Request && frame.broken.is_none() {
                true => return Err("a request is not answered"),
                false => continue,
            }
        };
        if frame.kind != Kind::Request {
            return Err("what is no request is answered");
        }
        let bytes = written(&mut *session, &reply);
        let seen = read(
            codec,
            Side::Upstream,
            &Limits::default(),
            [&bytes[..]].into_iter(),
        );
        match &seen.frames[..] {
            [one] if one.kind == Kind::Response && one.id == frame.id && seen.left == 0 => {
                if one.verdict == Verdict::Good || one.broken.is_some() {
                    return Err("the answer of the proxy's own looks like success");
                }
            }
            _ => return Err("the answer of the proxy's own is no answer"),
        }
    }
    match (frame.kind, session.pong(frame)) {
        (Kind::Ping, Some(pong)) if pong.kind != Kind::Pong || pong.id != frame.id => {
            Err("the answer to a ping is no pong")
        }
        _ => Ok(()),
    }
}
