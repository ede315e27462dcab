//! Medians of per-round ratios.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{IN_USE, candidate::label, floor, micros};

/// One candidate's times in one round.
pub struct Sample {
    /// The candidate.
    pub name: String,
    /// Time of ADD; the floor has none.
    pub add: Option<Duration>,
    /// Time of DEL.
    pub del: Duration,
}

/// Which time of a sample.
#[derive(Clone, Copy)]
enum Verb {
    Add,
    Del,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }

    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Add => sample.add.map(micros),
            Self::Del => Some(micros(sample.del)),
        }
    }
}

/// A median with its quartiles.
pub struct Spread {
    /// First quartile.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub high: f64,
}

impl Spread {
    /// Of the values.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            values.get((values.len().saturating_sub(1)) * quarter / 4).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(1), median: at(2), high: at(3) }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"quartile1": self.low, "median": self.median, "quartile3": self.high})
    }
}

/// One time, or one ratio, over all rounds.
struct Line {
    name: String,
    verb: Verb,
    spread: Spread,
}

/// Times and ratios.
pub struct Report {
    rounds: usize,
    times: Vec<Line>,
    ratios: Vec<Line>,
}

impl Report {
    /// Of the rounds' samples.
    pub fn of(rounds: &[Vec<Sample>]) -> Self {
        let names = rounds.first().map(|samples| names(samples)).unwrap_or_default();
        let of_both = |name: &String| [Verb::Add, Verb::Del].map(|verb| time(rounds, name, verb));
        let times = names.iter().flat_map(of_both).flatten().collect();
        Self { rounds: rounds.len(), times, ratios: compared().map(|pair| ratio(rounds, pair)).collect() }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!("{} rounds; median [quartiles]\n\nmilliseconds\n", self.rounds);
        for Line { name, verb, spread } in &self.times {
            let (low, median, high) = (spread.low / 1e3, spread.median / 1e3, spread.high / 1e3);
            let _ = writeln!(text, "  {} {name:<38} {median:>8.2} [{low:.2} .. {high:.2}]", verb.name());
        }
        text.push_str("\nratios within a round (below 1: naru is faster)\n");
        for Line { name, verb, spread } in &self.ratios {
            let Spread { low, median, high } = spread;
            let _ = writeln!(text, "  {} {name:<66} {median:>6.3} [{low:.3} .. {high:.3}]", verb.name());
        }
        text
    }

    /// For programs: times in microseconds.
    pub fn json(&self, leases: &Value) -> String {
        let list = |lines: &[Line]| {
            let of_line = |line: &Line| json!({"name": line.name, "verb": line.verb.name(), "value": line.spread.json()});
            lines.iter().map(of_line).collect::<Vec<_>>()
        };
        let (micros, ratios) = (list(&self.times), list(&self.ratios));
        json!({"rounds": self.rounds, "micros": micros, "ratios": ratios, "leases": leases}).to_string()
    }
}

fn names(samples: &[Sample]) -> Vec<String> {
    let mut names: Vec<_> = samples.iter().map(|sample| sample.name.clone()).collect();
    names.sort();
    names
}

/// Who is compared with whom, by which time.
fn compared() -> impl Iterator<Item = (String, String, Verb)> {
    let (naru, full) = (label("naru", 0), label("naru", IN_USE));
    let mut pairs = vec![(full.clone(), naru.clone(), Verb::Add), (full.clone(), naru.clone(), Verb::Del)];
    for reference in ["ptp + host-local", "bridge + host-local"] {
        for verb in [Verb::Add, Verb::Del] {
            pairs.push((naru.clone(), label(reference, 0), verb));
            pairs.push((full.clone(), label(reference, IN_USE), verb));
        }
    }
    pairs.push((naru, floor::NAME.to_owned(), Verb::Del));
    pairs.push((full, floor::NAME.to_owned(), Verb::Del));
    pairs.into_iter()
}

fn time(rounds: &[Vec<Sample>], name: &str, verb: Verb) -> Option<Line> {
    let values: Vec<_> = rounds.iter().filter_map(|samples| value(samples, name, verb)).collect();
    (!values.is_empty()).then(|| Line { name: name.to_owned(), verb, spread: Spread::of(values) })
}

fn ratio(rounds: &[Vec<Sample>], (one, other, verb): (String, String, Verb)) -> Line {
    let of_round = |samples: &Vec<Sample>| Some(value(samples, &one, verb)? / value(samples, &other, verb)?);
    let spread = Spread::of(rounds.iter().filter_map(of_round).collect());
    Line { name: format!("{one} / {other}"), verb, spread }
}

fn value(samples: &[Sample], name: &str, verb: Verb) -> Option<f64> {
    verb.of(samples.iter().find(|sample| sample.name == name)?)
}
