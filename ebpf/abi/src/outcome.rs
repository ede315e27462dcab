use core::fmt;

/// A number that names nothing in this version of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownNumber(pub u32);

impl fmt::Display for UnknownNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names nothing in this ABI version", self.0)
    }
}

impl core::error::Error for UnknownNumber {}

/// One list of names: number, label and documentation together.
macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $label:literal;)+ }) => {
        $(#[$doc])*
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)+ }

        impl $name {
            /// Every variant, in the order of its number, which starts at 0 without a gap.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as commands and metrics print it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl TryFrom<u32> for $name {
            type Error = UnknownNumber;
            #[inline(always)]
            fn try_from(number: u32) -> Result<Self, UnknownNumber> {
                match number { $($number => Ok(Self::$variant),)+ _ => Err(UnknownNumber(number)) }
            }
        }
    };
}

labelled! {
    /// The points at which a program sees a packet.
    Hook {
        /// Ingress of a pod's host veth: the pod sent it.
        FromPod = 0, "from_pod";
        /// Egress of a pod's host veth: the stack sends it to the pod.
        ToPod = 1, "to_pod";
        /// Ingress of the vxlan device: decapsulated, from another node.
        FromOverlay = 2, "from_overlay";
        /// Egress of the vxlan device: about to be encapsulated.
        ToOverlay = 3, "to_overlay";
        /// Ingress of an uplink: from the underlay.
        FromUnderlay = 4, "from_underlay";
        /// Egress of an uplink: to the underlay.
        ToUnderlay = 5, "to_underlay";
    }
}

labelled! {
    /// The ways in which a packet is forwarded.
    Verdict {
        /// Redirected into the receiving pod's namespace.
        Peer = 0, "peer";
        /// Sent to the tunnel device, or let through there with its tunnel key set.
        Tunnel = 1, "tunnel";
        /// Delivered to the device the hook belongs to.
        Deliver = 2, "deliver";
        /// Answered by the program itself (ARP or neighbour solicitation for the gateway).
        Answer = 3, "answer";
        /// Encapsulated by the program, and sent out of the uplink.
        Encapsulated = 4, "encapsulated";
        /// Routed to the next hop on the underlay by the program.
        Direct = 5, "direct";
    }
}

labelled! {
    /// Reasons to leave a packet to the node's stack.
    StackReason {
        /// Not to a pod or node of the cluster: outside, or a Service address.
        Outside = 0, "outside";
        /// To an address of this node.
        LocalNode = 1, "local-node";
        /// To an address of this node's blocks that no pod holds: the stack answers unreachable.
        Unassigned = 2, "unassigned";
        /// TTL or hop limit is used up: the stack answers time exceeded.
        TtlExpired = 3, "ttl-expired";
        /// Larger than the path MTU: the stack fragments it or answers.
        TooBig = 4, "too-big";
        /// IPv4 options or IPv6 extension headers before the payload.
        Options = 5, "options";
        /// Multicast or broadcast.
        Multicast = 6, "multicast";
        /// A pod of the pair has the shortcut switched off.
        NoShortcut = 7, "no-shortcut";
        /// Came by the underlay and does not belong to the cluster.
        NotOurs = 8, "not-ours";
        /// A tunnel packet that is left to the tunnel device: it has an outer checksum that nobody verified, a
        /// congestion mark to be carried over, segments of a protocol other than TCP, or unknown VXLAN flags.
        TunnelDevice = 9, "tunnel-device";
        /// To a node reached by direct routing: direct routing is off in the programs, or the kernel's look-up found no
        /// next hop.
        DirectByStack = 10, "direct-by-stack";
        /// Answers a flow that came by the stack, which rewrote an address and has to restore it.
        RecordedFlow = 11, "recorded-flow";
    }
}

