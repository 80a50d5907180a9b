//! Host names: which, what is known of each, and when it is asked for again; time and chance are arguments.
//!
//! A name is asked for at the latest after its cluster's `refresh`, sooner where its records live shorter, but never before
//! `min_ttl`; and a little sooner by chance, so that not all proxies ask in step. A failed lookup keeps what is known; a
//! name of which nothing is known is asked for again soon.

mod had;
mod lookup;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ringway_config::{Config, DiscoveryKind, EndpointAddress, Records};
use ringway_engine::ServiceAddress;
use ringway_engine::rng::Rng;

pub(crate) use had::{Families, Had};
pub(crate) use lookup::{LookupError, Resolver};

/// How soon a name of which nothing is known is asked for again, unless its refresh is shorter.
const RETRY: Duration = Duration::from_secs(2);
/// A refresh of next to nothing would ask without a pause.
const REFRESH_MIN: Duration = Duration::from_millis(100);
/// The part of a wait that chance may take off it, in per cent.
const JITTER: u64 = 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Its addresses.
    Addresses,
    /// The services behind it.
    Services,
}

/// A name, and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a name has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// In the order of the answer, each once.
    Addresses(Vec<IpAddr>),
    /// Sorted, each once.
    Services(Vec<ServiceAddress>),
}

/// What an answer says.
#[derive(Debug)]
pub(crate) enum Found {
    Addresses(Vec<IpAddr>),
    Services(Vec<Service>),
}

/// A service, and what was found of where it is.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) target: String,
    pub(crate) addresses: Result<Vec<IpAddr>, LookupError>,
}

/// An answer, and how long it is good for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) found: Found,
    pub(crate) lives: Duration,
}

/// What an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing that matters to anybody.
    None,
    /// The same addresses in another order, of a name whose first one is what new connections go to.
    Order,
    /// Others are known than before.
    Others,
}

/// The names of a configuration, what is known of them, and when each is asked for again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    entries: BTreeMap<Question, Entry>,
    min_ttl: Duration,
}

#[derive(Clone, Debug)]
struct Entry {
    refresh: Duration,
    /// Somebody goes by which address is first.
    ordered: bool,
    known: Option<Known>,
    /// Where each service's target was found last.
    targets: HashMap<String, Vec<IpAddr>>,
    /// None while it is being asked for.
    due: Option<Instant>,
}

impl Names {
    /// Takes over the names of a configuration: new ones are due at once, gone ones are forgotten.
    pub(crate) fn adopt(&mut self, config: &Config, now: Instant) {
        self.min_ttl = config.process.dns.min_ttl;
        let mut old = std::mem::take(&mut self.entries);
        for (question, Use { refresh, ordered }) in questions_of(config) {
            let entry = match old.remove(&question) {
                Some(entry) => Entry {
                    // A shorter refresh is kept to at once.
                    due: entry.due.map(|due| Instant::min(due, now + refresh)),
                    refresh,
                    ordered,
                    ..entry
                },
                None => Entry {
                    refresh,
                    ordered,
                    known: None,
                    targets: HashMap::new(),
                    due: Some(now),
                },
            };
            self.entries.insert(question, entry);
        }
    }

    /// What is due, marked as being asked for.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Question> {
        let due = |entry: &Entry| entry.due.is_some_and(|due| due <= now);
        self.entries
            .iter_mut()
            .filter(|(_, entry)| due(entry))
            .map(|(question, entry)| {
                entry.due = None;
                question.clone()
            })
            .collect()
    }

    /// What is known of where a name's addresses are, and those of its services.
    pub(crate) fn had(&self, question: &Question) -> Had {
        let Some(entry) = self.entries.get(question) else {
            return Had::default();
        };
        let targets = entry.targets.iter();
        let own = match &entry.known {
            Some(Known::Addresses(addresses)) => Some((&question.name, addresses)),
            Some(Known::Services(_)) | None => None,
        };
        let all = targets.chain(own);
        all.map(|(name, addresses)| (name.clone(), Families::of(addresses)))
            .collect()
    }

    /// When the next name is due; none if there is none.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Takes an answer. A failure keeps what is known.
    pub(crate) fn answer(
        &mut self,
        question: &Question,
        answer: Result<Answer, LookupError>,
        now: Instant,
        rng: &Rng,
    ) -> News {
        // A name that a reload dropped while it was being asked for.
        let Some(entry) = self.entries.get_mut(question) else {
            return News::None;
        };
        let mut news = News::None;
        let answer = answer.and_then(|answer| Ok((entry.settle(answer.found)?, answer.lives)));
        let wait = match answer {
            Ok((known, lives)) => {
                news = entry.learn(known);
                lives.max(self.min_ttl).min(entry.refresh)
            }
            Err(error) => {
                let kept = entry.known.is_some();
                tracing::warn!(name = question.name, %error, kept, "name not resolved");
                if kept {
                    entry.refresh
                } else {
                    entry.refresh.min(RETRY)
                }
            }
        };
        entry.due = Some(now + jittered(wait, rng));
        news
    }

    /// The addresses that are known, in the order in which they were said.
    pub(crate) fn resolved(&self) -> HashMap<String, Vec<IpAddr>> {
        let known = self.entries.iter().filter_map(|(question, entry)| {
            let Some(Known::Addresses(addresses)) = &entry.known else {
                return None;
            };
            Some((question.name.clone(), addresses.clone()))
        });
        known.collect()
    }

    /// The services that are known.
    pub(crate) fn services(&self) -> HashMap<String, Vec<ServiceAddress>> {
        let known = self.entries.iter().filter_map(|(question, entry)| {
            let Some(Known::Services(services)) = &entry.known else {
                return None;
            };
            Some((question.name.clone(), services.clone()))
        });
        known.collect()
    }
}

