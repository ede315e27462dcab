//! Medians with their spread.

use serde::{Deserialize, Serialize};

/// A median with its quartiles.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug)]
pub struct Spread {
    /// First quartile.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub high: f64,
}

impl Spread {
    /// Of the values; `None` if there is none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            low: percentile(values, 25.0)?,
            median: percentile(values, 50.0)?,
            high: percentile(values, 75.0)?,
        })
    }

    /// Returns true if neither median lies within the other's spread.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        let within = |value: f64, spread: &Self| (spread.low..=spread.high).contains(&value);
        !within(self.median, other) && !within(other.median, self)
    }
}

/// The value that `percent` of the values do not exceed, between two of them in proportion; `None` of no values.
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = percent / 100.0 * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.75, 2.5, 3.25));
    }

    #[test]
    fn one_value_is_its_own_spread_and_none_has_none() {
        assert_eq!(Spread::of(&[7.0]), Some(Spread { low: 7.0, median: 7.0, high: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_last_percentile_is_the_largest_value() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(percentile(&values, 100.0), Some(99.0));
        assert!((percentile(&values, 99.0).unwrap() - 98.01).abs() < 1e-9);
    }

    #[test]
    fn spreads_are_apart_only_if_both_medians_lie_outside() {
        let spread = |low, median, high| Spread { low, median, high };
        assert!(spread(1.0, 1.1, 1.2).is_apart_from(&spread(1.3, 1.4, 1.5)));
        assert!(!spread(1.0, 1.1, 1.4).is_apart_from(&spread(1.3, 1.4, 1.5)));
        assert!(!spread(1.0, 1.1, 1.2).is_apart_from(&spread(1.05, 1.4, 1.5)));
    }
}
