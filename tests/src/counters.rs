//! Counters of the datapath by hook and outcome, read from `naru stats --json`.

use std::{collections::BTreeMap, fmt};

use anyhow::Context;
use serde::Deserialize;

use crate::lab::Node;

/// The key of a counter: hook, class (`verdict`, `stack`, `drop`) and label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The hook's label.
    pub hook: String,
    /// The outcome's class.
    pub class: String,
    /// The outcome's label within its class.
    pub label: String,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, Debug)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A reading of the counters of one node, or the sum or difference of several.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counters(BTreeMap<Key, Count>);

#[derive(Deserialize)]
struct Stats {
    hooks: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    hook: String,
    class: String,
    outcome: String,
    #[serde(flatten)]
    count: Count,
}

impl Counters {
    /// Reads the counters of `node`.
    ///
    /// # Errors
    /// `naru stats` fails.
    pub fn read(node: &Node) -> anyhow::Result<Self> {
        let json = node.naru_json("stats")?;
        let stats: Stats = serde_json::from_value(json.clone())
            .with_context(|| format!("node {}: stats: {json}", node.name))?;
        let entries = stats.hooks.into_iter();
        let all = entries
            .map(|entry| (Key { hook: entry.hook, class: entry.class, label: entry.outcome }, entry.count));
        Ok(Self(all.collect()))
    }

    /// The sum over all of `nodes`.
    ///
    /// # Errors
    /// As [`Counters::read`].
    pub fn sum(nodes: &[Node]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for node in nodes {
            for (key, count) in Self::read(node)?.0 {
                let entry = sum.0.entry(key).or_default();
                entry.packets += count.packets;
                entry.bytes += count.bytes;
            }
        }
        Ok(sum)
    }

    /// The packets that were counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = |(key, now): (&Key, &Count)| {
            let before = earlier.0.get(key).copied().unwrap_or_default();
            let packets = now.packets.saturating_sub(before.packets);
            (packets > 0)
                .then(|| (key.clone(), Count { packets, bytes: now.bytes.saturating_sub(before.bytes) }))
        };
        Self(self.0.iter().filter_map(difference).collect())
    }

    /// The count of `class` and `label` at `hook`.
    #[must_use]
    pub fn at(&self, hook: &str, class: &str, label: &str) -> Count {
        let key = Key { hook: hook.to_owned(), class: class.to_owned(), label: label.to_owned() };
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// All outcomes of `hook` together.
    #[must_use]
    pub fn total(&self, hook: &str) -> Count {
        let at_hook = self.0.iter().filter(|(key, _)| key.hook == hook);
        at_hook.fold(Count::default(), |sum, (_, count)| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        })
    }

    /// The packets that `class` and `label` counted at any hook.
    #[must_use]
    pub fn packets(&self, class: &str, label: &str) -> u64 {
        let matching = self.0.iter().filter(|(key, _)| key.class == class && key.label == label);
        matching.map(|(_, count)| count.packets).sum()
    }
}

/// The outcomes that carried the traffic, the most frequent first, without rare ones: `from_pod peer, ..`.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: Vec<_> = self.0.iter().filter(|(key, _)| !is_noise(key)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(count.packets));
        let least = all.first().map_or(0, |(_, count)| count.packets / 10);
        for (position, (key, _)) in
            all.iter().take_while(|(_, count)| count.packets >= least).take(4).enumerate()
        {
            let separator = if position == 0 { "" } else { ", " };
            match key.class.as_str() {
                "verdict" => write!(f, "{separator}{} {}", key.hook, key.label)?,
                class => write!(f, "{separator}{} {class}({})", key.hook, key.label)?,
            }
        }
        Ok(())
    }
}

/// Returns true for background traffic of IPv6 and ARP, for which no probe asks.
fn is_noise(key: &Key) -> bool {
    matches!(key.label.as_str(), "answer" | "link-local" | "multicast" | "neighbour-announcement")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(entries: &[(&str, &str, &str, u64)]) -> Counters {
        let entry = |(hook, class, label, packets): &(&str, &str, &str, u64)| {
            let key = Key { hook: (*hook).into(), class: (*class).into(), label: (*label).into() };
            (key, Count { packets: *packets, bytes: packets * 100 })
        };
        Counters(entries.iter().map(entry).collect())
    }

    #[test]
    fn a_difference_holds_only_what_moved() {
        let before = counters(&[("from_pod", "verdict", "peer", 5), ("to_pod", "verdict", "deliver", 1)]);
        let after = counters(&[("from_pod", "verdict", "peer", 9), ("to_pod", "verdict", "deliver", 1)]);
        let moved = after.since(&before);
        assert_eq!(moved, counters(&[("from_pod", "verdict", "peer", 4)]));
        assert_eq!(moved.total("from_pod").packets, 4);
    }

    #[test]
    fn the_short_form_names_what_carried_the_traffic() {
        let moved = counters(&[
            ("from_pod", "verdict", "peer", 90),
            ("from_pod", "verdict", "answer", 500),
            ("from_pod", "stack", "ttl-expired", 80),
            ("to_pod", "verdict", "deliver", 3),
        ]);
        assert_eq!(moved.to_string(), "from_pod peer, from_pod stack(ttl-expired)");
    }
}
