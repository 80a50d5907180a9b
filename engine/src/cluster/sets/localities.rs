//! How localities share the requests of a priority: arithmetic alone.

use std::collections::{BTreeMap, HashMap};

use ringway_config::{Localities, Locality};

/// A locality's hosts, counted.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) locality: &'a Locality,
    pub(super) total: u32,
    /// Those that may be asked.
    pub(super) usable: u32,
}

/// Shares are parts of this.
const WHOLE: u64 = 1_000_000;

/// The weight of each locality; none: they are not told apart.
pub(super) fn weights(
    config: &Localities,
    overprovisioning: u32,
    places: &[Place<'_>],
    sources: &HashMap<String, u32>,
) -> Option<Vec<u64>> {
    match config {
        Localities::Ignored => None,
        Localities::Weighted(list) => Some(weighted(list, overprovisioning, places)),
        Localities::ZoneAware {
            zone, min_hosts, ..
        } => zone_aware(zone, *min_hosts, places, sources),
    }
}

/// A locality's weight times its availability: with the overprovisioning factor, for a while it loses nothing.
fn weighted(list: &[(Locality, u32)], overprovisioning: u32, places: &[Place<'_>]) -> Vec<u64> {
    let one = |place: &Place<'_>| {
        let found = list.iter().find(|(locality, _)| locality == place.locality);
        let weight = found.map_or(1, |(_, weight)| u64::from(*weight));
        let usable = u64::from(overprovisioning) * u64::from(place.usable) * (WHOLE / 100);
        let available = usable.checked_div(u64::from(place.total)).unwrap_or(0);
        weight * available.min(WHOLE)
    };
    places.iter().map(one).collect()
}

/// All that the own zone can take stays in it: with as many per cent of the hosts as it sends of the requests, that is all.
/// What it cannot take goes to zones that have hosts to spare, in proportion.
fn zone_aware(
    zone: &str,
    min_hosts: u32,
    places: &[Place<'_>],
    sources: &HashMap<String, u32>,
) -> Option<Vec<u64>> {
    let mut zones: BTreeMap<&str, u64> = BTreeMap::new();
    for place in places {
        *zones.entry(&place.locality.zone).or_default() += u64::from(place.usable);
    }
    let total: u64 = zones.values().sum();
    let own = zones.get(zone).copied().unwrap_or(0);
    if own == 0 || zones.len() < 2 || total < u64::from(min_hosts) {
        return None;
    }
    let sending: u64 = sources.values().map(|hosts| u64::from(*hosts)).sum();
    let sends = |zone: &str| match sources.get(zone) {
        Some(hosts) => u64::from(*hosts) * WHOLE / sending.max(1),
        // A cluster of which nothing is known sends the same from everywhere.
        None if sending == 0 => WHOLE / zones.len() as u64,
        None => 0,
    };
    let takes = |hosts: u64| hosts * WHOLE / total;
    let stays = (takes(own) * WHOLE)
        .checked_div(sends(zone))
        .map_or(WHOLE, |part| part.min(WHOLE));
    let spare = |zone: &str, hosts: u64| takes(hosts).saturating_sub(sends(zone));
    let others = zones.iter().filter(|(name, _)| **name != zone);
    let spared: u64 = others.map(|(name, hosts)| spare(name, *hosts)).sum();
    let share = |name: &str, hosts: u64| {
        if name == zone {
            // With nobody to spare anything, all of it stays.
            return if spared == 0 { WHOLE } else { stays };
        }
        let part = (WHOLE - stays) * spare(name, hosts);
        part.checked_div(spared).unwrap_or(0)
    };
    let of_place = |place: &Place<'_>| {
        let name = place.locality.zone.as_str();
        let hosts = zones.get(name).copied().unwrap_or(0);
        // Localities of one zone share by their hosts.
        let part = share(name, hosts) * u64::from(place.usable);
        part.checked_div(hosts).unwrap_or(0)
    };
    Some(places.iter().map(of_place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Locality {
        Locality {
            zone: name.to_owned(),
            ..Locality::default()
        }
    }

    /// The share in per cent of each zone, with so many usable hosts of so many.
    fn shares(
        config: &Localities,
        zones: &[(&str, u32, u32)],
        sources: &[(&str, u32)],
    ) -> Option<Vec<u64>> {
        let localities: Vec<_> = zones.iter().map(|(name, ..)| zone(name)).collect();
        let places: Vec<_> = zones
            .iter()
            .zip(&localities)
            .map(|((_, usable, total), locality)| Place {
                locality,
                total: *total,
                usable: *usable,
            })
            .collect();
        let sources = sources
            .iter()
            .map(|(name, hosts)| ((*name).to_owned(), *hosts))
            .collect();
        let weights = weights(config, 140, &places, &sources)?;
        let sum: u64 = weights.iter().sum();
        Some(
            weights
                .iter()
                .map(|weight| (weight * 100 + sum / 2) / sum)
                .collect(),
        )
    }

    #[test]
    fn weights_fade_with_their_hosts_as_in_envoys_table() {
        // Envoy's manual, "Locality weighted load balancing": weights 1 and 2, the second wholly healthy.
        let config = Localities::Weighted(vec![(zone("x"), 1), (zone("y"), 2)]);
        for (healthy, expect) in [
            (100, [33, 67]),
            (70, [33, 67]),
            (69, [33, 67]),
            (50, [26, 74]),
            (25, [15, 85]),
            (0, [0, 100]),
        ] {
            let found = shares(&config, &[("x", healthy, 100), ("y", 100, 100)], &[]);
            assert_eq!(found.unwrap(), expect, "{healthy}");
        }
    }

    fn aware() -> Localities {
        Localities::ZoneAware {
            zone: "a".to_owned(),
            min_hosts: 6,
            source: None,
        }
    }

    #[test]
    fn all_stays_in_a_zone_that_can_take_it() {
        let zones = [("a", 5, 5), ("b", 5, 5)];
        assert_eq!(shares(&aware(), &zones, &[]).unwrap(), [100, 0]);
        assert_eq!(
            shares(&aware(), &zones, &[("a", 1), ("b", 3)]).unwrap(),
            [100, 0]
        );
    }

    #[test]
    fn what_the_own_zone_cannot_take_goes_where_there_is_room() {
        // A quarter of the hosts for half of the requests: half of them stays.
        let zones = [("a", 5, 5), ("b", 15, 15)];
        assert_eq!(
            shares(&aware(), &zones, &[("a", 1), ("b", 1)]).unwrap(),
            [50, 50]
        );
        // Of the others, `b` has 10 per cent to spare and `c` 20.
        let zones = [("a", 2, 2), ("b", 3, 3), ("c", 5, 5)];
        let found = shares(&aware(), &zones, &[("a", 5), ("b", 2), ("c", 3)]).unwrap();
        assert_eq!(found, [40, 20, 40]);
    }

    #[test]
    fn without_hosts_enough_there_is_no_preference() {
        assert_eq!(shares(&aware(), &[("a", 2, 2), ("b", 3, 3)], &[]), None);
        assert_eq!(shares(&aware(), &[("a", 0, 5), ("b", 9, 9)], &[]), None);
        assert_eq!(shares(&aware(), &[("a", 9, 9)], &[]), None);
    }
}
