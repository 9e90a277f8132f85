//! Events per second from counters that are sampled once a second: the mean of the last ten.

use std::collections::{HashMap, VecDeque};

const SECONDS: usize = 10;

/// Samples by counter name.
#[derive(Default)]
pub struct Rates(HashMap<String, VecDeque<u64>>);

impl Rates {
    /// Takes this second's value of every counter; counters not named any more are forgotten.
    pub fn sample(&mut self, counters: Vec<(String, u64)>) {
        let mut old = std::mem::take(&mut self.0);
        for (name, value) in counters {
            let mut samples = old.remove(&name).unwrap_or_default();
            samples.push_back(value);
            if samples.len() > SECONDS + 1 {
                samples.pop_front();
            }
            self.0.insert(name, samples);
        }
    }

    /// Events per second; none before there are two samples.
    pub fn per_second(&self, name: &str) -> Option<f64> {
        let samples = self.0.get(name)?;
        let (first, last) = (samples.front()?, samples.back()?);
        match samples.len() {
            0 | 1 => None,
            n => Some(last.saturating_sub(*first) as f64 / (n - 1) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_over_the_last_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second("a"), None);
        for i in 0..30 {
            rates.sample(vec![("a".into(), i * 5)]);
        }
        assert_eq!(rates.per_second("a"), Some(5.0));
        rates.sample(vec![]);
        assert_eq!(rates.per_second("a"), None);
    }
}
