//! Calls by method, of gRPC and of RPC protocols: as many methods as there is room for, and all others together.
//!
//! Methods come from the network, so a name is taken only once an upstream has served it, and up to a number; a table of fixed size
//! lets control read while the core adds, without a lock.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ringway_protocols::codec::Verdict;

use super::counter::{PerCore, Reason, Reasons};
use super::histogram::Histogram;
use super::scope::{Scope, Value, scope};
use crate::grpc::Status;

/// Methods told apart, for each cluster: more than most services have, and few enough for a page of metrics.
pub const METHODS_MAX: usize = 100;
/// Places in the table: a power of two, at least twice as many, so that a search is short.
const PLACES: usize = 256;
/// The longest name that is kept.
const NAME_MAX: usize = 200;
/// What all others are counted under.
const OTHER: &str = "other";

/// One counter for each status, by its code.
pub type Statuses = Reasons<Status>;

scope! {
    /// What a core counts of a method of gRPC. Written by that core.
    pub struct CallStats in "grpc" {
        rq: Statuses, "Calls of gRPC by the status they ended with.";
        rq_time: Histogram, "From a call's head to the end of its answer.";
    }
}

impl Reason for Status {
    const ALL: &'static [Self] = Self::ALL;
    const LABEL: &'static str = "status";
    fn name(self) -> &'static str {
        self.name()
    }
}

/// How a call of an RPC protocol ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcEnd {
    /// Well, or nobody waits for an answer.
    Good,
    /// By an exception of the service's.
    Exception,
    /// By a word of the server's that it could not do it.
    Failed,
    /// By the proxy itself.
    Refused,
}

impl From<Verdict> for RpcEnd {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::Good,
            Verdict::Exception => Self::Exception,
            Verdict::Failed => Self::Failed,
        }
    }
}

impl Reason for RpcEnd {
    const ALL: &'static [Self] = &[Self::Good, Self::Exception, Self::Failed, Self::Refused];
    const LABEL: &'static str = "end";
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Exception => "exception",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// One counter for each way in which calls of RPC protocols end.
pub type RpcEnds = Reasons<RpcEnd>;

scope! {
    /// What a core counts of a method of an RPC protocol. Written by that core.
    pub struct RpcStats in "rpc" {
        rq: RpcEnds, "Calls of RPC protocols by how they ended: well, by an exception, by the server's word that it failed, or by the proxy.";
        rq_time: Histogram, "From a call's frame to its answer.";
    }
}

/// Calls of gRPC to one cluster.
pub type Calls = ByMethod<CallStats>;
/// Calls of its RPC protocol to one cluster.
pub type RpcCalls = ByMethod<RpcStats>;

struct Method<S> {
    name: Box<str>,
    stats: S,
}

/// A core's calls to one cluster.
pub struct ByMethod<S> {
    table: Box<[OnceLock<Box<Method<S>>>]>,
    /// Written by the core alone.
    used: AtomicUsize,
    other: S,
}

impl<S> std::fmt::Debug for ByMethod<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByMethod")
            .field("used", &self.used)
            .finish()
    }
}

impl<S: Default> Default for ByMethod<S> {
    fn default() -> Self {
        Self {
            table: (0..PLACES).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(0),
            other: S::default(),
        }
    }
}

impl Calls {
    /// Counts a call of the method of that path. `served`: an upstream answered it itself.
    pub(crate) fn count(&self, path: &[u8], status: Status, time: Duration, served: bool) {
        let served = served && status != Status::Unimplemented;
        let stats = name_of(path)
            .and_then(|name| self.find(name, served))
            .unwrap_or(&self.other);
        stats.rq.inc(status.code());
        stats.rq_time.record(time);
    }
}

impl RpcCalls {
    /// Counts a call of `/service/method`.
    pub(crate) fn count(&self, path: &[u8], end: RpcEnd, time: Duration) {
        let served = matches!(end, RpcEnd::Good | RpcEnd::Exception);
        let stats = rpc_name_of(path)
            .and_then(|name| self.find(name, served))
            .unwrap_or(&self.other);
        stats.rq.note(end);
        stats.rq_time.record(time);
    }
}

impl<S: Scope> ByMethod<S> {
    /// The numbers of a method; with `add`, a new one is given a place if there is one.
    fn find(&self, name: &str, add: bool) -> Option<&S> {
        let first = hash(name);
        for step in 0..PLACES {
            let place = self.table.get((first + step) % PLACES)?;
            match place.get() {
                Some(method) if &*method.name == name => return Some(&method.stats),
                Some(_) => {}
                None if !add || self.used.load(Relaxed) >= METHODS_MAX => return None,
                None => {
                    self.used.store(self.used.load(Relaxed) + 1, Relaxed);
                    let method = place.get_or_init(|| {
                        Box::new(Method {
                            name: name.into(),
                            stats: S::default(),
                        })
                    });
                    return Some(&method.stats);
                }
            }
        }
        None
    }

