//! The pages: what each says, or does.

use std::sync::Arc;

use http::StatusCode;
use ringway_engine::observe::{HostStats, Scope, Value as Numeral};
use ringway_engine::{BoundAddress, HostSpec, Mark};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::router::{Does, Page, Query, ROWS};
use super::{Answer, Content, TEXT, dump};
use crate::certs;
use crate::logging;
use crate::outlier::Event;
use crate::process::{Order, Phase, Process};
use crate::store::{Ask, Cause, Refusal};
use crate::telemetry::{self, Selection, Zeros};

/// Answers a page.
pub(super) async fn answer(process: &Process, page: Page, query: &Query) -> Answer {
    match page {
        Page::Home => home(),
        Page::Help => Answer::text(StatusCode::OK, help()),
        Page::Ready => ready(process),
        Page::Stats => stats(process, query),
        Page::Certs => Answer::json(StatusCode::OK, &certs::page(&process.applied())),
        Page::Prometheus => match selection(query) {
            Ok(selection) => prometheus(process, selection),
            Err(refused) => refused,
        },
        Page::ConfigDump => {
            let version = process.snapshot().version();
            let config = dump::parsed(&process.parsed.borrow());
            Answer::json(
                StatusCode::OK,
                &json!({ "version": version, "config": config }),
            )
        }
        Page::Clusters => clusters(process, query),
        Page::Listeners => listeners(process, query),
        Page::Outliers => outliers(process),
        Page::ServerInfo => Answer::json(StatusCode::OK, &server_info(process)),
        Page::Logging => level(process, query),
        Page::DrainListeners => {
            let graceful = query.has("graceful");
            order(process, Order::DrainListeners { graceful })
        }
        Page::Quit => order(process, Order::Stop),
        Page::Reload => reload(process, query).await,
        Page::ReopenLogs => {
            process.reopen_logs();
            Answer::text(StatusCode::OK, "OK\n")
        }
    }
}

fn help() -> String {
    let mut out = String::from("admin commands are:\n");
    for row in ROWS {
        let method = match row.does {
            Does::Reads => "",
            Does::Changes => " (POST)",
        };
        out += &format!("  {}{method}: {}\n", row.path, row.help);
    }
    out
}

fn home() -> Answer {
    let mut rows = String::new();
    for row in ROWS {
        let (path, help) = (row.path, row.help);
        rows += &match row.does {
            Does::Reads => format!("<tr><td><a href=\"{path}\">{path}</a><td>{help}\n"),
            Does::Changes => format!(
                "<tr><td><form method=post action=\"{path}\"><button>{path}</button></form><td>{help}\n"
            ),
        };
    }
    Answer {
        status: StatusCode::OK,
        content_type: "text/html; charset=utf-8",
        body: format!(
            "<!doctype html><meta charset=utf-8><title>Ringway</title>\n\
             <style>body{{font:16px sans-serif;margin:2em}}td{{padding:.2em 1em .2em 0}}form{{margin:0}}</style>\n\
             <h1>Ringway {}</h1>\n<table>\n{rows}</table>\n",
            env!("CARGO_PKG_VERSION")
        )
        .into(),
        allow: None,
    }
}

fn ready(process: &Process) -> Answer {
    // A core that is gone has taken its share of the connections with it: better no new ones, and a restart.
    let alive = usize::try_from(process.handle.borrow().alive()).unwrap_or(usize::MAX);
    if alive < process.cores.cpus.len() {
        return Answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "FAILED: a core has stopped\n",
        );
    }
    match process.phase() {
        Phase::Live => Answer::text(StatusCode::OK, "LIVE\n"),
        Phase::Draining => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n"),
    }
}

fn stats(process: &Process, query: &Query) -> Answer {
    let selection = match selection(query) {
        Ok(selection) => selection,
        Err(refused) => return refused,
    };
    process.hosts.measure(&process.snapshot());
    let stats = &process.stats;
    let (content_type, body) = match query.value("format") {
        Some("prometheus") => return prometheus(process, selection),
        Some("json") => (
            "application/json",
            telemetry::stats::json(stats, &selection),
        ),
        None | Some("text") => (TEXT, telemetry::stats::text(stats, &selection)),
        Some(other) => {
            return Answer::text(
                StatusCode::BAD_REQUEST,
                format!("unknown format `{other}`: text, json or prometheus\n"),
            );
        }
    };
    Answer {
        content_type,
        ..Answer::text(StatusCode::OK, body)
    }
}

