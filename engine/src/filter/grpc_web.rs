//! `grpc_web`: calls of gRPC-Web, as browsers make them, to and from upstreams that speak gRPC.
//!
//! ```text
//!  application/grpc-web[+…]        frames as they are                 the same, then the trailers as a frame (0x80)
//!  application/grpc-web-text[+…]   frames in base64, perhaps cut      the same in base64, each part by itself
//! ```
//!
//! Other requests pass untouched. What a browser asks beforehand (CORS) is the route's to answer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use ringway_config::PathError;
use ringway_protocols::message::ResponseHead;
use ringway_protocols::{FieldId, Fields};
use serde_json::Value;

use super::{BadBody, Filter, FilterSpec, Flow, Parsed, Step, Transform};
use crate::grpc;
use crate::request::RequestCx;
use crate::rng::Rng;

const WEB: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"-text";
/// The first byte of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

struct Spec;

/// Takes no configuration: `{}` or nothing.
pub(super) fn parse(config: &Value) -> Parsed {
    match config {
        Value::Null => Ok(Arc::new(Spec)),
        Value::Object(keys) => match keys.keys().next() {
            None => Ok(Arc::new(Spec)),
            Some(key) => Err(vec![PathError::new(
                key,
                "there is no such key: `grpc_web` takes none",
            )]),
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(vec![PathError::new("", "write `grpc_web: {}`")])
        }
    }
}

impl FilterSpec for Spec {
    fn start<'a>(&'a self, _: &'a Rng) -> Box<dyn Filter + 'a> {
        Box::new(Web::default())
    }
}

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Binary,
    Text,
}

/// What a type of content is, and what follows its name (`+proto`).
fn form(content_type: &[u8]) -> Option<(Form, &[u8])> {
    let (head, rest) = content_type.split_at_checked(WEB.len())?;
    if !head.eq_ignore_ascii_case(WEB) {
        return None;
    }
    let (form, rest) = match rest.split_at_checked(TEXT.len()) {
        Some((text, rest)) if text.eq_ignore_ascii_case(TEXT) => (Form::Text, rest),
        Some(_) | None => (Form::Binary, rest),
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b' ')).then_some((form, rest))
}

#[derive(Default)]
struct Web {
    request: Option<Form>,
    /// How the client wants its answer, once that is one of gRPC.
    wanted: Option<Form>,
    response: Option<Form>,
}

impl Filter for Web {
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        let fields = &mut request.head.fields;
        let told = fields.known(FieldId::ContentType).and_then(form);
        if let Some((form, rest)) = told {
            let plain = [b"application/grpc", rest].concat();
            let accepted = fields.get(b"accept").and_then(self::form);
            let wants_text = accepted.is_some_and(|(accepted, _)| accepted == Form::Text);
            fields.set("content-type", plain);
            self.request = Some(form);
            self.wanted = Some(if wants_text { Form::Text } else { form });
        }
        Step::Now(Flow::Continue)
    }

    fn on_response<'a>(&'a mut self, _: &'a RequestCx, response: &'a mut ResponseHead) -> Step<'a> {
        if let Some(wanted) = self.wanted
            && grpc::is_grpc(&response.fields)
        {
            let plain = response.fields.known(FieldId::ContentType);
            let rest = plain.unwrap_or_default();
            let rest = rest.get(b"application/grpc".len()..).unwrap_or_default();
            let text: &[u8] = if wanted == Form::Text { TEXT } else { b"" };
            let web = [WEB, text, rest].concat();
            response.fields.set("content-type", web);
            self.response = Some(wanted);
        }
        Step::Now(Flow::Continue)
    }

    fn request_body(&mut self) -> Option<Box<dyn Transform>> {
        match self.request? {
            Form::Binary => None,
            Form::Text => Some(Box::new(Decode::default())),
        }
    }

    fn response_body(&mut self) -> Option<Box<dyn Transform>> {
        Some(Box::new(Encode(self.response?)))
    }
}

/// Base64 to bytes: whole groups of four as they come. A client may pad each of its parts.
#[derive(Default)]
struct Decode {
    held: Vec<u8>,
}

impl Decode {
    fn decode(&mut self, whole: &[u8], out: &mut Vec<Bytes>) -> Result<(), BadBody> {
        let mut decoded = Vec::with_capacity(whole.len() / 4 * 3);
        // Padding ends a run; another may follow it.
        for run in whole.chunks(4) {
            let group = STANDARD.decode_vec(run, &mut decoded);
            group.map_err(|_| BadBody("not base64"))?;
        }
        out.push(decoded.into());
        Ok(())
    }
}

impl Transform for Decode {
    fn part(&mut self, part: Bytes, out: &mut Vec<Bytes>) -> Result<(), BadBody> {
        let lines = part.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        self.held.extend(lines);
        let whole = self.held.len() / 4 * 4;
        let rest = self.held.split_off(whole);
        let whole = std::mem::replace(&mut self.held, rest);
        self.decode(&whole, out)
    }

    fn end(&mut self, _: &mut Option<Fields>, _: &mut Vec<Bytes>) -> Result<(), BadBody> {
        if self.held.is_empty() {
            Ok(())
        } else {
            Err(BadBody("base64 that ends in a group"))
        }
    }
}

