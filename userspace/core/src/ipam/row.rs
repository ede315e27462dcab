use std::fmt;
use std::net::IpAddr;

use crate::ids::{AttachmentId, Generation, NetnsId, PodName};

/// Milliseconds by the caller's clock, which never goes backwards as long as the ledger lives.
pub type Millis = u64;

/// The scope of uniqueness: within a domain no address is held twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Domain(String);

impl Domain {
    /// The domain of all addresses that naru's datapath carries.
    #[must_use]
    pub fn naru() -> Self {
        Self("naru".to_owned())
    }

    /// The domain of addresses that are given to another main plugin (bridge, macvlan) for this network.
    #[must_use]
    pub fn ipam(network: &str) -> Self {
        Self(format!("ipam/{network}"))
    }

    /// A domain by its stored name.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The domain's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Family of an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which addresses are given out.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        })
    }
}

/// The use of an address that is not free.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// An attachment holds it, or is about to: see [`Row::confirmed`].
    Assigned,
    /// It was given back a moment ago; it is used again only after its time, or if nothing else is free.
    Cooling,
    /// It is given out to nobody: gateway, node address, network, broadcast or subnet-router anycast address.
    Reserved,
    /// Two live holders were seen with it; nobody gets it until one of them is gone.
    Quarantined,
}

impl State {
    /// The state as tables show it; a quarantined address is shown as reserved.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Assigned => "ASSIGNED",
            Self::Cooling => "COOLING",
            Self::Reserved | Self::Quarantined => "RESERVED",
        }
    }
}

/// One address that is not free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The domain in which the address is unique.
    pub domain: Domain,
    /// The address.
    pub address: IpAddr,
    /// Its use.
    pub state: State,
    /// The attachment that holds it, or held it before it was given back; none for a reserved address.
    pub owner: Option<AttachmentId>,
    /// The pod of that attachment.
    pub pod: PodName,
    /// The reason for which it is reserved or quarantined (`gateway`, `node address`). For an assigned address it is
    /// the reason of its pod's reservation, which returns when the address is given back. Else empty.
    pub note: String,
    /// Network namespace of the holder.
    pub netns: Option<NetnsId>,
    /// Index of the holder's interface on the node; 0 until the attachment is wired.
    pub ifindex: u32,
    /// Number of the assignment.
    pub generation: Generation,
    /// Time at which it came into this state.
    pub since: Millis,
    /// True if the attachment was wired after the address had been assigned.
    pub confirmed: bool,
}

impl Row {
    /// Returns true if the address stays reserved for its pod when it is given back.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.state == State::Assigned && !self.note.is_empty()
    }

    /// A row that keeps the address from everybody but `pod`.
    #[must_use]
    pub fn kept_for(domain: Domain, address: IpAddr, (pod, note): (&PodName, &str), since: Millis) -> Self {
        let pod = PodName { uid: String::new(), ..pod.clone() };
        Self { pod, ..Self::reserved(domain, address, note, since) }
    }

    /// A reserved address.
    #[must_use]
    pub fn reserved(domain: Domain, address: IpAddr, note: &str, since: Millis) -> Self {
        Self {
            domain,
            address,
            state: State::Reserved,
            owner: None,
            pod: PodName::default(),
            note: note.to_owned(),
            netns: None,
            ifindex: 0,
            generation: Generation(0),
            since,
            confirmed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datapath_and_each_foreign_network_are_domains_of_their_own() {
        assert_eq!(Domain::naru().to_string(), "naru");
        assert_eq!(Domain::ipam("naru").as_str(), "ipam/naru");
        assert_eq!(Domain::from_stored("ipam/x".into()), Domain::ipam("x"));
    }

    #[test]
    fn families_and_states_are_named_as_tables_show_them() {
        assert_eq!(Family::ALL.map(|family| family.to_string()), ["ipv4", "ipv6"]);
        let states = [State::Assigned, State::Cooling, State::Reserved, State::Quarantined];
        assert_eq!(states.map(State::label), ["ASSIGNED", "COOLING", "RESERVED", "RESERVED"]);
    }
}