/// Which numbers are asked for.
fn selection(query: &Query) -> Result<Selection, Answer> {
    let zeros = match (query.has("usedonly"), query.has("zeros")) {
        (true, _) => Some(Zeros::None),
        (false, true) => Some(Zeros::All),
        (false, false) => None,
    };
    Selection::new(zeros, query.value("filter")).map_err(|error| {
        Answer::text(
            StatusCode::BAD_REQUEST,
            format!("`filter` is no regular expression: {error}\n"),
        )
    })
}

fn prometheus(process: &Process, selection: Selection) -> Answer {
    process.hosts.measure(&process.snapshot());
    let parts = telemetry::prometheus::parts(Arc::clone(&process.stats), selection);
    Answer {
        status: StatusCode::OK,
        content_type: telemetry::prometheus::CONTENT_TYPE,
        body: Content::parts(parts),
        allow: None,
    }
}

/// A cluster's hosts with what is known of each.
fn clusters(process: &Process, query: &Query) -> Answer {
    let snapshot = process.snapshot();
    let specs = || {
        snapshot
            .config()
            .clusters
            .iter()
            .filter_map(|cluster| snapshot.cluster(&cluster.name))
    };
    if query.value("format") == Some("json") {
        let statuses: Vec<Value> = specs()
            .map(|spec| {
                let hosts: Vec<Value> = spec.hosts.iter().map(|host| host_json(process, host)).collect();
                json!({ "name": spec.config.name.as_str(), "balance": dump::balance_name(spec.config.balance), "host_statuses": hosts })
            })
            .collect();
        return Answer::json(StatusCode::OK, &json!({ "cluster_statuses": statuses }));
    }
    let mut out = String::new();
    for spec in specs() {
        let name = &spec.config.name;
        let balance = dump::balance_name(spec.config.balance);
        out += &format!("{name}::balance::{balance}\n");
        for endpoint in &spec.config.endpoints {
            let address = dump::endpoint_text(&endpoint.address);
            out += &format!("{name}::{address}::weight::{}\n", endpoint.weight);
        }
        for host in spec.hosts.iter() {
            let label = &host.label;
            for (stat, _, value) in figures(&host.stats.total()) {
                out += &format!("{name}::{label}::{stat}::{value}\n");
            }
            let flags = health_flags(host);
            out += &format!("{name}::{label}::health_flags::{flags}\n");
            if let Some(reason) = process.hosts.reason(host.id) {
                out += &format!("{name}::{label}::health_reason::{reason}\n");
            }
            let locality = &host.endpoint.locality;
            for (what, value) in [
                ("region", &locality.region),
                ("zone", &locality.zone),
                ("sub_zone", &locality.sub_zone),
            ] {
                out += &format!("{name}::{label}::{what}::{value}\n");
            }
            let priority = host.endpoint.priority;
            out += &format!("{name}::{label}::priority::{priority}\n");
        }
    }
    Answer::text(StatusCode::OK, out)
}

/// Envoy's words for why a host is not asked.
fn health_flags(host: &HostSpec) -> String {
    let flags = [
        (Mark::Unhealthy, "/failed_active_hc"),
        (Mark::Ejected, "/failed_outlier_check"),
        (Mark::Degraded, "/degraded_active_hc"),
    ];
    let there = flags.iter().filter(|(mark, _)| host.state.has(*mark));
    let text: String = there.map(|(_, flag)| *flag).collect();
    if text.is_empty() {
        "healthy".to_owned()
    } else {
        text
    }
}

