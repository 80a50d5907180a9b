//! Generic calls: what `GenericService` of Dubbo's clients sends (`$invoke`), and its answers decoded. For who has arguments by the
//! names of their types, and none of the provider's classes.
//!
//! ```text
//!  Dubbo's version · path · service's version · "$invoke" · descriptor of the three arguments' types
//!  · method · [names of types] · [arguments] · attachments
//! ```

use std::time::Duration;

use super::head::{Head, LEN, REQUEST, TWO_WAY, status};
use super::serialization;
use crate::codec::{DecodeError, Frame, Limits};
use crate::hessian::{Decoder, Tree, Value, Writer};

/// The version of the protocol that every Dubbo since 2.7 says, and at which providers answer with attachments.
const DUBBO_VERSION: &str = "2.0.2";
/// What a service without a version is called by.
const NO_VERSION: &str = "0.0.0";
const INVOKE: &str = "$invoke";
const INVOKE_TYPES: &str = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct GenericCall<'a> {
    /// The interface.
    pub service: &'a str,
    /// Its version, if it has one.
    pub version: Option<&'a str>,
    /// Its group, if it has one.
    pub group: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The types of its arguments, as Java names them.
    pub types: &'a [&'a str],
    /// How long the answer is waited for.
    pub timeout: Duration,
}

impl GenericCall<'_> {
    /// The bytes of its frame, under the id 1. `arguments` writes as many values as there are types.
    pub fn write<E>(
        &self,
        arguments: impl FnOnce(&mut Writer) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let version = self.version.unwrap_or(NO_VERSION);
        let mut body = Writer::default();
        for text in [
            DUBBO_VERSION,
            self.service,
            version,
            INVOKE,
            INVOKE_TYPES,
            self.method,
        ] {
            body.text(text);
        }
        body.list(Some("[string"), self.types.len());
        for name in self.types {
            body.text(name);
        }
        body.list(Some("[object"), self.types.len());
        arguments(&mut body)?;
        let timeout = self.timeout.as_millis().to_string();
        let attachments = [
            ("path", Some(self.service)),
            ("interface", Some(self.service)),
            ("version", Some(version)),
            ("group", self.group),
            ("generic", Some("true")),
            ("timeout", Some(&timeout)),
        ];
        body.map(None);
        for (name, value) in attachments {
            if let Some(value) = value {
                body.text(name);
                body.text(value);
            }
        }
        body.end_map();
        let body = body.into_bytes();
        let head = Head {
            flags: REQUEST | TWO_WAY | serialization::COMMON,
            status: 0,
            id: 1,
            body: body.len(),
        };
        Ok(head.write(&body))
    }
}

/// An answer, decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum GenericAnswer {
    /// What the method gave.
    Value(Value),
    /// What it threw.
    Exception(Value),
    /// The provider could not call it.
    Failed {
        /// The protocol's status.
        status: u8,
        /// In words.
        text: String,
    },
}

/// Decodes an answer in Hessian 2, and what its values are made of.
pub fn generic_answer(
    frame: &Frame,
    limits: &Limits,
) -> Result<(GenericAnswer, Tree), DecodeError> {
    let head = Head::read(&frame.bytes)?.ok_or(DecodeError::BadLength)?;
    if !serialization::is_hessian(head.serialization()) {
        return Err(DecodeError::Unsupported);
    }
    let body = frame.bytes.get(LEN..).unwrap_or_default();
    let mut decoder = Decoder::new(body, limits);
    if head.status != status::OK {
        let text = match decoder.value() {
            Ok(Value::Text(text)) => text.as_ref().to_owned(),
            Ok(_) | Err(_) => String::new(),
        };
        let status = head.status;
        return Ok((GenericAnswer::Failed { status, text }, Tree::default()));
    }
    // What follows: 0 an exception, 1 a value, 2 nothing; the same from 3 on with attachments behind it.
    let Value::Int(flag) = decoder.value()? else {
        return Err(DecodeError::BadBody);
    };
    let answer = match flag {
        0 | 3 => GenericAnswer::Exception(decoder.value()?),
        1 | 4 => GenericAnswer::Value(decoder.value()?),
        2 | 5 => GenericAnswer::Value(Value::Null),
        _ => return Err(DecodeError::BadBody),
    };
    Ok((answer, decoder.into_tree()))
}
