//! Comparison of pod ranges with all other addresses in use: a range that overlaps would cut the whole host off.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// Addresses in use by somebody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The addresses.
    pub network: IpNet,
    /// Their user.
    pub holder: Holder,
    /// The interface where they are, if it is one of this machine.
    pub device: Option<String>,
}

impl Claim {
    /// Returns true if the range and the claim exclude each other. A route that only leads to addresses claims none of
    /// them: a pod's route is more specific than any that covers the whole range, be it halves of a default route, a
    /// router's or a black hole's.
    fn excludes(&self, range: IpNet) -> bool {
        match self.holder {
            Holder::Services | Holder::PodRange | Holder::Standard(_) => overlap(self.network, range),
            Holder::NodeAddress | Holder::RemoteNode | Holder::LinkPrefix | Holder::HostRoute => {
                range.contains(&self.network)
            }
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.network, self.holder)?;
        self.device.iter().try_for_each(|device| write!(f, " ({device})"))
    }
}

/// A user of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// An address of this machine.
    NodeAddress,
    /// An address of another node.
    RemoteNode,
    /// The prefix of one of its links.
    LinkPrefix,
    /// A route of this machine.
    HostRoute,
    /// The range of Service addresses.
    Services,
    /// A pod range that this node has already.
    PodRange,
    /// A purpose that a standard fixes.
    Standard(&'static str),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeAddress => "an address of this machine",
            Self::RemoteNode => "an address of another node",
            Self::LinkPrefix => "the prefix of a link of this machine",
            Self::HostRoute => "a route of this machine",
            Self::Services => "the service range",
            Self::PodRange => "another pod range",
            Self::Standard(purpose) => purpose,
        })
    }
}

/// A pod range that overlaps addresses in use by somebody else.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("pod range {range} overlaps {claim}{}", Suggested(suggestion))]
pub struct Clash {
    /// The pod range.
    pub range: IpNet,
    /// The addresses that it overlaps.
    pub claim: Claim,
    /// A way out.
    pub suggestion: Suggestion,
}

/// A way out of a clash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suggestion {
    /// A range of the same size that nobody uses.
    Free(IpNet),
    /// No private range of this size is free.
    NoneFree,
    /// Pods cannot have another range.
    Fixed,
}

struct Suggested<'a>(&'a Suggestion);

impl fmt::Display for Suggested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Suggestion::Free(range) => write!(f, "; {range} is free"),
            Suggestion::NoneFree => f.write_str("; no private range of this size is free"),
            Suggestion::Fixed => {
                f.write_str("; the pods' ranges are fixed: take that away, or use --allow-overlap")
            }
        }
    }
}

/// The ranges that overlap a claim, each with the first claim that it overlaps and with a free range.
#[must_use]
pub fn clashes(ranges: &[IpNet], claims: &[Claim]) -> Vec<Clash> {
    let mut taken: Vec<IpNet> =
        claims.iter().map(|claim| claim.network).chain(standards().map(|s| s.0)).collect();
    taken.extend(ranges.iter().copied());
    let mut clashes = Vec::new();
    for range in ranges {
        let Some(claim) = first_claim(*range, claims) else { continue };
        let free = free_range(range.prefix_len(), range.addr(), &taken);
        taken.extend(free);
        let suggestion = free.map_or(Suggestion::NoneFree, Suggestion::Free);
        clashes.push(Clash { range: *range, claim, suggestion });
    }
    clashes
}

fn first_claim(range: IpNet, claims: &[Claim]) -> Option<Claim> {
    let standard = standards().find(|(network, _)| overlap(*network, range));
    let standard =
        standard.map(|(network, purpose)| Claim { network, holder: Holder::Standard(purpose), device: None });
    standard.or_else(|| claims.iter().find(|claim| claim.excludes(range)).cloned())
}

/// Networks that no pod can have (IANA special-purpose address registries), each with its purpose.
fn standards() -> impl Iterator<Item = (IpNet, &'static str)> {
    const LIST: [([u8; 4], u8, &str); 5] = [
        ([0, 0, 0, 0], 8, "this network"),
        ([127, 0, 0, 0], 8, "loopback"),
        ([169, 254, 0, 0], 16, "link-local addresses"),
        ([224, 0, 0, 0], 4, "multicast"),
        ([240, 0, 0, 0], 4, "reserved addresses"),
    ];
    const LIST6: [(u16, u8, &str); 3] = [
        (0, 64, "loopback and mapped addresses"),
        (0xfe80, 10, "link-local addresses"),
        (0xff00, 8, "multicast"),
    ];
    let v4 = LIST.into_iter().map(|(ip, len, purpose)| (IpAddr::from(ip), len, purpose));
    let v6 = LIST6.into_iter().map(|(high, len, purpose)| (first_of(high), len, purpose));
    v4.chain(v6).filter_map(|(ip, len, purpose)| Some((IpNet::new(ip, len).ok()?, purpose)))
}

/// The first address whose highest sixteen bits are `high`.
fn first_of(high: u16) -> IpAddr {
    IpAddr::from([high, 0, 0, 0, 0, 0, 0, 0])
}

/// A network of length `len` and the family of `like` in private space that overlaps nothing of `taken`.
fn free_range(len: u8, like: IpAddr, taken: &[IpNet]) -> Option<IpNet> {
    private(like).find_map(|space| free_in(space, len, taken))
}

/// Returns true if a range that clashes may be answered with a part of this network.
#[must_use]
pub fn is_suggestible(network: &IpNet) -> bool {
    private(network.addr()).any(|space| overlap(space, *network))
}

/// Private space (RFC 1918, RFC 6598, RFC 4193), in the order of suggestion.
fn private(like: IpAddr) -> impl Iterator<Item = IpNet> {
    let v4 = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    let v4 = v4.into_iter().map(|(ip, len)| (IpAddr::from(ip), len));
    let all = v4.chain([(first_of(0xfd00), 8)]);
    all.filter(move |(ip, _)| ip.is_ipv4() == like.is_ipv4()).filter_map(|(ip, len)| IpNet::new(ip, len).ok())
}

/// The first free network of length `len` in `space`: each taken network is followed by the next candidate.
fn free_in(space: IpNet, len: u8, taken: &[IpNet]) -> Option<IpNet> {
    let mut candidate = IpNet::new(space.addr(), len).ok()?;
    while space.contains(&candidate) {
        let Some(blocker) = taken.iter().find(|taken| overlap(**taken, candidate)) else {
            return Some(candidate);
        };
        let last = blocker.broadcast().max(candidate.broadcast());
        candidate = IpNet::new(successor(last)?, len).ok()?;
        candidate = if candidate.addr() == candidate.network() { candidate } else { next(candidate)? };
    }
    None
}

/// The aligned network behind the one that holds `within`'s address.
fn next(within: IpNet) -> Option<IpNet> {
    IpNet::new(successor(within.broadcast())?, within.prefix_len()).ok()
}

fn successor(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// Returns true if two networks share an address.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}