fn host_json(process: &Process, host: &HostSpec) -> Value {
    let stats: Vec<Value> = figures(&host.stats.total())
        .map(
            |(name, kind, value)| json!({ "name": name, "type": kind, "value": value.to_string() }),
        )
        .collect();
    let locality = &host.endpoint.locality;
    json!({
        "address": address_json(host.label.as_str()),
        "stats": stats,
        "weight": host.endpoint.weight,
        "priority": host.endpoint.priority,
        "locality": { "region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone },
        "health_status": {
            "failed_active_health_check": host.state.has(Mark::Unhealthy),
            "failed_outlier_check": host.state.has(Mark::Ejected),
            "failed_active_degraded_check": host.state.has(Mark::Degraded),
            "reason": process.hosts.reason(host.id),
        },
    })
}

/// The last ejections.
fn outliers(process: &Process) -> Answer {
    let log = process.hosts.log.borrow();
    let events: Vec<Value> = log.iter().map(Event::json).collect();
    Answer::json(StatusCode::OK, &json!({ "events": events }))
}

/// A host's plain numbers by name and Envoy's word for their kind.
fn figures(total: &[Numeral]) -> impl Iterator<Item = (&'static str, &'static str, i128)> {
    HostStats::METRICS
        .iter()
        .zip(total)
        .filter_map(|(metric, value)| match value {
            Numeral::Counter(n) => Some((metric.name, "COUNTER", i128::from(*n))),
            Numeral::Gauge(n) => Some((metric.name, "GAUGE", i128::from(*n))),
            Numeral::Histogram(_) | Numeral::Classes(_) | Numeral::Reasons(_) => None,
        })
}

fn listeners(process: &Process, query: &Query) -> Answer {
    let bound = process.handle.borrow().listeners();
    if query.value("format") == Some("json") {
        let rows: Vec<Value> = bound
            .iter()
            .map(|(name, address)| {
                json!({ "name": name.as_str(), "local_address": bound_json(address) })
            })
            .collect();
        return Answer::json(StatusCode::OK, &json!({ "listener_statuses": rows }));
    }
    let lines = bound
        .iter()
        .map(|(name, address)| format!("{name}::{address}\n"));
    Answer::text(StatusCode::OK, lines.collect::<String>())
}

/// An address in the form of Envoy's JSON.
fn bound_json(address: &BoundAddress) -> Value {
    match address {
        BoundAddress::Tcp(address) => json!({ "socket_address": {
            "address": address.ip(),
            "port_value": address.port(),
        }}),
        BoundAddress::Unix(path) => json!({ "pipe": { "path": path.display().to_string() } }),
    }
}

/// The same of a host as the counters name it: an address, else a path.
fn address_json(address: &str) -> Value {
    let address = address
        .parse()
        .map_or_else(|_| BoundAddress::Unix(address.into()), BoundAddress::Tcp);
    bound_json(&address)
}

fn server_info(process: &Process) -> Value {
    let driver = &process.driver;
    let snapshot = process.snapshot();
    let state = match process.phase() {
        Phase::Live => "LIVE",
        Phase::Draining => "DRAINING",
    };
    let uptime = format!("{}s", process.started.elapsed().as_secs());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": state,
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "config_source": process.source,
        "config_version": snapshot.version(),
        "config_version_applied": process.handle.borrow().applied(),
        "io_driver": { "kind": driver.setup.driver(), "setup": driver.setup.name(), "reason": driver.reason },
        "cores": { "alive": process.handle.borrow().alive(), "cpus": process.cores.cpus, "pinned": process.cores.pin, "reason": process.cores.reason },
        "max_connections": process.plan.get().connections,
        "connections": process.handle.borrow().connections(),
        "pid": std::process::id(),
    })
}

fn level(process: &Process, query: &Query) -> Answer {
    let Some(name) = query.value("level") else {
        // Envoy's form: without a level it says what is.
        return Answer::text(
            StatusCode::OK,
            format!("level: {}\n", logging::name_of(process.logging.level())),
        );
    };
    let Some(level) = logging::level_of(name) else {
        return Answer::text(
            StatusCode::BAD_REQUEST,
            "unknown level: error, warn, info, debug or trace\n",
        );
    };
    process.logging.set_level(level);
    tracing::info!(level = name, "the log's level was changed");
    Answer::text(
        StatusCode::OK,
        format!("level: {}\n", logging::name_of(level)),
    )
}

fn order(process: &Process, order: Order) -> Answer {
    match process.orders.try_send(order) {
        Ok(()) => Answer::text(StatusCode::OK, "OK\n"),
        // Either the process stops already, or so many orders wait that this one says nothing new.
        Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "already stopping\n"),
    }
}

async fn reload(process: &Process, query: &Query) -> Answer {
    let (reply, outcome) = oneshot::channel();
    let ask = Ask::Reload {
        cause: Cause::Asked,
        reply: Some(reply),
    };
    let outcome = match process.asks.send(ask).await {
        Ok(()) => outcome.await.unwrap_or(Err(Refusal::Stopping)),
        Err(_) => Err(Refusal::Stopping),
    };
    let text = query.value("format") == Some("text");
    match outcome {
        Ok(report) if text => {
            let mut body = format!("configuration {}\n", report.version);
            if report.changes.is_empty() {
                body += "nothing changed\n";
            }
            for change in &report.changes {
                body += &format!("{change}\n");
            }
            Answer::text(StatusCode::OK, body)
        }
        Ok(report) => Answer::json(StatusCode::OK, &json!(report)),
        Err(refusal) => {
            let status = match refusal {
                Refusal::Load(_) | Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
                Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            };
            let rendered = refusal.to_string();
            if text {
                Answer::text(status, rendered)
            } else {
                let problems: Vec<Value> = refusal
                    .problems()
                    .iter()
                    .map(|problem| json!({ "path": problem.path, "message": problem.message }))
                    .collect();
                Answer::json(status, &json!({ "error": rendered, "problems": problems }))
            }
        }
    }
}