labelled! {
    /// Why a packet was dropped.
    DropReason {
        /// The source address does not belong to the interface.
        SpoofedSource = 0, "spoofed-source";
        /// The source MAC is not the assigned one (`antispoof: mac`).
        SpoofedMac = 1, "spoofed-mac";
        /// ARP or neighbour discovery for anything but the gateway, or in another's name.
        ForeignNeighbour = 2, "foreign-neighbour";
        /// Link-local or unspecified source, or link-local scope: DHCP, multicast DNS and the like, to which nobody on
        /// the pod's link listens.
        LinkLocal = 3, "link-local";
        /// Neither ARP, IPv4 nor IPv6, or inside a VLAN tag.
        UnknownEthertype = 4, "unknown-ethertype";
        /// Headers cut short or contradicting each other.
        Malformed = 5, "malformed";
        /// A pod addressed a node's tunnel port.
        TunnelPort = 6, "tunnel-port";
        /// Tunnel packet from an address that belongs to no node.
        ForeignOuterSource = 7, "foreign-outer-source";
        /// Tunnel packet whose inner source does not belong to the node that sent it.
        ForeignInnerSource = 8, "foreign-inner-source";
        /// Tunnel packet with another cluster's key.
        ForeignKey = 9, "foreign-key";
        /// Tunnel packet for a destination that is neither a pod nor an address of this node.
        NotForThisNode = 10, "not-for-this-node";
        /// The stack routed a packet to the tunnel device, but no route says to which node.
        NoTunnelRoute = 11, "no-tunnel-route";
        /// A helper of the kernel refused what it should accept.
        HelperFailed = 12, "helper-failed";
        /// The node is not initialised: `CONFIG` is empty or of another version.
        NotReady = 13, "not-ready";
        /// The stack rewrote an address of a new flow, and `FLOWS` has no room for a record of it.
        FlowTableFull = 14, "flow-table-full";
        /// The policies of the pod that sent it do not allow it.
        PolicyEgress = 15, "policy-egress";
        /// The policies of the pod that it is for do not allow it.
        PolicyIngress = 16, "policy-ingress";
        /// The first packet of a connection of a pod that policies isolate, and that has as many as it may.
        PolicyFull = 17, "policy-full";
        /// A fragment out of a pod that policies isolate, whose first one did not pass, or that hides its ports.
        PolicyFragment = 18, "policy-fragment";
    }
}

labelled! {
    /// Messages that any host sends on its link. They end here, as they are for nobody beyond the link, and are not
    /// counted as drops: the pod loses nothing.
    LinkReason {
        /// A router solicitation; the pod has its routes already.
        RouterSolicitation = 0, "router-solicitation";
        /// Membership in a multicast group (IGMP, MLD); nothing is forwarded because of it.
        GroupMembership = 1, "group-membership";
        /// The pod announces its own address, or asks whether it is taken: the program learns it, and nobody else needs
        /// it.
        NeighbourAnnouncement = 2, "neighbour-announcement";
    }
}

/// The end of a packet at a hook; each packet has exactly one.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It went on by our decision.
    Verdict(Verdict),
    /// It went on to the stack.
    Stack(StackReason),
    /// It ended here.
    Drop(DropReason),
    /// It ended here, where such messages end.
    Link(LinkReason),
}

impl From<Verdict> for Outcome {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<StackReason> for Outcome {
    #[inline(always)]
    fn from(reason: StackReason) -> Self {
        Self::Stack(reason)
    }
}

impl From<DropReason> for Outcome {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<LinkReason> for Outcome {
    #[inline(always)]
    fn from(reason: LinkReason) -> Self {
        Self::Link(reason)
    }
}

/// Positions of the first stack reason, drop reason and link reason among all outcomes, and their number.
const STACK: usize = Verdict::ALL.len();
const DROP: usize = STACK + StackReason::ALL.len();
const LINK: usize = DROP + DropReason::ALL.len();
/// Number of outcomes.
pub const OUTCOMES: usize = LINK + LinkReason::ALL.len();

impl Outcome {
    /// Position among all outcomes: verdicts, then stack reasons, drop reasons and link reasons.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Verdict(verdict) => verdict as usize,
            Self::Stack(reason) => STACK + reason as usize,
            Self::Drop(reason) => DROP + reason as usize,
            Self::Link(reason) => LINK + reason as usize,
        }
    }

    /// The outcome at `index`, the inverse of [`Outcome::index`].
    #[must_use]
    pub fn at(index: usize) -> Option<Self> {
        match index {
            LINK.. => LinkReason::ALL.get(index - LINK).copied().map(Self::Link),
            DROP.. => DropReason::ALL.get(index - DROP).copied().map(Self::Drop),
            STACK.. => StackReason::ALL.get(index - STACK).copied().map(Self::Stack),
            _ => Verdict::ALL.get(index).copied().map(Self::Verdict),
        }
    }

    /// The class as commands and metrics print it: `verdict`, `stack`, `drop` or `link`.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Verdict(_) => "verdict",
            Self::Stack(_) => "stack",
            Self::Drop(_) => "drop",
            Self::Link(_) => "link",
        }
    }

    /// The name within its class.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verdict(verdict) => verdict.label(),
            Self::Stack(reason) => reason.label(),
            Self::Drop(reason) => reason.label(),
            Self::Link(reason) => reason.label(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_index_and_comes_back_from_it() {
        for index in 0..OUTCOMES {
            assert_eq!(Outcome::at(index).unwrap().index(), index);
        }
        assert_eq!(Outcome::at(OUTCOMES), None);
    }

    #[test]
    fn every_number_is_its_position_in_the_list() {
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            assert_eq!(DropReason::try_from(position as u32), Ok(*reason));
        }
        for (position, reason) in StackReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
        for (position, reason) in LinkReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
        for (position, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, position);
        }
    }
}
