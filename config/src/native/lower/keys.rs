//! What is said of keys and names by several records alike: which keys exclude each other, which names are taken.

use std::collections::HashMap;

use crate::Name;
use crate::native::wire::{Cx, either};

/// Notes when not exactly one of some keys is there.
pub(crate) fn exactly_one(at: &str, keys: &[&str], choices: &[&str], cx: &mut Cx) {
    if !choices.iter().any(|choice| keys.contains(choice)) {
        let choices: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        let message = format!("write one of {} here", either(&choices));
        cx.problem(at, message);
    }
    at_most_one(at, keys, choices, cx);
}

/// Notes each of some keys that stands beside another of them.
pub(crate) fn at_most_one(at: &str, keys: &[&str], choices: &[&str], cx: &mut Cx) {
    let mut given = choices.iter().filter(|choice| keys.contains(choice));
    let Some(first) = given.next() else { return };
    for other in given {
        let message = format!("write either `{first}` or `{other}`, not both");
        cx.problem(&format!("{at}.{other}"), message);
    }
}

/// Notes names that two things of a kind bear; `names` are names and the paths of those that bear them.
pub(crate) fn unique<'a>(
    kind: &str,
    key: &str,
    names: impl Iterator<Item = (&'a Name, &'a String)>,
    cx: &mut Cx,
) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for (name, at) in names {
        if name.as_str().is_empty() {
            continue;
        }
        if let Some(first) = seen.get(name.as_str()) {
            let path = format!("{at}.{key}");
            let shown = cx.shown(&path, name.as_str());
            let message =
                format!("the {kind} name {shown} is taken by {first}: write another name");
            cx.problem(&path, message);
        } else {
            seen.insert(name.as_str(), at);
        }
    }
}
