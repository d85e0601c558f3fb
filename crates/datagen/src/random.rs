//! Random numbers from a seed, the same on every machine.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// Returns a well-mixed hash of `parts` (the finaliser of `SplitMix64`). It is random without a
/// sequence, so the weather of an hour does not depend on the order of the calls.
pub(crate) fn hash<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, part| {
        let mut x = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

/// Returns a number from 0 up to but not including 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
pub(crate) fn unit(bits: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (bits >> 11) as f64 * STEP
}

/// Returns a number from -1 up to but not including 1.
pub(crate) fn signed(bits: u64) -> f64 {
    2.0 * unit(bits) - 1.0
}

/// Returns a number around 0 with a standard deviation of 1. It is the sum of four uniform numbers,
/// which approximates a normal distribution and, unlike that, is the same on every machine.
pub(crate) fn normal(bits: u64) -> f64 {
    // Standard deviation of the sum: the square root of four times the variance of a uniform number
    // from 0 to 65,535.
    const DEVIATION: f64 = 37_837.226_816_9;
    let sum: i64 = (0..4).map(|part| i64::from((bits >> (16 * part)) as u16)).sum();
    let around = i32::try_from(sum - 2 * 65_535).unwrap_or_default();
    f64::from(around) / DEVIATION
}

/// Sequence of random numbers. Each purpose has its own, so that a change of one rate leaves the
/// other draws unchanged.
#[derive(Clone, Debug)]
pub struct Sequence(Pcg64Mcg);

impl Sequence {
    /// Creates the sequence of a purpose from a seed.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(hash([seed, purpose])))
    }

    /// Draws the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns true with the probability `rate`.
    pub fn chance(&mut self, rate: f64) -> bool {
        unit(self.bits()) < rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut sequence = Sequence::new(1, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| normal(sequence.bits())).collect();

        let mean = draws.iter().sum::<f64>() / 100_000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 100_000.0;

        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn hash_is_stable() {
        assert_eq!(hash([7, 1]), 16_532_905_846_432_384_345);
        assert_ne!(hash([1, 7]), hash([7, 1]));
        assert_eq!(Sequence::new(7, 0).bits(), 13_121_156_077_399_563_001);
    }
}
