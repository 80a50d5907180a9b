//! The serializations that a frame's flags name, as far as an answer of the proxy's own and the words on a connection need them.
//!
//! A client takes an answer only in the serialization of its request, so that an error has to be written in that one.

use crate::hessian;

const HESSIAN2: u8 = 2;
const FASTJSON: u8 = 6;
const NATIVE_HESSIAN: u8 = 10;
const FASTJSON2: u8 = 23;

/// The one that every Dubbo has.
pub(super) const COMMON: u8 = HESSIAN2;
/// Its null.
pub(super) const NULL: &[u8] = b"N";
/// A text of `R` in it: the provider takes no more requests.
pub(super) const READONLY: &[u8] = b"\x01R";

/// What proxies say is short; what is longer is cut.
const TEXT_MAX: usize = 1024;

/// Whether its bodies are Hessian 2.
pub(super) fn is_hessian(serialization: u8) -> bool {
    matches!(serialization, HESSIAN2 | NATIVE_HESSIAN)
}

/// A text as a body, for an answer that is an error. Empty for serializations that are not written here: a client that cannot
/// read the text still has the status, and an error of its own.
pub(super) fn text_body(serialization: u8, text: &str) -> Vec<u8> {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let mut body = Vec::with_capacity(text.len() + 8);
    match serialization {
        HESSIAN2 | NATIVE_HESSIAN => hessian::write_text(text, &mut body),
        FASTJSON => write_json(text, &mut body),
        FASTJSON2 => write_jsonb(text, &mut body),
        _ => {}
    }
    body
}

/// One line of JSON.
fn write_json(text: &str, body: &mut Vec<u8>) {
    body.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => body.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => body.push(b' '),
            _ => body.push(byte),
        }
    }
    body.extend_from_slice(b"\"\n");
}

/// A length of four bytes, and a text of Latin letters as fastjson2's binary form writes it.
fn write_jsonb(text: &str, body: &mut Vec<u8>) {
    /// The tag of a text of no bytes; up to 47 are counted in it.
    const SHORT: u8 = 0x49;
    const LONG: u8 = 0x79;
    /// The tag of a number of two bytes whose high one is 0.
    const NUMBER: u8 = 0x38;
    let ascii: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?'))
        .collect();
    let [.., high, low] = ascii.len().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=47) => vec![SHORT + low],
        _ => vec![LONG, NUMBER + high, low],
    };
    let total = u32::try_from(head.len() + ascii.len()).unwrap_or(0);
    body.extend_from_slice(&total.to_be_bytes());
    body.extend_from_slice(&head);
    body.extend_from_slice(&ascii);
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing, or something that nobody here knows: a heartbeat.
    Heartbeat,
    /// `R`: the provider takes no more requests.
    ReadOnly,
    /// `W`: it takes them again.
    Writeable,
}

/// Reads an event in any serialization: a text of one letter ends with that letter, in JSON followed by a quote, and no null does.
pub(super) fn event(body: &[u8]) -> Event {
    /// The longest, Java's own with its header.
    const EVENT_MAX: usize = 16;
    let is_mark = |byte: &&u8| !matches!(**byte, b'"' | b'\n' | b'\r');
    match body.iter().rev().find(is_mark) {
        Some(b'R') if body.len() <= EVENT_MAX => Event::ReadOnly,
        Some(b'W') if body.len() <= EVENT_MAX => Event::Writeable,
        _ => Event::Heartbeat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_the_serialization_writes_them() {
        let long = "x".repeat(300);
        for (serialization, text, start) in [
            (HESSIAN2, "boom", &b"\x04boom"[..]),
            (NATIVE_HESSIAN, "", b"\0"),
            (HESSIAN2, &long, b"\x31\x2cxxx"),
            (
                HESSIAN2,
                "\u{fc}\u{1f600}",
                b"\x03\xc3\xbc\xed\xa0\xbd\xed\xb8\x80",
            ),
            // As fastjson2 of Dubbo 3.3 writes them.
            (FASTJSON2, "boom", b"\0\0\0\x05\x4dboom"),
            (FASTJSON2, &long, b"\0\0\x01\x2f\x79\x39\x2cxxx"),
            (FASTJSON, "a\"b\n", b"\"a\\\"b \"\n"),
            (3, "boom", b""),
        ] {
            let body = text_body(serialization, text);
            assert!(body.starts_with(start), "{text}: {body:x?}");
        }
        assert_eq!(text_body(HESSIAN2, &"\u{fc}".repeat(600)).len(), 1026);
    }

    #[test]
    fn events_are_known_in_any_serialization() {
        for (body, expect) in [
            (&b"N"[..], Event::Heartbeat),
            (b"NN", Event::Heartbeat),
            (b"", Event::Heartbeat),
            (b"\x01R", Event::ReadOnly),
            (b"\x01W", Event::Writeable),
            (b"\0\0\0\x02\x4aR", Event::ReadOnly),
            (b"\0\0\0\x01\xaf", Event::Heartbeat),
            (b"\"R\"\n", Event::ReadOnly),
            (b"null\n", Event::Heartbeat),
            (b"\xac\xed\0\x05t\0\x01R", Event::ReadOnly),
        ] {
            assert_eq!(event(body), expect, "{body:x?}");
        }
    }
}
