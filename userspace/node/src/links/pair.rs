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
    socket::{Outcome, Request},
};

/// A veth pair to be made: one end here, the other born in a pod's namespace.
#[derive(Clone, Debug)]
pub struct PairSpec<'a> {
    /// Name of the end here, at most 15 bytes.
    pub host_name: &'a str,
    /// MAC address of the end here, the pod's gateway.
    pub host_mac: Mac,
    /// Alias of the end here, starting with [`super::ALIAS_PREFIX`], at most 255 bytes.
    pub alias: &'a str,
    /// Name of the end in the pod.
    pub pod_name: &'a str,
    /// MAC address of the end in the pod.
    pub pod_mac: Mac,
    /// MTU of both ends in bytes.
    pub mtu: u32,
}

impl Links {
    /// Makes the pair, both ends down, the end here with its alias and without IPv6 link-local address;
    /// returns the index of the end here.
    ///
    /// # Errors
    /// The kernel refuses ([`LinkError::is_present`] when either name is taken); then nothing stays behind.
    pub fn create_pair(&self, spec: &PairSpec<'_>, netns: BorrowedFd<'_>) -> Result<u32, LinkError> {
        self.ask(create(spec, netns))?;
        let made = present(self.ask(look(spec.host_name)))?;
        let made =
            made.ok_or_else(|| LinkError::kernel(format!("{}: look", spec.host_name), libc::ENODEV))?;
        match self.mark(&made, spec.alias) {
            Ok(()) => Ok(made.index),
            Err(error) => {
                // The refusal to mark is the error worth telling; the pair just made is deletable by its maker.
                let _ = self.ask(delete(made.index, spec.host_name));
                Err(error)
            }
        }
    }

    /// Gives a host veth another alias.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_alias(&self, link: &Link, alias: &str) -> Result<(), LinkError> {
        self.ask(named(link, alias)).map(drop)
    }

    /// Gives the new host end its alias and keeps it from making itself a link-local address.
    fn mark(&self, made: &Link, alias: &str) -> Result<(), LinkError> {
        let requests = vec![named(made, alias), no_link_local(made.index, &made.name)];
        let outcomes = self.socket().exchange(requests)?;
        let without_ipv6 =
            |outcome: &Outcome| matches!(outcome, Err(error) if error.errno() == Some(libc::EAFNOSUPPORT));
        outcomes
            .into_iter()
            .filter(|outcome| !without_ipv6(outcome))
            .try_for_each(|outcome| outcome.map(drop))
    }
}

fn named(link: &Link, alias: &str) -> Request {
    let what = format!("veth {}: set alias {alias}", link.name);
    set(link.index, vec![LinkAttribute::IfAlias(alias.to_owned())], what)
}

/// The request that keeps the link from making itself an IPv6 link-local address; the kernel answers `EAFNOSUPPORT`
/// where it has no IPv6.
pub fn no_link_local(index: u32, name: &str) -> Request {
    let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    set(index, vec![LinkAttribute::AfSpecUnspec(vec![mode])], format!("{name}: set addrgenmode none"))
}

/// The request that makes the pair.
fn create(spec: &PairSpec<'_>, netns: BorrowedFd<'_>) -> Request {
    let mut peer = end(spec.pod_name, spec.pod_mac, spec.mtu);
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut pair = end(spec.host_name, spec.host_mac, spec.mtu);
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let what = format!("veth {}: create with peer {}, mtu {}", spec.host_name, spec.pod_name, spec.mtu);
    Request::new(RouteNetlinkMessage::NewLink(pair), what).with(NLM_F_CREATE | NLM_F_EXCL)
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
