//! Labels, and the selectors that match them.

use std::{collections::BTreeMap, sync::Arc};

/// Labels of an object, sorted by key. A copy shares them: many pods have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of the label with this key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// All labels, in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    /// Of two labels with one key the last stays.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(labels: T) -> Self {
        let given = labels.into_iter().map(|(key, value)| (key.into(), value.into()));
        Self(given.collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

/// A label selector: labels match if they meet every requirement. One without requirements matches everything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Selector(Vec<Requirement>);

/// A requirement on the label with one key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Requirement {
    /// The key.
    pub key: Box<str>,
    /// The condition.
    pub condition: Condition,
}

/// A condition on a label. The values are sorted, each once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Condition {
    /// The label is there and has one of these values.
    In(Vec<Box<str>>),
    /// The label has none of these values, or is not there.
    NotIn(Vec<Box<str>>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl Selector {
    /// A selector that matches everything.
    pub const EVERYTHING: Self = Self(Vec::new());

    /// A selector of these requirements. Their order does not matter: two that mean the same by the same words are
    /// equal.
    #[must_use]
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        for requirement in &mut requirements {
            if let Condition::In(values) | Condition::NotIn(values) = &mut requirement.condition {
                values.sort_unstable();
                values.dedup();
            }
        }
        requirements.sort_unstable();
        requirements.dedup();
        Self(requirements)
    }

    /// A selector of these labels (`matchLabels`).
    pub fn of_labels<K: Into<Box<str>>, V: Into<Box<str>>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let one = |(key, value): (K, V)| Requirement {
            key: key.into(),
            condition: Condition::In(vec![value.into()]),
        };
        Self::new(labels.into_iter().map(one).collect())
    }

    /// The requirements.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Returns true if every object matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if such labels match.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl Requirement {
    /// Returns true if such labels meet it.
    #[must_use]
    pub fn is_met(&self, labels: &Labels) -> bool {
        let value = labels.value(&self.key);
        let is_among = |values: &[Box<str>]| value.is_some_and(|it| values.iter().any(|one| &**one == it));
        match &self.condition {
            Condition::In(values) => is_among(values),
            Condition::NotIn(values) => !is_among(values),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
        }
    }
}

impl std::fmt::Display for Selector {
    /// The spelling of `kubectl --selector`; `everything` for no requirement.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_everything() {
            return f.write_str("everything");
        }
        let all = self.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        f.write_str(&all.join(","))
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        match &self.condition {
            Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", values.concat()),
            Condition::In(values) => write!(f, "{key} in ({})", values.join(",")),
            Condition::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            Condition::Exists => f.write_str(key),
            Condition::DoesNotExist => write!(f, "!{key}"),
        }
    }
}
