//! The numbers in Prometheus' text format 0.0.4.
//!
//! Names are `ringway_SCOPE_WHAT_UNIT`, in seconds and bytes; one `HELP` and `TYPE` for each family, as the format wants.

use std::fmt::Write as _;

use ringway_engine::observe::{
    Classes, Distribution, Kind, Metric, ProcessStats, Scope, Stats, Value,
};

use super::Selection;
use super::series::{self, Member, Set};

/// The answer's media type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers that are asked for. The selection's filter is held against the families' names.
pub(crate) fn render(stats: &Stats, selection: &Selection) -> String {
    let mut out = String::new();
    constant(
        &mut out,
        selection,
        "ringway_build",
        "The version that runs.",
        ("version", env!("CARGO_PKG_VERSION")),
    );
    if let Some(driver) = stats.io_driver.get() {
        constant(
            &mut out,
            selection,
            "ringway_io_driver",
            "How the cores do their I/O.",
            ("driver", driver),
        );
    }
    for set in series::read(stats) {
        let mut at = 0;
        // Metrics of one family stand together.
        for family in set.metrics.chunk_by(|a, b| a.family == b.family) {
            let members = at..at + family.len();
            at = members.end;
            let page = Page {
                selection,
                set: &set,
                name: family_name(set.scope, family),
            };
            page.family(family, members.start, &mut out);
        }
    }
    out
}

/// A fact that is no number: a gauge of 1 with a label.
fn constant(
    out: &mut String,
    selection: &Selection,
    name: &str,
    help: &str,
    label: (&'static str, &str),
) {
    if selection.takes(name) {
        head(out, name, help, "gauge");
        sample(out, name, &[(label.0, label.1.to_owned())], None, 1);
    }
}

fn family_name(scope: &str, family: &[Metric]) -> String {
    let Some(first) = family.first() else {
        return String::new();
    };
    let scope = if scope == ProcessStats::NAME {
        String::new()
    } else {
        format!("{scope}_")
    };
    let suffix = match first.kind {
        Kind::Counter | Kind::Classes | Kind::Reasons if first.family.ends_with("_total") => "",
        Kind::Counter | Kind::Classes | Kind::Reasons => "_total",
        Kind::Gauge => "",
        Kind::Histogram => "_seconds",
    };
    format!("ringway_{scope}{}{suffix}", first.family)
}

/// One family of one set, being written.
struct Page<'a> {
    selection: &'a Selection,
    set: &'a Set,
    name: String,
}