impl Entry {
    /// What an answer comes to. A target of which nothing is heard stays where it was, for as long as a service names it.
    fn settle(&mut self, found: Found) -> Result<Known, LookupError> {
        let services = match found {
            Found::Addresses(addresses) => return Ok(Known::Addresses(addresses)),
            Found::Services(services) => services,
        };
        let mut old = std::mem::take(&mut self.targets);
        let (mut known, mut last) = (Vec::new(), LookupError::Empty);
        for service in services {
            let target = service.target;
            match service.addresses {
                Ok(addresses) => {
                    self.targets.insert(target.clone(), addresses);
                }
                Err(error) => {
                    if let Some(addresses) = old.remove(&target) {
                        self.targets.insert(target.clone(), addresses);
                    }
                    let kept = self.targets.contains_key(&target);
                    tracing::warn!(target, %error, kept, "target of a service not resolved");
                    last = error;
                }
            }
            let addresses = self.targets.get(&target).into_iter().flatten();
            known.extend(addresses.map(|address| ServiceAddress {
                priority: service.priority,
                weight: service.weight,
                address: SocketAddr::new(*address, service.port),
            }));
        }
        if known.is_empty() {
            return Err(last);
        }
        known.sort_unstable();
        known.dedup();
        Ok(Known::Services(known))
    }

    fn learn(&mut self, known: Known) -> News {
        let same = self.known.as_ref() == Some(&known);
        let news = match (&self.known, &known) {
            _ if same => News::None,
            (Some(Known::Addresses(old)), Known::Addresses(new)) if sorted(old) == sorted(new) => {
                if self.ordered {
                    News::Order
                } else {
                    News::None
                }
            }
            _ => News::Others,
        };
        self.known = Some(known);
        news
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses
}

fn jittered(wait: Duration, rng: &Rng) -> Duration {
    let most = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 100 * JITTER;
    wait.saturating_sub(Duration::from_micros(rng.below(most + 1)))
}

/// What is wanted of a name.
struct Use {
    /// The shortest refresh of the clusters that ask for it.
    refresh: Duration,
    ordered: bool,
}

/// What a configuration asks for.
fn questions_of(config: &Config) -> BTreeMap<Question, Use> {
    let mut questions = BTreeMap::new();
    let mut add = |name: &str, kind: Kind, refresh: Duration, ordered: bool| {
        let refresh = Duration::max(refresh, REFRESH_MIN);
        let name = name.to_owned();
        questions
            .entry(Question { name, kind })
            .and_modify(|wanted: &mut Use| {
                wanted.refresh = Duration::min(wanted.refresh, refresh);
                wanted.ordered |= ordered;
            })
            .or_insert(Use { refresh, ordered });
    };
    for cluster in &config.clusters {
        for endpoint in &cluster.endpoints {
            if let EndpointAddress::Name(name, _) = &endpoint.address {
                add(name, Kind::Addresses, cluster.dns_refresh, false);
            }
        }
        if let Some(discovery) = &cluster.discovery {
            let kind = match discovery.records {
                Records::Addresses(_) => Kind::Addresses,
                Records::Services => Kind::Services,
            };
            let ordered = discovery.kind == DiscoveryKind::Logical;
            add(&discovery.name, kind, discovery.refresh, ordered);
        }
    }
    questions
}
