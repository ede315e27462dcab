use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo,
        LinkMessage,
    },
};

use super::{
    LinkError, Links, Mac,
    link::{Link, delete, look, present, set},
    socket::{LinkAnswer, LinkRequest},
};

/// A veth pair to be made: one end here, the other born in a pod's namespace.
#[derive(Clone, Debug)]
pub struct PairSpec<'a> {
    /// Name of the end here, at most 15 bytes.
    pub host_name: &'a str,
    /// MAC address of the end here, the pod's gateway.
    pub host_mac: Mac,
    /// Alias of the end here, starting with [`crate::Marks::alias_prefix`], at most 255 bytes.
    pub alias: &'a str,
    /// Name of the end in the pod.
    pub pod_name: &'a str,
    /// MAC address of the end in the pod.
    pub pod_mac: Mac,
    /// MTU of both ends in bytes.
    pub mtu: u32,
}

impl Links {
    /// Makes the pair, both ends down, the end here with its alias and without IPv6 link-local address. Returns the
    /// index of the end here. A killed process never leaves a pair without its alias, which nobody would know for ours:
    /// the kernel finishes one datagram before it handles the signal.
    ///
    /// # Errors
    /// The kernel refuses ([`LinkError::is_present`] when either name is taken); then nothing stays behind.
    pub fn create_pair(&self, spec: &PairSpec<'_>, netns: BorrowedFd<'_>) -> Result<u32, LinkError> {
        let name = spec.host_name;
        let create = create(spec, netns);
        if self.link(name)?.is_some() {
            // The messages that follow go by name, and would mark whichever link has it.
            return Err(LinkError::kernel(create.what, libc::EEXIST));
        }
        let requests = vec![
            create,
            of_name(name, alias(spec.alias), format!("veth {name}: set alias {}", spec.alias)),
            of_name(name, quiet(), format!("{name}: set addrgenmode none")),
            look(name),
        ];
        let mut outcomes = self.socket().exchange(requests)?.into_iter();
        outcomes.next().unwrap_or(Ok(None))?;
        let made = present(outcomes.next_back().unwrap_or(Ok(None)))?
            .ok_or_else(|| LinkError::kernel(format!("{name}: look"), libc::ENODEV))?;
        let without_ipv6 =
            |outcome: &LinkAnswer| matches!(outcome, Err(error) if error.errno() == Some(libc::EAFNOSUPPORT));
        let marked =
            outcomes.filter(|outcome| !without_ipv6(outcome)).try_for_each(|outcome| outcome.map(drop));
        if marked.is_err() {
            // The refusal to set the alias is the error to report; the pair that was just made can be deleted by its
            // maker.
            let _ = self.ask(delete(made.index, name));
        }
        marked.map(|()| made.index)
    }

    /// Gives a host veth another alias.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_alias(&self, link: &Link, text: &str) -> Result<(), LinkError> {
        let what = format!("veth {}: set alias {text}", link.name);
        self.ask(set(link.index, vec![alias(text)], what)).map(drop)
    }
}

fn alias(alias: &str) -> LinkAttribute {
    LinkAttribute::IfAlias(alias.to_owned())
}

/// No IPv6 link-local address by itself.
fn quiet() -> LinkAttribute {
    let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    LinkAttribute::AfSpecUnspec(vec![mode])
}

/// The request that sets an attribute of a link whose index is not known yet.
fn of_name(name: &str, attribute: LinkAttribute, what: String) -> LinkRequest {
    set(0, vec![LinkAttribute::IfName(name.to_owned()), attribute], what)
}

/// The request that keeps the link from making an IPv6 link-local address; the kernel answers `EAFNOSUPPORT` if it has
/// no IPv6.
pub fn no_link_local(index: u32, name: &str) -> LinkRequest {
    set(index, vec![quiet()], format!("{name}: set addrgenmode none"))
}

/// The request that makes the pair.
fn create(spec: &PairSpec<'_>, netns: BorrowedFd<'_>) -> LinkRequest {
    let mut peer = end(spec.pod_name, spec.pod_mac, spec.mtu);
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut pair = end(spec.host_name, spec.host_mac, spec.mtu);
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let what = format!("veth {}: create with peer {}, mtu {}", spec.host_name, spec.pod_name, spec.mtu);
    LinkRequest::new(RouteNetlinkMessage::NewLink(pair), what).with(NLM_F_CREATE | NLM_F_EXCL)
}

/// One end as it is to be born.
fn end(name: &str, mac: Mac, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(mac.0.to_vec()),
    ];
    message
}
