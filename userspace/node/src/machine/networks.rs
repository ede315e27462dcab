//! Requests of network configurations to this machine: each list of subnets is one pool, whatever the number of
//! networks that name it, and so are its properties. A network may change its own request; it may not change
//! another's.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Delegated, MachineError, Pool, Settings, Standalone};

/// The name of the network in the list that init writes.
pub const OWN_NETWORK: &str = "naru";

impl Standalone {
    /// Returns true if the request only names the pool: `naru init` for an existing pool, and a list of ours from
    /// before it had all keys.
    fn says_nothing(&self) -> bool {
        self.network == OWN_NETWORK && self.masquerade.is_none() && self.reserved.is_empty()
    }

    /// Returns true if the pool is what the network asks for.
    pub(super) fn is_served_by(&self, pool: &Pool) -> bool {
        self.subnets == pool.subnets
            && pool.networks.contains(&self.network)
            && (self.says_nothing() || self.differing(pool).is_none())
    }

    /// Returns the first key in which the pool differs: its name, the requested value, and the present one.
    fn differing(&self, pool: &Pool) -> Option<(&'static str, String, String)> {
        let asked = self.masquerade.unwrap_or(false);
        if asked != pool.masquerade {
            return Some(("ipMasq", asked.to_string(), pool.masquerade.to_string()));
        }
        let gateways = |list: &[std::net::IpAddr]| match list {
            [] => "none".to_owned(),
            list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        (self.reserved != pool.reserved)
            .then(|| ("gateway", gateways(&self.reserved), gateways(&pool.reserved)))
    }
}

impl Settings {
    /// Serves the network: by the pool with the same subnets, or by a new one that replaces those that were this
    /// network's alone and share a subnet with it.
    pub(super) fn serve(&mut self, asked: &Standalone) -> Result<(), MachineError> {
        for pool in &self.pools {
            self.refuse_other_value(asked, pool)?;
            self.refuse_overlap(asked, pool)?;
        }
        let stays = |known: &Pool| known.subnets == asked.subnets || !known.overlaps(&asked.subnets);
        self.pools.retain(stays);
        // A configuration names one list of subnets, so it has left the others.
        for pool in self.pools.iter_mut().filter(|pool| pool.subnets != asked.subnets) {
            pool.networks.remove(&asked.network);
        }
        let known = self.pools.iter_mut().find(|known| known.subnets == asked.subnets);
        let Some(pool) = known else {
            self.pools.push(Pool {
                subnets: asked.subnets.clone(),
                reserved: asked.reserved.clone(),
                masquerade: asked.masquerade.unwrap_or(false),
                networks: BTreeSet::from([asked.network.clone()]),
            });
            return Ok(());
        };
        pool.networks.insert(asked.network.clone());
        if !asked.says_nothing() {
            pool.masquerade = asked.masquerade.unwrap_or(false);
            pool.reserved.clone_from(&asked.reserved);
        }
        Ok(())
    }

    /// Notes the subnets from which another IPAM gives addresses; the latest configuration of a network counts.
    pub(super) fn delegate(&mut self, asked: &Delegated) -> Result<(), MachineError> {
        let all = self.delegated.get_or_insert_default();
        if asked.subnets.is_empty() {
            return Ok(());
        }
        let Some(known) = all.iter_mut().find(|known| known.subnets == asked.subnets) else {
            all.push(asked.clone());
            return Ok(());
        };
        let other = known.networks.difference(&asked.networks).next();
        if let (true, Some(other)) = (known.masquerade != asked.masquerade, other) {
            let network = asked.networks.first().map_or("", String::as_str);
            let values = ("ipMasq", asked.masquerade.to_string(), known.masquerade.to_string());
            return Err(disagreement(network, other, &asked.subnets, values));
        }
        known.masquerade = asked.masquerade;
        known.networks.extend(asked.networks.iter().cloned());
        Ok(())
    }

    /// Refuses a value that differs from another network's.
    fn refuse_other_value(&self, asked: &Standalone, pool: &Pool) -> Result<(), MachineError> {
        if pool.subnets != asked.subnets || asked.says_nothing() {
            return Ok(());
        }
        match (self.other_network(asked, pool), asked.differing(pool)) {
            (Some(other), Some(values)) => Err(disagreement(&asked.network, other, &pool.subnets, values)),
            _ => Ok(()),
        }
    }

    /// Refuses a part of another network's addresses.
    fn refuse_overlap(&self, asked: &Standalone, pool: &Pool) -> Result<(), MachineError> {
        if pool.subnets == asked.subnets || !pool.overlaps(&asked.subnets) {
            return Ok(());
        }
        let Some(other) = self.other_network(asked, pool) else { return Ok(()) };
        let why = format!(
            "its subnet {} overlaps {} of network {other}: give one of the two other addresses",
            list(&asked.subnets),
            list(&pool.subnets)
        );
        Err(MachineError::Network { network: asked.network.clone(), why })
    }

    /// Returns another network that names the pool. The list that init writes follows the pool and does not count.
    fn other_network<'a>(&self, asked: &Standalone, pool: &'a Pool) -> Option<&'a str> {
        let is_other = |name: &&String| **name != asked.network && !(self.conflist && *name == OWN_NETWORK);
        pool.networks.iter().find(is_other).map(String::as_str)
    }
}

