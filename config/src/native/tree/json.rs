//! JSON (RFC 8259) into the tree. Our own reader, because the values have to know where they stand.

use super::{DEPTH_LIMIT, Entry, Node, SyntaxError, Value};

/// Reads a text; errors that leave a tree (a key written twice) come beside it.
pub(crate) fn read(text: &str, errors: &mut Vec<SyntaxError>) -> Option<Node> {
    let mut reader = Reader {
        text,
        at: 0,
        errors: Vec::new(),
    };
    let result = reader.document();
    errors.append(&mut reader.errors);
    result.map_err(|error| errors.push(error)).ok()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    errors: Vec<SyntaxError>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, SyntaxError> {
        self.eat('\u{feff}');
        self.space();
        if self.rest().is_empty() {
            return Ok(Node::new(0..0, Value::Null));
        }
        let node = self.value(0)?;
        self.space();
        if self.rest().is_empty() {
            Ok(node)
        } else {
            Err(self.wrong("nothing more: the file ends after its one value"))
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
    }

    fn wrong(&self, wanted: &str) -> SyntaxError {
        let end = self.at + self.peek().map_or(0, char::len_utf8);
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some(found) => format!("`{}`", found.escape_debug()),
        };
        let message = format!("this is no JSON: write {wanted} here, not {found}");
        SyntaxError::new(self.at..end, message)
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let start = self.at;
        if depth > DEPTH_LIMIT {
            return Err(SyntaxError::too_deep(start..start + 1));
        }
        let value = match self.peek() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(_) | None => self.word()?,
        };
        Ok(Node::new(start..self.at, value))
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong("a value"))
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.eat('[');
        let mut items = Vec::new();
        self.space();
        if self.eat(']') {
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(']') {
                return Ok(Value::List(items));
            }
            if !self.eat(',') {
                return Err(self.wrong("`,` or `]`"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.eat('{');
        let mut entries: Vec<Entry> = Vec::new();
        self.space();
        if self.eat('}') {
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some('"') {
                return Err(self.wrong("a key in double quotes"));
            }
            let key = self.string()?;
            let span = start..self.at;
            if entries.iter().any(|entry| entry.key == key) {
                self.errors.push(SyntaxError::twice(span.clone(), &key));
            }
            self.space();
            if !self.eat(':') {
                return Err(self.wrong("`:`"));
            }
            self.space();
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, span, node });
            self.space();
            if self.eat('}') {
                return Ok(Value::Map(entries));
            }
            if !self.eat(',') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        let inside = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let rest = self.rest();
        let text = rest
            .split_once(|c| !inside(c))
            .map_or(rest, |(number, _)| number)
            .to_owned();
        // serde_json knows the grammar of numbers (no leading zeros, no lone point) as well as we do.
        let Ok(number) = serde_json::from_str::<serde_json::Number>(&text) else {
            let message = "this is no JSON: write a number such as 10 or 0.5";
            return Err(SyntaxError::new(start..start + text.len(), message));
        };
        self.at += text.len();
        Ok(match number.as_i128() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        })
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        let mut escaped = false;
        let end = self
            .rest()
            .char_indices()
            .skip(1)
            .find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            })
            .map(|(index, _)| start + index + 1);
        let Some(end) = end else {
            let line = self.rest().lines().next().map_or(0, str::len);
            let message = "this is no JSON: close the text with `\"`";
            return Err(SyntaxError::new(start..start + line, message));
        };
        let literal = self.text.get(start..end).unwrap_or("");
        // The escapes (and lone surrogates, and raw control characters) are serde_json's to judge.
        let text = serde_json::from_str(literal).map_err(|_| {
            let message =
                "this is no JSON: write line breaks and tabs in a text as `\\n` and `\\t`, a backslash as `\\\\`";
            SyntaxError::new(start..end, message)
        })?;
        self.at = end;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut errors = Vec::new();
        match read(text, &mut errors) {
            Some(node) if errors.is_empty() => node.to_json().to_string(),
            Some(_) | None => errors[0].message.clone(),
        }
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            r#"{"a":[1,-2.5,true,false,null,"x\n\u00e9\ud83d\ude00\"\\"],"b":{}}"#,
            "[]",
            "[[],{}]",
        ] {
            assert_eq!(
                json(text),
                serde_json::from_str::<serde_json::Value>(text)
                    .unwrap()
                    .to_string()
            );
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        for (text, expect) in [
            ("{a: 1}", "write a key in double quotes here, not `a`"),
            ("{\"a\" 1}", "write `:` here, not `1`"),
            ("[1 2]", "write `,` or `]` here, not `2`"),
            ("[1,]", "write a value here, not `]`"),
            ("[01]", "write a number"),
            ("[\"a", "close the text"),
            ("[1", "not the end of the file"),
            ("[] []", "nothing more"),
            ("{\"a\": 1, \"a\": 2}", "the key `a` only once"),
            ("[\"\\x\"]", "a backslash as"),
            ("[tru]", "write a value here, not `t`"),
        ] {
            assert!(json(text).contains(expect), "{text}: {}", json(text));
        }
        assert!(json(&"[".repeat(100_000)).contains("64 levels"));
    }
}
