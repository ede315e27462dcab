use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use super::{FAMILIES, LinkError, Links, Mac, family_of, socket::LinkRequest};

/// A permanent neighbour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Neighbour {
    /// The interface.
    pub index: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
}

impl Links {
    /// The permanent neighbours on the interface.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn neighbours(&self, index: u32) -> Result<Vec<Neighbour>, LinkError> {
        let mut list = Vec::new();
        for family in FAMILIES {
            let mut question = message(0, family);
            question.attributes.push(NeighbourAttribute::IfIndex(index));
            let answers = self.dump(&RouteNetlinkMessage::GetNeighbour(question), "neighbours: list")?;
            let ours = |found: &Neighbour| found.index == index && family_of(found.ip) == family;
            list.extend(answers.iter().filter_map(parsed).filter(ours));
        }
        list.sort_unstable();
        Ok(list)
    }

    /// Adds the permanent neighbour or gives it this MAC address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_neighbour(&self, neighbour: &Neighbour) -> Result<(), LinkError> {
        self.ask(add(neighbour, &format!("link {}", neighbour.index))).map(drop)
    }

    /// Removes the neighbour; `false` when it was gone already.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn delete_neighbour(&self, index: u32, ip: IpAddr) -> Result<bool, LinkError> {
        let mut message = message(index, family_of(ip));
        message.attributes.push(NeighbourAttribute::Destination(ip.into()));
        let what = format!("link {index}: delete neighbour {ip}");
        self.removed(LinkRequest::new(RouteNetlinkMessage::DelNeighbour(message), what))
    }
}

/// The request that adds the permanent neighbour on the device of that name, or gives it this MAC address.
pub fn add(neighbour: &Neighbour, device: &str) -> LinkRequest {
    let Neighbour { index, ip, mac } = *neighbour;
    let mut message = message(index, family_of(ip));
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(ip.into()),
        NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
    ];
    LinkRequest::new(RouteNetlinkMessage::NewNeighbour(message), format!("{device}: add neighbour {ip}"))
        .with(NLM_F_CREATE | NLM_F_REPLACE)
}

/// A message about neighbours of the family, without attributes.
fn message(index: u32, family: AddressFamily) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = index;
    message
}

/// Reads the kernel's message about one neighbour, if it is a permanent one.
fn parsed(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        return None;
    };
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(octets) => mac = octets.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    let permanent = message.header.state == NeighbourState::Permanent;
    permanent.then_some(Neighbour { index: message.header.ifindex, ip: ip?, mac: mac? })
}
