//! Whole messages: golden bytes, and the same result wherever the bytes are cut.

mod bodies;
mod readers;
mod requests;
mod responses;
mod variations;

use bytes::BytesMut;

use super::*;
use crate::Fields;
use crate::message::{Framing, Method};

/// What a reader made of all bytes: whole messages, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: Vec<Message>,
    end: Option<Violation>,
    /// Bytes that no message took.
    left: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    /// Method and target, or status and reason.
    line: String,
    authority: String,
    fields: String,
    framing: String,
    flags: String,
    body: Vec<u8>,
    trailers: String,
    whole: bool,
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn all(fields: &Fields) -> String {
    let mut out = BytesMut::new();
    fields.iter().for_each(|field| field.write(&mut out));
    text(&out)
}

fn of_request(request: &Request) -> Message {
    Message {
        line: format!("{} {}", request.head.method, text(&request.head.target)),
        authority: text(&request.head.authority),
        fields: all(&request.head.fields),
        framing: format!("{:?}", request.framing),
        flags: format!(
            "{:?} {} {} {:?} {} {:?}",
            request.head.version,
            request.keep_alive,
            request.expect_continue,
            request.upgrade,
            request.te_trailers,
            request.scheme
        ),
        ..Message::default()
    }
}

fn of_response(response: &Response) -> Message {
    Message {
        line: format!("{} {}", response.head.status, text(&response.head.reason)),
        fields: all(&response.head.fields),
        framing: format!("{:?}", response.framing),
        flags: format!("{:?} {}", response.head.version, response.keep_alive),
        ..Message::default()
    }
}

/// Which side reads.
#[derive(Clone, Copy)]
enum Side {
    Requests,
    Responses(&'static str),
}

/// Feeds portions to the parsers as a connection does.
fn read<'a>(side: Side, portions: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut input = BytesMut::new();
    let mut seen = Seen::default();
    let (mut requests, mut responses) = (RequestParser::new(), ResponseParser::new());
    let mut body: Option<BodyDecoder> = None;
    for portion in portions {
        input.extend_from_slice(portion);
        if let Err(violation) = step(
            side,
            &mut input,
            &mut seen,
            &mut requests,
            &mut responses,
            &mut body,
        ) {
            seen.end = Some(violation);
            return seen;
        }
    }
    if let Some(body) = body {
        let whole = body.on_eof().is_ok();
        seen.messages.last_mut().unwrap().whole = whole;
    }
    seen.left = input.len();
    seen
}

fn step(
    side: Side,
    input: &mut BytesMut,
    seen: &mut Seen,
    requests: &mut RequestParser,
    responses: &mut ResponseParser,
    body: &mut Option<BodyDecoder>,
) -> Result<(), Violation> {
    let limits = HeadLimits::default();
    loop {
        if let Some(decoder) = body {
            let message = seen.messages.last_mut().unwrap();
            match decoder.decode(input)? {
                Piece::NeedMore => return Ok(()),
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    message.body.extend_from_slice(&data);
                }
                Piece::End(trailers) => {
                    message.trailers = trailers.as_ref().map(all).unwrap_or_default();
                    message.whole = true;
                    *body = None;
                }
            }
            continue;
        }
        let (message, framing) = match side {
            Side::Requests => match requests.parse(input, &limits)? {
                None => return Ok(()),
                Some(request) => (of_request(&request), request.framing),
            },
            Side::Responses(method) => {
                let method = Method::from_token(method.as_bytes());
                match responses.parse(input, &method, &limits)? {
                    None => return Ok(()),
                    Some(response) => (of_response(&response), response.framing),
                }
            }
        };
        seen.messages.push(message);
        *body = Some(BodyDecoder::new(framing, BodyLimits::default()));
    }
}

/// The same result in one piece (heads are read whole), cut in two at every byte, and byte by byte (heads are read by lines);
/// truncated, no message more.
fn check(side: Side, bytes: &[u8]) -> Seen {
    let whole = read(side, std::iter::once(bytes));
    for at in 0..=bytes.len() {
        let (front, back) = bytes.split_at(at);
        let cut = read(side, [front, back].into_iter());
        assert_eq!(cut, whole, "cut at {at}: {}", text(bytes));
        let short = read(side, std::iter::once(front));
        let finished = |seen: &Seen| seen.messages.iter().filter(|m| m.whole).count();
        let is_close = matches!(side, Side::Responses(_));
        assert!(
            is_close || finished(&short) <= finished(&whole),
            "truncated at {at}: {}",
            text(bytes)
        );
        assert!(short.messages.len() <= whole.messages.len());
    }
    assert_eq!(read(side, bytes.chunks(1)), whole, "{}", text(bytes));
    whole
}

fn requests(bytes: impl AsRef<[u8]>) -> Seen {
    check(Side::Requests, bytes.as_ref())
}

fn responses(bytes: impl AsRef<[u8]>) -> Seen {
    check(Side::Responses("GET"), bytes.as_ref())
}

/// That requests break that rule.
fn refused(bytes: impl AsRef<[u8]>, rule: Violation) {
    let seen = requests(bytes.as_ref());
    assert_eq!(seen.end, Some(rule), "{}", text(bytes.as_ref()));
}

#[test]
fn an_idle_parser_is_small() {
    // An idle connection keeps one; RSS per idle connection is a promise.
    assert!(
        size_of::<RequestParser>() <= 256,
        "{}",
        size_of::<RequestParser>()
    );
    assert!(
        size_of::<ResponseParser>() <= 256,
        "{}",
        size_of::<ResponseParser>()
    );
    assert!(
        size_of::<BodyDecoder>() <= 96,
        "{}",
        size_of::<BodyDecoder>()
    );
}
