//! The next hop of a route by one interface, and the nexthop objects that routes may name instead.

use std::net::IpAddr;

use super::{LinkError, Links, socket::LinkRequest};
use crate::message::{Cut, attribute, attributes_whole, u32_at};

/// `RTM_GETNEXTHOP`.
const GET: u16 = 106;
/// Length of `struct nhmsg`.
const HEADER: usize = 8;
/// `NHA_*` of `linux/nexthop.h`.
const ID: u16 = 1;
const GROUP: u16 = 2;
const BLACKHOLE: u16 = 4;
const OIF: u16 = 5;
const GATEWAY: u16 = 6;
const ENCAP_TYPE: u16 = 7;
const ENCAP: u16 = 8;
/// Length of `struct nexthop_grp`, which begins with the member's id.
const MEMBER: usize = 8;

/// The receiver of the packets that a route sends by an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NextHop {
    /// To the destination itself, which is on the interface's link.
    OnLink,
    /// To this router, which may be of the other family (RFC 8950).
    Router(IpAddr),
    /// The receiver is of a kind that this version does not know; it is never taken for on-link.
    Unknown,
}

impl NextHop {
    /// The router, where it is known.
    #[must_use]
    pub const fn router(self) -> Option<IpAddr> {
        match self {
            Self::Router(ip) => Some(ip),
            Self::OnLink | Self::Unknown => None,
        }
    }
}

/// One way out of a route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hop {
    /// The outgoing interface.
    pub index: u32,
    /// The next hop there.
    pub next: NextHop,
}

/// The kernel's message about one nexthop object.
#[derive(Default)]
struct Object {
    members: Vec<u32>,
    index: Option<u32>,
    gateway: Option<IpAddr>,
    is_encapsulated: bool,
    is_blackhole: bool,
}

impl Links {
    /// The hops of the nexthop object, or of the members of a group: routes that name one need not list them
    /// (`net.ipv4.nexthop_compat_mode`).
    ///
    /// # Errors
    /// The kernel refuses, or its answer cannot be read.
    pub(super) fn hops_of_object(&self, id: u32) -> Result<Vec<Hop>, LinkError> {
        let object = self.object(id)?;
        let mut hops = Vec::new();
        // A group has no groups in it.
        for member in &object.members {
            hops.extend(self.object(*member)?.hop());
        }
        hops.extend(object.hop());
        Ok(hops)
    }

    fn object(&self, id: u32) -> Result<Object, LinkError> {
        let what = format!("next hop {id}: look");
        let body = [vec![0; HEADER], attribute(ID, &id.to_ne_bytes())].concat();
        let Some(answer) = self.ask(LinkRequest::raw(GET, body, what.clone()))? else {
            return Ok(Object::default());
        };
        let attributes = answer.body().get(HEADER..).unwrap_or_default();
        parsed(attributes).map_err(|Cut| LinkError::cut(&what))
    }
}

impl Object {
    fn hop(&self) -> Option<Hop> {
        let next = match self.gateway {
            _ if self.is_encapsulated => NextHop::Unknown,
            Some(router) => NextHop::Router(router),
            None => NextHop::OnLink,
        };
        self.index.filter(|_| !self.is_blackhole).map(|index| Hop { index, next })
    }
}

fn parsed(attributes: &[u8]) -> Result<Object, Cut> {
    let mut object = Object::default();
    for attribute in attributes_whole(attributes) {
        let (kind, content) = attribute?;
        match kind {
            GROUP => object.members = content.chunks_exact(MEMBER).filter_map(|one| u32_at(one, 0)).collect(),
            BLACKHOLE => object.is_blackhole = true,
            OIF => object.index = Some(u32_at(content, 0).ok_or(Cut)?),
            GATEWAY => object.gateway = Some(address(content).ok_or(Cut)?),
            ENCAP_TYPE | ENCAP => object.is_encapsulated = true,
            _ => {}
        }
    }
    Ok(object)
}

/// The address of four or sixteen bytes.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
