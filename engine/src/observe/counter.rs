//! Numbers with one writer and any number of readers.
//!
//! A core adds to its own numbers by a relaxed load and a relaxed store: a plain `add` on memory, which a locked
//! instruction would make ten times dearer. A second writer would lose counts, but never break anything.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use ringway_config::{Cipher, TlsVersion};
use ringway_protocols::client_hello::HelloError;
use ringway_protocols::codec::DecodeError;
use ringway_protocols::http1::Violation;
use ringway_protocols::proxy_protocol::ProxyError;

use super::TlsFailure;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the number's one writer may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds one. Only the number's one writer may.
    #[inline]
    pub fn inc(&self) {
        self.set(self.value().wrapping_add(1));
    }

    /// Takes one.
    #[inline]
    pub fn dec(&self) {
        self.set(self.value().wrapping_sub(1));
    }

    /// Adds `n`, which may be less than nothing.
    #[inline]
    pub fn change(&self, n: i64) {
        self.set(self.value().wrapping_add(n));
    }

    /// Makes it `n`.
    #[inline]
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Answers by the first digit of their status.
#[derive(Debug, Default)]
pub struct Classes([Counter; Classes::COUNT]);

impl Classes {
    /// 1xx to 5xx.
    pub const COUNT: usize = 5;

    /// Counts an answer. A status outside 100 to 599 is in no class.
    #[inline]
    pub fn inc(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(counter) = self.0.get(class) {
            counter.inc();
        }
    }

    /// The answers of each class, from 1xx on.
    pub fn values(&self) -> [u64; Self::COUNT] {
        self.0.each_ref().map(Counter::value)
    }
}

/// A closed set of reasons, each of which is counted by itself.
pub trait Reason: Copy + fmt::Debug + 'static {
    /// All of them, in the order of their indices.
    const ALL: &'static [Self];
    /// What Prometheus' label for them is called.
    const LABEL: &'static str;
    /// The name to count it under.
    fn name(self) -> &'static str;
}

impl Reason for Violation {
    const ALL: &'static [Self] = Self::ALL;
    const LABEL: &'static str = "rule";
    fn name(self) -> &'static str {
        self.name()
    }
}

impl Reason for HelloError {
    const ALL: &'static [Self] = Self::ALL;
    const LABEL: &'static str = "reason";
    fn name(self) -> &'static str {
        self.name()
    }
}

impl Reason for ProxyError {
    const ALL: &'static [Self] = Self::ALL;
    const LABEL: &'static str = "reason";
    fn name(self) -> &'static str {
        self.name()
    }
}

impl Reason for DecodeError {
    const ALL: &'static [Self] = Self::ALL;
    const LABEL: &'static str = "reason";
    fn name(self) -> &'static str {
        self.name()
    }
}

/// One counter for each rule of HTTP/1, by [`Violation::index`].
pub type Rules = Reasons<Violation>;
/// One counter for each reason to refuse a ClientHello, by [`HelloError::index`].
pub type HelloErrors = Reasons<HelloError>;
/// One counter for each reason to refuse a PROXY header, by [`ProxyError::index`].
pub type ProxyErrors = Reasons<ProxyError>;

/// One counter for each version of TLS.
pub type TlsVersions = Reasons<TlsVersion>;
/// One counter for each cipher suite.
pub type Ciphers = Reasons<Cipher>;
/// One counter for each reason why handshakes fail.
pub type TlsFailures = Reasons<TlsFailure>;
/// One counter for each way in which a frame of an RPC protocol can be wrong, by [`DecodeError::index`].
pub type RpcErrors = Reasons<DecodeError>;

/// One counter for each reason of a set.
#[derive(Debug)]
pub struct Reasons<R> {
    counters: Box<[Counter]>,
    of: PhantomData<R>,
}

impl<R: Reason> Default for Reasons<R> {
    fn default() -> Self {
        Self {
            counters: R::ALL.iter().map(|_| Counter::default()).collect(),
            of: PhantomData,
        }
    }
}

impl<R: Reason> Reasons<R> {
    /// Counts the reason with that index.
    pub fn inc(&self, reason: usize) {
        debug_assert!(reason < self.counters.len(), "there is no reason {reason}");
        if let Some(counter) = self.counters.get(reason) {
            counter.inc();
        }
    }

    /// Counts a reason by itself.
    pub fn note(&self, reason: R)
    where
        R: PartialEq,
    {
        if let Some(place) = R::ALL.iter().position(|known| *known == reason) {
            self.inc(place);
        }
    }

    /// How often each was counted.
    pub fn tally(&self) -> Tally {
        let names = R::ALL.iter().map(|reason| reason.name());
        Tally {
            label: R::LABEL,
            counts: names
                .zip(self.counters.iter().map(Counter::value))
                .collect(),
        }
    }
}

/// How often each reason of a set was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What Prometheus' label for them is called.
    pub label: &'static str,
    /// Each by its name.
    pub counts: Vec<(&'static str, u64)>,
}

/// Two cache lines apart, since processors fetch lines in pairs: a core's writes never take a line from another core.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

/// A `T` for each core.
#[derive(Debug)]
pub struct PerCore<T>(Box<[Apart<T>]>);

impl<T> PerCore<T> {
    /// One `T` for each of `cores` cores; at least one.
    pub fn new(cores: usize, mut make: impl FnMut() -> T) -> Self {
        Self((0..cores.max(1)).map(|_| Apart(make())).collect())
    }

    /// The part of one core, which alone may write to it.
    ///
    /// # Panics
    /// When there is no such core: cores are numbered from 0 by whoever made the registry.
    #[inline]
    pub fn core(&self, core: usize) -> &T {
        &self.0[core].0
    }

    /// The parts of all cores.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|slot| &slot.0)
    }

    /// The sum of a number over all cores.
    pub fn sum<N: std::iter::Sum>(&self, read: impl Fn(&T) -> N) -> N {
        self.iter().map(read).sum()
    }

    /// The part of one core, kept alive by itself.
    pub fn slot(self: &Arc<Self>, core: usize) -> Slot<T> {
        debug_assert!(core < self.0.len(), "core {core} is not in the registry");
        Slot {
            all: Arc::clone(self),
            core,
        }
    }
}

/// One core's part of a [`PerCore`], which it keeps alive.
#[derive(Debug)]
pub struct Slot<T> {
    all: Arc<PerCore<T>>,
    core: usize,
}

impl<T> Deref for Slot<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.all.core(self.core)
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            all: Arc::clone(&self.all),
            core: self.core,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_add_up_and_stay_apart() {
        let counters = Arc::new(PerCore::new(3, Counter::default));
        counters.core(0).inc();
        counters.slot(2).add(5);
        assert_eq!(counters.sum(Counter::value), 6);
        let at = |core| std::ptr::from_ref(counters.core(core)).addr();
        assert_eq!(at(1) - at(0), 128);
    }

    #[test]
    fn statuses_fall_into_their_class() {
        let classes = Classes::default();
        for status in [0, 99, 100, 101, 200, 404, 499, 599, 600, 999] {
            classes.inc(status);
        }
        assert_eq!(classes.values(), [2, 1, 0, 2, 1]);
    }

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Gauge::default();
        gauge.inc();
        gauge.dec();
        gauge.dec();
        assert_eq!(gauge.value(), -1);
    }
}
