//! Route tables of a dump.

use ringway_config::{
    Action, Domain, Forward, HeaderOps, Mirror, PathMatch, PathNormalize, PathRewrite, Percent,
    Priority, Redirect, RedirectPath, Respond, Retry, RetryHosts, RetryOn, Rewrite, Route,
    RouteMatch, RouteTable, ValueMatch, ValueTest, VirtualHost, WaitHeader, WaitValue,
    WeightedCluster,
};
use serde_json::{Value, json};

use super::cluster::{hash, pairs};
use super::{each, filter, hide, list, map, some, texts, time};

/// A route table.
pub(super) fn route_table(table: &RouteTable) -> Value {
    let RouteTable {
        name,
        path_normalize,
        merge_slashes,
        virtual_hosts,
    } = table;
    let normalize = match path_normalize {
        PathNormalize::Strict => "strict",
        PathNormalize::Off => "off",
    };
    json!({
        "name": name.as_str(),
        "path_normalize": normalize,
        "merge_slashes": merge_slashes,
        "virtual_hosts": each(virtual_hosts, virtual_host),
    })
}

fn virtual_host(host: &VirtualHost) -> Value {
    let VirtualHost {
        name,
        domains,
        routes,
    } = host;
    json!({
        "name": name.as_str(),
        "domains": each(domains, |domain| match domain {
            Domain::Exact(host) => host.as_str().into(),
            Domain::Suffix(suffix) => format!("*{suffix}").into(),
            Domain::Prefix(prefix) => format!("{prefix}*").into(),
            Domain::Any => "*".into(),
        }),
        "routes": each(routes, route),
    })
}

fn route(route: &Route) -> Value {
    let Route {
        name,
        matches,
        action,
        request_headers,
        response_headers,
        filters,
    } = route;
    let mut out = map([
        ("name", name.as_ref().map(|name| name.as_str().into())),
        ("match", Some(route_match(matches))),
        ("request_headers", header_ops(request_headers)),
        ("response_headers", header_ops(response_headers)),
        ("filters", list(each(filters, filter))),
    ]);
    let action = match action {
        Action::Forward(to) => forward(to),
        Action::Respond(with) => json!({ "respond": respond(with) }),
        Action::Redirect(to) => json!({ "redirect": redirect(to) }),
    };
    if let (Value::Object(out), Value::Object(action)) = (&mut out, action) {
        out.extend(action);
    }
    out
}

fn route_match(matches: &RouteMatch) -> Value {
    let RouteMatch {
        path,
        methods,
        headers,
        query,
        rpc,
    } = matches;
    let (kind, text) = match path {
        PathMatch::Exact(path) => ("path", path),
        PathMatch::Prefix(path) => ("prefix", path),
        PathMatch::StartsWith(path) => ("starts_with", path),
        PathMatch::Regex(pattern) => ("regex", &pattern.0),
    };
    map([
        (kind, some(text.as_str())),
        ("methods", list(texts(methods))),
        ("headers", list(each(headers, value_match))),
        ("query", list(each(query, value_match))),
        ("rpc", (!rpc.is_empty()).then(|| rpc_match(rpc))),
    ])
}

fn rpc_match(tests: &[ValueMatch]) -> Value {
    let texts = tests.iter().filter_map(|test| {
        let name = test.name.trim_start_matches(':').to_owned();
        match &test.test {
            ValueTest::Exact(text) => Some((name, text.as_str().into())),
            ValueTest::Prefix(start) => Some((name, format!("{start}*").into())),
            ValueTest::Suffix(_) | ValueTest::Regex(_) | ValueTest::Present | ValueTest::Absent => {
                None
            }
        }
    });
    Value::Object(texts.collect())
}

fn value_match(test: &ValueMatch) -> Value {
    let ValueMatch { name, test, invert } = test;
    let shown = |value: &str| -> Value { hide(name, &value.into()) };
    let (kind, value) = match test {
        ValueTest::Exact(value) => ("exact", shown(value)),
        ValueTest::Prefix(value) => ("prefix", shown(value)),
        ValueTest::Suffix(value) => ("suffix", shown(value)),
        ValueTest::Regex(pattern) => ("regex", shown(&pattern.0)),
        ValueTest::Present => ("present", true.into()),
        ValueTest::Absent => ("absent", true.into()),
    };
    map([
        ("name", some(name.as_str())),
        (kind, Some(value)),
        ("invert", invert.then_some(true.into())),
    ])
}

/// Clusters with their weights.
pub(super) fn cluster_choice(clusters: &[WeightedCluster]) -> Value {
    let weights = clusters
        .iter()
        .map(|to| (to.cluster.to_string(), to.weight.into()));
    Value::Object(weights.collect())
}

fn forward(to: &Forward) -> Value {
    let Forward {
        clusters,
        rewrite: of_rewrite,
        timeout,
        idle_timeout,
        retry: of_retry,
        mirror: of_mirror,
        upgrade,
        hash: of_hash,
        metadata_match,
        priority,
    } = to;
    map([
        ("cluster", some(cluster_choice(clusters))),
        ("rewrite", rewrite(of_rewrite)),
        ("timeout", timeout.map(|t| time(t).into())),
        ("idle_timeout", some(time(*idle_timeout))),
        ("retry", Some(retry(of_retry))),
        ("mirror", of_mirror.as_ref().map(mirror)),
        ("upgrade", some(*upgrade)),
        ("hash", hash(of_hash)),
        (
            "metadata_match",
            (!metadata_match.is_empty()).then(|| pairs(metadata_match)),
        ),
        (
            "priority",
            some(match priority {
                Priority::Default => "default",
                Priority::High => "high",
            }),
        ),
    ])
}

