//! Which names are asked for, when, and what an answer changes.

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

#[test]
fn what_was_had_is_known_by_family_of_names_and_of_targets() {
    let (now, rng) = (Instant::now(), Rng::new(7));
    let both = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
    let families = |ipv4, ipv6| Families { ipv4, ipv6 };
    let mut names = Names::default();
    names.adopt(&config(&[("a", 30)]), now);
    assert_eq!(names.had(&ask("a")).of("a"), families(false, false));
    let answer = Answer {
        found: Found::Addresses(both(&["127.0.0.1", "::1"])),
        lives: SECOND,
    };
    names.answer(&ask("a"), Ok(answer), now, &rng);
    assert_eq!(names.had(&ask("a")).of("a"), families(true, true));
    assert_eq!(names.had(&ask("b")).of("a"), families(false, false));
    let mut names = Names::default();
    names.adopt(&discovered(Records::Services, DiscoveryKind::Strict), now);
    let question = Question {
        name: "a".to_owned(),
        kind: Kind::Services,
    };
    let service = Service {
        priority: 1,
        weight: 1,
        port: 80,
        target: "x".to_owned(),
        addresses: Ok(both(&["::1"])),
    };
    let answer = Answer {
        found: Found::Services(vec![service]),
        lives: SECOND,
    };
    names.answer(&question, Ok(answer), now, &rng);
    assert_eq!(names.had(&question).of("x"), families(false, true));
}