    fn methods(&self) -> impl Iterator<Item = (&str, &S)> {
        let named = self.table.iter().filter_map(OnceLock::get);
        let named = named.map(|method| (&*method.name, &method.stats));
        named.chain([(OTHER, &self.other)])
    }
}

impl<S: Scope> PerCore<ByMethod<S>> {
    /// The sums over all cores by method, in the order of its [`Scope::METRICS`]; nothing for who had no call.
    pub fn by_method(&self) -> Vec<(String, Vec<Value>)> {
        let mut sums: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, stats) in self.iter().flat_map(ByMethod::methods) {
            let values = stats.read();
            match sums.get_mut(name) {
                Some(sum) => sum.iter_mut().zip(values).for_each(|(sum, n)| sum.add(n)),
                None => drop(sums.insert(name, values)),
            }
        }
        sums.retain(|_, values| {
            values
                .iter()
                .any(|value| matches!(value, Value::Histogram(times) if times.count() > 0))
        });
        let named = sums.into_iter();
        named
            .map(|(name, values)| (name.to_owned(), values))
            .collect()
    }
}

/// `package.Service/Method` of a path that looks like one.
fn name_of(path: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(path.strip_prefix(b"/")?).ok()?;
    let plain = |text: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        !text.is_empty() && text.bytes().all(letters)
    };
    let (service, method) = name.split_once('/')?;
    (name.len() <= NAME_MAX && plain(service) && plain(method)).then_some(name)
}

/// `service/method` of a call's path, which has no letters that are none already. One that says neither has no name.
fn rpc_name_of(path: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(path.strip_prefix(b"/")?).ok()?;
    (name.len() <= NAME_MAX && name != "/").then_some(name)
}

/// FNV-1a.
fn hash(name: &str) -> usize {
    let mixed = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    mixed as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<S: Scope>(calls: &PerCore<ByMethod<S>>) -> Vec<(String, u64)> {
        let total = |values: &[Value]| match values.first() {
            Some(Value::Reasons(tally)) => tally.counts.iter().map(|(_, n)| n).sum(),
            _ => 0,
        };
        let methods = calls.by_method();
        let named = methods.iter();
        named
            .map(|(name, values)| (name.clone(), total(values)))
            .collect()
    }

    #[test]
    fn methods_are_told_apart_once_they_are_served() {
        let calls = PerCore::new(2, Calls::default);
        let count = |core, path: &str, status, served| {
            let calls: &Calls = calls.core(core);
            calls.count(path.as_bytes(), status, Duration::from_millis(1), served);
        };
        count(0, "/a.B/C", Status::Ok, true);
        count(1, "/a.B/C", Status::Unavailable, false);
        count(1, "/a.B/C", Status::Ok, true);
        count(0, "/a.B/Guess", Status::Unimplemented, true);
        count(0, "/a.B/C/d", Status::Ok, true);
        count(0, "/a.B/<C>", Status::Ok, true);
        count(0, "a", Status::Ok, true);
        let other = |n| ("other".to_owned(), n);
        assert_eq!(counts(&calls), [("a.B/C".to_owned(), 2), other(5)]);
    }

    #[test]
    fn calls_of_rpc_protocols_are_told_apart_by_service_and_method() {
        let calls = PerCore::new(1, RpcCalls::default);
        for (path, end) in [
            ("/com.test.Echo:1.0/say", RpcEnd::Good),
            ("/com.test.Echo:1.0/say", RpcEnd::Refused),
            ("/com.test.Echo:1.0/", RpcEnd::Exception),
            ("/Guess/x", RpcEnd::Failed),
            ("//", RpcEnd::Good),
        ] {
            let time = Duration::from_millis(1);
            calls.core(0).count(path.as_bytes(), end, time);
        }
        let named = |name: &str, count| (name.to_owned(), count);
        let expect = [
            named("com.test.Echo:1.0/", 1),
            named("com.test.Echo:1.0/say", 2),
            named("other", 2),
        ];
        assert_eq!(counts(&calls), expect);
    }

    #[test]
    fn beyond_their_number_methods_are_counted_together() {
        let calls = PerCore::new(1, Calls::default);
        for at in 0..METHODS_MAX + 50 {
            let path = format!("/a.B/M{at}");
            calls
                .core(0)
                .count(path.as_bytes(), Status::Ok, Duration::ZERO, true);
        }
        let counts = counts(&calls);
        assert_eq!(counts.len(), METHODS_MAX + 1);
        assert!(counts.contains(&("other".to_owned(), 50)));
    }
}
