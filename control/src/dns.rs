//! Host names: which, what is known of each, and when it is asked for again; time and chance are arguments.
//!
//! A name is asked for at the latest after its cluster's `refresh`, sooner where its records live shorter, but never before
//! `min_ttl`; and a little sooner by chance, so that not all proxies ask in step. A failed lookup keeps what is known; a
//! name of which nothing is known is asked for again soon.

mod lookup;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ringway_config::{Config, DiscoveryKind, EndpointAddress, Records};
use ringway_engine::ServiceAddress;
use ringway_engine::rng::Rng;

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

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Cluster, Discovery, Endpoint, Name};

    const SECOND: Duration = Duration::from_secs(1);

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

    fn ask(name: &str) -> Question {
        Question {
            name: name.to_owned(),
            kind: Kind::Addresses,
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn found(last: u8, lives: u64) -> Result<Answer, LookupError> {
        Ok(Answer {
            found: Found::Addresses(vec![ip(last)]),
            lives: Duration::from_secs(lives),
        })
    }

    /// Whether the next one is due after so many seconds, or up to a tenth sooner.
    fn next_is(names: &Names, now: Instant, seconds: u32) -> bool {
        let wait = names.next_due().unwrap().duration_since(now);
        (SECOND * seconds * 9 / 10..=SECOND * seconds).contains(&wait)
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_after_its_refresh() {
        let (start, rng) = (Instant::now(), Rng::new(1));
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("a", 10)]), start);
        assert_eq!(names.take_due(start), [ask("a")]);
        assert!(names.take_due(start).is_empty(), "it is being asked for");
        assert_eq!(names.next_due(), None);
        let news = names.answer(&ask("a"), found(1, 3600), start, &rng);
        assert_eq!(news, News::Others);
        assert!(next_is(&names, start, 10));
        assert!(names.take_due(start + 8 * SECOND).is_empty());
        let later = start + 10 * SECOND;
        assert_eq!(names.take_due(later), [ask("a")]);
        let news = names.answer(&ask("a"), found(1, 3600), later, &rng);
        assert_eq!(news, News::None);
    }

    #[test]
    fn records_that_live_shorter_are_asked_for_sooner_down_to_the_floor() {
        let (start, rng) = (Instant::now(), Rng::new(2));
        for (lives, expect) in [(60, 30), (7, 7), (1, 1), (0, 1)] {
            let mut names = Names::default();
            names.adopt(&config(&[("a", 30)]), start);
            names.take_due(start);
            names.answer(&ask("a"), found(1, lives), start, &rng);
            assert!(next_is(&names, start, expect), "{lives}");
        }
    }

    #[test]
    fn a_failure_keeps_what_is_known_and_an_unknown_name_is_asked_for_soon() {
        let (start, rng) = (Instant::now(), Rng::new(3));
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("b", 30)]), start);
        assert_eq!(names.take_due(start), [ask("a"), ask("b")]);
        names.answer(&ask("a"), found(1, 3600), start, &rng);
        names.answer(&ask("b"), Err(LookupError::Empty), start, &rng);
        assert!(next_is(&names, start, 2));
        let known = HashMap::from([("a".to_owned(), vec![ip(1)])]);
        assert_eq!(names.resolved(), known);
        let later = start + 30 * SECOND;
        assert_eq!(names.take_due(later), [ask("a"), ask("b")]);
        let news = names.answer(&ask("a"), Err(LookupError::Timeout), later, &rng);
        assert_eq!(news, News::None);
        assert_eq!(names.resolved()["a"], [ip(1)]);
        assert!(next_is(&names, later, 30));
    }

    #[test]
    fn a_reload_keeps_known_names_and_forgets_gone_ones() {
        let (start, rng) = (Instant::now(), Rng::new(4));
        let mut names = Names::default();
        names.adopt(&config(&[("a", 30), ("b", 30)]), start);
        names.take_due(start);
        names.answer(&ask("a"), found(1, 3600), start, &rng);
        names.adopt(&config(&[("a", 5), ("c", 30)]), start);
        assert_eq!(names.take_due(start), [ask("c")]);
        assert_eq!(names.next_due(), Some(start + 5 * SECOND));
        let news = names.answer(&ask("b"), found(2, 60), start, &rng);
        assert_eq!(news, News::None, "nobody uses it");
        assert_eq!(names.resolved().len(), 1);
    }

    fn discovered(records: Records, kind: DiscoveryKind) -> Config {
        let discovery = Discovery {
            name: "a".to_owned(),
            records,
            kind,
            family: Default::default(),
            refresh: 30 * SECOND,
        };
        let cluster = Cluster {
            discovery: Some(discovery),
            ..Cluster::new(Name::new("c"), Vec::new())
        };
        Config {
            clusters: vec![cluster],
            ..Config::default()
        }
    }

    #[test]
    fn another_order_is_news_only_to_who_goes_by_the_first() {
        let (now, rng) = (Instant::now(), Rng::new(5));
        for (kind, expect) in [
            (DiscoveryKind::Logical, News::Order),
            (DiscoveryKind::Strict, News::None),
        ] {
            let mut names = Names::default();
            names.adopt(&discovered(Records::Addresses(80), kind), now);
            let mut answer = |ips: &[u8]| {
                let answer = Answer {
                    found: Found::Addresses(ips.iter().copied().map(ip).collect()),
                    lives: SECOND,
                };
                names.answer(&ask("a"), Ok(answer), now, &rng)
            };
            assert_eq!(answer(&[2, 1]), News::Others);
            assert_eq!(answer(&[2, 1]), News::None);
            assert_eq!(answer(&[1, 2]), expect);
            assert_eq!(answer(&[1, 3]), News::Others);
        }
    }

    #[test]
    fn a_target_that_fails_stays_where_it_was_while_a_service_names_it() {
        let (now, rng) = (Instant::now(), Rng::new(6));
        let mut names = Names::default();
        names.adopt(&discovered(Records::Services, DiscoveryKind::Strict), now);
        let question = Question {
            name: "a".to_owned(),
            kind: Kind::Services,
        };
        let mut answer = |targets: &[(&str, Option<u8>)]| {
            let service = |(target, last): &(&str, Option<u8>)| Service {
                priority: 1,
                weight: 1,
                port: 80,
                target: (*target).to_owned(),
                addresses: last.map(|last| vec![ip(last)]).ok_or(LookupError::Timeout),
            };
            let answer = Answer {
                found: Found::Services(targets.iter().map(service).collect()),
                lives: SECOND,
            };
            let news = names.answer(&question, Ok(answer), now, &rng);
            let known = names.services().remove("a").unwrap_or_default();
            let known: Vec<IpAddr> = known.iter().map(|service| service.address.ip()).collect();
            (news, known)
        };
        assert_eq!(answer(&[("x", None)]), (News::None, vec![]));
        assert_eq!(
            answer(&[("x", Some(1)), ("y", None)]),
            (News::Others, vec![ip(1)])
        );
        assert_eq!(
            answer(&[("x", None), ("y", Some(2))]),
            (News::Others, vec![ip(1), ip(2)])
        );
        // Even where all fail, what the services are is known.
        assert_eq!(
            answer(&[("x", None), ("y", None)]),
            (News::None, vec![ip(1), ip(2)])
        );
        assert_eq!(answer(&[("y", None)]), (News::Others, vec![ip(2)]));
        assert_eq!(
            answer(&[("x", None), ("y", None)]),
            (News::None, vec![ip(2)])
        );
    }
}
