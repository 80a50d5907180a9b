//! The power of two choices: of two hosts drawn by weight, the one with fewer requests in flight
//! (Mitzenmacher 2001: almost as even as looking at all, at the price of two looks).

use std::rc::Rc;

use super::{Ask, Balance, Weights};
use crate::cluster::Host;

pub(in crate::cluster) struct LeastRequest {
    weights: Weights,
}

impl LeastRequest {
    pub(in crate::cluster) fn new(weights: &[u32]) -> Self {
        Self {
            weights: Weights::new(weights),
        }
    }
}

impl Balance for LeastRequest {
    fn pick(&mut self, hosts: &[Rc<Host>], ask: &Ask<'_>) -> Option<usize> {
        let first = self.weights.draw(ask)?;
        let second = self.weights.draw(ask)?;
        let active = |index: usize| hosts.get(index).map_or(u32::MAX, |host| host.active());
        Some(if active(second) < active(first) {
            second
        } else {
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, shares};
    use super::*;
    use crate::cluster::host::Active;

    #[test]
    fn a_busy_host_is_picked_only_against_itself() {
        let hosts = hosts(4);
        let _busy: Vec<_> = (0..5).map(|_| Active::new(&hosts[2])).collect();
        let shares = shares(&mut LeastRequest::new(&[1, 1, 1, 1]), &hosts, 16_000, &[]);
        // Both draws must fall on it: 1 in 16.
        assert!(shares[2].abs_diff(1000) < 200, "{shares:?}");
    }

    #[test]
    fn idle_hosts_share_by_weight() {
        let hosts = hosts(2);
        let shares = shares(&mut LeastRequest::new(&[1, 3]), &hosts, 40_000, &[]);
        assert!(shares[1].abs_diff(30_000) < 600, "{shares:?}");
    }
}
