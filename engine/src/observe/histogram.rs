//! A log-linear histogram of durations: groups by powers of two, four buckets in each, 1 µs to about 71 minutes.
//!
//! A bucket is at most a quarter as wide as its lower edge, so that a quantile read from its middle is off by an eighth
//! at most. The whole is 1000 bytes, recording is a few shifts and two adds, and two histograms merge by adding.

use std::time::Duration;

use super::counter::Counter;

/// Groups below are exact: one bucket for each of 1, 2, 3 and 4 µs.
const GROUP_BITS: u32 = 2;
/// 2³² µs: what takes longer is in the last bucket.
const VALUE_BITS: u32 = 32;
const BUCKETS: usize = ((VALUE_BITS - GROUP_BITS + 1) << GROUP_BITS) as usize;

/// Powers of two, in microseconds, that an exposition shows: 64 µs to 67 s, each an exact edge of the buckets.
const SHOWN: std::ops::RangeInclusive<u32> = 6..=26;

/// How long things took, written by one core.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    /// Nanoseconds: enough for 584 years of them.
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
        }
    }
}

impl Histogram {
    /// Counts one duration. Only the histogram's one writer may.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let nanos = duration
            .as_secs()
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(duration.subsec_nanos()));
        self.sum.add(nanos);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.inc();
        }
    }

    /// What it holds now.
    pub fn read(&self) -> Distribution {
        Distribution {
            buckets: self.buckets.each_ref().map(Counter::value),
            sum_nanos: self.sum.value(),
        }
    }
}

/// The bucket of a duration. Upper edges belong to their bucket, as Prometheus' `le` wants it: hence the minus one.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    let micros = (nanos.saturating_sub(1) / 1000).min((1 << VALUE_BITS) - 1);
    let group = (micros | 1).ilog2().saturating_sub(GROUP_BITS - 1);
    if group == 0 {
        return micros as usize;
    }
    // The bit above the two that choose the bucket is set, so the sum goes on where the group before ended.
    (((group - 1) as usize) << GROUP_BITS) + (micros >> (group - 1)) as usize
}

/// The upper edge of a bucket in microseconds.
fn upper_edge(bucket: usize) -> u64 {
    let group = (bucket >> GROUP_BITS).max(1) - 1;
    ((bucket - (group << GROUP_BITS)) as u64 + 1) << group
}

/// What a histogram held, or several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_nanos: 0,
        }
    }
}

impl Distribution {
    /// Adds what another held.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, n) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.wrapping_add(n);
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All durations together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The duration that a share `q` (0 to 1) of them does not exceed, off by an eighth at most; none if there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        let lower = bucket.checked_sub(1).map_or(0, upper_edge);
        Some(Duration::from_nanos(
            (lower + upper_edge(bucket)) * (1000 / 2),
        ))
    }

    /// Cumulative counts at fixed edges, as a Prometheus histogram has them: (edge in microseconds, durations up to it).
    /// What is above the last edge is in [`count`](Self::count) alone.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut seen = 0;
        let mut buckets = self.buckets.iter().enumerate().peekable();
        SHOWN.map(move |power| {
            let edge = 1 << power;
            while let Some((_, n)) = buckets.next_if(|(bucket, _)| upper_edge(*bucket) <= edge) {
                seen += n;
            }
            (edge, seen)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_without_gaps() {
        assert_eq!(upper_edge(BUCKETS - 1), 1 << VALUE_BITS);
        for bucket in 0..BUCKETS {
            let edge = upper_edge(bucket) * 1000;
            assert_eq!(bucket_of(edge), bucket, "the edge is inside");
            assert_eq!(bucket_of(edge + 1), (bucket + 1).min(BUCKETS - 1));
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
        assert!(size_of::<Histogram>() <= 1024);
    }

    #[test]
    fn quantiles_are_off_by_an_eighth_at_most() {
        for micros in (1..60).map(|n| 3_u64.pow(n / 3) * u64::from(n % 3 + 1)) {
            let nanos = micros.min(1 << VALUE_BITS) * 1000;
            let histogram = Histogram::default();
            histogram.record(Duration::from_nanos(nanos));
            let read = histogram.read().quantile(0.5).expect("one is recorded");
            let error = read.as_nanos().abs_diff(u128::from(nanos));
            // Below 4 µs a bucket is one microsecond wide, and its middle half a microsecond off.
            assert!(
                error <= u128::from(nanos / 8).max(500),
                "{micros}: {read:?}"
            );
        }
    }

    #[test]
    fn quantiles_of_an_even_spread() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|n| histogram.record(Duration::from_millis(n)));
        let read = histogram.read();
        for (q, millis) in [(0.01, 10.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let quantile = read.quantile(q).expect("some").as_secs_f64() * 1000.0;
            assert!((quantile / millis - 1.0).abs() < 0.125, "{q}: {quantile}");
        }
        assert_eq!(read.sum(), Duration::from_millis(500_500));
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn merging_is_as_if_one_had_seen_all() {
        let (a, b, both) = <(Histogram, Histogram, Histogram)>::default();
        for n in 0..2000_u64 {
            let duration = Duration::from_micros(n * n);
            if n % 3 == 0 { &a } else { &b }.record(duration);
            both.record(duration);
        }
        let mut merged = a.read();
        merged.merge(&b.read());
        assert_eq!(merged, both.read());
    }

    #[test]
    fn cumulative_counts_include_their_edge() {
        let histogram = Histogram::default();
        for nanos in [0, 64_000, 64_001, 128_000, 90_000_000_000] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let read = histogram.read();
        let shown: Vec<_> = read.cumulative().collect();
        assert_eq!(shown[..3], [(64, 2), (128, 4), (256, 4)]);
        assert_eq!(shown.last(), Some(&(1 << 26, 4)));
        assert_eq!(read.count(), 5);
    }
}
