//! TOML 1.1 into the tree.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::{DEPTH_LIMIT, Entry, Node, SyntaxError, Value};

/// Reads a text, with all of its syntax errors.
pub(crate) fn read(text: &str, errors: &mut Vec<SyntaxError>) -> Option<Node> {
    // The parser bounds how deep values nest, but not how long a dotted key is; each dot is a level.
    if let Some(at) = long_key(text) {
        errors.push(SyntaxError::too_deep(at));
        return None;
    }
    let (table, wrong) = DeTable::parse_recoverable(text);
    errors.extend(wrong.iter().map(|error| syntax_error(text, error)));
    if !wrong.is_empty() {
        return None;
    }
    let span = table.span();
    let node = map(table.into_inner(), span, 0);
    node.map_err(|error| errors.push(error)).ok()
}

/// Dots of one line outside of quotes; the parser itself would stand some thousands.
const DOTS_LIMIT: usize = 256;

/// The first line with more dots than any key may have.
fn long_key(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if dots(line) > DOTS_LIMIT {
            return Some(start..start + line.trim_end().len());
        }
        start += line.len();
    }
    None
}

/// The dots of a line that are in no comment and, as far as one line tells, in no text.
fn dots(line: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    let mut count = 0;
    for byte in line.bytes() {
        match (quote, byte) {
            (None, b'#') => break,
            (None, b'.') => count += 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if byte == open && !escaped => quote = None,
            (None | Some(_), _) => {}
        }
        escaped = quote == Some(b'"') && byte == b'\\' && !escaped;
    }
    count
}

fn syntax_error(text: &str, error: &Error) -> SyntaxError {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message().trim().replace('\n', ", ");
    SyntaxError::new(span, format!("this is no TOML: {message}"))
}

fn map(table: DeTable<'_>, span: Range<usize>, depth: usize) -> Result<Node, SyntaxError> {
    if depth > DEPTH_LIMIT {
        return Err(SyntaxError::too_deep(span));
    }
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        entries.push(Entry {
            span: key.span(),
            key: key.into_inner().into_owned(),
            node: node(value, depth + 1)?,
        });
    }
    // The table is sorted by key; what the operator wrote first comes first.
    entries.sort_by_key(|entry| entry.span.start);
    Ok(Node::new(span, Value::Map(entries)))
}

fn node(value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, SyntaxError> {
    let span = value.span();
    if depth > DEPTH_LIMIT {
        return Err(SyntaxError::too_deep(span));
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            match i128::from_str_radix(digits, number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    return Err(SyntaxError::new(
                        span,
                        "write a number that fits in 64 bits",
                    ));
                }
            }
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => {
            return Err(SyntaxError::new(
                span,
                "write a text in quotes: no key of this file takes a date",
            ));
        }
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| node(item, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => return map(table, span, depth),
    };
    Ok(Node::new(span, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut errors = Vec::new();
        match read(text, &mut errors) {
            Some(node) => node.to_json().to_string(),
            None => errors[0].message.clone(),
        }
    }

    #[test]
    fn keeps_the_order_of_keys_and_the_types() {
        let text = "b = 1\na = [true, 1.5, 'x', 0x10]\n[[c]]\nd = {e = 2}\n[[c]]\n";
        let expect = r#"{"b":1,"a":[true,1.5,"x",16],"c":[{"d":{"e":2}},{}]}"#;
        assert_eq!(json(text), expect);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let keys = vec!["a"; 100_000].join(".");
        for text in [
            format!("{keys} = 1"),
            format!("[{keys}]"),
            format!("a = {}", "[".repeat(100_000)),
            format!("a = {{{keys} = 1}}"),
            format!("\"x\".{keys} = 1"),
        ] {
            let mut errors = Vec::new();
            assert!(read(&text, &mut errors).is_none());
            assert!(!errors.is_empty());
        }
    }

    #[test]
    fn long_texts_and_comments_are_no_long_keys() {
        let text = format!("a = \"{}\" # {}\n", "1.".repeat(500), ".".repeat(1000));
        assert!(json(&text).starts_with('{'));
    }
}
