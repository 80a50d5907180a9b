//! The configuration that serves, as JSON in the words of a configuration file, defaults filled in.
//!
//! What may be a secret is not shown: the value of a field whose name says so (`Authorization`, `X-Api-Key`), and such keys of a
//! filter's own configuration. Every struct is taken apart by name, so that a new field of the model cannot be forgotten here.

mod cluster;
mod health;
mod listener;
mod proxy_protocol;
mod routes;
#[cfg(test)]
mod tests;
mod tls;

use std::time::Duration;

use ringway_config::{Admin, Config, Dns, Filter, IoDriver, Log, Parsed, Process, SpanMap};
use serde_json::{Map, Value, json};

use crate::logging;
use cluster::cluster;
pub(super) use cluster::{balance_name, endpoint_text};
use listener::listener;
use routes::route_table;

/// What stands for a secret.
const HIDDEN: &str = "[hidden]";

/// Parts of names whose values are secrets.
const SECRET_WORDS: [&str; 9] = [
    "authorization",
    "cookie",
    "secret",
    "password",
    "passwd",
    "token",
    "api-key",
    "apikey",
    "credential",
];

/// Keys below which a text that the environment filled in is hidden: those that carry what clients and upstreams are told. An
/// address or a name from the environment is shown.
const VARIABLE_KEYS: [&str; 6] = [
    "request_headers",
    "response_headers",
    "filters",
    "headers",
    "query",
    "respond",
];

/// The configuration that serves.
pub(super) fn parsed(parsed: &Parsed) -> Value {
    let mut out = config(&parsed.config);
    hide_variables(&mut out, "", false, &parsed.spans);
    out
}

/// Hides what the environment filled in; `within` is whether one of `VARIABLE_KEYS` stands above.
fn hide_variables(value: &mut Value, path: &str, within: bool, spans: &SpanMap) {
    match value {
        Value::String(_) => {
            if within && spans.has_variables(path) {
                *value = HIDDEN.into();
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let path = format!("{path}[{at}]");
                hide_variables(item, &path, within, spans);
            }
        }
        Value::Object(entries) => {
            // A filter's own configuration stands under its name in a file, but at the filter's path in the model.
            let list = path
                .strip_suffix(']')
                .and_then(|path| path.rsplit_once('['))
                .map_or("", |(list, _)| list);
            if !list.ends_with(".filters") {
                hide_entries(entries, path, within, spans);
                return;
            }
            for config in entries.values_mut() {
                if let Value::Object(config) = config {
                    hide_entries(config, path, within, spans);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hide_entries(entries: &mut Map<String, Value>, path: &str, within: bool, spans: &SpanMap) {
    for (key, value) in entries {
        let within = within || VARIABLE_KEYS.contains(&key.as_str());
        let dot = if path.is_empty() { "" } else { "." };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        // As paths are written: a key that is no plain word stands in quotes.
        let below = if !key.is_empty() && key.bytes().all(plain) {
            format!("{path}{dot}{key}")
        } else {
            format!("{path}{dot}{key:?}")
        };
        hide_variables(value, &below, within, spans);
    }
}

/// A whole configuration.
fn config(config: &Config) -> Value {
    let Config {
        process: of_process,
        listeners,
        route_tables,
        clusters,
        admin,
    } = config;
    let mut out = json!({
        "process": process(of_process),
        "listeners": each(listeners, listener),
        "route_tables": each(route_tables, route_table),
        "clusters": each(clusters, cluster),
    });
    if let Some(Admin { address }) = admin {
        out["admin"] = json!({ "address": super::text_of(address) });
    }
    out
}

fn each<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

fn texts<T: ToString>(items: &[T]) -> Value {
    each(items, |item| Value::String(item.to_string()))
}

/// A map of what is there: an absent value is an absent key.
fn map<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let there = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

fn some(value: impl Into<Value>) -> Option<Value> {
    Some(value.into())
}

/// A list that says something: an empty one is an absent key.
fn list(value: Value) -> Option<Value> {
    let empty = value.as_array().is_some_and(Vec::is_empty);
    (!empty).then_some(value)
}

fn time(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1000.0)
    }
}

fn process(process: &Process) -> Value {
    let Process {
        cores,
        io_driver,
        drain_delay,
        drain_timeout,
        max_connections,
        splice_pipes,
        ticket_keys,
        dns: of_dns,
        log: Log { level, json },
    } = process;
    let driver = match io_driver {
        IoDriver::Auto => "auto",
        IoDriver::IoUring => "io_uring",
        IoDriver::Epoll => "epoll",
    };
    map([
        ("cores", cores.map(Value::from)),
        ("io_driver", some(driver)),
        ("drain_delay", some(time(*drain_delay))),
        ("drain_timeout", some(time(*drain_timeout))),
        ("max_connections", max_connections.map(Value::from)),
        ("splice_pipes", some(*splice_pipes)),
        (
            "ticket_keys",
            ticket_keys
                .as_ref()
                .map(|path| path.display().to_string().into()),
        ),
        ("dns", Some(dns(of_dns))),
        (
            "log",
            some(json!({
                "level": logging::name_of(*level),
                "format": if *json { "json" } else { "text" },
            })),
        ),
    ])
}

fn dns(dns: &Dns) -> Value {
    let Dns {
        servers,
        min_ttl,
        timeout,
    } = dns;
    map([
        (
            "servers",
            list(each(servers, |server| server.to_string().into())),
        ),
        ("min_ttl", some(time(*min_ttl))),
        ("timeout", some(time(*timeout))),
    ])
}

fn filter(filter: &Filter) -> Value {
    let Filter { name, config } = filter;
    let mut out = Map::new();
    out.insert(name.to_string(), hide("", config));
    Value::Object(out)
}

/// A value with its secrets hidden; `key` is what it stands under.
fn hide(key: &str, value: &Value) -> Value {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let secret = SECRET_WORDS.iter().any(|word| key.contains(word));
    match value {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), hide(key, value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(|item| hide(&key, item)).collect()),
        Value::String(_) | Value::Number(_) if secret => HIDDEN.into(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
    }
}
