use std::fmt;
use std::net::IpAddr;

use super::view::View;
use super::{Action, Facts, LiveLink, Pass, Policy, reconcile};
use crate::ids::Alias;
use crate::ipam::{Domain, Millis, Row, State};

/// The kind of a difference between the store and the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An address, a veth, a map entry or a route is kept by something that is gone.
    Leak,
    /// Two live holders have one address.
    Duplicate,
    /// The kernel has something live that the store does not know.
    Stranger,
    /// A live attachment lacks something in the kernel.
    Missing,
}

impl Kind {
    /// `leak`, `duplicate`, `stranger`, `missing`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Duplicate => "duplicate",
            Self::Stranger => "stranger",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// One difference between the store and the kernel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// The address that is concerned; none for a veth without one, or if only the index is left.
    pub address: Option<IpAddr>,
    /// The difference in words.
    pub what: String,
}

impl Finding {
    /// A difference that concerns an address.
    #[must_use]
    pub fn of(kind: Kind, address: IpAddr, what: impl Into<String>) -> Self {
        Self { kind, address: Some(address), what: what.into() }
    }
}

/// Every difference that one look shows, whether or not a reconciler would act on it already; the caller must look
/// twice before it believes those that need two looks. Sorted, without duplicates.
#[must_use]
pub fn findings(facts: &Facts, policy: Policy, now: Millis) -> Vec<Finding> {
    let at_once = Policy { gap: 0, ..policy };
    let (_, seen) = reconcile(facts, at_once, &Pass::default(), now);
    let (actions, _) = reconcile(facts, at_once, &seen, now);
    let mut all: Vec<Finding> = actions.iter().flat_map(|action| described(facts, action)).collect();
    let view = View::new(facts);
    all.extend(facts.rows.iter().filter_map(|row| duplicate(&view, row)));
    all.sort_unstable();
    all.dedup();
    all
}

fn described(facts: &Facts, action: &Action) -> Vec<Finding> {
    let at = |ifindex: u32| interface(facts, ifindex);
    let one = match action {
        Action::Adopt { owner, addresses, ifindex, .. } => {
            let what = format!("held by {} of {owner}, which the store does not know", at(*ifindex));
            return addresses.iter().map(|ip| Finding::of(Kind::Stranger, *ip, what.clone())).collect();
        }
        Action::Free { domain, address, .. } => {
            Finding::of(Kind::Leak, *address, freed(facts, domain, *address))
        }
        Action::Quarantine { address, holders } => {
            let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
            Finding::of(Kind::Duplicate, *address, format!("live at {}", names.join(" and ")))
        }
        Action::DeleteLink { name, alias, .. } => {
            let what = format!("veth {name} ({alias}): its attachment is gone");
            Finding { kind: Kind::Leak, address: None, what }
        }
        Action::DeleteEntry(entry) => {
            let (ifindex, generation) = (at(entry.ifindex), entry.generation.0);
            let what =
                format!("map entry of generation {generation} leads to {ifindex}, which is not its holder");
            Finding::of(Kind::Leak, entry.address, what)
        }
        Action::DeleteRoute(route) => {
            let what = format!("route leads to {}, which is not its holder", at(route.ifindex));
            Finding::of(Kind::Leak, route.address, what)
        }
        Action::ForgetInterface(ifindex) => {
            let what = format!("settings or counters of interface {ifindex}, which is gone");
            Finding { kind: Kind::Leak, address: None, what }
        }
        Action::RestoreEntry { address, ifindex, .. } => {
            Finding::of(Kind::Missing, *address, format!("no map entry leads to {}", at(*ifindex)))
        }
        Action::RestoreRoute { address, ifindex } => {
            Finding::of(Kind::Missing, *address, format!("no route leads to {}", at(*ifindex)))
        }
    };
    vec![one]
}

fn freed(facts: &Facts, domain: &Domain, address: IpAddr) -> String {
    let row = facts.rows.iter().find(|row| row.domain == *domain && row.address == address);
    match row.and_then(|row| row.owner.as_ref().map(|owner| (owner, row))) {
        Some((owner, row)) if row.pod.is_empty() => format!("kept for {owner}, which is gone"),
        Some((owner, row)) => format!("kept for pod {} ({owner}), which is gone", row.pod),
        None => "quarantined, but its holders are gone".to_owned(),
    }
}

fn interface(facts: &Facts, ifindex: u32) -> String {
    let known = facts.links.iter().find(|link| link.ifindex == ifindex);
    known.map_or_else(|| format!("interface {ifindex}"), |link| format!("veth {}", link.name))
}

