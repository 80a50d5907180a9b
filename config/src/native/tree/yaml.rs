//! YAML 1.2 (core schema) into the tree, from the parser's events: without recursion, and with aliases counted.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{DEPTH_LIMIT, Entry, Node, SyntaxError, Value};

/// Values that aliases may repeat in all: nine lines of YAML can otherwise ask for a billion.
const ALIASED_LIMIT: usize = 100_000;

/// Reads one document; errors that leave a tree (a key written twice) come beside it.
pub(crate) fn read(text: &str, errors: &mut Vec<SyntaxError>) -> Option<Node> {
    let mut builder = Builder {
        text,
        errors,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
        documents: 0,
    };
    for next in Parser::new_from_str(text) {
        let step = next
            .map_err(|error| scan_error(text, &error))
            .and_then(|(event, span)| builder.take(event, &span));
        if let Err(error) = step {
            builder.errors.push(error);
            return None;
        }
    }
    let root = builder.root.take();
    root.or_else(|| Some(Node::new(0..0, Value::Null)))
}

fn scan_error(text: &str, error: &ScanError) -> SyntaxError {
    let at = error.marker().byte_offset().unwrap_or(text.len());
    let at = at.min(text.len());
    let what = error.info();
    let hint = hint(text, at, &what);
    SyntaxError::new(at..at, format!("this is no YAML: {what}; {hint}"))
}

/// What to write instead, by what the parser says and what stands there: it says what it expected, not what to do.
fn hint(text: &str, at: usize, what: &str) -> &'static str {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let line = before.rsplit('\n').next().unwrap_or("");
    if line.trim_start_matches(' ').starts_with('\t') || after.starts_with('\t') {
        return "indent with spaces, never with tabs";
    }
    if after.starts_with(['*', '&', '!', '%', '@', '`', '|', '>']) {
        return "put a text that begins with this character in quotes";
    }
    for (part, hint) in [
        ("mapping values", "put a text that holds `: ` in quotes"),
        (
            "expected key",
            "put a text that begins with `[` or `{` in quotes, and give the keys of one map the same indentation",
        ),
        (
            "block collection",
            "give the items of one list the same indentation",
        ),
        (
            "block mapping",
            "give the keys of one map the same indentation",
        ),
        (
            "quote",
            "end a text that begins with a quote with the same quote",
        ),
        (
            "flow",
            "separate items with `,` and close every `[` and `{`",
        ),
        ("bracket", "close every `[` and `{`"),
    ] {
        if what.contains(part) {
            return hint;
        }
    }
    "look at the indentation, and put texts with special characters in quotes"
}

/// An open list or map.
struct Open {
    start: usize,
    anchor: usize,
    /// Values inside, and levels below: what an alias of it will cost.
    size: usize,
    levels: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Range<usize>)>),
}

/// A finished value that an alias may repeat.
struct Anchored {
    node: Node,
    size: usize,
    levels: usize,
}

