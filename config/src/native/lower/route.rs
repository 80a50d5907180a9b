//! Route tables: virtual hosts, routes, matches and actions, with what only several keys together can tell.

use std::collections::HashMap;

use super::cluster::{hash_keys, metadata};
use super::{shadow, unique};
use crate::native::lower::listener::filters;
use crate::native::wire::{
    Cx, HeaderMatchRecord, HeaderOpsRecord, MatchRecord, NonEmpty, OneOrMore, QueryMatchRecord,
    RedirectRecord, Regex, RespondRecord, RetryRecord, RewriteRecord, RouteRecord,
    RouteTableRecord, RpcMatchRecord, Scheme, VirtualHostRecord, Want, Wanted, either,
};
use crate::{
    Action, Domain, Forward, HeaderOps, Mirror, Name, PathMatch, PathRewrite, Pattern, Redirect,
    RedirectPath, Respond, Retry, RetryOn, Rewrite, Route, RouteMatch, RouteTable, ValueMatch,
    ValueTest, VirtualHost, WaitHeader, WeightedCluster,
};

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

/// Makes the tables that have names.
pub(crate) fn tables(records: Vec<RouteTableRecord>, cx: &mut Cx) -> Vec<RouteTable> {
    let names = records.iter().map(|record| (&record.name, &record.at));
    unique("route table", "name", names, cx);
    let mut tables = Vec::with_capacity(records.len());
    for record in records {
        exactly_one(&record.at, &record.keys, &["virtual_hosts", "routes"], cx);
        let content = Content {
            at: record.at,
            index: tables.len(),
            virtual_hosts: record.virtual_hosts,
            routes: record.routes,
        };
        tables.push(RouteTable {
            name: record.name,
            path_normalize: record.path_normalize,
            merge_slashes: record.merge_slashes,
            virtual_hosts: virtual_hosts(content, cx),
        });
    }
    tables
}

/// What a route table holds, and where it stands in the file and in the model.
pub(crate) struct Content {
    pub at: String,
    pub index: usize,
    pub virtual_hosts: Option<NonEmpty<VirtualHostRecord>>,
    pub routes: Option<Vec<RouteRecord>>,
}

/// Makes the virtual hosts of a table.
pub(crate) fn virtual_hosts(content: Content, cx: &mut Cx) -> Vec<VirtualHost> {
    let Content {
        at,
        index,
        virtual_hosts,
        routes: records,
    } = content;
    let table = format!("route_tables[{index}]");
    cx.spans.alias(table.clone(), at.clone());
    match (virtual_hosts, records) {
        (Some(NonEmpty(records)), _) => {
            let names = records.iter().filter_map(|record| {
                let name = record.name.as_ref()?;
                Some((name, &record.at))
            });
            unique("virtual host", "name", names, cx);
            domains(&records, cx);
            records
                .into_iter()
                .map(|record| virtual_host(record, cx))
                .collect()
        }
        (None, Some(records)) => {
            let host = format!("{table}.virtual_hosts[0]");
            cx.spans.alias(host, at.clone());
            vec![VirtualHost {
                name: Name::new("*"),
                domains: vec![Domain::Any],
                routes: routes(records, cx),
            }]
        }
        (None, None) => Vec::new(),
    }
}

/// Notes domains that two virtual hosts answer for.
fn domains(records: &[VirtualHostRecord], cx: &mut Cx) {
    let mut seen: HashMap<&Domain, &str> = HashMap::new();
    for record in records {
        for (index, domain) in record.domains.0.iter().enumerate() {
            if matches!(domain, Domain::Exact(host) if host.is_empty()) {
                continue;
            }
            if let Some(first) = seen.get(domain) {
                let message = format!(
                    "{first} answers for this domain already: write each domain in one virtual host only"
                );
                cx.problem(&format!("{}.domains[{index}]", record.at), message);
            } else {
                seen.insert(domain, &record.at);
            }
        }
    }
}

fn virtual_host(record: VirtualHostRecord, cx: &mut Cx) -> VirtualHost {
    let name = record
        .name
        .unwrap_or_else(|| match record.domains.0.first() {
            Some(Domain::Exact(host)) => Name::new(host),
            Some(Domain::Suffix(rest)) => Name::new(&format!("*{rest}")),
            Some(Domain::Prefix(rest)) => Name::new(&format!("{rest}*")),
            Some(Domain::Any) | None => Name::new("*"),
        });
    VirtualHost {
        name,
        domains: record.domains.0,
        routes: routes(record.routes, cx),
    }
}

