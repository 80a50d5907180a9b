//! Which hosts a cluster's configuration and the answers of DNS come to.

use std::net::{IpAddr, SocketAddr};

use ringway_config::{
    Cluster, Differing, Discovery, DiscoveryKind, Endpoint, EndpointAddress, Family, Records,
};

use super::{Inputs, ServiceAddress};
use crate::cluster::{At, Wanted};

/// Priorities that a cluster tells apart; services of more share the last.
const PRIORITIES: usize = 128;
/// The greatest weight of a host.
const WEIGHT_MAX: u32 = 128;

/// What DNS found for a cluster.
#[derive(Default)]
pub(super) struct Found {
    /// Services; or the one endpoint that a name is.
    endpoints: Vec<Endpoint>,
    /// Where that name leads.
    addresses: Vec<SocketAddr>,
    /// Each of its addresses is a host.
    each: bool,
}

/// What a cluster's discovery comes to.
pub(super) fn found(config: &Cluster, inputs: &Inputs) -> Found {
    let Some(discovery) = &config.discovery else {
        return Found::default();
    };
    let Records::Addresses(port) = discovery.records else {
        return Found {
            endpoints: services(discovery, inputs),
            ..Found::default()
        };
    };
    let each = discovery.kind == DiscoveryKind::Strict;
    let known = inputs.resolved.get(&discovery.name).into_iter().flatten();
    let wanted = known.filter(|address| is_of(discovery.family, address));
    let mut addresses: Vec<IpAddr> = wanted.copied().collect();
    if each {
        // As hosts they are the same in any order.
        addresses.sort_unstable();
    }
    if addresses.is_empty() {
        return Found::default();
    }
    let name = EndpointAddress::Name(discovery.name.clone(), port);
    Found {
        endpoints: vec![Endpoint::new(name)],
        addresses: by_turns(&addresses, port),
        each,
    }
}

fn is_of(family: Family, address: &IpAddr) -> bool {
    match family {
        Family::Any => true,
        Family::Ipv4 => address.is_ipv4(),
        Family::Ipv6 => address.is_ipv6(),
    }
}

/// Families by turns, IPv6 first (RFC 8305 §4): where one of them leads nowhere, the second try is of the other.
fn by_turns(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let of = |six: bool| addresses.iter().filter(move |ip| ip.is_ipv6() == six);
    let (mut six, mut four) = (of(true), of(false));
    let mut out = Vec::with_capacity(addresses.len());
    while out.len() < addresses.len() {
        let next = six.next().into_iter().chain(four.next());
        out.extend(next.map(|ip| SocketAddr::new(*ip, port)));
    }
    out
}

/// Services as hosts: their priorities counted through from the least, their weights within what hosts have.
fn services(discovery: &Discovery, inputs: &Inputs) -> Vec<Endpoint> {
    let known = inputs.services.get(&discovery.name).into_iter().flatten();
    let wanted = known.filter(|service| is_of(discovery.family, &service.address.ip()));
    let mut services: Vec<ServiceAddress> = wanted.copied().collect();
    services.sort_unstable();
    let mut priorities: Vec<u16> = services.iter().map(|service| service.priority).collect();
    priorities.dedup();
    let heaviest = services.iter().map(|service| service.weight).max();
    let heaviest = u32::from(heaviest.unwrap_or(0)).max(WEIGHT_MAX);
    let of = |service: &ServiceAddress| {
        let rank = priorities.binary_search(&service.priority).unwrap_or(0);
        // Weight 0 is asked seldom, but asked (RFC 2782).
        let weight = u32::from(service.weight) * WEIGHT_MAX / heaviest;
        Endpoint {
            priority: u8::try_from(rank.min(PRIORITIES - 1)).unwrap_or(0),
            weight: weight.max(1),
            ..Endpoint::new(EndpointAddress::Ip(service.address))
        }
    };
    services.iter().map(of).collect()
}

/// What a cluster wants where its last version wanted others, between what both begin and end with; none where DNS has a
/// say in it, or nothing is shared.
pub(super) fn step<'w>(
    last: &Cluster,
    config: &'w Cluster,
) -> Option<((usize, usize), Vec<Wanted<'w>>)> {
    let is_plain = |one: &Cluster| one.discovery.is_none() && one.endpoints.are_plain();
    if !is_plain(last) || !is_plain(config) {
        return None;
    }
    let Differing { head, tail, own } = config.endpoints.differing(&last.endpoints);
    let wanted = own.into_iter().map(|endpoint| {
        let at = match &endpoint.address {
            EndpointAddress::Ip(address) => At::Ip(*address),
            EndpointAddress::Unix(path) => At::Unix(path),
            EndpointAddress::Name(..) => return None,
        };
        Some(Wanted { at, endpoint })
    });
    Some(((head, tail), wanted.collect::<Option<_>>()?))
}

