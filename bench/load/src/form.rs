//! What is asked and what an answer is: a request of HTTP/1.1, or a call of Bolt or Dubbo whose argument comes back.

use std::net::SocketAddr;
use std::str::FromStr;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// HTTP/1.1.
    Http,
    /// SOFARPC's Bolt, version 1.
    Bolt,
    /// Dubbo 2 with Hessian.
    Dubbo,
}

impl FromStr for Form {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "http" => Ok(Self::Http),
            "bolt" => Ok(Self::Bolt),
            "dubbo" => Ok(Self::Dubbo),
            _ => Err(()),
        }
    }
}

/// The id of every call: each connection has one at a time.
const ID: u8 = 7;
/// What is called, unless told.
const SERVICE: &str = "com.test.Echo";
/// The number of JSON among SOFARPC's serializations: what a real server reads without a class of ours.
const JSON: u8 = 12;
/// The types of its arguments, as Java describes them.
pub(crate) const TYPES: &[u8] = b"Ljava/lang/String;";
const REQUEST_CLASS: &str = "com.alipay.sofa.rpc.core.request.SofaRequest";
const RESPONSE_CLASS: &str = "com.alipay.sofa.rpc.core.response.SofaResponse";

/// What the generator wants to know of an answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200 is good.
    pub status: u16,
    pub length: Option<u64>,
    pub closes: bool,
    /// Bytes after the head.
    pub body: u64,
}

impl Form {
    /// The length of the body of an answer that has so many bytes of its own.
    pub(crate) fn body_length(self, length: u64) -> u64 {
        match self {
            Self::Http | Self::Bolt => length,
            // A word that says that there is a value, and the length of a text before it.
            Self::Dubbo => length + 4,
        }
    }

    /// A call of `echo` whose argument has so many bytes.
    pub(crate) fn call(self, service: &Service, length: u16) -> Vec<u8> {
        match self {
            Self::Http => Vec::new(),
            Self::Bolt => bolt_call(&service.name, length),
            Self::Dubbo => dubbo_call(service, length),
        }
    }

    /// Reads the head of an answer; none until it is whole.
    pub(crate) fn answer(self, bytes: &[u8]) -> Option<Answer> {
        match self {
            Self::Http => http_answer(bytes),
            Self::Bolt => bolt_answer(bytes),
            Self::Dubbo => dubbo_answer(bytes),
        }
    }
}

/// Whose `echo` is called.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub name: String,
    /// Of Dubbo.
    pub group: Option<String>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: SERVICE.to_owned(),
            group: None,
        }
    }
}

/// A request of HTTP/1.1.
pub(crate) fn http_request(target: SocketAddr, path: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: bench-load\r\nAccept: */*\r\n{connection}\r\n"
    );
    request.into_bytes()
}

fn letters(length: u16) -> impl Iterator<Item = u8> {
    (0..length).map(|at| b'a' + (at % 23) as u8)
}

fn bolt_call(service: &str, length: u16) -> Vec<u8> {
    let mut headers = Vec::new();
    let service = format!("{service}:1.0");
    for (name, value) in [
        ("service", &service[..]),
        ("sofa_head_target_service", &service),
        ("sofa_head_method_name", "echo"),
    ] {
        for text in [name, value] {
            headers.extend_from_slice(&(text.len() as u32).to_be_bytes());
            headers.extend_from_slice(text.as_bytes());
        }
    }
    // Version 1, a request for a call, command version 1, the id, the serialization, 5 s.
    let mut bytes = vec![1, 1, 0, 1, 1, 0, 0, 0, ID, JSON, 0, 0, 0x13, 0x88];
    bytes.extend_from_slice(&(REQUEST_CLASS.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(headers.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&u32::from(length).to_be_bytes());
    bytes.extend_from_slice(REQUEST_CLASS.as_bytes());
    bytes.extend_from_slice(&headers);
    bytes.push(b'"');
    bytes.extend(letters(length.saturating_sub(2)));
    bytes.push(b'"');
    bytes
}

fn short_text(text: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text);
}

fn dubbo_call(Service { name, group }: &Service, length: u16) -> Vec<u8> {
    let mut body = Vec::new();
    // Of a version that has answers without attachments, so that their length is known.
    for text in ["2.6.9", name, "1.0.0", "echo"] {
        short_text(text.as_bytes(), &mut body);
    }
    short_text(TYPES, &mut body);
    body.push(b'S');
    body.extend_from_slice(&length.to_be_bytes());
    body.extend(letters(length));
    body.push(b'H');
    for (key, value) in [
        ("path", Some(name)),
        ("interface", Some(name)),
        ("version", Some(&"1.0.0".to_owned())),
        ("group", group.as_ref()),
    ] {
        let Some(value) = value else { continue };
        short_text(key.as_bytes(), &mut body);
        short_text(value.as_bytes(), &mut body);
    }
    body.push(b'Z');
    let mut bytes = vec![0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, ID];
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// The head of the answer to a call of Bolt with that id.
pub(crate) fn bolt_answer_head(id: [u8; 4], codec: u8, content: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 2, 1];
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(&[codec, 0, 0]);
    bytes.extend_from_slice(&(RESPONSE_CLASS.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&content.to_be_bytes());
    bytes.extend_from_slice(RESPONSE_CLASS.as_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn bolt_answer(bytes: &[u8]) -> Option<Answer> {
    let head = bytes.get(..20)?;
    let (class, header) = (number(&head[12..14]), number(&head[14..16]));
    let body = (bytes.len() as u64).checked_sub(20 + class + header)?;
    let is_good = head[..4] == [1, 0, 0, 2] && head[8] == ID && head[10..12] == [0, 0];
    Some(Answer {
        status: if is_good { 200 } else { 0 },
        length: Some(number(&head[16..20])),
        closes: false,
        body,
    })
}

fn dubbo_answer(bytes: &[u8]) -> Option<Answer> {
    // With the word behind the head: an exception is no answer.
    let head = bytes.get(..17)?;
    let is_good = head[..4] == [0xda, 0xbb, 2, 20] && head[11] == ID && head[16] == 0x91;
    Some(Answer {
        status: if is_good { 200 } else { 0 },
        length: Some(number(&head[12..16])),
        closes: false,
        body: bytes.len() as u64 - 16,
    })
}

fn http_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| decimal(line.get(9..12)?));
    let mut answer = Answer {
        status: status.and_then(|s| u16::try_from(s).ok()).unwrap_or(0),
        length: None,
        closes: false,
        body: rest.len() as u64 - 4,
    };
    for line in lines {
        if let Some(value) = value_of(line, b"content-length:") {
            answer.length = decimal(value);
        } else if let Some(value) = value_of(line, b"connection:") {
            answer.closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    Some(answer)
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc_origin::answers;

    #[test]
    fn what_the_origin_answers_is_what_the_generator_awaits() {
        for form in [Form::Bolt, Form::Dubbo] {
            let mut input = form.call(&Service::default(), 1024).repeat(3);
            let half = input.split_off(input.len() / 2);
            let (mut out, mut whole) = (Vec::new(), input);
            answers(form, &mut whole, &mut out).unwrap();
            whole.extend_from_slice(&half);
            answers(form, &mut whole, &mut out).unwrap();
            assert!(whole.is_empty());
            let one = out.len() / 3;
            for answer in out.chunks(one) {
                let read = form.answer(answer).unwrap();
                assert_eq!((read.status, read.body), (200, form.body_length(1024)));
                assert_eq!(read.length, Some(read.body));
                assert_eq!(form.answer(&answer[..10]), None);
            }
        }
    }
}
