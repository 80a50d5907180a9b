//! Latencies of a measurement: every one is kept, so that no bucket blurs a percentile.

use std::time::Duration;

/// The latencies so far, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// None yet. The room is made before measuring: a vector that grows copies itself at the worst moment.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(1 << 20))
    }

    /// Adds one.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0
            .push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The latencies in microseconds below which these shares (0 to 1) of all lie; zeros if there are none.
    pub(crate) fn percentiles<const N: usize>(&mut self, shares: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        shares.map(|share| {
            // Nearest rank: the least latency that at least this share of all does not exceed.
            let rank = (share * self.0.len() as f64).ceil() as usize;
            let found = self.0.get(rank.saturating_sub(1)).copied();
            found.unwrap_or(0) as f64 / 1000.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentiles([0.5]), [0.0]);
        for micros in (1..=100).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.percentiles([0.5, 0.99, 1.0]), [50.0, 99.0, 100.0]);
    }
}
