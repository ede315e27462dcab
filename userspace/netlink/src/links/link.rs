use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
};

use super::{LinkError, Links, Mac, socket::LinkRequest};

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind as `ip -d link` names it (`veth`, `vxlan`), empty for hardware.
    pub kind: String,
    /// Alias, empty when there is none.
    pub alias: String,
    /// MAC address; `None` where the link layer has another form.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// True if it is administratively up.
    pub up: bool,
    /// Index of the peer in the peer's own namespace.
    pub peer_index: Option<u32>,
    /// This namespace's number for the peer's namespace; `None` when the peer is in this one.
    pub peer_netnsid: Option<i32>,
    /// True if a native XDP program is attached.
    pub has_xdp: bool,
}

/// A host veth of ours: its owner is in the alias.
pub type HostVeth = Link;

impl Link {
    /// Returns true if it is an Ethernet link: it has a valid MAC address, which loopback and IP tunnels do not have.
    #[must_use]
    pub fn is_ethernet(&self) -> bool {
        self.mac.is_some_and(|mac| mac.0 != [0; 6])
    }
}

impl Links {
    /// The link of that name.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn link(&self, name: &str) -> Result<Option<Link>, LinkError> {
        present(self.ask(look(name)))
    }

    /// The link of that index.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn link_at(&self, index: u32) -> Result<Option<Link>, LinkError> {
        let mut message = question();
        message.header.index = index;
        present(
            self.ask(LinkRequest::new(RouteNetlinkMessage::GetLink(message), format!("link {index}: look"))),
        )
    }

    /// Every host veth whose alias is the caller's ([`crate::Marks::alias_prefix`]).
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn host_veths(&self) -> Result<Vec<HostVeth>, LinkError> {
        let mut message = question();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
        let answers = self.dump(&RouteNetlinkMessage::GetLink(message), "links: list")?;
        Ok(answers.iter().filter_map(parsed).filter(|link| self.is_host_veth(link)).collect())
    }

    /// Deletes the veth of that name if its alias is ours; `false` when it was gone already.
    /// Its peer, its routes, neighbours and filters go with it.
    ///
    /// # Errors
    /// [`LinkError::Foreign`] when the alias is not ours; the kernel refuses.
    pub fn delete_host_veth(&self, name: &str) -> Result<bool, LinkError> {
        self.link(name)?.map_or(Ok(false), |link| self.delete_seen_veth(&link))
    }

    /// Does the same as [`Links::delete_host_veth`] for a link that was looked up already: this takes the kernel's
    /// lock, for which we may wait long, once less.
    ///
    /// # Errors
    /// As there.
    pub fn delete_seen_veth(&self, link: &Link) -> Result<bool, LinkError> {
        if self.is_host_veth(link) {
            return self.removed(delete(link.index, &link.name));
        }
        let reason = format!("a {} link with alias \"{}\"", link.kind, link.alias);
        Err(LinkError::Foreign { device: link.name.clone(), reason })
    }

    /// Deletes a veth that the caller knows for its own by more than its alias. Returns false if it was gone already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn delete_known_veth(&self, link: &Link) -> Result<bool, LinkError> {
        self.removed(delete(link.index, &link.name))
    }

    /// Returns true if this is the host end of a pod of the caller's.
    fn is_host_veth(&self, link: &Link) -> bool {
        link.kind == "veth" && link.alias.starts_with(self.marks().alias_prefix)
    }
}

/// A question about links that leaves the counters out of the answer.
pub fn question() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// The request for the link of that name.
pub fn look(name: &str) -> LinkRequest {
    let mut message = question();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    LinkRequest::new(RouteNetlinkMessage::GetLink(message), format!("{name}: look"))
}

/// The request that brings the link up.
pub fn up(index: u32, name: &str) -> LinkRequest {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    LinkRequest::new(RouteNetlinkMessage::SetLink(message), format!("{name}: set up"))
}

/// The request that brings a pod's host veth up, without ARP and neighbour discovery of its own: a change of its MAC
/// flushes its neighbours, even permanent ones, and the ones that the kernel then makes need no answer from the pod, as
/// `to_pod` writes the pod's MAC.
pub fn up_without_neighbour_discovery(index: u32, name: &str) -> LinkRequest {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up | LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Up | LinkFlags::Noarp;
    LinkRequest::new(RouteNetlinkMessage::SetLink(message), format!("{name}: set up"))
}

/// The request that sets attributes of the link.
pub fn set(index: u32, attributes: Vec<LinkAttribute>, what: String) -> LinkRequest {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    LinkRequest::new(RouteNetlinkMessage::SetLink(message), what)
}

/// The request that deletes the link.
pub fn delete(index: u32, name: &str) -> LinkRequest {
    let mut message = LinkMessage::default();
    message.header.index = index;
    LinkRequest::new(RouteNetlinkMessage::DelLink(message), format!("{name}: delete"))
}

/// The link in an answer, `None` where the kernel knows none.
pub fn present(outcome: super::socket::LinkAnswer) -> Result<Option<Link>, LinkError> {
    match outcome {
        Ok(Some(answer)) => Ok(parsed(&answer.decode("link: look")?)),
        Ok(None) => Ok(None),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the kernel's message about one link.
pub fn parsed(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message) => Some(facts(message)),
        _ => None,
    }
}

/// The facts of a link message.
fn facts(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: String::new(),
        alias: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        peer_index: None,
        peer_netnsid: None,
        has_xdp: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Address(octets) => link.mac = octets.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => link.peer_index = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netnsid = Some(*id),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
            LinkAttribute::Xdp(infos) => link.has_xdp = infos.iter().any(is_native),
            _ => {}
        }
    }
    link
}

/// Returns true for a program that the driver runs, before there is a packet of the kernel's.
fn is_native(info: &LinkXdp) -> bool {
    matches!(info, LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Multiple) | LinkXdp::DrvProgId(1..))
}

/// The kind among the parts of `IFLA_LINKINFO`.
fn kind(infos: &[LinkInfo]) -> String {
    let kind = infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None });
    kind.map(ToString::to_string).unwrap_or_default()
}
