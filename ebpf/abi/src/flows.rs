use crate::{Addr, plain::plain};

/// Key of `FLOWS`: packets that must take the node's stack, because those of the other direction did and had an
/// address rewritten there.
///
/// Whole packets are found by their ports: those of TCP, UDP, UDP-Lite, DCCP and SCTP, the identifier of an ICMP echo
/// twice, none of other protocols. Beside such an entry is the same one without ports, for fragments.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowKey {
    /// Source address of the packets.
    pub source: Addr,
    /// To whom.
    pub destination: Addr,
    /// From which port, host order.
    pub source_port: u16,
    /// To which port, host order.
    pub destination_port: u16,
    /// IP protocol number; for IPv6 the protocol behind the extension headers.
    pub protocol: u32,
}
plain!(FlowKey { source: Addr, destination: Addr, source_port: u16, destination_port: u16, protocol: u32 });

impl FlowKey {
    /// Packets that nobody sends.
    pub const NONE: Self = Self::between(Addr::UNSPECIFIED, Addr::UNSPECIFIED, 0);

    /// A key for all packets of a protocol between two hosts.
    #[inline(always)]
    #[must_use]
    pub const fn between(source: Addr, destination: Addr, protocol: u8) -> Self {
        Self { source, destination, source_port: 0, destination_port: 0, protocol: protocol as u32 }
    }

    /// The same with ports.
    #[inline(always)]
    #[must_use]
    pub const fn with_ports(self, source_port: u16, destination_port: u16) -> Self {
        Self { source_port, destination_port, ..self }
    }

    /// The same for fragments.
    #[inline(always)]
    #[must_use]
    pub const fn without_ports(mut self) -> Self {
        self.strip_ports();
        self
    }

    /// Turns it into the one for fragments.
    #[inline(always)]
    pub const fn strip_ports(&mut self) {
        self.source_port = 0;
        self.destination_port = 0;
    }

    /// The other direction.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }

    /// Returns true if the key has ports.
    #[inline(always)]
    #[must_use]
    pub const fn has_ports(&self) -> bool {
        self.source_port != 0 || self.destination_port != 0
    }
}

/// Value of `FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowValue {
    /// The time at which a packet of either direction was last seen, to a second: nanoseconds of `CLOCK_MONOTONIC`.
    pub last_seen: u64,
}
plain!(FlowValue { last_seen: u64 });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reversed_twice_is_as_it_was() {
        let key = FlowKey::between(Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]), 6).with_ports(80, 4000);
        let back = key.reversed();
        assert_eq!((back.source, back.source_port), (key.destination, key.destination_port));
        assert_eq!(back.reversed(), key);
        assert!(key.has_ports() && !key.without_ports().has_ports());
    }
}
