//! Where values of a call come from: the path, the query, headers, the body.

use std::borrow::Cow;

use ringway_config::transcode::{Parameter, Piece, Source, Template, Transcode, TranscodeTo};
use serde_json::Value;

use super::Bad;
use crate::request::RequestCx;

/// What a request holds.
pub(super) struct Inputs<'a> {
    request: &'a RequestCx,
    /// The body, where something is read from it.
    body: Option<Value>,
}

impl<'a> Inputs<'a> {
    /// Reads the body, if anything of the call is in it.
    pub(super) fn new(
        request: &'a RequestCx,
        body: &[u8],
        config: &Transcode,
    ) -> Result<Self, Bad> {
        let body = match reads_body(config) {
            true if body.is_empty() => {
                return Err(Bad::Body("the body is empty, and JSON is wanted"));
            }
            true => Some(serde_json::from_slice(body).map_err(Bad::NotJson)?),
            false => None,
        };
        if let Some(body) = &body
            && config.to == TranscodeTo::Dubbo
            && !config.class_names
            && names_class(body)
        {
            return Err(Bad::Body("`class` is not taken from clients"));
        }
        Ok(Self { request, body })
    }

    /// The body.
    pub(super) fn body(&self) -> &Value {
        self.body.as_ref().unwrap_or(&Value::Null)
    }

    /// The values of the arguments, in order: nothing found is a null.
    pub(super) fn arguments(&self, parameters: &[Parameter]) -> Result<Vec<Cow<'_, Value>>, Bad> {
        if parameters.iter().all(|parameter| parameter.from.is_some()) {
            let sources = parameters.iter().filter_map(|one| one.from.as_ref());
            return Ok(sources
                .map(|source| self.value(source).unwrap_or(Cow::Owned(Value::Null)))
                .collect());
        }
        let Value::Array(items) = self.body() else {
            return Err(Bad::Body(
                "the body has to be a list of the call's arguments",
            ));
        };
        match items.len() == parameters.len() {
            true => Ok(items.iter().map(Cow::Borrowed).collect()),
            false => Err(Bad::Count {
                wanted: parameters.len(),
                got: items.len(),
            }),
        }
    }

    /// What is there.
    fn value(&self, source: &Source) -> Option<Cow<'_, Value>> {
        let text = |text: String| Cow::Owned(Value::String(text));
        let head = &self.request.head;
        match source {
            Source::Path(at) => segment(head.path(), *at).map(text),
            Source::Query(name) => parameter(head.query()?, name.as_bytes()).map(text),
            Source::Header(name) => {
                let value = head.fields.get(name.as_bytes())?;
                Some(text(String::from_utf8_lossy(value).into_owned()))
            }
            Source::Body(keys) => {
                let mut value = self.body.as_ref()?;
                for key in keys {
                    value = match value {
                        Value::Object(entries) => entries.get(key)?,
                        Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                            return None;
                        }
                    };
                }
                Some(Cow::Borrowed(value))
            }
        }
    }

    /// A text with its sources' values.
    pub(super) fn render(&self, template: &Template) -> Result<String, Bad> {
        let mut out = String::new();
        for piece in &template.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::From(source) => match self.value(source).as_deref() {
                    Some(Value::String(text)) if !text.is_empty() => out.push_str(text),
                    Some(Value::Number(number)) => out.push_str(&number.to_string()),
                    Some(_) | None => return Err(Bad::Missing(place(source))),
                },
            }
        }
        Ok(out)
    }
}

/// Whether anything of the call is in the body.
fn reads_body(config: &Transcode) -> bool {
    let templates = [
        Some(&config.service),
        Some(&config.method),
        config.version.as_ref(),
        config.group.as_ref(),
    ];
    let mut pieces = templates
        .into_iter()
        .flatten()
        .flat_map(|template| &template.0);
    let in_texts = pieces.any(|piece| matches!(piece, Piece::From(Source::Body(_))));
    let in_arguments = match &config.parameters {
        None => true,
        Some(list) => list
            .iter()
            .any(|one| matches!(one.from, None | Some(Source::Body(_)))),
    };
    in_texts || in_arguments
}

/// Whether an object in it says its class: as deep as JSON is read, which is limited.
fn names_class(value: &Value) -> bool {
    match value {
        Value::Object(entries) => {
            entries.contains_key("class") || entries.values().any(names_class)
        }
        Value::Array(items) => items.iter().any(names_class),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A source as the configuration writes it.
pub(super) fn place(source: &Source) -> String {
    match source {
        Source::Path(at) => format!("path.{at}"),
        Source::Query(name) => format!("query.{name}"),
        Source::Header(name) => format!("header.{name}"),
        Source::Body(keys) if keys.is_empty() => "body".to_owned(),
        Source::Body(keys) => format!("body.{}", keys.join(".")),
    }
}

/// A segment of a path, counted from 1.
fn segment(path: &[u8], at: usize) -> Option<String> {
    let mut segments = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
    let found = segments.nth(at.checked_sub(1)?)?;
    (!found.is_empty()).then(|| decode(found, false))
}

/// The first parameter of a query with that name.
fn parameter(query: &[u8], name: &[u8]) -> Option<String> {
    let pairs = query.split(|byte| *byte == b'&');
    for pair in pairs {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let key = halves.next().unwrap_or_default();
        if decode(key, true).as_bytes() == name {
            return Some(decode(halves.next().unwrap_or_default(), true));
        }
    }
    None
}

/// `%XX` and, in queries, `+` read; what is no UTF-8 then becomes the letter that stands for it.
fn decode(text: &[u8], in_query: bool) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        let pair = digit(text.get(at + 1)).zip(digit(text.get(at + 2)));
        match (*byte, pair) {
            (b'%', Some((high, low))) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', _) if in_query => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_from_one_and_read() {
        for (path, at, expect) in [
            ("/a/b%20c/d", 1, Some("a")),
            ("/a/b%20c/d", 2, Some("b c")),
            ("/a/%c3%bc%", 2, Some("\u{fc}%")),
            ("/a+b", 1, Some("a+b")),
            ("/a//b", 2, None),
            ("/a", 2, None),
            ("/", 1, None),
            ("*", 1, None),
        ] {
            assert_eq!(
                segment(path.as_bytes(), at).as_deref(),
                expect,
                "{path} {at}"
            );
        }
    }

    #[test]
    fn parameters_of_a_query_are_found_by_name() {
        let query = b"a=1&b+c=x%26y&d&a=2&e=";
        for (name, expect) in [
            ("a", Some("1")),
            ("b c", Some("x&y")),
            ("d", Some("")),
            ("e", Some("")),
            ("f", None),
        ] {
            assert_eq!(
                parameter(query, name.as_bytes()).as_deref(),
                expect,
                "{name}"
            );
        }
    }
}