/// Frames as they are or in base64, and the trailers behind them.
struct Encode(Form);

impl Encode {
    fn write(&self, bytes: Bytes) -> Bytes {
        match self.0 {
            Form::Binary => bytes,
            Form::Text => STANDARD.encode(bytes).into(),
        }
    }
}

impl Transform for Encode {
    fn part(&mut self, part: Bytes, out: &mut Vec<Bytes>) -> Result<(), BadBody> {
        out.push(self.write(part));
        Ok(())
    }

    fn end(&mut self, trailers: &mut Option<Fields>, out: &mut Vec<Bytes>) -> Result<(), BadBody> {
        let Some(trailers) = trailers.take() else {
            return Ok(());
        };
        let mut block = BytesMut::new();
        for field in trailers.iter() {
            block.extend(field.name.iter().map(u8::to_ascii_lowercase));
            block.put_slice(b": ");
            block.put_slice(field.value);
            block.put_slice(b"\r\n");
        }
        let mut frame = BytesMut::with_capacity(block.len() + 5);
        frame.put_u8(TRAILERS);
        // Trailers are limited to far less than 4 GiB.
        frame.put_u32(u32::try_from(block.len()).unwrap_or(u32::MAX));
        frame.put_slice(&block);
        out.push(self.write(frame.freeze()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Transforms;
    use crate::filter::testing::response;
    use crate::request::sample;

    fn now(step: Step<'_>) {
        assert!(matches!(step, Step::Now(Flow::Continue)));
    }

    fn types(content_type: &str, accept: &str, answer: &str) -> (String, String) {
        let mut filter = Web::default();
        let fields = [("Content-Type", content_type), ("Accept", accept)];
        let mut request = sample("POST", "/a.B/C", &fields);
        now(filter.on_request(&mut request));
        let mut head = response(200);
        head.fields.push("content-type", answer);
        now(filter.on_response(&request, &mut head));
        let text = |fields: &Fields| {
            String::from_utf8_lossy(fields.known(FieldId::ContentType).unwrap()).into_owned()
        };
        (text(&request.head.fields), text(&head.fields))
    }

    #[test]
    fn types_are_exchanged_both_ways() {
        let check = |content_type, accept, answer, expect: (&str, &str)| {
            let (request, response) = types(content_type, accept, answer);
            assert_eq!((&request[..], &response[..]), expect, "{content_type}");
        };
        let proto = "application/grpc+proto";
        check(
            "application/grpc-web+proto",
            "*/*",
            proto,
            (proto, "application/grpc-web+proto"),
        );
        check(
            "application/grpc-web-text",
            "*/*",
            "application/grpc",
            ("application/grpc", "application/grpc-web-text"),
        );
        check(
            "application/grpc-web",
            "application/grpc-web-text",
            "application/grpc",
            ("application/grpc", "application/grpc-web-text"),
        );
        check(
            "application/grpc-web",
            "*/*",
            "text/html",
            ("application/grpc", "text/html"),
        );
        check(
            "application/grpc-webby",
            "*/*",
            proto,
            ("application/grpc-webby", proto),
        );
        check(proto, "*/*", proto, (proto, proto));
    }

    #[test]
    fn base64_may_be_cut_anywhere_and_padded_in_between() {
        let whole = b"AAEC\r\nAw==BAUGBw==".as_slice();
        for cut in 0..=whole.len() {
            let steps: Vec<Box<dyn Transform>> = vec![Box::new(Decode::default())];
            let mut transforms = Transforms::new(steps).unwrap();
            let mut all = Vec::new();
            for part in [&whole[..cut], &whole[cut..]] {
                transforms.push(Bytes::copy_from_slice(part)).unwrap();
            }
            transforms.end(None).unwrap();
            while let Some(part) = transforms.pop() {
                all.extend_from_slice(&part);
            }
            assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7], "cut at {cut}");
        }
        for bad in ["A", "A===", "????", "AAE=A"] {
            let steps: Vec<Box<dyn Transform>> = vec![Box::new(Decode::default())];
            let result = Transforms::new(steps)
                .unwrap()
                .all(Bytes::from_static(bad.as_bytes()));
            assert!(result.is_err(), "{bad}");
        }
    }

    #[test]
    fn trailers_become_the_last_frame() {
        let mut trailers = Fields::new();
        trailers.push("Grpc-Status", "0");
        for (form, expect) in [
            (Form::Binary, b"ab\x80\0\0\0\x10grpc-status: 0\r\n".to_vec()),
            (
                Form::Text,
                [
                    STANDARD.encode(b"ab"),
                    STANDARD.encode(b"\x80\0\0\0\x10grpc-status: 0\r\n"),
                ]
                .concat()
                .into_bytes(),
            ),
        ] {
            let steps: Vec<Box<dyn Transform>> = vec![Box::new(Encode(form))];
            let mut transforms = Transforms::new(steps).unwrap();
            transforms.push(Bytes::from_static(b"ab")).unwrap();
            transforms.end(Some(trailers.clone())).unwrap();
            assert!(transforms.trailers().is_none());
            let mut all = Vec::new();
            while let Some(part) = transforms.pop() {
                all.extend_from_slice(&part);
            }
            assert_eq!(all, expect);
        }
    }
}
