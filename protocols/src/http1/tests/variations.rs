//! Messages in the ways in which a byte may be another, and what is made of each: a line each of `outcome | bytes`, for a change of a rule
//! to show all that it changes.

use super::*;

#[test]
fn requests_are_what_they_were_judged_to_be() {
    hold(Side::Requests, include_str!("requests.txt"));
}

#[test]
fn answers_are_what_they_were_judged_to_be() {
    hold(Side::Responses("GET"), include_str!("responses.txt"));
}

#[track_caller]
fn hold(side: Side, lines: &str) {
    let mut changed = Vec::new();
    for line in lines.lines() {
        let (expect, bytes) = line.split_once(" | ").unwrap();
        let outcome = told(&check(side, &unescaped(bytes)));
        if outcome != expect {
            changed.push(format!("{outcome} | {bytes}"));
        }
    }
    assert!(changed.is_empty(), "they are:\n{}", changed.join("\n"));
}

/// What came of it: the messages, the rule that was broken, and the bytes that are left.
fn told(seen: &Seen) -> String {
    let mut told: Vec<String> = seen.messages.iter().map(message).collect();
    told.extend(seen.end.map(|violation| violation.name().to_owned()));
    if seen.left > 0 {
        told.push(format!("{} left", seen.left));
    }
    told.join("; ")
}

fn message(message: &Message) -> String {
    let mut told = format!("{} {}", message.line, message.framing);
    if !message.body.is_empty() {
        told += &format!(" '{}'", text(&message.body));
    }
    if !message.trailers.is_empty() {
        told += &format!(" and '{}'", message.trailers);
    }
    if !message.whole {
        told += " unfinished";
    }
    told
}

/// The bytes of a text as `escape_ascii` writes it.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    bytes
}
