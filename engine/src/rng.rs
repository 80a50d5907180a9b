//! Randomness as an argument: a seeded generator per core (`xoshiro256++`, Blackman and Vigna 2019).
//!
//! Not for secrets. Balancers, weights, jitter and request ids draw from it; tests give a seed.

use std::cell::Cell;

/// A generator.
#[derive(Debug)]
pub struct Rng {
    state: Cell<[u64; 4]>,
}

impl Rng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        // splitmix64 fills the state, as its authors advise, so that near seeds do not stay near.
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self {
            state: Cell::new([next(), next(), next(), next()]),
        }
    }

    /// 64 random bits.
    pub fn next(&self) -> u64 {
        let [a, b, c, d] = self.state.get();
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c2 = c ^ a;
        let d2 = d ^ b;
        self.state
            .set([a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)]);
        result
    }

    /// A number below `n` (Lemire 2019, without the rejection: the bias is below 2⁻³² for the small n used here); 0 if `n` is 0.
    pub fn below(&self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_even_and_repeatable() {
        let (a, b) = (Rng::new(7), Rng::new(7));
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            let n = a.below(10);
            assert_eq!(n, b.below(10));
            seen[n as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }
}