impl Page<'_> {
    /// `first` is the place of the family's first metric among the set's.
    fn family(&self, family: &[Metric], first: usize, out: &mut String) {
        let Some(metric) = family.first() else {
            return;
        };
        if !self.selection.takes(&self.name) {
            return;
        }
        let mut body = String::new();
        for member in &self.set.members {
            for (at, metric) in family.iter().enumerate() {
                if let Some(value) = member.values.get(first + at) {
                    self.value(member, metric, value, &mut body);
                }
            }
        }
        if body.is_empty() {
            return;
        }
        let kind = match metric.kind {
            Kind::Counter | Kind::Classes | Kind::Reasons => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        head(out, &self.name, metric.help, kind);
        out.push_str(&body);
    }

    fn value(&self, member: &Member, metric: &Metric, value: &Value, out: &mut String) {
        let labels = &member.labels;
        let own = metric.label;
        match value {
            Value::Counter(n) => self.number(labels, own, *n == 0, n, out),
            Value::Gauge(n) => self.number(labels, own, *n == 0, n, out),
            Value::Histogram(times) => self.histogram(labels, times, out),
            Value::Classes(counts) => {
                for (class, n) in CLASSES.iter().zip(counts) {
                    self.number(labels, Some(("class", class)), *n == 0, n, out);
                }
            }
            Value::Reasons(tally) => {
                for (name, n) in &tally.counts {
                    self.number(labels, Some((tally.label, name)), *n == 0, n, out);
                }
            }
        }
    }

    fn number(
        &self,
        labels: &[(&'static str, String)],
        own: Option<(&str, &str)>,
        is_zero: bool,
        n: impl std::fmt::Display,
        out: &mut String,
    ) {
        if self.selection.takes_value(is_zero) {
            sample(out, &self.name, labels, own, n);
        }
    }

    fn histogram(&self, labels: &[(&'static str, String)], times: &Distribution, out: &mut String) {
        let count = times.count();
        if !self.selection.takes_value(count == 0) {
            return;
        }
        let bucket = format!("{}_bucket", self.name);
        for (edge, n) in times.cumulative() {
            // Microseconds to seconds: `Display` of a float is the shortest that reads back, and never has an exponent.
            let edge = (edge as f64 / 1e6).to_string();
            sample(out, &bucket, labels, Some(("le", &edge)), n);
        }
        sample(out, &bucket, labels, Some(("le", "+Inf")), count);
        let sum = times.sum().as_secs_f64();
        sample(out, &format!("{}_sum", self.name), labels, None, sum);
        sample(out, &format!("{}_count", self.name), labels, None, count);
    }
}

/// The classes' names, in the order of [`Value::Classes`].
pub(super) const CLASSES: [&str; Classes::COUNT] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(
    out: &mut String,
    name: &str,
    labels: &[(&'static str, String)],
    own: Option<(&str, &str)>,
    value: impl std::fmt::Display,
) {
    out.push_str(name);
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let mut lead = '{';
    for (name, value) in labels.chain(own) {
        let _ = write!(out, "{lead}{name}=\"");
        escape_label(value, out);
        out.push('"');
        lead = ',';
    }
    if lead == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// A label's value: the format knows three escapes.
fn escape_label(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use ringway_config::Name;

    use super::*;

    fn stats() -> Stats {
        let stats = Stats::new(2);
        stats.io_driver.set("io_uring").expect("not yet set");
        let web = stats.listener(&Name::new("we\"b\\\n"));
        for core in [0, 1] {
            let web = web.slot(core);
            web.downstream_rq_total.add(2);
            web.downstream_rq_active.inc();
            web.downstream_rq.inc(204);
            web.violation.inc(1);
            web.limit_body_too_large.inc();
            web.bytes_sent.add(10);
            web.downstream_rq_time
                .record(Duration::from_micros(100 << (10 * core)));
        }
        let host = stats.host(&Name::new("api"), &Name::new("[::1]:9001"));
        host.core(1).rq_total.inc();
        stats
    }

    #[test]
    fn used_numbers_of_a_listener() {
        let selection =
            Selection::new(true, Some("^ringway_(listener|endpoint)_")).expect("a regex");
        let all = render(&stats(), &selection);
        let buckets = |line: &&str| {
            !line.contains("_bucket") || line.contains("0.000") || line.contains("Inf")
        };
        let text: Vec<_> = all.lines().filter(buckets).collect();
        let expect = r#"
# HELP ringway_listener_downstream_rq_total Requests whose head was whole and sound.
# TYPE ringway_listener_downstream_rq_total counter
ringway_listener_downstream_rq_total{listener="we\"b\\\n"} 4
# HELP ringway_listener_downstream_rq_active Requests in flight.
# TYPE ringway_listener_downstream_rq_active gauge
ringway_listener_downstream_rq_active{listener="we\"b\\\n"} 2
# HELP ringway_listener_downstream_rq_class_total Answers by class of status.
# TYPE ringway_listener_downstream_rq_class_total counter
ringway_listener_downstream_rq_class_total{listener="we\"b\\\n",class="2xx"} 2
# HELP ringway_listener_downstream_rq_time_seconds From a request's head to the end of its answer.
# TYPE ringway_listener_downstream_rq_time_seconds histogram
ringway_listener_downstream_rq_time_seconds_bucket{listener="we\"b\\\n",le="0.000064"} 0
ringway_listener_downstream_rq_time_seconds_bucket{listener="we\"b\\\n",le="0.000128"} 1
ringway_listener_downstream_rq_time_seconds_bucket{listener="we\"b\\\n",le="0.000256"} 1
ringway_listener_downstream_rq_time_seconds_bucket{listener="we\"b\\\n",le="0.000512"} 1
ringway_listener_downstream_rq_time_seconds_bucket{listener="we\"b\\\n",le="+Inf"} 2
ringway_listener_downstream_rq_time_seconds_sum{listener="we\"b\\\n"} 0.1025
ringway_listener_downstream_rq_time_seconds_count{listener="we\"b\\\n"} 2
# HELP ringway_listener_sent_bytes_total Bytes of answers' bodies, and of connections passed on.
# TYPE ringway_listener_sent_bytes_total counter
ringway_listener_sent_bytes_total{listener="we\"b\\\n"} 20
# HELP ringway_listener_violation_total Requests refused for breaking a rule of HTTP, by rule.
# TYPE ringway_listener_violation_total counter
ringway_listener_violation_total{listener="we\"b\\\n",rule="RULE"} 2
# HELP ringway_listener_limit_total Limits reached, by limit.
# TYPE ringway_listener_limit_total counter
ringway_listener_limit_total{listener="we\"b\\\n",limit="body_too_large"} 2
# HELP ringway_endpoint_rq_total Requests sent.
# TYPE ringway_endpoint_rq_total counter
ringway_endpoint_rq_total{cluster="api",endpoint="[::1]:9001"} 1"#;
        let rule = "bare_cr";
        assert_eq!(text.join("\n"), expect.trim_start().replace("RULE", rule));
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let text = render(&stats(), &Selection::default());
        let bucket = "ringway_listener_downstream_rq_time_seconds_bucket";
        let counts: Vec<u64> = text
            .lines()
            .filter(|line| line.starts_with(bucket))
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a count")
            })
            .collect();
        assert!(
            counts.is_sorted() && counts.last() == Some(&2),
            "{counts:?}"
        );
    }

    #[test]
    fn every_family_is_declared_once_before_its_samples() {
        let text = render(&stats(), &Selection::default());
        let mut families = HashSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                current = family.split(' ').next().expect("a name");
                assert!(families.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(current), "{line} in {current}");
            }
        }
        for name in [
            "ringway_io_driver",
            "ringway_cores",
            "ringway_core_panics_total",
            "ringway_reloads_total",
        ] {
            assert!(families.contains(name), "{name}");
        }
        assert!(text.contains("\nringway_io_driver{driver=\"io_uring\"} 1\n"));
        assert!(text.contains("\nringway_core_panics_total{core=\"1\"} 0\n"));
        assert!(text.contains("\nringway_cores 2\n"));
    }
}
