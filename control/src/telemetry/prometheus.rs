//! The numbers in Prometheus' text format 0.0.4.
//!
//! Names are `ringway_SCOPE_WHAT_UNIT`, in seconds and bytes; one `HELP` and `TYPE` for each family, as the format wants.

use std::fmt::{Display, Write as _};
use std::ops::Range;
use std::sync::Arc;

use ringway_engine::observe::{
    Classes, Distribution, Kind, Metric, ProcessStats, Scope, Stats, Value,
};

use super::series::{self, Member, Set};
use super::{Selection, Zeros};

/// The answer's media type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A part is about as long: what is written while nobody else is served takes a fraction of a millisecond.
const PART: usize = 64 << 10;

/// All numbers that are asked for, in parts that are made as they are taken. The selection's filter is held against the families'
/// names.
///
/// Reasons and times are shown from the first on, if nothing else is asked for: a listener has some two hundred numbers of which
/// hardly one ever counts.
pub(crate) fn parts(stats: Arc<Stats>, selection: Selection) -> impl Iterator<Item = String> {
    let selection = selection.or(Zeros::Few);
    let mut first = String::new();
    facts(&stats, &selection, &mut first);
    Parts {
        out: first,
        kinds: series::KINDS.iter(),
        set: None,
        stats,
        selection,
    }
}

/// What does not change.
fn facts(stats: &Stats, selection: &Selection, out: &mut String) {
    constant(
        out,
        selection,
        "ringway_build",
        "The version that runs.",
        ("version", env!("CARGO_PKG_VERSION")),
    );
    if let Some(driver) = stats.io_driver.get() {
        constant(
            out,
            selection,
            "ringway_io_driver",
            "How the cores do their I/O.",
            ("driver", driver),
        );
    }
}

/// See [`parts`].
struct Parts {
    /// Written, and not yet taken.
    out: String,
    kinds: std::slice::Iter<'static, fn(&Stats) -> Set>,
    /// What is being written.
    set: Option<Place>,
    stats: Arc<Stats>,
    selection: Selection,
}

/// Where in a set the next number is.
struct Place {
    set: Set,
    /// The metrics of the family, which stand together.
    family: Range<usize>,
    name: String,
    /// It has been declared.
    declared: bool,
    member: usize,
}

impl Iterator for Parts {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.out.len() < PART && self.step() {}
        let part = std::mem::take(&mut self.out);
        (!part.is_empty()).then_some(part)
    }
}

impl Parts {
    /// Writes what one scope has of one family; false at the end.
    fn step(&mut self) -> bool {
        let Some(place) = &mut self.set else {
            let Some(read) = self.kinds.next() else {
                return false;
            };
            self.set = Place::of(read(&self.stats));
            return true;
        };
        let is_asked_for = place.member > 0 || self.selection.takes(&place.name);
        match place.set.members.get(place.member) {
            Some(member) if is_asked_for => {
                let page = Page {
                    selection: &self.selection,
                    name: &place.name,
                    metrics: &place.set.metrics[place.family.clone()],
                };
                page.member(
                    member,
                    place.family.start,
                    &mut place.declared,
                    &mut self.out,
                );
                place.member += 1;
            }
            Some(_) | None => {
                if !place.next_family() {
                    self.set = None;
                }
            }
        }
        true
    }
}

impl Place {
    fn of(set: Set) -> Option<Self> {
        let mut place = Self {
            set,
            family: 0..0,
            name: String::new(),
            declared: false,
            member: 0,
        };
        place.next_family().then_some(place)
    }

    fn next_family(&mut self) -> bool {
        let rest = self.set.metrics.get(self.family.end..).unwrap_or_default();
        let Some(family) = rest.chunk_by(|a, b| a.family == b.family).next() else {
            return false;
        };
        self.family = self.family.end..self.family.end + family.len();
        self.name = family_name(self.set.scope, family);
        (self.declared, self.member) = (false, 0);
        true
    }
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
    name: &'a str,
    metrics: &'a [Metric],
}

