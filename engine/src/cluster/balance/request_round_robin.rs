//! Each request begins with the first host, and goes on to the next when it is tried again (MOSN's `LB_REQUEST_ROUNDROBIN`):
//! a main host and its stand-ins, in the order of the configuration.

use super::{Ask, HostSet};

pub(super) fn pick(set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
    let last = ask.tried.last();
    let after = last.and_then(|last| (0..set.len()).find(|at| set.slot(*at) == Some(*last)));
    set.free_from(after.map_or(0, |at| at + 1), ask)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, shares, specs};
    use ringway_config::Balance;

    #[test]
    fn requests_begin_with_the_first_host_and_go_on_in_order() {
        let specs = specs(&[1; 4]);
        let (set, hosts) = (set(Balance::RequestRoundRobin, &specs), live(&specs));
        assert_eq!(shares(&set, &hosts, 9, &[]), [9, 0, 0, 0]);
        assert_eq!(shares(&set, &hosts, 9, &[0]), [0, 9, 0, 0]);
        assert_eq!(shares(&set, &hosts, 9, &[0, 1, 2]), [0, 0, 0, 9]);
        // A host that a change of the hosts put first is not passed over.
        assert_eq!(shares(&set, &hosts, 9, &[3]), [9, 0, 0, 0]);
    }
}
