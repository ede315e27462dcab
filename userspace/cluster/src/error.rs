use std::net::IpAddr;

use ipnet::IpNet;

/// The reasons for which there is no cluster to follow. A place is text in the source's own terms:
/// `/etc/naru/cluster.toml:3: node.blocks`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClusterError {
    /// The source is not there, or does not answer.
    #[error("{place}: {reason}")]
    Unreachable {
        /// The source, or the part of it that was asked.
        place: String,
        /// The words of the system or the server.
        reason: String,
    },
    /// The source says something that cannot be.
    #[error("{place}: {problem}")]
    Invalid {
        /// The value, as a person finds it.
        place: String,
        /// The error in it.
        problem: Problem,
    },
}

/// The fault of a value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The text does not have the source's form: an unknown key, a missing key or a value of another type, in its
    /// parser's words.
    #[error("{0}")]
    Malformed(String),
    /// The cluster has no node.
    #[error("the cluster has no node")]
    NoNodes,
    /// A list that needs an entry has none.
    #[error("the list is empty")]
    Empty,
    /// Not a CIDR.
    #[error("`{0}` is not a network such as 10.32.0.0/12")]
    NotANetwork(String),
    /// Bits behind the prefix length are set.
    #[error("{given} has host bits set; the network is {network}")]
    HostBits {
        /// As written.
        given: IpNet,
        /// With the bits cleared.
        network: IpNet,
    },
    /// Not an IP address.
    #[error("`{0}` is not an address")]
    NotAnAddress(String),
    /// An address that no node can have.
    #[error("{0} is no node's address: it is unspecified, loopback, link-local or multicast")]
    UnusableAddress(IpAddr),
    /// A node name that is empty, too long or has other characters.
    #[error("`{0}` is not a node name: 1 to 253 letters, digits, `.`, `-` or `_`")]
    BadName(String),
    /// Two nodes of one name.
    #[error("duplicate node {0}")]
    DuplicateName(String),
    /// An address is there twice.
    #[error("{address} is an address of node {owner} already")]
    DuplicateAddress {
        /// The address.
        address: IpAddr,
        /// Its owner.
        owner: String,
    },
    /// Two networks of one list share addresses.
    #[error("{network} overlaps {other}")]
    Overlap {
        /// The later one.
        network: IpNet,
        /// The earlier one.
        other: IpNet,
    },
    /// A block shares addresses with another node's.
    #[error("{block} overlaps {other} of node {owner}")]
    BlockTaken {
        /// The later one.
        block: IpNet,
        /// The earlier one.
        other: IpNet,
        /// The owner of the earlier one.
        owner: String,
    },
    /// A block lies in none of `ranges`.
    #[error("{0} lies in none of `ranges`")]
    OutsideRanges(IpNet),
    /// A node's address is one that a pod may get.
    #[error("{address} lies in the pod range {range}")]
    AddressInRange {
        /// The node's address.
        address: IpAddr,
        /// The range.
        range: IpNet,
    },
    /// Nodes whose tunnels end at addresses of different families.
    #[error("{address} is of another family than the first address of node {other}: tunnels need one family")]
    MixedUnderlay {
        /// The node's first address.
        address: IpAddr,
        /// The node whose family counts.
        other: String,
    },
    /// Not a time.
    #[error("`{0}` is not a time such as 90s, 15m, 12h or 7d")]
    NotATime(String),
    /// Port 0.
    #[error("0 is not a port")]
    BadPort,
    /// More than 24 bits.
    #[error("{0} is not a network identifier: 1 to 16777215")]
    BadVni(u32),
}
