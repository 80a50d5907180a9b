//! Which requests a route takes: of path, method, headers, query and call, what the keys of a match say together.

use super::keys::at_most_one;
use crate::native::wire::{Cx, MatchRecord, Regex, RpcMatchRecord};
use crate::{PathMatch, Pattern, RouteMatch, ValueMatch, ValueTest};

/// What a record of either kind asks for: the two have the same keys, and names of different kinds.
macro_rules! asked {
    ($record:expr) => {{
        let record = $record;
        Asked {
            at: record.at,
            keys: record.keys,
            name: record.name.0,
            exact: record.exact,
            prefix: record.prefix.map(|text| text.0),
            suffix: record.suffix.map(|text| text.0),
            regex: record.regex,
            present: record.present,
            absent: record.absent,
            invert: record.invert,
        }
    }};
}

pub(super) fn pattern(regex: Regex) -> Pattern {
    Pattern(regex.0)
}

/// Makes a match.
pub(super) fn route_match(record: &MatchRecord, cx: &mut Cx) -> RouteMatch {
    let at = &record.at;
    let paths = ["path", "prefix", "starts_with", "regex"];
    at_most_one(at, &record.keys, &paths, cx);
    at_most_one(at, &record.keys, &["method", "methods"], cx);
    let path = if let Some(path) = &record.path {
        PathMatch::Exact(path.0.clone())
    } else if let Some(prefix) = &record.prefix {
        PathMatch::Prefix(prefix.0.clone())
    } else if let Some(start) = &record.starts_with {
        PathMatch::StartsWith(start.0.clone())
    } else if let Some(regex) = &record.regex {
        PathMatch::Regex(Pattern(regex.0.clone()))
    } else {
        PathMatch::Prefix("/".to_owned())
    };
    let methods = record.methods.iter().flat_map(|methods| &methods.0);
    let methods = methods.chain(&record.method);
    let headers = record.headers.iter().cloned();
    let query = record.query.iter().cloned();
    RouteMatch {
        path,
        methods: methods.map(|method| method.0.clone()).collect(),
        headers: headers.map(|one| value_match(asked!(one), cx)).collect(),
        query: query.map(|one| value_match(asked!(one), cx)).collect(),
        rpc: rpc_match(&record.rpc),
    }
}

/// What is called, as the fields that hold it.
fn rpc_match(record: &RpcMatchRecord) -> Vec<ValueMatch> {
    let asked = [
        (":service", &record.service),
        (":method", &record.method),
        (":version", &record.version),
        (":group", &record.group),
    ];
    let tests = asked.into_iter().filter_map(|(name, text)| {
        let text = text.as_ref()?.0.as_str();
        Some(ValueMatch {
            name: name.to_owned(),
            test: match text.strip_suffix('*') {
                Some(start) => ValueTest::Prefix(start.to_owned()),
                None => ValueTest::Exact(text.to_owned()),
            },
            invert: false,
        })
    });
    tests.collect()
}

/// What the matches of a header and of a query parameter have in common.
struct Asked {
    at: String,
    keys: Vec<&'static str>,
    name: String,
    exact: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    regex: Option<Regex>,
    present: Option<bool>,
    absent: Option<bool>,
    invert: bool,
}

fn value_match(asked: Asked, cx: &mut Cx) -> ValueMatch {
    let at = &asked.at;
    let tests = ["exact", "prefix", "suffix", "regex", "present", "absent"];
    at_most_one(at, &asked.keys, &tests, cx);
    for (key, said, instead) in [
        ("present", asked.present, "absent"),
        ("absent", asked.absent, "present"),
    ] {
        if said == Some(false) {
            let message = format!("write `{instead}: true` instead of `{key}: false`");
            cx.problem(&format!("{at}.{key}"), message);
        }
    }
    let test = if let Some(text) = asked.exact {
        ValueTest::Exact(text)
    } else if let Some(text) = asked.prefix {
        ValueTest::Prefix(text)
    } else if let Some(text) = asked.suffix {
        ValueTest::Suffix(text)
    } else if let Some(regex) = asked.regex {
        ValueTest::Regex(pattern(regex))
    } else if asked.absent == Some(true) {
        ValueTest::Absent
    } else {
        ValueTest::Present
    };
    ValueMatch {
        name: asked.name,
        test,
        invert: asked.invert,
    }
}
