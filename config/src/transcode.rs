//! `transcode`: HTTP with JSON made calls of an RPC protocol.

use serde_json::Value;

use crate::native;
use crate::{ByteSize, PathError};

/// A call that is made of each request of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcode {
    /// Into what.
    pub to: TranscodeTo,
    /// The service that is called.
    pub service: Template,
    /// Its method.
    pub method: Template,
    /// The service's version. Dubbo.
    pub version: Option<Template>,
    /// The service's group. Dubbo.
    pub group: Option<Template>,
    /// The arguments; absent: the body says them, in the protocol's way.
    pub parameters: Option<Vec<Parameter>>,
    /// Headers (of Dubbo: attachments) of the call, and the request's headers whose values they have.
    pub headers: Vec<(String, String)>,
    /// Objects say their class under `class`, both ways. Dubbo. Default no.
    pub class_names: bool,
    /// How numbers of 64 bits are answered. Dubbo.
    pub longs: Longs,
    /// Bytes of a request's body. Default 1 MiB: what APIs of JSON take, and far more than their arguments need.
    pub max_body: ByteSize,
    /// Bytes of an answer as JSON. Dubbo. Default 16 MiB: as much as a frame may have.
    pub max_answer: ByteSize,
}

/// Into what a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscodeTo {
    /// A generic call of Dubbo 2 (`$invoke`), with Hessian 2.
    Dubbo,
    /// A call of SOFARPC over Bolt, with JSON.
    Bolt,
}

impl TranscodeTo {
    /// The word, which is also the protocol of the clusters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dubbo => "dubbo",
            Self::Bolt => "bolt",
        }
    }
}

/// How numbers of 64 bits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longs {
    /// As numbers, all digits of them.
    Number,
    /// As texts where JavaScript would round them: beyond 2^53 - 1.
    Text,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its type, as Java names it: `int`, `java.lang.String`, `com.test.User`.
    pub kind: String,
    /// Where its value is; absent: an item of the body, which is a list.
    pub from: Option<Source>,
}

/// Where in a request a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A segment of the path, counted from 1.
    Path(usize),
    /// A parameter of the query.
    Query(String),
    /// A header, in lower case.
    Header(String),
    /// The body, or what is in it under these keys or numbers.
    Body(Vec<String>),
}

/// A text with values of the request in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// A value of the request.
    From(Source),
}

impl Transcode {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        native::read_part(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_the_documented_forms() {
        let read = Transcode::parse(&json!({
            "to": "dubbo",
            "service": "com.test.{path.1}",
            "method": "find",
            "version": "1.0.0",
            "parameters": [
                { "type": "long", "from": "query.id" },
                { "type": "java.util.Map", "from": "body.a.0" },
                { "type": "java.lang.String", "from": "header.X-User" },
                { "type": "com.test.User", "from": "body" },
            ],
            "headers": { "tenant": "X-Tenant" },
        }))
        .unwrap();
        let service = vec![
            Piece::Text("com.test.".to_owned()),
            Piece::From(Source::Path(1)),
        ];
        assert_eq!(read.service, Template(service));
        let from: Vec<_> = read
            .parameters
            .unwrap()
            .into_iter()
            .map(|p| p.from.unwrap())
            .collect();
        let expect = [
            Source::Query("id".to_owned()),
            Source::Body(vec!["a".to_owned(), "0".to_owned()]),
            Source::Header("x-user".to_owned()),
            Source::Body(Vec::new()),
        ];
        assert_eq!(from, expect);
        assert_eq!(read.headers, [("tenant".to_owned(), "x-tenant".to_owned())]);
        assert_eq!((read.max_body.0, read.class_names), (1 << 20, false));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (value, path, says) in [
            (
                json!({ "to": "bolt", "service": "s:1.0", "method": "m", "version": "1.0" }),
                "version",
                "write it in `service`",
            ),
            (
                json!({ "to": "bolt", "service": "s:1.0", "method": "m", "longs": "text" }),
                "longs",
                "are JSON already",
            ),
            (
                json!({ "to": "dubbo", "service": "s", "method": "m", "parameters": [{ "type": "int" }, { "type": "int", "from": "query.a" }] }),
                "parameters[0]",
                "`from` for all parameters, or for none",
            ),
            (
                json!({ "to": "dubbo", "service": "s", "method": "{path.0}" }),
                "method",
                "counted from 1",
            ),
            (
                json!({ "to": "dubbo", "service": "s", "method": "{path.1" }),
                "method",
                "close it with `}`",
            ),
            (
                json!({ "to": "dubbo", "service": "s", "method": "{cookie.a}" }),
                "method",
                "`path.2`",
            ),
            (
                json!({ "to": "tars", "service": "s", "method": "m" }),
                "to",
                "`dubbo` or `bolt`",
            ),
            (
                json!({ "to": "dubbo", "service": "s", "method": "m", "verison": "1" }),
                "",
                "`version`",
            ),
            (
                json!({ "to": "dubbo", "service": "s" }),
                "",
                "`method` is missing",
            ),
        ] {
            let errors = Transcode::parse(&value).unwrap_err();
            let found = errors
                .iter()
                .any(|e| e.path == path && e.message.contains(says));
            assert!(found, "{value}: {errors:?}");
        }
    }
}