/// The hosts of a cluster, as far as it is known where they are.
pub(super) fn wanted<'w>(
    config: &'w Cluster,
    found: &'w Found,
    inputs: &'w Inputs,
) -> Vec<Wanted<'w>> {
    let mut wanted = Vec::with_capacity(config.endpoints.len() + found.endpoints.len());
    for endpoint in &config.endpoints {
        match &endpoint.address {
            EndpointAddress::Ip(address) => wanted.push(Wanted {
                at: At::Ip(*address),
                endpoint,
            }),
            EndpointAddress::Unix(path) => wanted.push(Wanted {
                at: At::Unix(path),
                endpoint,
            }),
            EndpointAddress::Name(name, port) => {
                let mut known = inputs.resolved.get(name).cloned().unwrap_or_default();
                known.sort_unstable();
                let each = known.iter().map(|ip| At::Ip(SocketAddr::new(*ip, *port)));
                wanted.extend(each.map(|at| Wanted { at, endpoint }));
            }
        }
    }
    for endpoint in &found.endpoints {
        match &endpoint.address {
            EndpointAddress::Name(name, port) if !found.each => wanted.push(Wanted {
                at: At::Name(name, *port, &found.addresses),
                endpoint,
            }),
            EndpointAddress::Name(..) => {
                let each = found.addresses.iter().map(|address| At::Ip(*address));
                wanted.extend(each.map(|at| Wanted { at, endpoint }));
            }
            EndpointAddress::Ip(address) => wanted.push(Wanted {
                at: At::Ip(*address),
                endpoint,
            }),
            // DNS has none.
            EndpointAddress::Unix(_) => {}
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_config::Name;

    use super::*;

    fn cluster(records: Records, kind: DiscoveryKind, family: Family) -> Cluster {
        Cluster {
            discovery: Some(Discovery {
                name: "a".to_owned(),
                records,
                kind,
                family,
                refresh: Duration::from_secs(1),
            }),
            ..Cluster::new(Name::new("c"), Vec::new())
        }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn resolved(texts: &[&str]) -> Inputs {
        Inputs {
            resolved: [("a".to_owned(), ips(texts))].into(),
            ..Inputs::default()
        }
    }

    #[test]
    fn each_address_of_the_family_is_a_host() {
        let inputs = resolved(&["127.0.0.1", "127.0.0.2", "::1"]);
        for (family, expect) in [(Family::Any, 3), (Family::Ipv4, 2), (Family::Ipv6, 1)] {
            let config = cluster(Records::Addresses(80), DiscoveryKind::Strict, family);
            let found = found(&config, &inputs);
            assert_eq!(wanted(&config, &found, &inputs).len(), expect);
        }
    }

    #[test]
    fn a_logical_name_is_one_host_at_all_its_addresses_by_turns() {
        let inputs = resolved(&["127.0.0.1", "127.0.0.2", "::1"]);
        let config = cluster(Records::Addresses(80), DiscoveryKind::Logical, Family::Any);
        let one = found(&config, &inputs);
        let wanted = wanted(&config, &one, &inputs);
        let [host] = &wanted[..] else {
            panic!("one host");
        };
        let At::Name("a", 80, addresses) = host.at else {
            panic!("a name");
        };
        let addresses: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        assert_eq!(addresses, ips(&["::1", "127.0.0.1", "127.0.0.2"]));
        let nothing = Inputs::default();
        assert!(found(&config, &nothing).endpoints.is_empty());
    }

    #[test]
    fn services_bring_ports_priorities_and_weights() {
        let service = |priority, weight, port| ServiceAddress {
            priority,
            weight,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let services = vec![
            service(20, 5, 1),
            service(10, 0, 2),
            service(10, 256, 3),
            service(10, 100, 4),
        ];
        let inputs = Inputs {
            services: [("a".to_owned(), services)].into(),
            ..Inputs::default()
        };
        let config = cluster(Records::Services, DiscoveryKind::Strict, Family::Any);
        let found = found(&config, &inputs);
        let of = |endpoint: &Endpoint| {
            let EndpointAddress::Ip(address) = &endpoint.address else {
                panic!("an address");
            };
            (address.port(), endpoint.priority, endpoint.weight)
        };
        let all: Vec<_> = found.endpoints.iter().map(of).collect();
        assert_eq!(all, [(2, 0, 1), (4, 0, 50), (3, 0, 128), (1, 1, 2)]);
    }
}
