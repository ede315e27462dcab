use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
    },
};

use super::{FAMILIES, LinkError, Links, family_of, host_len, socket::LinkRequest};

/// An address of this namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeAddress {
    /// The interface that holds it.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix in its own family's count.
    pub prefix_len: u8,
    /// True if duplicate address detection is still running or has failed.
    pub unsettled: bool,
    /// True if the address may go away by itself: it is deprecated, or temporary (RFC 8981). One that is secondary to
    /// another of its prefix stays as long as that does, and a route may name it.
    pub is_passing: bool,
}

impl NodeAddress {
    /// Returns true if the interface is `lo`, which is the first of every namespace.
    #[must_use]
    pub const fn is_on_loopback(&self) -> bool {
        self.index == 1
    }

    /// The network that its prefix says.
    #[must_use]
    pub fn network(&self) -> Option<IpNet> {
        IpNet::new(self.ip, self.prefix_len).ok().map(|net| net.trunc())
    }
}

impl Links {
    /// Returns every address of the namespace by interface, also loopback and link-local ones. Those of one interface
    /// are in the kernel's order, in which primary ones come first.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn addresses(&self) -> Result<Vec<NodeAddress>, LinkError> {
        self.addresses_by(0)
    }

    /// The addresses of one interface.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn addresses_of(&self, index: u32) -> Result<Vec<NodeAddress>, LinkError> {
        let mut list = self.addresses_by(index)?;
        // An older kernel lists those of all.
        list.retain(|address| address.index == index);
        Ok(list)
    }

    /// Returns the addresses of one interface if the kernel can filter by it, else all; 0 stands for all.
    fn addresses_by(&self, index: u32) -> Result<Vec<NodeAddress>, LinkError> {
        let mut list = Vec::new();
        for family in FAMILIES {
            let question = RouteNetlinkMessage::GetAddress(message(index, family, 0));
            let answers = self.dump(&question, "addresses: list")?;
            list.extend(answers.iter().filter_map(parsed).filter(|found| family_of(found.ip) == family));
        }
        list.sort_by_key(|address: &NodeAddress| (address.ip.is_ipv6(), address.index));
        Ok(list)
    }
}

impl Links {
    /// Adds an address of link scope to the interface, unless it has it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_link_address(&self, index: u32, device: &str, ip: IpAddr) -> Result<(), LinkError> {
        let mut message = message(index, family_of(ip), host_len(ip));
        message.header.scope = AddressScope::Link;
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        let what = format!("{device}: add address {ip}");
        // To replace it would be announced, though nothing changes.
        let request =
            LinkRequest::new(RouteNetlinkMessage::NewAddress(message), what).with(NLM_F_CREATE | NLM_F_EXCL);
        match self.ask(request) {
            Err(error) if !error.is_present() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The request that gives the interface the address, alone in its prefix and usable at once (no duplicate detection).
pub fn add(index: u32, device: &str, ip: IpAddr) -> LinkRequest {
    let mut message = message(index, family_of(ip), host_len(ip));
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    if ip.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad | AddressHeaderFlags::Permanent;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Permanent));
    }
    LinkRequest::new(RouteNetlinkMessage::NewAddress(message), format!("{device}: add address {ip}"))
        .with(NLM_F_CREATE | NLM_F_REPLACE)
}

/// A message about addresses of the family, without attributes.
fn message(index: u32, family: AddressFamily, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    let scope = AddressScope::Universe;
    message.header = AddressHeader { family, prefix_len, flags: AddressHeaderFlags::empty(), scope, index };
    message
}

/// Reads the kernel's message about one address. On a point-to-point interface the own address is `Local`.
fn parsed(message: &RouteNetlinkMessage) -> Option<NodeAddress> {
    let RouteNetlinkMessage::NewAddress(AddressMessage { header, attributes, .. }) = message else {
        return None;
    };
    let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
    for attribute in attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let ip = local.or(address)?;
    // The bit that means temporary for IPv6 means secondary for IPv4.
    let is_temporary = ip.is_ipv6() && flags.contains(AddressFlags::Secondary);
    Some(NodeAddress {
        index: header.index,
        ip,
        prefix_len: header.prefix_len,
        unsettled: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        is_passing: is_temporary || flags.contains(AddressFlags::Deprecated),
    })
}