fn routes(records: Vec<RouteRecord>, cx: &mut Cx) -> Vec<Route> {
    let names = records.iter().filter_map(|record| {
        let name = record.name.as_ref()?;
        Some((name, &record.at))
    });
    unique("route", "name", names, cx);
    let paths: Vec<_> = records.iter().map(|record| record.at.clone()).collect();
    let sound: Vec<_> = records
        .iter()
        .map(|record| !has_problem(&record.r#match, cx))
        .collect();
    let routes: Vec<_> = records
        .into_iter()
        .map(|record| route(record, cx))
        .collect();
    shadow::check(&routes, &paths, &sound, cx);
    routes
}

/// Whether a match was not read as it was written: nothing should be concluded from it.
fn has_problem(record: &MatchRecord, cx: &Cx) -> bool {
    let inside = |path: &str| {
        path.strip_prefix(record.at.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    !record.at.is_empty() && cx.problems.iter().any(|problem| inside(&problem.path))
}

/// Keys that go with `cluster` only.
const FORWARD_KEYS: [&str; 9] = [
    "rewrite",
    "timeout",
    "idle_timeout",
    "retry",
    "mirror",
    "upgrade",
    "hash",
    "metadata_match",
    "priority",
];

fn route(record: RouteRecord, cx: &mut Cx) -> Route {
    let at = record.at.clone();
    exactly_one(&at, &record.keys, &["cluster", "respond", "redirect"], cx);
    let matches = route_match(&record.r#match, cx);
    if !record.keys.contains(&"cluster") {
        for key in FORWARD_KEYS.iter().filter(|key| record.keys.contains(key)) {
            let message = format!("leave `{key}` out: it has an effect only beside `cluster`");
            cx.problem(&format!("{at}.{key}"), message);
        }
    }
    let request_headers = record.request_headers.clone().into();
    let response_headers = record.response_headers.clone().into();
    let name = record.name.clone();
    let filters = filters(record.filters.clone());
    let action = if let Some(answer) = record.respond {
        Action::Respond(respond(answer, cx))
    } else if let Some(elsewhere) = record.redirect {
        Action::Redirect(redirect(elsewhere, &matches.path, cx))
    } else {
        Action::Forward(Box::new(forward(record, &matches.path, cx)))
    };
    Route {
        name,
        matches,
        action,
        request_headers,
        response_headers,
        filters,
    }
}

/// Notes what a route, or `tcp`, wants of its clusters: they are read after it.
pub(super) fn want(at: &str, keys: &[&str], clusters: &[(Name, u32)], cx: &mut Cx) {
    for (key, want) in [("hash", Want::Hash), ("metadata_match", Want::Subsets)] {
        if keys.contains(&key) {
            cx.wants.push(Wanted {
                at: format!("{at}.{key}"),
                of: clusters.iter().map(|(name, _)| name.clone()).collect(),
                want,
            });
        }
    }
}

fn forward(record: RouteRecord, path: &PathMatch, cx: &mut Cx) -> Forward {
    let clusters = record.cluster.map_or(Vec::new(), |choice| choice.0);
    want(&record.at, &record.keys, &clusters, cx);
    Forward {
        clusters: clusters
            .into_iter()
            .map(|(cluster, weight)| WeightedCluster { cluster, weight })
            .collect(),
        rewrite: rewrite(record.rewrite, path, cx),
        timeout: record.timeout,
        idle_timeout: record.idle_timeout.0,
        retry: retry(record.retry, cx),
        mirror: record.mirror.map(|mirror| Mirror {
            cluster: mirror.cluster.0,
            share: mirror.share,
            max_in_flight: mirror.max_in_flight.u32(),
        }),
        upgrade: record.upgrade,
        hash: hash_keys(record.hash.0, cx),
        metadata_match: metadata(record.metadata_match),
        priority: record.priority,
    }
}

pub(super) fn pattern(regex: Regex) -> Pattern {
    Pattern(regex.0)
}

fn route_match(record: &MatchRecord, cx: &mut Cx) -> RouteMatch {
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
        headers: headers
            .map(|one| value_match(header_asked(one), cx))
            .collect(),
        query: query.map(|one| value_match(query_asked(one), cx)).collect(),
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

fn header_asked(record: HeaderMatchRecord) -> Asked {
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
}

fn query_asked(record: QueryMatchRecord) -> Asked {
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

fn rewrite(record: RewriteRecord, path: &PathMatch, cx: &mut Cx) -> Rewrite {
    at_most_one(&record.at, &record.keys, &["prefix", "regex"], cx);
    if record.prefix.is_some() {
        literal_only(path, &format!("{}.prefix", record.at), cx);
    }
    let path = match (record.prefix, record.regex) {
        (Some(prefix), _) => Some(PathRewrite::Prefix(prefix.0)),
        (None, Some(regex)) => Some(PathRewrite::Regex {
            pattern: pattern(regex.pattern),
            substitution: regex.substitution.0,
        }),
        (None, None) => None,
    };
    Rewrite {
        path,
        host: record.host.map(|host| host.0),
    }
}

/// A matched prefix can be replaced only where the match is no regular expression.
fn literal_only(path: &PathMatch, at: &str, cx: &mut Cx) {
    match path {
        PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::StartsWith(_) => {}
        PathMatch::Regex(_) => {
            let message = "match by `path`, `prefix` or `starts_with`, whose match this replaces, or write a regex here too";
            cx.problem(at, message);
        }
    }
}

/// What goes with another key of `retry` and is not there, or is there for nothing.
fn retry_pairs(record: &RetryRecord, cx: &mut Cx) {
    for (on, key, absent) in [
        (
            RetryOn::StatusCodes,
            "status_codes",
            record.status_codes.is_empty(),
        ),
        (RetryOn::Headers, "headers", record.headers.is_empty()),
    ] {
        match (record.on.0.contains(&on), absent) {
            (true, true) => {
                let message = format!("write which in `{key}`, or leave `{key}` out of `on`");
                cx.problem(&format!("{}.on", record.at), message);
            }
            (false, false) => {
                let message = format!("write `{key}` in `on` too: without it this has no effect");
                cx.problem(&format!("{}.{key}", record.at), message);
            }
            (true, false) | (false, true) => {}
        }
    }
    if record.hedge && record.per_try_timeout.is_none() {
        let message = "write `per_try_timeout` too: after it the next try begins";
        cx.problem(&format!("{}.hedge", record.at), message);
    }
}

fn retry(record: RetryRecord, cx: &mut Cx) -> Retry {
    retry_pairs(&record, cx);
    Retry {
        on: record.on.0,
        retries: record.retries.u32(),
        per_try_timeout: record.per_try_timeout.map(|limit| limit.0),
        per_try_idle_timeout: record.per_try_idle_timeout.map(|limit| limit.0),
        hedge: record.hedge,
        back_off: record.back_off,
        back_off_max: record.back_off_max.map(|max| max.0),
        status_codes: record.status_codes.iter().map(|code| code.u16()).collect(),
        headers: record.headers.into_iter().map(|name| name.0).collect(),
        wait_headers: record
            .wait_headers
            .into_iter()
            .map(|header| WaitHeader {
                name: header.name.0,
                is: header.is,
            })
            .collect(),
        wait_max: record.wait_max.0,
        hosts: record.hosts,
        other_priorities: record.other_priorities,
        non_idempotent: record.non_idempotent,
        buffer: record.buffer,
    }
}

fn respond(record: RespondRecord, cx: &mut Cx) -> Respond {
    let status = record.status.u16();
    // RFC 9110 §15.3.5, §15.4.5: these have no content.
    if matches!(status, 204 | 304) && !record.body.is_empty() {
        let message = format!("leave `body` out: an answer of status {status} has none");
        cx.problem(&format!("{}.body", record.at), message);
    }
    if record.content_type.is_some() && record.body.is_empty() {
        let message = "leave `content_type` out: it has an effect only beside `body`";
        cx.problem(&format!("{}.content_type", record.at), message);
    }
    Respond {
        status,
        body: record.body,
        content_type: record.content_type.map(|value| value.0),
    }
}

fn redirect(record: RedirectRecord, path: &PathMatch, cx: &mut Cx) -> Redirect {
    let at = &record.at;
    let keys = &record.keys;
    at_most_one(at, keys, &["path", "prefix"], cx);
    let changes = ["scheme", "host", "path", "prefix", "strip_query"];
    if !changes.iter().any(|key| keys.contains(key)) {
        let message = "write where to: one of `scheme`, `host`, `path` or `prefix`; this would lead back to the same place";
        cx.problem(at, message);
    }
    if record.prefix.is_some() {
        literal_only(path, &format!("{at}.prefix"), cx);
    }
    let to = match (record.path, record.prefix) {
        (Some(path), _) => Some(RedirectPath::Full(path.0)),
        (None, Some(prefix)) => Some(RedirectPath::Prefix(prefix.0)),
        (None, None) => None,
    };
    let scheme = record.scheme.map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
    });
    Redirect {
        scheme,
        host: record.host.map(|host| host.0),
        path: to,
        code: record.code.0,
        strip_query: record.strip_query,
    }
}

impl From<HeaderOpsRecord> for HeaderOps {
    fn from(record: HeaderOpsRecord) -> Self {
        let add = record
            .add
            .0
            .into_iter()
            .flat_map(|(name, OneOrMore(values))| {
                values
                    .into_iter()
                    .map(move |value| (name.0.clone(), value.0))
            });
        let set = record.set.0.into_iter();
        Self {
            add: add.collect(),
            set: set.map(|(name, value)| (name.0, value.0)).collect(),
            remove: record.remove.into_iter().map(|name| name.0).collect(),
        }
    }
}