impl Page<'_> {
    /// `first` is the place of the family's first metric among the member's values.
    fn member(&self, member: &Member, first: usize, declared: &mut bool, out: &mut String) {
        let Some(metric) = self.metrics.first() else {
            return;
        };
        let before = out.len();
        if !*declared {
            let kind = match metric.kind {
                Kind::Counter | Kind::Classes | Kind::Reasons => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            head(out, self.name, metric.help, kind);
        }
        let written = out.len();
        for (at, metric) in self.metrics.iter().enumerate() {
            if let Some(value) = member.values.get(first + at) {
                self.value(member, metric, value, out);
            }
        }
        match out.len() == written {
            // Nothing to declare.
            true => out.truncate(before),
            false => *declared = true,
        }
    }

    fn value(&self, member: &Member, metric: &Metric, value: &Value, out: &mut String) {
        let labels = &member.labels;
        let own = metric.label;
        match value {
            Value::Counter(n) => self.number(labels, own, *n, out),
            Value::Gauge(n) => self.number(labels, own, *n, out),
            Value::Histogram(times) => self.histogram(labels, times, out),
            Value::Classes(counts) => {
                for (class, n) in CLASSES.iter().zip(counts) {
                    self.number(labels, Some(("class", class)), *n, out);
                }
            }
            Value::Reasons(tally) => {
                for (name, n) in &tally.counts {
                    if self.selection.takes_value(*n == 0, true) {
                        sample(out, self.name, labels, Some((tally.label, name)), n);
                    }
                }
            }
        }
    }

    fn number<N: Display + Default + PartialEq>(
        &self,
        labels: &[(&'static str, String)],
        own: Option<(&str, &str)>,
        n: N,
        out: &mut String,
    ) {
        if self.selection.takes_value(n == N::default(), false) {
            sample(out, self.name, labels, own, n);
        }
    }

    fn histogram(&self, labels: &[(&'static str, String)], times: &Distribution, out: &mut String) {
        let count = times.count();
        if !self.selection.takes_value(count == 0, true) {
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
    value: impl Display,
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

    fn render(stats: Stats, selection: &Selection) -> String {
        parts(Arc::new(stats), selection.clone()).collect()
    }

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
        let selection = Selection::new(Some(Zeros::None), Some("^ringway_(listener|endpoint)_"))
            .expect("a regex");
        let all = render(stats(), &selection);
        let buckets = |line: &&str| {
            !line.contains("_bucket") || line.contains("0.000") || line.contains("Inf")
        };
        let text: Vec<_> = all.lines().filter(buckets).collect();
        let expect = r#"
# HELP ringway_listener_downstream_rq_total Requests whose head was complete and valid.
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
        let text = render(stats(), &Selection::default());
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
    fn reasons_and_times_are_shown_from_the_first_on() {
        let shown = |zeros, name: &str| {
            let text = render(stats(), &Selection::new(zeros, None).expect("no regex"));
            text.lines().any(|line| line.starts_with(name))
        };
        for (name, by_itself, used) in [
            (
                "ringway_listener_violation_total{listener=\"we\\\"b\\\\\\n\",rule=\"bare_cr\"} 2",
                true,
                true,
            ),
            (
                "ringway_listener_violation_total{listener=\"we\\\"b\\\\\\n\",rule=\"bare_lf\"} 0",
                false,
                false,
            ),
            ("ringway_endpoint_rq_time_seconds_count{", false, false),
            ("ringway_listener_downstream_cx_total{", true, false),
        ] {
            assert!(shown(Some(Zeros::All), name), "{name}");
            assert_eq!(shown(None, name), by_itself, "{name}");
            assert_eq!(shown(Some(Zeros::None), name), used, "{name}");
        }
    }

    #[test]
    fn parts_are_short_however_many_listeners_there_are() {
        let stats = Stats::new(1);
        let held: Vec<_> = (0..200)
            .map(|n| stats.listener(&Name::new(&format!("listener-{n}"))))
            .collect();
        let selection = Selection::new(Some(Zeros::All), None).expect("no regex");
        let all: Vec<_> = parts(Arc::new(stats), selection).collect();
        assert!(all.len() > 20 && all.iter().all(|part| part.len() < 2 * PART));
        drop(held);
    }

    #[test]
    fn every_family_is_declared_once_before_its_samples() {
        let text = render(stats(), &Selection::default());
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
