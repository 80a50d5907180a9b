//! Route tables: virtual hosts and routes, with what only several keys together can tell.

use std::collections::HashMap;

use super::action::{forward, redirect, respond};
use super::keys::{exactly_one, unique};
use super::listener::filters;
use super::matches::route_match;
use super::shadow;
use crate::native::wire::{
    Cx, MatchRecord, NonEmpty, RouteRecord, RouteTableRecord, VirtualHostRecord,
};
use crate::{Action, Domain, Name, Route, RouteTable, VirtualHost};

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
