//! Host names of endpoints: resolved at start, then again every `dns_refresh`, on the control thread's runtime.
//!
//! [`Names`] is the schedule and what is known, with time as an argument; the lookups themselves are [`lookup`]'s. A failed lookup
//! keeps the addresses known before; a name never resolved leaves its hosts out and is asked for again soon.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringway_config::{Config, EndpointAddress};

/// A resolver that does not answer must not hold up a start or a reload for longer than this.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a name without addresses is asked for again, unless `dns_refresh` is shorter.
const RETRY: Duration = Duration::from_secs(2);
/// `dns_refresh: 0s` would ask without a pause.
const REFRESH_MIN: Duration = Duration::from_millis(100);

/// Why a name has no addresses.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// The resolver said so.
    Failed(io::Error),
    /// It answered with nothing.
    Empty,
    /// It did not answer in time.
    Timeout,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Empty => f.write_str("no addresses"),
            Self::Timeout => f.write_str("no answer within 5 s"),
        }
    }
}

impl std::error::Error for LookupError {}

/// The addresses of a host name, sorted, each once: the same answer in another order is no change.
pub(crate) async fn lookup(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0)))
        .await
        .map_err(|_| LookupError::Timeout)?
        .map_err(LookupError::Failed)?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(LookupError::Empty);
    }
    Ok(addresses)
}

/// The names of a configuration, what is known of them, and when each is asked for again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    refresh: Duration,
    addresses: Vec<IpAddr>,
    /// None while it is being asked for.
    due: Option<Instant>,
}

impl Names {
    /// Takes over the names of a configuration: new ones are due at once, gone ones are forgotten.
    pub(crate) fn adopt(&mut self, config: &Config, now: Instant) {
        let mut old = std::mem::take(&mut self.entries);
        for (host, refresh) in names_of(config) {
            let entry = match old.remove(&host) {
                Some(entry) => Entry {
                    // A shorter refresh is kept to at once.
                    due: entry.due.map(|due| Instant::min(due, now + refresh)),
                    refresh,
                    ..entry
                },
                None => Entry {
                    refresh,
                    addresses: Vec::new(),
                    due: Some(now),
                },
            };
            self.entries.insert(host, entry);
        }
    }

    /// The names that are due, marked as being asked for.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<String> {
        let due = |entry: &Entry| entry.due.is_some_and(|due| due <= now);
        self.entries
            .iter_mut()
            .filter(|(_, entry)| due(entry))
            .map(|(host, entry)| {
                entry.due = None;
                host.clone()
            })
            .collect()
    }

    /// When the next name is due; none if there is none.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Takes an answer; true if the addresses are others than before. A failure keeps them.
    pub(crate) fn answer(
        &mut self,
        host: &str,
        answer: Result<Vec<IpAddr>, LookupError>,
        now: Instant,
    ) -> bool {
        // A name that a reload dropped while it was being asked for.
        let Some(entry) = self.entries.get_mut(host) else {
            return false;
        };
        let changed = match answer {
            Ok(addresses) => {
                let changed = addresses != entry.addresses;
                entry.addresses = addresses;
                changed
            }
            Err(error) => {
                let kept = entry.addresses.len();
                tracing::warn!(host, %error, kept, "host name not resolved");
                false
            }
        };
        let wait = if entry.addresses.is_empty() {
            Duration::min(entry.refresh, RETRY)
        } else {
            entry.refresh
        };
        entry.due = Some(now + wait);
        changed
    }

    /// What is known: a name without addresses is absent.
    pub(crate) fn resolved(&self) -> HashMap<String, Vec<IpAddr>> {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.addresses.is_empty())
            .map(|(host, entry)| (host.clone(), entry.addresses.clone()))
            .collect()
    }
}

/// Each host name of the endpoints with the shortest `dns_refresh` of the clusters that use it.
fn names_of(config: &Config) -> BTreeMap<String, Duration> {
    let mut names = BTreeMap::new();
    for cluster in &config.clusters {
        for endpoint in &cluster.endpoints {
            if let EndpointAddress::Name(host, _) = &endpoint.address {
                let refresh = Duration::max(cluster.dns_refresh, REFRESH_MIN);
                names
                    .entry(host.clone())
                    .and_modify(|least: &mut Duration| *least = Duration::min(*least, refresh))
                    .or_insert(refresh);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Cluster, Endpoint, Name};

    fn config(clusters: &[(&str, u64)]) -> Config {
        let cluster = |&(host, refresh): &(&str, u64)| {
            let address = EndpointAddress::Name(host.to_owned(), 80);
            Cluster {
                dns_refresh: Duration::from_secs(refresh),
                ..Cluster::new(Name::new(host), vec![Endpoint::new(address)])
            }
        };
        Config {
            clusters: clusters.iter().map(cluster).collect(),
            ..Config::default()
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_after_its_refresh() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("a", 10)]), start);
        assert_eq!(names.take_due(start), ["a"]);
        assert!(names.take_due(start).is_empty(), "it is being asked for");
        assert_eq!(names.next_due(), None);
        assert!(names.answer("a", Ok(vec![ip(1)]), start));
        assert_eq!(names.next_due(), Some(start + 10 * second));
        assert!(names.take_due(start + 9 * second).is_empty());
        assert_eq!(names.take_due(start + 10 * second), ["a"]);
        assert!(!names.answer("a", Ok(vec![ip(1)]), start + 10 * second));
    }

    #[test]
    fn a_failure_keeps_what_is_known_and_an_unknown_name_is_asked_for_soon() {
        let start = Instant::now();
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("b", 30)]), start);
        assert_eq!(names.take_due(start), ["a", "b"]);
        names.answer("a", Ok(vec![ip(1)]), start);
        names.answer("b", Err(LookupError::Empty), start);
        assert_eq!(names.next_due(), Some(start + RETRY));
        assert_eq!(
            names.resolved(),
            HashMap::from([("a".to_owned(), vec![ip(1)])])
        );
        let later = start + Duration::from_secs(30);
        assert_eq!(names.take_due(later), ["a", "b"]);
        assert!(!names.answer("a", Err(LookupError::Timeout), later));
        assert_eq!(names.resolved()["a"], [ip(1)]);
    }

    #[test]
    fn a_reload_keeps_known_names_and_forgets_gone_ones() {
        let start = Instant::now();
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("b", 30)]), start);
        names.take_due(start);
        names.answer("a", Ok(vec![ip(1)]), start);
        names.adopt(&config(&[("a", 5), ("c", 30)]), start);
        assert_eq!(names.take_due(start), ["c"]);
        assert_eq!(names.next_due(), Some(start + Duration::from_secs(5)));
        assert!(!names.answer("b", Ok(vec![ip(2)]), start), "nobody uses it");
        assert_eq!(names.resolved().len(), 1);
    }

    #[test]
    fn localhost_is_found() {
        let found = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(lookup("localhost"))
            .unwrap();
        assert!(found.iter().all(IpAddr::is_loopback));
    }
}
