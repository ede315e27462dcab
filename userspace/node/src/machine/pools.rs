use ipnet::IpNet;
use naru_core::ipam::without;
use serde::{Deserialize, Serialize};

use super::{MachineError, PoolFacts, Settings};

/// A pool that an administrator made and named.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NamedPool {
    /// Its name.
    pub name: String,
    /// Its ranges, those that drain among them.
    pub ranges: Vec<IpNet>,
    /// Parts of the ranges from which no addresses are assigned.
    pub excluded: Vec<IpNet>,
    /// Ranges from which no more addresses are assigned.
    pub draining: Vec<IpNet>,
    /// Namespaces whose pods take their addresses from it.
    pub namespaces: Vec<String>,
    /// True if packets that leave the machine take its address; in a cluster the cluster says.
    pub masquerade: bool,
}

/// A change of the named pools.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PoolChange {
    /// Make the pool, or add to it; a draining range is used again.
    Add(NamedPool),
    /// Assign no more addresses from a range of the pool, or from all of them.
    Drain {
        /// The pool.
        name: String,
        /// The range.
        range: Option<IpNet>,
    },
}

impl NamedPool {
    /// The prefixes from which it gives addresses.
    #[must_use]
    pub fn active(&self) -> Vec<IpNet> {
        let open: Vec<IpNet> =
            self.ranges.iter().copied().filter(|range| !self.draining.contains(range)).collect();
        without(&open, &self.excluded)
    }

    fn grow(&mut self, more: &Self) {
        add(&mut self.ranges, &more.ranges);
        add(&mut self.excluded, &more.excluded);
        add(&mut self.namespaces, &more.namespaces);
        self.draining.retain(|range| !more.ranges.contains(range));
        self.masquerade = more.masquerade;
    }
}

fn add<T: Clone + PartialEq>(known: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !known.contains(one) {
            known.push(one.clone());
        }
    }
}

impl Settings {
    /// The pool of that name.
    #[must_use]
    pub fn named_pool(&self, name: &str) -> Option<&NamedPool> {
        self.named.iter().find(|pool| pool.name == name)
    }

    /// Ranges of named pools that no block of the node holds: subnets of this machine's own.
    pub(crate) fn named_subnets(&self, concerns: impl Fn(&NamedPool) -> bool) -> Vec<IpNet> {
        let all = self.named.iter().filter(|pool| concerns(pool)).flat_map(|pool| &pool.ranges);
        all.copied().filter(|range| !self.blocks().iter().any(|block| block.contains(range))).collect()
    }

    /// The node's blocks without what named pools took out of them.
    pub(crate) fn unnamed_blocks(&self) -> Vec<IpNet> {
        let taken: Vec<IpNet> = self.named.iter().flat_map(|pool| pool.ranges.clone()).collect();
        without(self.blocks(), &taken)
    }

    pub(crate) fn pool_facts(&self) -> Vec<PoolFacts> {
        let one =
            |pool: &NamedPool| PoolFacts { name: pool.name.clone(), namespaces: pool.namespaces.clone() };
        self.named.iter().map(one).collect()
    }

    pub(crate) fn change_pools(&mut self, change: &PoolChange) -> Result<(), MachineError> {
        match change {
            PoolChange::Add(pool) => {
                self.refuse_pool(pool)?;
                match self.named.iter_mut().find(|known| known.name == pool.name) {
                    Some(known) => known.grow(pool),
                    None => self.named.push(pool.clone()),
                }
                Ok(())
            }
            PoolChange::Drain { name, range } => self.drain(name, *range),
        }
    }

    fn drain(&mut self, name: &str, range: Option<IpNet>) -> Result<(), MachineError> {
        let known: Vec<String> = self.named.iter().map(|pool| pool.name.clone()).collect();
        let Some(pool) = self.named.iter_mut().find(|pool| pool.name == name) else {
            return Err(MachineError::NoPool { pool: name.to_owned(), known });
        };
        match range {
            None => pool.draining.clone_from(&pool.ranges),
            Some(range) if pool.ranges.contains(&range) => add(&mut pool.draining, &[range]),
            Some(range) => return Err(refused(name, format!("has no range {range}"))),
        }
        Ok(())
    }

    /// Refuses a pool that this node cannot have; init finds clashes with other addresses of the machine.
    fn refuse_pool(&self, pool: &NamedPool) -> Result<(), MachineError> {
        let name = &pool.name;
        if !is_name(name) {
            return Err(refused(
                name,
                "a name has up to 63 lower-case letters, digits and -, and is not node",
            ));
        }
        let known = self.named_pool(name).map_or(&[][..], |known| &known.ranges);
        if known.is_empty() && pool.ranges.is_empty() {
            return Err(refused(name, "needs a range"));
        }
        let all: Vec<&IpNet> = known.iter().chain(&pool.ranges).collect();
        if let Some(part) = pool.excluded.iter().find(|part| !all.iter().any(|range| range.contains(*part))) {
            return Err(refused(name, format!("has no range that holds the excluded {part}")));
        }
        pool.ranges
            .iter()
            .filter(|range| !known.contains(range))
            .try_for_each(|range| self.refuse_range(name, *range))
    }

