//! A scope is a set of numbers that belong together: one declaration makes the struct, its sum and its exposition.

use super::counter::{Classes, Counter, Gauge, PerCore, Reason, Reasons, Tally};
use super::histogram::{Distribution, Histogram};

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations.
    Histogram,
    /// A counter for each class of status.
    Classes,
    /// A counter for each of some reasons.
    Reasons,
}

/// A number, or the sum of it over the cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram.
    Histogram(Box<Distribution>),
    /// Of the classes 1xx to 5xx.
    Classes([u64; Classes::COUNT]),
    /// Of the reasons.
    Reasons(Tally),
}

impl Value {
    /// Adds the same number of another core.
    pub(super) fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Counter(a), Self::Counter(b)) => *a = a.wrapping_add(b),
            (Self::Gauge(a), Self::Gauge(b)) => *a = a.wrapping_add(b),
            (Self::Histogram(a), Self::Histogram(b)) => a.merge(&b),
            (Self::Classes(a), Self::Classes(b)) => {
                for (sum, n) in a.iter_mut().zip(b) {
                    *sum = sum.wrapping_add(n);
                }
            }
            (Self::Reasons(a), Self::Reasons(b)) => {
                for ((_, sum), (_, n)) in a.counts.iter_mut().zip(b.counts) {
                    *sum = sum.wrapping_add(n);
                }
            }
            (this, other) => debug_assert!(false, "{this:?} and {other:?} are of one metric"),
        }
    }
}

/// What is known of a number without reading it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in its scope, as `/stats` says it.
    pub name: &'static str,
    /// The name that Prometheus gets, without prefix and suffix; several metrics may share it and differ by label.
    pub family: &'static str,
    /// What tells it from others of its family.
    pub label: Option<(&'static str, &'static str)>,
    /// What it is.
    pub kind: Kind,
    /// What it counts, in a sentence.
    pub help: &'static str,
}

/// A set of numbers that belong together.
pub trait Scope: Default {
    /// What the set is of, as names begin: `listener`.
    const NAME: &'static str;
    /// Its numbers; those of one family stand together.
    const METRICS: &'static [Metric];

    /// The numbers now, in the order of `METRICS`.
    fn read(&self) -> Vec<Value>;
}

impl<S: Scope> PerCore<S> {
    /// The sums over all cores, in the order of `METRICS`.
    pub fn total(&self) -> Vec<Value> {
        let mut parts = self.iter();
        let mut sums = parts.next().map(S::read).unwrap_or_default();
        for part in parts {
            for (sum, value) in sums.iter_mut().zip(part.read()) {
                sum.add(value);
            }
        }
        sums
    }
}

/// One field of a scope.
pub(super) trait Part {
    const KIND: Kind;
    fn read(&self) -> Value;
}

impl Part for Counter {
    const KIND: Kind = Kind::Counter;
    fn read(&self) -> Value {
        Value::Counter(self.value())
    }
}

impl Part for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn read(&self) -> Value {
        Value::Gauge(self.value())
    }
}

impl Part for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn read(&self) -> Value {
        Value::Histogram(Box::new(Self::read(self)))
    }
}

impl Part for Classes {
    const KIND: Kind = Kind::Classes;
    fn read(&self) -> Value {
        Value::Classes(self.values())
    }
}

impl<R: Reason> Part for Reasons<R> {
    const KIND: Kind = Kind::Reasons;
    fn read(&self) -> Value {
        Value::Reasons(self.tally())
    }
}

/// Declares a scope: `field: Type, "help"`, and where Prometheus' name differs, `as family` and `[label = value]`.
macro_rules! scope {
    ($(#[$meta:meta])* pub struct $scope:ident in $name:literal {
        $($field:ident : $part:ident $(as $family:ident)? $([$label:ident = $value:ident])?, $help:literal;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $scope {
            $(#[doc = $help] pub $field: $part,)+
        }

        impl $crate::observe::scope::Scope for $scope {
            const NAME: &'static str = $name;
            const METRICS: &'static [$crate::observe::scope::Metric] = &[
                $($crate::observe::scope::Metric {
                    name: stringify!($field),
                    family: scope!(@family $field $($family)?),
                    label: scope!(@label $($label $value)?),
                    kind: <$part as $crate::observe::scope::Part>::KIND,
                    help: $help,
                },)+
            ];

            fn read(&self) -> Vec<$crate::observe::scope::Value> {
                vec![$($crate::observe::scope::Part::read(&self.$field),)+]
            }
        }
    };
    (@family $field:ident) => { stringify!($field) };
    (@family $field:ident $family:ident) => { stringify!($family) };
    (@label) => { None };
    (@label $label:ident $value:ident) => { Some((stringify!($label), stringify!($value))) };
}
pub(super) use scope;