fn rewrite(rewrite: &Rewrite) -> Option<Value> {
    let Rewrite { path, host } = rewrite;
    if path.is_none() && host.is_none() {
        return None;
    }
    let path = path.as_ref().map(|path| match path {
        PathRewrite::Prefix(prefix) => ("prefix", prefix.as_str().into()),
        PathRewrite::Regex {
            pattern,
            substitution,
        } => (
            "regex",
            json!({ "pattern": pattern.0, "substitution": substitution }),
        ),
    });
    let (kind, path) = path.unzip();
    Some(map([
        (kind.unwrap_or("prefix"), path),
        ("host", host.as_deref().map(Value::from)),
    ]))
}

fn retry(retry: &Retry) -> Value {
    let Retry {
        on,
        retries,
        per_try_timeout,
        per_try_idle_timeout,
        hedge,
        back_off,
        back_off_max,
        status_codes,
        headers,
        wait_headers,
        wait_max,
        hosts,
        other_priorities,
        non_idempotent,
        buffer,
    } = retry;
    let on = each(on, |on| {
        Value::from(match on {
            RetryOn::ConnectFailure => "connect_failure",
            RetryOn::Reset => "reset",
            RetryOn::GatewayError => "gateway_error",
            RetryOn::ServerError => "server_error",
            RetryOn::Cancelled => "cancelled",
            RetryOn::DeadlineExceeded => "deadline_exceeded",
            RetryOn::Internal => "internal",
            RetryOn::ResourceExhausted => "resource_exhausted",
            RetryOn::Unavailable => "unavailable",
            RetryOn::ResetBeforeRequest => "reset_before_request",
            RetryOn::RefusedStream => "refused_stream",
            RetryOn::Retriable4xx => "retriable_4xx",
            RetryOn::StatusCodes => "status_codes",
            RetryOn::Headers => "headers",
        })
    });
    map([
        ("on", Some(on)),
        ("retries", some(*retries)),
        ("per_try_timeout", per_try_timeout.map(|t| time(t).into())),
        (
            "per_try_idle_timeout",
            per_try_idle_timeout.map(|t| time(t).into()),
        ),
        ("hedge", some(*hedge)),
        ("back_off", some(time(*back_off))),
        ("back_off_max", back_off_max.map(|t| time(t).into())),
        ("status_codes", list(json!(status_codes))),
        ("headers", list(json!(headers))),
        ("wait_headers", list(each(wait_headers, wait_header))),
        ("wait_max", some(time(*wait_max))),
        (
            "hosts",
            some(match hosts {
                RetryHosts::Untried => "untried",
                RetryHosts::Any => "any",
            }),
        ),
        ("other_priorities", some(*other_priorities)),
        ("non_idempotent", some(*non_idempotent)),
        ("buffer", some(buffer.0)),
    ])
}

fn wait_header(header: &WaitHeader) -> Value {
    let WaitHeader { name, is } = header;
    let is = match is {
        WaitValue::Seconds => "seconds",
        WaitValue::UnixTime => "unix_time",
    };
    json!({ "name": name, "is": is })
}

fn mirror(mirror: &Mirror) -> Value {
    let Mirror {
        cluster,
        share: of_requests,
        max_in_flight,
    } = mirror;
    json!({ "cluster": cluster.as_str(), "share": share(*of_requests), "max_in_flight": max_in_flight })
}

fn respond(respond: &Respond) -> Value {
    let Respond {
        status,
        body,
        content_type,
    } = respond;
    map([
        ("status", some(*status)),
        ("body", some(body.as_str())),
        ("content_type", content_type.as_deref().map(Value::from)),
    ])
}

fn redirect(redirect: &Redirect) -> Value {
    let Redirect {
        scheme,
        host,
        path,
        code,
        strip_query,
    } = redirect;
    let (kind, path) = match path {
        None => ("path", None),
        Some(RedirectPath::Full(path)) => ("path", some(path.as_str())),
        Some(RedirectPath::Prefix(prefix)) => ("prefix", some(prefix.as_str())),
    };
    map([
        ("scheme", scheme.as_deref().map(Value::from)),
        ("host", host.as_deref().map(Value::from)),
        (kind, path),
        ("code", some(*code)),
        ("strip_query", some(*strip_query)),
    ])
}

pub(super) fn header_ops(ops: &HeaderOps) -> Option<Value> {
    let HeaderOps { add, set, remove } = ops;
    if add.is_empty() && set.is_empty() && remove.is_empty() {
        return None;
    }
    let pairs = |pairs: &[(String, String)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), hide(name, &value.as_str().into())));
        Value::Object(pairs.collect())
    };
    Some(json!({ "add": pairs(add), "set": pairs(set), "remove": remove }))
}

pub(super) fn share(percent: Percent) -> String {
    format!("{}%", f64::from(percent.basis_points()) / 100.0)
}
