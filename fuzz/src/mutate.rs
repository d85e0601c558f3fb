//! Inputs mutated from other inputs: deterministic, and without coverage feedback.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// Tokens that tend to break parsers: unbalanced syntax, numbers at their limits, bytes that are
/// not text.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"\"",
    b"\\u0000",
    b"\\ud800",
    b"\\u0041",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"-",
    b"-0",
    b"0",
    b"1e999",
    b"-1e-999",
    b"0.1",
    b"NaN",
    b"inf",
    b"9007199254740993",
    b"18446744073709551616",
    b"\0",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b" ",
    b"  ",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "é".as_bytes(),
    "\u{2028}".as_bytes(),
    b"%",
    b"%00",
    b"%ff",
    b"+",
    b"=",
    b"/",
    b"\x1f\x8b\x08",
    b"\xf3\x89\x9a\xc2",
    b"\n--\n",
    b"2026-11-20T10:00:00Z",
    b"-9999-01-01T00:00:00Z",
    b"1762344000",
    b"T",
    b"Z",
];

/// Maximum length of a generated input.
const MAX_BYTES: usize = 8 * 1024;

/// Generates inputs from a corpus, the same ones for the same seed.
pub struct Mutator<'c> {
    corpus: &'c [Vec<u8>],
    random: Pcg64Mcg,
}

impl<'c> Mutator<'c> {
    /// Creates a mutator of `corpus`, which may be empty.
    #[must_use]
    pub fn new(corpus: &'c [Vec<u8>], seed: u64) -> Self {
        Self { corpus, random: Pcg64Mcg::seed_from_u64(seed) }
    }

    /// Returns the next input: one of the corpus with one to eight changes.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.any().map(<[u8]>::to_vec).unwrap_or_default();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let length = self.length(input.len() - at);
        match self.below(9) {
            0 => drop(input.drain(at..at + length)),
            1 => {
                let token = TOKENS[self.below(TOKENS.len())];
                drop(input.splice(at..at + length, token.iter().copied()));
            }
            2 => {
                let token = TOKENS[self.below(TOKENS.len())];
                drop(input.splice(at..at, token.iter().copied()));
            }
            3 if at < input.len() => input[at] ^= 1 << self.below(8),
            4 if at < input.len() => input[at] = self.below(256) as u8,
            5 => {
                let part = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, part));
            }
            6 => {
                let Some(other) = self.any() else { return };
                let from = self.below(other.len() + 1);
                let part = &other[from..from + self.length(other.len() - from)];
                drop(input.splice(at..at + length, part.iter().copied()));
            }
            7 => input.truncate(at),
            _ => {
                // Add or remove a digit: offsets, times and numbers at the edge.
                let digits: Vec<_> =
                    (0..input.len()).filter(|&it| input[it].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    input[digits[self.below(digits.len())]] = b'0' + self.below(10) as u8;
                }
            }
        }
    }

    fn any(&mut self) -> Option<&'c [u8]> {
        if self.corpus.is_empty() {
            return None;
        }
        let corpus = self.corpus;
        Some(&corpus[self.below(corpus.len())])
    }

    /// Returns a length up to `max`, mostly short.
    fn length(&mut self, max: usize) -> usize {
        let max = match self.below(4) {
            0 => max,
            1 => max.min(64),
            _ => max.min(8),
        };
        self.below(max + 1)
    }

    /// Returns a number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.random.next_u32()) * end as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_determines_inputs() {
        let corpus = [b"{\"a\":1}".to_vec(), b"a,b\n1,2\n".to_vec()];
        let made = |seed| {
            let mut mutator = Mutator::new(&corpus, seed);
            (0..100).map(|_| mutator.input()).collect::<Vec<_>>()
        };

        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }

    #[test]
    fn empty_corpus_yields_short_inputs() {
        let mut mutator = Mutator::new(&[], 1);
        assert!((0..1_000).any(|_| !mutator.input().is_empty()));

        let long = [vec![b'x'; MAX_BYTES]];
        let mut mutator = Mutator::new(&long, 1);
        assert!((0..1_000).all(|_| mutator.input().len() <= MAX_BYTES));
    }
}
