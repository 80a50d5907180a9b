//! The numbers in the form of Envoy's `/stats`: dotted names, a line each, or JSON.

use std::fmt::Write as _;
use std::time::Duration;

use ringway_engine::observe::{Distribution, Metric, Stats, Value};
use serde_json::json;

use super::Selection;
use super::prometheus::CLASSES;
use super::series::{self, Member};

/// The quantiles that Envoy shows, in percent.
const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// `listener.web.downstream_cx_total: 5`, in the order of names. Times are in milliseconds, since the start: there is no
/// interval here, where Envoy's histograms have one first.
pub(crate) fn text(stats: &Stats, selection: &Selection) -> String {
    let mut out = String::new();
    for (name, number) in numbers(stats, selection) {
        // Writing to a String cannot fail.
        let _ = match number {
            Number::Count(n) => writeln!(out, "{name}: {n}"),
            Number::Level(n) => writeln!(out, "{name}: {n}"),
            Number::Times(times) if times.count() == 0 => {
                writeln!(out, "{name}: No recorded values")
            }
            Number::Times(times) => {
                let shown = QUANTILES.map(|q| match quantile(&times, q) {
                    Some(millis) => format!("P{q}(nan,{millis})"),
                    None => format!("P{q}(nan,nan)"),
                });
                writeln!(out, "{name}: {}", shown.join(" "))
            }
        };
    }
    out
}

/// The same as Envoy's `?format=json`.
pub(crate) fn json(stats: &Stats, selection: &Selection) -> String {
    let mut list = Vec::new();
    let mut histograms = Vec::new();
    for (name, number) in numbers(stats, selection) {
        match number {
            Number::Count(n) => list.push(json!({"name": name, "value": n})),
            Number::Level(n) => list.push(json!({"name": name, "value": n})),
            Number::Times(times) => {
                let values =
                    QUANTILES.map(|q| json!({"interval": null, "cumulative": quantile(&times, q)}));
                histograms.push(json!({"name": name, "values": values}));
            }
        }
    }
    if !histograms.is_empty() {
        list.push(json!({"histograms": {
            "supported_quantiles": QUANTILES,
            "computed_quantiles": histograms,
        }}));
    }
    json!({ "stats": list }).to_string()
}

/// A number by its kind.
enum Number {
    Count(u64),
    Level(i64),
    Times(Box<Distribution>),
}

impl Number {
    fn is_zero(&self) -> bool {
        match self {
            Self::Count(n) => *n == 0,
            Self::Level(n) => *n == 0,
            Self::Times(times) => times.count() == 0,
        }
    }
}

/// The numbers that are asked for, by name.
fn numbers(stats: &Stats, selection: &Selection) -> Vec<(String, Number)> {
    let mut list = Vec::new();
    for read in series::KINDS {
        let set = read(stats);
        for member in set.members {
            let Member { path, values, .. } = member;
            let mut add = |name: std::fmt::Arguments<'_>, number: Number| {
                if selection.takes_value(number.is_zero(), false) {
                    let name = format!("{path}.{name}");
                    if selection.takes(&name) {
                        list.push((name, number));
                    }
                }
            };
            for (metric, value) in set.metrics.iter().zip(values) {
                expand(metric, value, &mut add);
            }
        }
    }
    list.sort_by(|(a, _), (b, _)| a.cmp(b));
    list
}

/// A metric of several numbers becomes as many names.
fn expand(metric: &Metric, value: Value, add: &mut dyn FnMut(std::fmt::Arguments<'_>, Number)) {
    let name = metric.name;
    match value {
        Value::Counter(n) => add(format_args!("{name}"), Number::Count(n)),
        Value::Gauge(n) => add(format_args!("{name}"), Number::Level(n)),
        Value::Histogram(times) => add(format_args!("{name}"), Number::Times(times)),
        Value::Classes(counts) => {
            for (class, n) in CLASSES.iter().zip(counts) {
                add(format_args!("{name}_{class}"), Number::Count(n));
            }
        }
        Value::Reasons(tally) => {
            for (reason, n) in tally.counts {
                add(format_args!("{name}.{reason}"), Number::Count(n));
            }
        }
    }
}

/// In milliseconds, to the microsecond.
fn quantile(times: &Distribution, percent: f64) -> Option<f64> {
    let micros = |time: Duration| time.as_micros() as f64;
    times
        .quantile(percent / 100.0)
        .map(|time| micros(time) / 1000.0)
}

#[cfg(test)]
mod tests {
    use ringway_config::Name;

    use super::*;
    use crate::telemetry::Zeros;

    fn stats() -> Stats {
        let stats = Stats::new(1);
        let web = stats.listener(&Name::new("web"));
        web.core(0).downstream_cx_total.add(5);
        web.core(0).downstream_rq.inc(404);
        web.core(0).violation.inc(0);
        let host = stats.host(&Name::new("api"), &Name::new("127.0.0.1:9001"));
        host.core(0).rq_total.add(7);
        host.core(0).rq_time.record(Duration::from_millis(1));
        stats.clusters();
        stats
    }

    #[test]
    fn used_numbers_by_name() {
        let stats = stats();
        // Held, as a snapshot would.
        let _cluster = stats.cluster(&Name::new("api"));
        let selection =
            Selection::new(Some(Zeros::None), Some("^(listener|cluster)")).expect("a regex");
        let expect = "\
cluster.api.endpoint.127.0.0.1_9001.rq_time: P0(nan,0.96) P25(nan,0.96) P50(nan,0.96) P75(nan,0.96) P90(nan,0.96) \
P95(nan,0.96) P99(nan,0.96) P99.5(nan,0.96) P99.9(nan,0.96) P100(nan,0.96)
cluster.api.endpoint.127.0.0.1_9001.rq_total: 7
listener.web.downstream_cx_total: 5
listener.web.downstream_rq_4xx: 1
listener.web.violation.RULE: 1
";
        let rule = "bare_lf";
        assert_eq!(text(&stats, &selection), expect.replace("RULE", rule));
    }

    #[test]
    fn all_numbers_have_lines_of_their_own() {
        let text = text(&stats(), &Selection::default());
        let mut names: Vec<_> = text.lines().map(|line| line.split(": ").next()).collect();
        assert!(names.is_sorted());
        let lines = names.len();
        names.dedup();
        assert_eq!(names.len(), lines);
        for line in [
            "server.concurrency: 1",
            "core.0.loop_time: No recorded values",
            "listener.web.limit_body_too_slow: 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}");
        }
    }

    #[test]
    fn json_is_envoys() {
        let selection =
            Selection::new(Some(Zeros::None), Some(r"rq_t|cx_total$")).expect("a regex");
        let read: serde_json::Value =
            serde_json::from_str(&json(&stats(), &selection)).expect("JSON");
        let list = read["stats"].as_array().expect("a list");
        assert_eq!(
            list[0]["name"],
            "cluster.api.endpoint.127.0.0.1_9001.rq_total"
        );
        assert_eq!(
            list[1],
            json!({"name": "listener.web.downstream_cx_total", "value": 5})
        );
        let computed = &list[2]["histograms"]["computed_quantiles"][0];
        assert_eq!(
            computed["values"][2],
            json!({"interval": null, "cumulative": 0.96})
        );
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn a_wrong_filter_is_an_error() {
        assert!(Selection::new(None, Some("(")).is_err());
        assert!(
            Selection::new(None, Some(r"(\w{100}){100}")).is_err(),
            "too large"
        );
    }
}
