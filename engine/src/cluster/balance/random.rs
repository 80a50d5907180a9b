//! By chance, by weight.

use std::rc::Rc;

use super::{Ask, Balance, Weights};
use crate::cluster::Host;

pub(in crate::cluster) struct Random {
    weights: Weights,
}

impl Random {
    pub(in crate::cluster) fn new(weights: &[u32]) -> Self {
        Self {
            weights: Weights::new(weights),
        }
    }
}

impl Balance for Random {
    fn pick(&mut self, _hosts: &[Rc<Host>], ask: &Ask<'_>) -> Option<usize> {
        self.weights.draw(ask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, shares};
    use super::*;

    #[test]
    fn shares_follow_weights() {
        let hosts = hosts(3);
        let shares = shares(&mut Random::new(&[1, 3, 6]), &hosts, 100_000, &[]);
        for (share, expect) in shares.iter().zip([10_000, 30_000, 60_000]) {
            assert!(share.abs_diff(expect) < 600, "{shares:?}");
        }
    }

    #[test]
    fn what_was_tried_is_not_picked_again() {
        let hosts = hosts(3);
        assert_eq!(
            shares(&mut Random::new(&[1, 1000, 0]), &hosts, 1000, &[1, 0]),
            [0, 0, 1000]
        );
    }
}
