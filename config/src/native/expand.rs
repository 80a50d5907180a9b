//! `${NAME}` and `${NAME:-default}` in texts; `$$` is one `$`.

/// What is wrong with a text's variables, and which part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The part to point at, as the text writes it.
    pub part: String,
    /// What to write instead.
    pub message: String,
}

/// A text after expansion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    /// The text.
    pub text: String,
    /// Whether any variable (not only `$$`) was in it.
    pub variables: bool,
}

/// Puts variables in. `None`: there is no `$` at all.
pub(crate) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<Result<Expanded, Wrong>> {
    text.contains('$').then(|| expand_dollars(text, env))
}

fn expand_dollars(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, Wrong> {
    let mut done = Expanded {
        text: String::with_capacity(text.len()),
        variables: false,
    };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.text.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let (variable, after) = inside.split_once('}').ok_or_else(|| Wrong {
                part: format!("${after}"),
                message: "close `${` with `}`, or write `$${` for these characters themselves"
                    .to_owned(),
            })?;
            done.text.push_str(&value(variable, env)?);
            done.variables = true;
            rest = after;
        } else {
            // A lone `$` is itself: regular expressions end with it, substitutions say `$1`.
            done.text.push('$');
            rest = after;
        }
    }
    done.text.push_str(rest);
    Ok(done)
}

fn value(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    let wrong = |message| Wrong {
        part: format!("${{{variable}}}"),
        message,
    };
    if !plain {
        return Err(wrong(
            "write a variable as `${NAME}` or `${NAME:-default}`, or `$${` for these characters themselves"
                .to_owned(),
        ));
    }
    // As in a shell, `:-` also takes the place of a variable that is set to nothing.
    let found = env(name).filter(|value| default.is_none() || !value.is_empty());
    found.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        wrong(format!(
            "set the environment variable `{name}`, or write a default: `${{{name}:-default}}`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_dollars() {
        let env = |name: &str| match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let text = |text: &str| match expand(text, &env) {
            None => format!("as is: {text}"),
            Some(Ok(done)) => done.text,
            Some(Err(wrong)) => format!("wrong at {}", wrong.part),
        };
        for (from, expect) in [
            ("plain", "as is: plain"),
            ("http://${HOST}/x", "http://example.com/x"),
            ("${NONE:-a:b}", "a:b"),
            ("${NONE:-}", ""),
            ("[${EMPTY}${EMPTY:-e}]", "[e]"),
            ("$$${HOST}$1$", "$example.com$1$"),
            ("$${HOST}", "${HOST}"),
            ("a ${NONE} b", "wrong at ${NONE}"),
            ("a ${HOST", "wrong at ${HOST"),
            ("${1x} ", "wrong at ${1x}"),
            ("${}", "wrong at ${}"),
        ] {
            assert_eq!(text(from), expect, "{from}");
        }
    }
}
