use std::collections::{BTreeMap, BTreeSet};

/// Lasting failures, for the log: each is logged once, and once more when it is over.
#[derive(Debug)]
pub struct Said<T> {
    by: BTreeMap<T, BTreeSet<String>>,
}

impl<T> Default for Said<T> {
    fn default() -> Self {
        Self { by: BTreeMap::new() }
    }
}

impl<T: Ord> Said<T> {
    /// Takes all present failures of this `topic`. Returns the new ones, then those that are over, for the log; a
    /// failure that another topic has too is neither.
    pub fn tell(&mut self, topic: T, now: BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        let before = self.by.remove(&topic).unwrap_or_default();
        let is_elsewhere = |text: &String| self.by.values().any(|texts| texts.contains(text));
        let new = now.difference(&before).filter(|text| !is_elsewhere(text)).cloned().collect();
        let over = before.difference(&now).filter(|text| !is_elsewhere(text)).cloned().collect();
        if !now.is_empty() {
            self.by.insert(topic, now);
        }
        (new, over)
    }

    /// The same, written to the log.
    pub fn log(&mut self, topic: T, now: BTreeSet<String>) {
        let (new, over) = self.tell(topic, now);
        for text in new {
            tracing::error!("{text}");
        }
        for text in over {
            tracing::info!("over: {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_failure_is_said_once_and_once_more_when_it_is_over() {
        let mut said = Said::default();
        assert_eq!(said.tell(1, texts(&["a"])), (vec!["a".into()], vec![]));
        assert_eq!(said.tell(1, texts(&["a", "b"])), (vec!["b".into()], vec![]));
        assert_eq!(said.tell(1, texts(&["b"])), (vec![], vec!["a".into()]));
        assert_eq!(said.tell(1, texts(&[])), (vec![], vec!["b".into()]));
        assert_eq!(said.tell(1, texts(&["a"])), (vec!["a".into()], vec![]), "it may come again");
    }

    #[test]
    fn a_failure_that_two_passes_see_is_one() {
        let mut said = Said::default();
        assert_eq!(said.tell(1, texts(&["a"])), (vec!["a".into()], vec![]));
        assert_eq!(said.tell(2, texts(&["a"])), (vec![], vec![]));
        assert_eq!(said.tell(1, texts(&[])), (vec![], vec![]), "the other still sees it");
        assert_eq!(said.tell(2, texts(&[])), (vec![], vec!["a".into()]));
    }
}
