//! The registry's numbers with the names that both expositions need.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use ringway_config::Name;
use ringway_engine::observe::stats::{CertificateId, Entries};
use ringway_engine::observe::{
    ByMethod, CertificateStats, ClusterStats, CoreStats, HostStats, Metric, PerCore, ProcessStats,
    Scope, Stats, Value,
};

/// A filter is an operator's, but admin may be reached by more than operators: a regex of this size is fast to build.
const FILTER_BYTES: usize = 1 << 20;

/// Which numbers that are zero are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// All of them.
    All,
    /// Not those of which there are dozens for each scope, most of them zero for ever: reasons, and the buckets of times of which
    /// there were none.
    Few,
    /// None.
    None,
}

/// Which numbers are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Each form has its own default.
    zeros: Option<Zeros>,
    filter: Option<Regex>,
}

impl Selection {
    /// Those whose name the regex finds something in.
    pub(crate) fn new(zeros: Option<Zeros>, filter: Option<&str>) -> Result<Self, regex::Error> {
        let build = |text| RegexBuilder::new(text).size_limit(FILTER_BYTES).build();
        Ok(Self {
            zeros,
            filter: filter.map(build).transpose()?,
        })
    }

    /// What is shown where nothing was said.
    pub(super) fn or(mut self, zeros: Zeros) -> Self {
        self.zeros.get_or_insert(zeros);
        self
    }

    /// Whether a name is asked for.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|regex| regex.is_match(name))
    }

    /// Whether a number is asked for; `many`: of a kind of which there are dozens.
    pub(super) fn takes_value(&self, is_zero: bool, many: bool) -> bool {
        !is_zero
            || match self.zeros {
                None | Some(Zeros::All) => true,
                Some(Zeros::Few) => !many,
                Some(Zeros::None) => false,
            }
    }
}

/// All numbers of one kind of scope.
pub(super) struct Set {
    /// `listener`.
    pub(super) scope: &'static str,
    pub(super) metrics: &'static [Metric],
    pub(super) members: Vec<Member>,
}

/// One scope: one listener, one cluster.
pub(super) struct Member {
    /// Labels that tell it from the others.
    pub(super) labels: Vec<(&'static str, String)>,
    /// The same for Envoy's dotted names: `listener.web`.
    pub(super) path: String,
    /// In the order of the set's metrics.
    pub(super) values: Vec<Value>,
}

/// Reads the numbers of a kind of scope, added up over the cores but for the cores' own.
type Read = fn(&Stats) -> Set;

/// All kinds, in the order in which they are shown. They are read one after the other, since of each there may be thousands.
pub(super) const KINDS: [Read; 10] = [
    server,
    cores,
    |stats| named(stats.listeners()),
    |stats| named(stats.route_tables()),
    |stats| named(stats.clusters()),
    |stats| named(stats.watches()),
    hosts,
    |stats| calls(stats.all_calls()),
    |stats| calls(stats.all_rpc_calls()),
    certificates,
];

fn set<S: Scope>(members: Vec<Member>) -> Set {
    Set {
        scope: S::NAME,
        metrics: S::METRICS,
        members,
    }
}

fn server(stats: &Stats) -> Set {
    set::<ProcessStats>(vec![Member {
        labels: Vec::new(),
        path: ProcessStats::NAME.to_owned(),
        values: stats.process.read(),
    }])
}

fn cores(stats: &Stats) -> Set {
    let member = |(core, numbers): (usize, &CoreStats)| Member {
        labels: vec![(CoreStats::NAME, core.to_string())],
        path: format!("{}.{core}", CoreStats::NAME),
        values: numbers.read(),
    };
    set::<CoreStats>(stats.core().iter().enumerate().map(member).collect())
}

fn named<S: Scope>(entries: Entries<Name, S>) -> Set {
    let member = |(name, numbers): (Name, Arc<PerCore<S>>)| Member {
        labels: vec![(S::NAME, name.to_string())],
        path: format!("{}.{}", S::NAME, dotted(&name)),
        values: numbers.total(),
    };
    set::<S>(entries.into_iter().map(member).collect())
}

fn hosts(stats: &Stats) -> Set {
    let member = |((cluster, host), numbers): ((Name, Name), Arc<PerCore<HostStats>>)| Member {
        labels: vec![
            (ClusterStats::NAME, cluster.to_string()),
            (HostStats::NAME, host.to_string()),
        ],
        path: format!(
            "{}.{}.{}.{}",
            ClusterStats::NAME,
            dotted(&cluster),
            HostStats::NAME,
            dotted(&host)
        ),
        values: numbers.total(),
    };
    set::<HostStats>(stats.hosts().into_iter().map(member).collect())
}

fn calls<S: Scope>(entries: Entries<Name, ByMethod<S>>) -> Set {
    let mut members = Vec::new();
    for (cluster, calls) in entries {
        for (method, values) in calls.by_method() {
            members.push(Member {
                path: format!(
                    "{}.{}.{}.{method}",
                    ClusterStats::NAME,
                    dotted(&cluster),
                    S::NAME
                ),
                labels: vec![
                    (ClusterStats::NAME, cluster.to_string()),
                    ("method", method),
                ],
                values,
            });
        }
    }
    set::<S>(members)
}

fn certificates(stats: &Stats) -> Set {
    let member = |(id, values): (CertificateId, Vec<Value>)| Member {
        path: format!(
            "{}.{}.{}",
            CertificateStats::NAME,
            dotted(&Name::new(&id.path)),
            id.serial
        ),
        labels: vec![("path", id.path), ("serial", id.serial)],
        values,
    };
    set::<CertificateStats>(stats.certificates().into_iter().map(member).collect())
}

/// A name inside a dotted one: `: ` ends the dotted name, and Envoy writes `_` for a colon. A line end would forge a line.
fn dotted(name: &Name) -> String {
    let plain = |c: char| if c == ':' || c.is_control() { '_' } else { c };
    name.as_str().chars().map(plain).collect()
}