    fn refuse_range(&self, name: &str, range: IpNet) -> Result<(), MachineError> {
        let is_shared = |other: &IpNet| other.contains(&range) || range.contains(other);
        for pool in &self.named {
            if let Some(other) = pool.ranges.iter().find(|other| is_shared(other)) {
                return Err(refused(name, format!("{range} overlaps {other} of pool {}", pool.name)));
            }
        }
        if self.is_clustered() && !self.blocks().iter().any(|block| block.contains(&range)) {
            let blocks: Vec<String> = self.blocks().iter().map(ToString::to_string).collect();
            let what = format!(
                "{range} is in no block of this node ({}): other nodes would not find its pods",
                blocks.join(", ")
            );
            let hint = self.part_like(range).map(|part| format!("; {part} would do")).unwrap_or_default();
            return Err(refused(name, what + &hint));
        }
        Ok(())
    }

    /// A part of the node's blocks that no named pool has, as large as `range` or half of the largest there is.
    fn part_like(&self, range: IpNet) -> Option<IpNet> {
        let is_alike = |block: &IpNet| block.addr().is_ipv4() == range.addr().is_ipv4();
        let largest = self.unnamed_blocks().into_iter().filter(is_alike).min_by_key(IpNet::prefix_len)?;
        let half = (largest.prefix_len() + 1).min(largest.max_prefix_len());
        let length = range.prefix_len().max(half);
        // The last one, as the cluster's network address is not in it.
        IpNet::new(largest.broadcast(), length).ok().map(|part| part.trunc())
    }
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name != "node" && name.bytes().all(known)
}

fn refused(pool: &str, why: impl Into<String>) -> MachineError {
    MachineError::Pool { pool: pool.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use naru_core::cluster::{ClusterSpec, NodeSpec};

    use super::super::Request;
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn pool(name: &str, ranges: &[&str], excluded: &[&str]) -> Request {
        let pool = NamedPool {
            name: name.into(),
            ranges: nets(ranges),
            excluded: nets(excluded),
            masquerade: true,
            ..NamedPool::default()
        };
        Request { pool: Some(PoolChange::Add(pool)), ..Request::default() }
    }

    fn refusal(before: Option<&Settings>, request: &Request) -> String {
        Settings::merge(before, request).unwrap_err().to_string()
    }

    #[test]
    fn a_pool_grows_drains_and_is_opened_again() {
        let first = Settings::merge(None, &pool("blue", &["10.9.0.0/24"], &["10.9.0.0/28"])).unwrap();
        let grown = Settings::merge(Some(&first), &pool("blue", &["10.9.1.0/24"], &[])).unwrap();
        assert_eq!(grown.named[0].ranges, nets(&["10.9.0.0/24", "10.9.1.0/24"]));
        assert_eq!(grown.pool_subnets().masqueraded, grown.named[0].ranges);
        let change = PoolChange::Drain { name: "blue".into(), range: Some("10.9.0.0/24".parse().unwrap()) };
        let drain = Request { pool: Some(change), ..Request::default() };
        let drained = Settings::merge(Some(&grown), &drain).unwrap();
        assert_eq!(drained.named[0].active(), nets(&["10.9.1.0/24"]));
        assert_eq!(drained.pool_subnets().all.len(), 2, "pods live in it still");
        let open = Settings::merge(Some(&drained), &pool("blue", &["10.9.0.0/24"], &[])).unwrap();
        assert!(open.named[0].draining.is_empty());
    }

    #[test]
    fn a_range_outside_the_nodes_blocks_is_refused_with_a_part_of_them() {
        let node = NodeSpec {
            name: "n1".into(),
            blocks: nets(&["10.32.0.0/24", "10.33.0.0/16", "fd00::/112"]),
            ..NodeSpec::default()
        };
        let cluster = ClusterSpec { nodes: vec![node], ..ClusterSpec::default() };
        let first = Request { node: Some("n1".into()), cluster: Some(cluster), ..Request::default() };
        let settings = Settings::merge(None, &first).unwrap();
        for (asked, part) in [
            ("10.9.0.0/24", "10.33.255.0/24"),
            ("10.0.0.0/8", "10.33.128.0/17"),
            ("fd09::/120", "fd00::ff00/120"),
            ("fd09::/64", "fd00::8000/113"),
        ] {
            let text = refusal(Some(&settings), &pool("blue", &[asked], &[]));
            assert!(text.ends_with(&format!("; {part} would do")), "{text}");
            Settings::merge(Some(&settings), &pool("blue", &[part], &[])).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_a_pool_is_refused_by_name() {
        let one = Settings::merge(None, &pool("blue", &["10.9.0.0/24"], &[])).unwrap();
        let text = refusal(Some(&one), &pool("red", &["10.9.0.128/25"], &[]));
        assert_eq!(text, "pool red: 10.9.0.128/25 overlaps 10.9.0.0/24 of pool blue");
        let text = refusal(None, &pool("red", &["10.9.0.0/24"], &["10.8.0.0/24"]));
        assert_eq!(text, "pool red: has no range that holds the excluded 10.8.0.0/24");
        assert!(refusal(None, &pool("node", &["10.9.0.0/24"], &[])).starts_with("pool node: a name has"));
        assert_eq!(refusal(None, &pool("red", &[], &[])), "pool red: needs a range");
        let change = PoolChange::Drain { name: "red".into(), range: None };
        let text = refusal(Some(&one), &Request { pool: Some(change), ..Request::default() });
        assert_eq!(text, "pool red: not on this node; its pools: blue");
    }
}
