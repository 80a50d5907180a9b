//! Values for the types that Java has: what a text of a query or a number of JSON means where an `int` is wanted.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_config::transcode::Parameter;
use ringway_protocols::hessian::Writer;
use serde_json::Value;

use super::Bad;

/// What is known of a type: all others are the provider's to make of what they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    /// Whole, in so many bits.
    Whole(u32),
    Fraction,
    Text,
    /// One letter.
    Letter,
    Bytes,
    Moment,
    Other,
}

/// The kind of a type, and whether it can be null.
fn kind_of(name: &str) -> (Kind, bool) {
    match name {
        "boolean" => (Kind::Bool, false),
        "byte" => (Kind::Whole(8), false),
        "short" => (Kind::Whole(16), false),
        "int" => (Kind::Whole(32), false),
        "long" => (Kind::Whole(64), false),
        "float" | "double" => (Kind::Fraction, false),
        "char" => (Kind::Letter, false),
        "java.lang.Boolean" => (Kind::Bool, true),
        "java.lang.Byte" => (Kind::Whole(8), true),
        "java.lang.Short" => (Kind::Whole(16), true),
        "java.lang.Integer" => (Kind::Whole(32), true),
        "java.lang.Long" => (Kind::Whole(64), true),
        "java.lang.Float" | "java.lang.Double" => (Kind::Fraction, true),
        "java.lang.Character" => (Kind::Letter, true),
        "java.lang.String" => (Kind::Text, true),
        "byte[]" | "[B" => (Kind::Bytes, true),
        "java.util.Date" => (Kind::Moment, true),
        _ => (Kind::Other, true),
    }
}

/// An argument in the form that its type has in JSON; an error says what it is not.
pub(super) fn fit<'v>(
    value: Cow<'v, Value>,
    at: usize,
    parameter: &Parameter,
) -> Result<Cow<'v, Value>, Bad> {
    let (kind, nullable) = kind_of(&parameter.kind);
    let wrong = |why| Bad::Mistyped {
        at: at + 1,
        kind: parameter.kind.clone(),
        why,
    };
    if value.is_null() {
        return match (nullable, &parameter.from) {
            (true, _) => Ok(value),
            (false, Some(source)) => Err(Bad::Missing(super::source::place(source))),
            (false, None) => Err(wrong("it cannot be null")),
        };
    }
    let fits = match kind {
        Kind::Bool => boolean(&value)
            .map(Value::Bool)
            .ok_or("write `true` or `false`"),
        Kind::Whole(bits) => whole(&value, bits)
            .map(Value::from)
            .ok_or("write a whole number that fits"),
        Kind::Fraction => fraction(&value).ok_or("write a number"),
        Kind::Text => return text(value).ok_or_else(|| wrong("write a text")),
        Kind::Letter => {
            let text = text(value).ok_or_else(|| wrong("write a letter"))?;
            let is_one = text
                .as_str()
                .is_some_and(|text| text.encode_utf16().count() == 1);
            return is_one
                .then_some(text)
                .ok_or_else(|| wrong("write one letter"));
        }
        Kind::Bytes => match value.as_str().map(|text| STANDARD.decode(text)) {
            Some(Ok(_)) => return Ok(value),
            Some(Err(_)) | None => Err("write base64"),
        },
        // A text of a moment is the provider's to read.
        Kind::Moment if value.is_string() && parameter.from.is_none() => return Ok(value),
        Kind::Moment => match whole(&value, 64) {
            Some(millis) => Ok(Value::from(millis)),
            None => return Ok(value),
        },
        Kind::Other => return Ok(value),
    };
    fits.map(Cow::Owned).map_err(wrong)
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

fn whole(value: &Value, bits: u32) -> Option<i64> {
    let whole = value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())?;
    let room = 64_u32.checked_sub(bits)?;
    let fits = (whole << room) >> room == whole;
    fits.then_some(whole)
}

/// A number as it is; of a text, the number that it is.
fn fraction(value: &Value) -> Option<Value> {
    if let Some(text) = value.as_str() {
        let number: f64 = text.trim().parse().ok()?;
        return serde_json::Number::from_f64(number).map(Value::Number);
    }
    value.is_number().then(|| value.clone())
}

/// A text as it is; of a number or a truth, how it is written.
fn text(value: Cow<'_, Value>) -> Option<Cow<'_, Value>> {
    match &*value {
        Value::String(_) => Some(value),
        Value::Number(number) => Some(Cow::Owned(Value::String(number.to_string()))),
        Value::Bool(truth) => Some(Cow::Owned(Value::String(truth.to_string()))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes an argument of that type in Hessian 2.
pub(super) fn write(value: &Value, kind: &str, out: &mut Writer) -> Result<(), Bad> {
    match (kind_of(kind).0, value) {
        (Kind::Whole(64), Value::Number(number)) => match number.as_i64() {
            Some(long) => out.long(long),
            None => {
                return Err(Bad::Body(
                    "a whole number has more than 64 bits: write it as a text",
                ));
            }
        },
        (Kind::Fraction, Value::Number(number)) => out.double(number.as_f64().unwrap_or(f64::NAN)),
        (Kind::Bytes, Value::String(text)) => match STANDARD.decode(text) {
            Ok(bytes) => out.binary(&bytes),
            Err(_) => return Err(Bad::Body("bytes are written in base64")),
        },
        (Kind::Moment, Value::Number(number)) => match number.as_i64() {
            Some(millis) => out.date(millis),
            None => return Err(Bad::Body("a date is written in milliseconds")),
        },
        (
            Kind::Bool
            | Kind::Whole(_)
            | Kind::Fraction
            | Kind::Text
            | Kind::Letter
            | Kind::Bytes
            | Kind::Moment
            | Kind::Other,
            value,
        ) => return write_any(value, out),
    }
    Ok(())
}

/// Writes a value by what it is in JSON.
fn write_any(value: &Value, out: &mut Writer) -> Result<(), Bad> {
    match value {
        Value::Null => out.null(),
        Value::Bool(truth) => out.bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(long), _) => match i32::try_from(long) {
                Ok(int) => out.int(int),
                Err(_) => out.long(long),
            },
            (None, Some(double)) if number.is_f64() => out.double(double),
            (None, _) => {
                return Err(Bad::Body(
                    "a whole number has more than 64 bits: write it as a text",
                ));
            }
        },
        Value::String(text) => out.text(text),
        Value::Array(items) => {
            out.list(None, items.len());
            for item in items {
                write_any(item, out)?;
            }
        }
        Value::Object(entries) => {
            out.map(None);
            for (key, value) in entries {
                out.text(key);
                write_any(value, out)?;
            }
            out.end_map();
        }
    }
    Ok(())
}