struct Builder<'a> {
    text: &'a str,
    errors: &'a mut Vec<SyntaxError>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let range = self.range(span);
        if event.tag().is_some() {
            return Err(SyntaxError::new(
                range,
                "leave out the tag: tags (`!…`) have no meaning here",
            ));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "write one document only: what follows `---` belongs to no file";
                    return Err(SyntaxError::new(range, message));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, _) => self.scalar(&text, style, anchor, range),
            Event::Alias(id) => self.alias(id, range),
            Event::SequenceStart(_, anchor, _) => self.open(range, anchor, Kind::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(range, anchor, Kind::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_) => Ok(()),
            // The parser's enum may grow; what is no value is none of ours.
            _ => Ok(()),
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        let end = range.end.min(self.text.len());
        range.start.min(end)..end
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        range: Range<usize>,
    ) -> Result<(), SyntaxError> {
        if let Some(Open {
            kind: Kind::Map(entries, key @ None),
            ..
        }) = self.stack.last_mut()
        {
            if entries.iter().any(|entry| entry.key == text) {
                self.errors.push(SyntaxError::twice(range.clone(), text));
            }
            *key = Some((text.to_owned(), range));
            return Ok(());
        }
        let value = match style {
            ScalarStyle::Plain => plain(text),
            ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => Value::Text(text.to_owned()),
        };
        self.finish(Node::new(range, value), anchor, 1, 0)
    }

    fn alias(&mut self, id: usize, range: Range<usize>) -> Result<(), SyntaxError> {
        let Some(found) = self.anchors.get(&id) else {
            let message = "write an alias only after its anchor, and never inside it";
            return Err(SyntaxError::new(range, message));
        };
        let (size, levels) = (found.size, found.levels);
        self.aliased += size;
        if self.aliased > ALIASED_LIMIT {
            let message =
                format!("write fewer aliases: together they repeat over {ALIASED_LIMIT} values");
            return Err(SyntaxError::new(range, message));
        }
        if self.stack.len() + levels > DEPTH_LIMIT {
            return Err(SyntaxError::too_deep(range));
        }
        let node = found.node.clone();
        if matches!(
            self.stack.last(),
            Some(Open {
                kind: Kind::Map(_, None),
                ..
            })
        ) {
            return Err(SyntaxError::new(
                range,
                "write a key as text, not as an alias",
            ));
        }
        self.finish(
            Node {
                span: range,
                ..node
            },
            0,
            size,
            levels,
        )
    }

    fn open(&mut self, range: Range<usize>, anchor: usize, kind: Kind) -> Result<(), SyntaxError> {
        if self.stack.len() >= DEPTH_LIMIT {
            return Err(SyntaxError::too_deep(range));
        }
        if let Some(Open {
            kind: Kind::Map(_, None),
            ..
        }) = self.stack.last()
        {
            let message =
                "write a key as plain text; a text that begins with `{`, `[` or `*` needs quotes";
            return Err(SyntaxError::new(range, message));
        }
        self.stack.push(Open {
            start: range.start,
            anchor,
            size: 1,
            levels: 0,
            kind,
        });
        Ok(())
    }

    fn close(&mut self, range: Range<usize>) -> Result<(), SyntaxError> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(entries, _) => Value::Map(entries),
        };
        let node = Node::new(open.start..range.end.max(open.start), value);
        self.finish(node, open.anchor, open.size, open.levels + 1)
    }

    fn finish(
        &mut self,
        node: Node,
        anchor: usize,
        size: usize,
        levels: usize,
    ) -> Result<(), SyntaxError> {
        if anchor != 0 {
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, size, levels });
        }
        let Some(parent) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.size += size;
        parent.levels = parent.levels.max(levels);
        match &mut parent.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries, key) => {
                if let Some((key, span)) = key.take() {
                    entries.push(Entry { key, span, node });
                }
            }
        }
        Ok(())
    }
}

/// A plain scalar's type (YAML 1.2 §10.3.2). `yes`, `no`, `on` and `off` are text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Value::Text(text.to_owned());
    }
    if let Ok(number) = text.parse::<i128>() {
        return Value::Integer(number);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        let number = text
            .strip_prefix(prefix)
            .and_then(|digits| i128::from_str_radix(digits, radix).ok());
        if let Some(number) = number {
            return Value::Integer(number);
        }
    }
    let shape =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    match text.parse::<f64>() {
        Ok(number) if text.bytes().all(shape) => Value::Float(number),
        Ok(_) | Err(_) => Value::Text(text.to_owned()),
    }
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
    fn scalars_follow_the_core_schema() {
        for (text, expect) in [
            ("[1, -2, 0x10, 0o17, 1.5, 1e3]", "[1,-2,16,15,1.5,1000.0]"),
            ("[true, False, ~, null, '']", "[true,false,null,null,\"\"]"),
            (
                "[no, yes, 5s, 1.2.3, 10%]",
                r#"["no","yes","5s","1.2.3","10%"]"#,
            ),
            ("['7', \"8\"]", r#"["7","8"]"#),
            ("a: {b: 0.0.0.0:80}", r#"{"a":{"b":"0.0.0.0:80"}}"#),
            ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
            ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
        ] {
            assert_eq!(json(text), expect, "{text}");
        }
    }

    #[test]
    fn syntax_errors_say_what_to_write_instead() {
        for (text, expect) in [
            ("a: [*.example.com]", "begins with this character in quotes"),
            ("a: [::]:80\nb: 1", "begins with `[` or `{` in quotes"),
            ("a:\n  - b: 1\n   c: 2", "the same indentation"),
            ("a: b: c", "holds `: ` in quotes"),
            ("a:\n\t- b", "never with tabs"),
            ("a: @b", "begins with this character in quotes"),
            ("a: {b: 1\nc: 2", "close every"),
            ("a: \"b", "the same quote"),
        ] {
            assert!(json(text).contains(expect), "{text}: {}", json(text));
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}", level - 1);
            let items = vec![item; 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(json(&text).contains("fewer aliases"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(100_000);
        let mut errors = Vec::new();
        assert!(read(&deep, &mut errors).is_none());
        assert!(json(&("[".repeat(65) + &"]".repeat(65))).contains("64 levels"));
        assert!(json(&("[".repeat(64) + &"]".repeat(64))).starts_with('['));
    }
}
