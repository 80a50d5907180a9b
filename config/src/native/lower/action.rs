//! What becomes of a route's requests: forwarded, answered or redirected, and what only goes with each of these.

use super::cluster::{hash_keys, metadata};
use super::keys::at_most_one;
use super::matches::pattern;
use crate::native::wire::{
    Cx, HeaderOpsRecord, OneOrMore, RedirectRecord, RespondRecord, RetryRecord, RewriteRecord,
    RouteRecord, Scheme, Want, Wanted,
};
use crate::{
    Forward, HeaderOps, Mirror, Name, PathMatch, PathRewrite, Redirect, RedirectPath, Respond,
    Retry, RetryOn, Rewrite, WaitHeader, WeightedCluster,
};

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

/// Makes what is sent to clusters.
pub(super) fn forward(record: RouteRecord, path: &PathMatch, cx: &mut Cx) -> Forward {
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

/// Makes an answer of the proxy's own.
pub(super) fn respond(record: RespondRecord, cx: &mut Cx) -> Respond {
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

/// Makes a redirect.
pub(super) fn redirect(record: RedirectRecord, path: &PathMatch, cx: &mut Cx) -> Redirect {
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
