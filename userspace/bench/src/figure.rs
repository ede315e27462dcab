//! The results of a bench: figures, each with its values and its limit.

use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// The subject of a figure; one part of a bench makes the figures of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Ratios of traffic, and the rates they are made of.
    Traffic,
    /// Programs by themselves: time and instructions.
    Programs,
    /// ADD and DEL of whole plugins.
    Cni,
    /// ADD and DEL of IPAM plugins.
    Ipam,
    /// Maps and the agent.
    Memory,
}

impl Group {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Traffic, Self::Programs, Self::Cni, Self::Ipam, Self::Memory];

    /// Its heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Traffic => "traffic, on one CPU where it does not say two",
            Self::Programs => "programs (BPF_PROG_TEST_RUN)",
            Self::Cni => "ADD and DEL of CNI plugins",
            Self::Ipam => "ADD and DEL of IPAM plugins, together",
            Self::Memory => "memory",
        }
    }
}

/// The gate and the goal of a figure.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug)]
pub struct Limit {
    /// The good side.
    pub better: Better,
    /// The value at which the bench fails if a figure is below it (above it, where less is better); `None` for a goal
    /// alone.
    pub gate: Option<f64>,
    /// The value that is aimed at.
    pub goal: f64,
}

/// The good side of a limit.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More.
    More,
    /// Less.
    Less,
}

/// The standing of a figure against its limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// The gate is missed.
    Missed,
    /// The gate is reached, or there is none; the goal is not.
    Gate,
    /// The goal is reached.
    Goal,
}

impl Limit {
    /// A gate and a goal of which more is better.
    #[must_use]
    pub const fn at_least(gate: f64, goal: f64) -> Self {
        Self { better: Better::More, gate: Some(gate), goal }
    }

    /// A gate of which less is better, and which is also the goal.
    #[must_use]
    pub const fn at_most(gate: f64) -> Self {
        Self { better: Better::Less, gate: Some(gate), goal: gate }
    }

    /// A goal of which less is better.
    #[must_use]
    pub const fn aim_below(goal: f64) -> Self {
        Self { better: Better::Less, gate: None, goal }
    }

    /// The standing of `value` against this limit.
    #[must_use]
    pub fn verdict(&self, value: f64) -> Verdict {
        let reaches = |limit: f64| match self.better {
            Better::More => value >= limit,
            Better::Less => value <= limit,
        };
        match (reaches(self.goal), self.gate.is_none_or(reaches)) {
            (_, false) => Verdict::Missed,
            (true, true) => Verdict::Goal,
            (false, true) => Verdict::Gate,
        }
    }
}

/// One measured thing.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
pub struct Figure {
    /// The subject.
    pub group: Group,
    /// The name, unique in its group.
    pub name: String,
    /// The unit of the values: `ratio`, `ns`, `ms`, `transactions/s`, ...
    pub unit: String,
    /// Median and quartiles of the values.
    pub spread: Spread,
    /// One for each round.
    pub values: Vec<f64>,
    /// The limit, if the figure has one.
    pub limit: Option<Limit>,
}

/// The unit of ratios.
pub const RATIO: &str = "ratio";

impl Figure {
    /// A figure without a limit; `None` if there are no values.
    #[must_use]
    pub fn new(group: Group, name: impl Into<String>, unit: &str, values: Vec<f64>) -> Option<Self> {
        let spread = Spread::of(&values)?;
        Some(Self { group, name: name.into(), unit: unit.to_owned(), spread, values, limit: None })
    }

    /// This figure with a limit.
    #[must_use]
    pub fn limited(self, limit: Option<Limit>) -> Self {
        Self { limit, ..self }
    }

    /// The standing of the median against the limit; `None` without one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        Some(self.limit?.verdict(self.spread.median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_between_gate_and_goal_reaches_the_gate_alone() {
        let limit = Limit::at_least(0.94, 0.97);
        assert_eq!(
            [0.939, 0.94, 0.969, 0.97].map(|value| limit.verdict(value)),
            [Verdict::Missed, Verdict::Gate, Verdict::Gate, Verdict::Goal]
        );
    }

    #[test]
    fn where_less_is_better_more_misses() {
        assert_eq!(
            [0.6, 0.61].map(|value| Limit::at_most(0.6).verdict(value)),
            [Verdict::Goal, Verdict::Missed]
        );
    }

    #[test]
    fn a_goal_without_a_gate_is_never_missed() {
        assert_eq!(
            [0.5, 9.0].map(|value| Limit::aim_below(0.5).verdict(value)),
            [Verdict::Goal, Verdict::Gate]
        );
    }

    #[test]
    fn what_is_no_number_reaches_nothing() {
        assert_eq!(Limit::at_least(0.9, 1.0).verdict(f64::NAN), Verdict::Missed);
    }
}
