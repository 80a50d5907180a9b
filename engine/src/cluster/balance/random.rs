//! By chance, by weight.

use super::{Ask, HostSet, Weights};

pub(super) fn pick(set: &HostSet, weights: &Weights, ask: &Ask<'_>) -> Option<usize> {
    weights.draw(set, ask)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, shares, specs};
    use ringway_config::Balance;

    #[test]
    fn shares_follow_weights() {
        let specs = specs(&[1, 3, 6]);
        let set = set(Balance::Random, &specs);
        let shares = shares(&set, &live(&specs), 100_000, &[]);
        for (share, expect) in shares.iter().zip([10_000, 30_000, 60_000]) {
            assert!(share.abs_diff(expect) < 600, "{shares:?}");
        }
    }

    #[test]
    fn what_was_tried_is_not_picked_again() {
        let specs = specs(&[1, 1000, 1]);
        let set = set(Balance::Random, &specs);
        assert_eq!(shares(&set, &live(&specs), 1000, &[1, 0]), [0, 0, 1000]);
    }
}
