use naru_abi::{features, programs};

use super::frame;

/// A path through a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `from_pod` to a pod of the node.
    ToPod,
    /// `to_pod`: the stack's packet to a pod.
    Deliver,
    /// `from_pod` to the tunnel device.
    ToTunnel,
    /// `to_overlay`: the key for a packet in the tunnel device.
    Key,
    /// `from_pod` with the tunnel's headers, to the uplink.
    Encapsulate,
    /// `from_underlay` out of the tunnel, to a pod.
    Decapsulate,
    /// `from_pod` to the uplink as it is.
    Direct,
    /// `from_underlay` as it is, to a pod.
    FromDirect,
    /// `from_pod` to a Service, on a flow that is there, and on to its backend, a pod of the node.
    ToService,
    /// The same for the first packet of a flow.
    Open,
    /// `from_pod` of the backend, back to the client.
    Answer,
}

impl Way {
    /// Paths whose time depends on the number of pods.
    pub const TO_PODS: [Self; 2] = [Self::ToPod, Self::Deliver];
    /// Paths whose time depends on the number of prefixes, on any kernel.
    pub const TO_PREFIXES: [Self; 4] = [Self::ToTunnel, Self::Key, Self::Direct, Self::FromDirect];
    /// Paths whose time depends on the number of Services.
    pub const TO_SERVICES: [Self; 3] = [Self::ToService, Self::Open, Self::Answer];
    /// And where programs can encapsulate.
    pub const BY_TUNNEL: [Self; 2] = [Self::Encapsulate, Self::Decapsulate];

    /// The name in tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ToPod => "from_pod to a pod",
            Self::Deliver => "to_pod",
            Self::ToTunnel => "from_pod to the tunnel device",
            Self::Key => "to_overlay",
            Self::Encapsulate => "from_pod encapsulating",
            Self::Decapsulate => "from_underlay decapsulating",
            Self::Direct => "from_pod to the uplink",
            Self::FromDirect => "from_underlay to a pod",
            Self::ToService => "from_pod to a Service",
            Self::Open => "from_pod to a Service, first packet",
            Self::Answer => "from_pod, answer of a Service",
        }
    }

    /// The program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::ToPod
            | Self::ToTunnel
            | Self::Encapsulate
            | Self::Direct
            | Self::ToService
            | Self::Open
            | Self::Answer => programs::FROM_POD,
            Self::Deliver => programs::TO_POD,
            Self::Key => programs::TO_OVERLAY,
            Self::Decapsulate | Self::FromDirect => programs::FROM_UNDERLAY,
        }
    }

    /// The action of a packet that took this path: `TC_ACT_REDIRECT`, or on to the next filter.
    pub const fn action(self) -> u32 {
        match self {
            Self::Deliver | Self::Key => u32::MAX,
            _ => 7,
        }
    }

    /// The features that the path needs.
    pub const fn features(self) -> u32 {
        match self {
            Self::Encapsulate | Self::Decapsulate => features::OWN_ENCAPSULATION,
            Self::Direct | Self::FromDirect => features::DIRECT,
            _ => 0,
        }
    }

    /// Returns true if the block of the other node is reached without the tunnel.
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::FromDirect)
    }

    /// Returns true if the packet comes from the other node, not from the pod.
    pub const fn is_inbound(self) -> bool {
        matches!(self, Self::Decapsulate | Self::FromDirect)
    }

    /// Number of bytes by which a packet that took this path has grown.
    pub const fn growth(self) -> i64 {
        match self {
            Self::Encapsulate => frame::OVERHEAD as i64,
            Self::Decapsulate => -(frame::OVERHEAD as i64),
            _ => 0,
        }
    }

    /// Returns true if a packet that took the path can take it again.
    pub const fn repeats(self) -> bool {
        self.growth() == 0 && !matches!(self, Self::ToService | Self::Open | Self::Answer)
    }

    /// Returns true if the map takes enough of the time for a gate. Other paths ask the kernel for the next hop too, or
    /// take one packet at a time, which adds the cost of starting and stopping the clock.
    pub const fn is_gated(self) -> bool {
        matches!(self, Self::ToPod | Self::Deliver | Self::ToTunnel | Self::Key)
    }
}