/// Reports an address that the store keeps for one veth while another live veth has it.
fn duplicate(view: &View<'_>, row: &Row) -> Option<Finding> {
    if row.domain != Domain::naru() {
        return None;
    }
    let own = row.owner.as_ref().map(|owner| Alias::new(owner, row.generation));
    let others: Vec<&LiveLink> =
        view.holders(row.address).iter().copied().filter(|link| Some(&link.alias) != own.as_ref()).collect();
    let names = || others.iter().map(|link| link.alias.to_string()).collect::<Vec<_>>().join(" and ");
    let what = match row.state {
        _ if others.is_empty() => return None,
        State::Quarantined => format!("quarantined, live at {}", names()),
        State::Assigned => format!("assigned to {} and live at {}", own?, names()),
        State::Reserved => format!("reserved ({}) and live at {}", row.note, names()),
        State::Cooling => return None,
    };
    Some(Finding::of(Kind::Duplicate, row.address, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttachmentId, Generation, NetnsId};
    use crate::reconcile::{HostRoute, MapEntry};

    fn id(container: &str) -> AttachmentId {
        AttachmentId::new("naru", container, "eth0").unwrap()
    }

    fn address() -> IpAddr {
        "10.0.0.1".parse().unwrap()
    }

    fn row(container: &str) -> Row {
        Row {
            state: State::Assigned,
            owner: Some(id(container)),
            netns: Some(NetnsId::Cookie(1)),
            ifindex: 7,
            generation: Generation(3),
            confirmed: true,
            ..Row::reserved(Domain::naru(), address(), "", 0)
        }
    }

    fn link(container: &str, ifindex: u32, generation: u64) -> LiveLink {
        LiveLink {
            ifindex,
            name: format!("naru{ifindex}"),
            alias: Alias::new(&id(container), Generation(generation)),
            addresses: vec![address()],
            netns: None,
        }
    }

    /// One attachment, as it should be.
    fn sound() -> Facts {
        Facts {
            rows: vec![row("c1")],
            links: vec![link("c1", 7, 3)],
            netns: [NetnsId::Cookie(1)].into(),
            entries: vec![MapEntry { address: address(), ifindex: 7, generation: Generation(3) }],
            routes: vec![HostRoute { address: address(), ifindex: 7 }],
            orphans: vec![],
        }
    }

    fn lines(facts: &Facts) -> Vec<String> {
        let all = findings(facts, Policy::default(), 1_000_000);
        all.iter().map(|finding| format!("{}: {}", finding.kind, finding.what)).collect()
    }

    #[test]
    fn a_sound_node_has_no_findings() {
        assert!(lines(&sound()).is_empty());
    }

    #[test]
    fn an_address_without_namespace_and_veth_is_a_leak() {
        let facts = Facts {
            links: vec![],
            entries: vec![],
            routes: vec![],
            netns: [NetnsId::Cookie(9)].into(),
            ..sound()
        };
        assert_eq!(lines(&facts), ["leak: kept for naru/c1/eth0, which is gone"]);
    }

    #[test]
    fn a_veth_that_the_store_does_not_know_is_a_stranger() {
        let facts = Facts { rows: vec![], ..sound() };
        assert_eq!(
            lines(&facts),
            ["stranger: held by veth naru7 of naru/c1/eth0, which the store does not know"]
        );
    }

    #[test]
    fn an_address_that_a_second_veth_has_too_is_a_duplicate() {
        let mut facts = sound();
        facts.links.push(link("c2", 8, 1));
        facts.routes.push(HostRoute { address: address(), ifindex: 8 });
        let found = lines(&facts);
        assert!(
            found.contains(
                &"duplicate: assigned to naru1:naru/c1/eth0/3 and live at naru1:naru/c2/eth0/1".to_owned()
            ),
            "{found:?}"
        );
    }

    #[test]
    fn what_the_kernel_lacks_or_has_too_much_is_named_each_for_itself() {
        let facts = Facts { entries: vec![], routes: vec![], ..sound() };
        assert_eq!(
            lines(&facts),
            ["missing: no map entry leads to veth naru7", "missing: no route leads to veth naru7"]
        );
        let mut facts = sound();
        let stray: IpAddr = "10.0.0.9".parse().unwrap();
        facts.entries.push(MapEntry { address: stray, ifindex: 9, generation: Generation(1) });
        facts.routes.push(HostRoute { address: stray, ifindex: 9 });
        assert_eq!(
            lines(&facts),
            [
                "leak: map entry of generation 1 leads to interface 9, which is not its holder",
                "leak: route leads to interface 9, which is not its holder"
            ]
        );
    }

    #[test]
    fn what_is_left_of_an_interface_in_the_maps_is_a_leak() {
        let facts = Facts { orphans: vec![9], ..sound() };
        assert_eq!(lines(&facts), ["leak: settings or counters of interface 9, which is gone"]);
    }

    #[test]
    fn an_add_under_way_is_no_finding() {
        let young = Row { confirmed: false, since: 990_000, ..row("c1") };
        let facts = Facts {
            rows: vec![young],
            links: vec![],
            entries: vec![],
            routes: vec![],
            netns: [NetnsId::Cookie(9)].into(),
            orphans: vec![],
        };
        assert!(lines(&facts).is_empty());
    }
}
