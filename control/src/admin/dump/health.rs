//! Probes, outliers and limits of a cluster, in the words of a configuration file.

use ringway_config::{
    ClusterLimits, FailureRate, HealthCheck, HttpProbe, Limits, Outlier, Probe, SuccessRate,
};
use serde_json::{Map, Value, json};

use super::cluster::pairs;
use super::routes::share;
use super::{each, hide, map, some, time};

pub(super) fn health_check(check: &HealthCheck) -> Value {
    let HealthCheck {
        probe: of_probe,
        interval,
        unhealthy_interval,
        no_traffic_interval,
        timeout,
        jitter,
        initial_wait,
        unhealthy_after,
        healthy_after,
    } = check;
    let (kind, keys) = probe(of_probe);
    map([
        (kind, Some(keys)),
        ("interval", some(time(*interval))),
        (
            "unhealthy_interval",
            unhealthy_interval.map(|t| time(t).into()),
        ),
        (
            "no_traffic_interval",
            no_traffic_interval.map(|t| time(t).into()),
        ),
        ("timeout", some(time(*timeout))),
        ("jitter", some(share(*jitter))),
        ("initial_wait", some(time(*initial_wait))),
        ("unhealthy_after", some(*unhealthy_after)),
        ("healthy_after", some(*healthy_after)),
    ])
}

fn probe(probe: &Probe) -> (&'static str, Value) {
    match probe {
        Probe::Tcp { send, expect } => ("tcp", json!({ "send": send, "expect": expect })),
        Probe::Grpc { service, authority } => {
            let keys = map([
                ("service", some(service.as_str())),
                ("authority", authority.as_deref().map(Value::from)),
            ]);
            ("grpc", keys)
        }
        Probe::Http(HttpProbe {
            path,
            host,
            method,
            headers,
            statuses,
            body,
            http2,
        }) => {
            let keys = map([
                ("path", some(path.as_str())),
                ("host", host.as_deref().map(Value::from)),
                ("method", some(method.as_str())),
                ("headers", Some(hide("headers", &pairs(headers)))),
                (
                    "statuses",
                    Some(each(statuses, |(first, last)| {
                        format!("{first}-{last}").into()
                    })),
                ),
                ("body", some(body.as_str())),
                ("http2", some(*http2)),
            ]);
            ("http", keys)
        }
    }
}

pub(super) fn outlier(outlier: &Outlier) -> Value {
    let Outlier {
        consecutive_5xx,
        consecutive_gateway,
        consecutive_local,
        interval,
        base_ejection,
        max_ejection,
        jitter,
        max_ejected,
        success_rate,
        failure,
    } = outlier;
    let success_rate = success_rate.as_ref().map(|rate| {
        let SuccessRate {
            min_hosts,
            requests,
            stdev_factor,
        } = rate;
        json!({ "min_hosts": min_hosts, "requests": requests, "stdev_factor": stdev_factor })
    });
    let failure = failure.as_ref().map(|rate| {
        let FailureRate {
            threshold,
            min_hosts,
            requests,
        } = rate;
        json!({ "threshold": share(*threshold), "min_hosts": min_hosts, "requests": requests })
    });
    map([
        ("consecutive_5xx", some(*consecutive_5xx)),
        ("consecutive_gateway", some(*consecutive_gateway)),
        ("consecutive_local", some(*consecutive_local)),
        ("interval", some(time(*interval))),
        ("base_ejection", some(time(*base_ejection))),
        ("max_ejection", some(time(*max_ejection))),
        ("jitter", some(time(*jitter))),
        ("max_ejected", some(share(*max_ejected))),
        ("success_rate", success_rate),
        ("failure", failure),
    ])
}

/// None, where there is no limit.
pub(super) fn limits(limits: &ClusterLimits) -> Option<Value> {
    let ClusterLimits {
        connections,
        pending,
        default,
        high,
        host_connections,
        host_requests,
    } = limits;
    let mut out = of_priority(default);
    let high = of_priority(high);
    for (key, value) in [
        ("connections", connections),
        ("pending", pending),
        ("host_connections", host_connections),
        ("host_requests", host_requests),
    ] {
        out.extend(value.map(|value| (key.to_owned(), value.into())));
    }
    if !high.is_empty() {
        out.insert("high".to_owned(), Value::Object(high));
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn of_priority(limits: &Limits) -> Map<String, Value> {
    let Limits {
        requests,
        retries,
        retry_budget,
    } = limits;
    let entries = [
        ("requests", requests.map(Value::from)),
        ("retries", retries.map(Value::from)),
        ("retry_budget", retry_budget.map(|part| share(part).into())),
    ];
    let there = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    there.collect()
}