fn disagreement(
    network: &str,
    other: &str,
    subnets: &[IpNet],
    (key, asked, known): (&str, String, String),
) -> MachineError {
    let subnets = list(subnets);
    let why = format!(
        "{key} is {asked}, but network {other} of the same subnet {subnets} has {known}: they share the addresses, \
         so both must say the same"
    );
    MachineError::Network { network: network.to_owned(), why }
}

fn list(subnets: &[IpNet]) -> String {
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;

    fn asked(network: &str, subnet: &str, masquerade: bool) -> Standalone {
        Standalone {
            network: network.into(),
            subnets: vec![subnet.parse().unwrap()],
            reserved: Vec::new(),
            masquerade: Some(masquerade),
            allow_overlap: false,
        }
    }

    fn merged(before: Option<&Settings>, asked: Standalone) -> Result<Settings, String> {
        let request = Request { standalone: Some(asked), ..Request::default() };
        Settings::merge(before, &request).map_err(|error| error.to_string())
    }

    #[test]
    fn a_network_may_change_what_it_asked_for() {
        let one = merged(None, asked("a", "10.22.0.0/16", true)).unwrap();
        let same = merged(Some(&one), asked("a", "10.22.0.0/16", false)).unwrap();
        assert_eq!(
            (same.pools.len(), same.pools[0].masquerade),
            (1, false),
            "the later configuration counts"
        );
        let two = merged(Some(&same), asked("b", "10.23.0.0/16", true)).unwrap();
        let subnets = two.pool_subnets();
        assert_eq!((subnets.all.len(), subnets.masqueraded), (2, vec!["10.23.0.0/16".parse().unwrap()]));
        let changed = merged(Some(&two), asked("b", "10.23.0.0/17", true)).unwrap();
        assert_eq!(changed.pool_subnets().masqueraded, ["10.23.0.0/17".parse().unwrap()]);
        assert_eq!(changed.pools.len(), 2, "the subnets of one configuration were changed");
    }

    #[test]
    fn a_network_may_not_take_or_change_what_is_anothers() {
        let one = merged(None, asked("a", "10.22.0.0/16", true)).unwrap();
        assert_eq!(
            merged(Some(&one), asked("b", "10.22.4.0/24", true)).unwrap_err(),
            "network b: its subnet 10.22.4.0/24 overlaps 10.22.0.0/16 of network a: give one of the two other addresses"
        );
        assert_eq!(
            merged(Some(&one), asked("b", "10.22.0.0/16", false)).unwrap_err(),
            "network b: ipMasq is false, but network a of the same subnet 10.22.0.0/16 has true: they share the \
             addresses, so both must say the same"
        );
        let gateway =
            Standalone { reserved: vec!["10.22.0.9".parse().unwrap()], ..asked("b", "10.22.0.0/16", true) };
        let text = merged(Some(&one), gateway).unwrap_err();
        assert!(text.starts_with("network b: gateway is 10.22.0.9, but network a"), "{text}");
        let both = merged(Some(&one), asked("b", "10.22.0.0/16", true)).unwrap();
        assert_eq!(both.pools[0].networks.len(), 2, "two that say the same share the addresses");
        assert!(merged(Some(&both), asked("a", "10.22.0.0/16", false)).unwrap_err().contains("network b of"));
    }

    #[test]
    fn what_a_network_left_is_free_for_another() {
        let one = merged(None, asked("a", "10.22.0.0/16", true)).unwrap();
        let moved = merged(Some(&one), asked("a", "10.23.0.0/16", true)).unwrap();
        assert_eq!(moved.pools.len(), 2, "pods live in the first still");
        let other = merged(Some(&moved), asked("b", "10.22.0.0/16", false)).unwrap();
        assert!(!other.pools[0].masquerade);
    }

    #[test]
    fn the_list_of_init_follows_the_network_and_an_older_one_changes_nothing() {
        let one = Settings { conflist: true, ..merged(None, asked("a", "10.22.0.0/16", true)).unwrap() };
        let old = Standalone { masquerade: None, ..asked(OWN_NETWORK, "10.22.0.0/16", true) };
        let both = merged(Some(&one), old.clone()).unwrap();
        assert!(both.pools[0].masquerade && old.is_served_by(&both.pools[0]));
        let changed = merged(Some(&both), asked("a", "10.22.0.0/16", false)).unwrap();
        assert!(!changed.pools[0].masquerade, "the list is written anew");
    }

    #[test]
    fn networks_of_another_ipam_agree_on_a_subnet_too() {
        let asked = |network: &str, masquerade| Delegated {
            subnets: vec!["10.9.0.0/24".parse().unwrap()],
            masquerade,
            networks: BTreeSet::from([network.to_owned()]),
        };
        let merged = |before: Option<&Settings>, delegated: Delegated| {
            Settings::merge(before, &Request { delegated: Some(delegated), ..Request::default() })
        };
        let one = merged(None, asked("a", true)).unwrap();
        let off = merged(Some(&one), asked("a", false)).unwrap();
        assert_eq!(off.delegated, Some(vec![asked("a", false)]));
        let text = merged(Some(&one), asked("b", false)).unwrap_err().to_string();
        assert!(
            text.starts_with("network b: ipMasq is false, but network a of the same subnet 10.9.0.0/24"),
            "{text}"
        );
    }
}
