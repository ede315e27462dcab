//! The parts of a rule, as nft's manual has them, and the kernel's expressions for them.

use std::fmt;

use super::{
    Attributes, IpVersion, Verdict,
    expression::{self, Base, meta},
};

/// `IPPROTO_UDP`.
const UDP: u8 = 17;
/// The destination port in a UDP header.
const PORT: u32 = 2;
/// The checksum in a UDP header.
const CHECKSUM: u32 = 6;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
/// `NF_CT_STATE_INVALID_BIT` and `NF_CT_STATE_UNTRACKED_BIT`.
const INVALID_OR_UNTRACKED: u32 = 1 << 6 | 1;

/// A device that a packet meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The one that it came in by.
    In,
    /// The one that it leaves through.
    Out,
}

/// An address of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// Its source.
    Source,
    /// Its destination.
    Destination,
}

/// One part of a rule: a condition, or what is done with the packets that meet all conditions before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// The device's name begins with `prefix`, or does not.
    Device {
        /// The device.
        device: Device,
        /// True if the name must begin so.
        is: bool,
        /// Beginning of a name.
        prefix: &'static str,
    },
    /// The packet is of that version, and its address is in the set, or is not.
    InSet {
        /// The version.
        version: IpVersion,
        /// The address.
        address: Address,
        /// True if it must be in the set.
        is: bool,
        /// The set.
        set: String,
    },
    /// The packet is UDP to that port.
    UdpDestination(u16),
    /// The UDP packet has a checksum, or has none.
    UdpHasChecksum(bool),
    /// The three bytes at that offset from the transport header are this number.
    TransportBytes {
        /// Offset in bytes.
        offset: u32,
        /// A number of 24 bits.
        value: u32,
    },
    /// Conntrack could not place the packet, or was told not to look at it.
    InvalidOrUntracked,
    /// The destination is an address of this machine.
    LocalDestination,
    /// The UDP packet gets another destination port.
    SetUdpDestination {
        /// The port.
        port: u16,
        /// True if the checksum is brought up to date.
        checksum: bool,
    },
    /// The packet is counted in that counter of the table.
    CountIn(&'static str),
    /// The packet is counted at the rule itself.
    Count,
    /// Conntrack does not look at the packet.
    NoTrack,
    /// The packet gets the address of the device that it leaves by, and any free port.
    Masquerade,
    /// A text that only listings show, as iptables keeps it.
    Comment(&'static str),
    /// The verdict about the packet.
    Verdict(Verdict),
}

/// The part as nft writes it.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unless = |is: &bool| if *is { "" } else { "!= " };
        match self {
            Self::Device { device: Device::In, is, prefix } => {
                write!(f, "iifname {}\"{prefix}*\"", unless(is))
            }
            Self::Device { device: Device::Out, is, prefix } => {
                write!(f, "oifname {}\"{prefix}*\"", unless(is))
            }
            Self::InSet { version, address: Address::Source, is, set } => {
                write!(f, "{version} saddr {}@{set}", unless(is))
            }
            Self::InSet { version, address: Address::Destination, is, set } => {
                write!(f, "{version} daddr {}@{set}", unless(is))
            }
            Self::UdpDestination(port) => write!(f, "udp dport {port}"),
            Self::UdpHasChecksum(has) => write!(f, "udp checksum {}0", unless(&!has)),
            Self::TransportBytes { offset, value } => write!(f, "@th,{},24 {value}", offset * 8),
            Self::InvalidOrUntracked => f.write_str("ct state invalid,untracked"),
            Self::LocalDestination => f.write_str("fib daddr type local"),
            Self::SetUdpDestination { port, checksum: true } => write!(f, "udp dport set {port}"),
            Self::SetUdpDestination { port, checksum: false } => write!(f, "@th,16,16 set {port}"),
            Self::CountIn(counter) => write!(f, "counter name {counter}"),
            Self::Count => f.write_str("counter"),
            Self::NoTrack => f.write_str("notrack"),
            Self::Masquerade => f.write_str("masquerade fully-random"),
            Self::Comment(comment) => write!(f, "comment \"{comment}\""),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

/// The expressions of a rule's statements. A protocol that several statements need is asked for once.
#[derive(Default)]
struct Compiled {
    list: Attributes,
    version: Option<IpVersion>,
    is_udp: bool,
}

/// The statements as the kernel runs them, in a list of expressions.
pub(super) fn compile(statements: &[Statement]) -> Attributes {
    let mut compiled = Compiled::default();
    for statement in statements {
        compiled.add(statement);
    }
    compiled.list
}

impl Compiled {
    fn push(&mut self, expression: &Attributes) {
        /// `NFTA_LIST_ELEM`.
        const ELEMENT: u16 = 1;
        self.list = std::mem::take(&mut self.list).nested(ELEMENT, expression);
    }

    fn add(&mut self, statement: &Statement) {
        match statement {
            Statement::Device { device, is, prefix } => {
                let key = if *device == Device::In { meta::IN_DEVICE } else { meta::OUT_DEVICE };
                self.push(&expression::load_meta(key));
                self.push(&expression::compare(*is, prefix.as_bytes()));
            }
            Statement::InSet { version, address, is, set } => {
                self.only(*version);
                let (source, destination) = version.offsets();
                let offset = if *address == Address::Source { source } else { destination };
                self.push(&expression::load_payload(Base::Network, offset, version.length()));
                self.push(&expression::look_up(set, *is));
            }
            Statement::UdpDestination(port) => self.udp_field(PORT, true, *port),
            Statement::UdpHasChecksum(has) => self.udp_field(CHECKSUM, !has, 0),
            Statement::TransportBytes { offset, value } => {
                let [_, bytes @ ..] = value.to_be_bytes();
                self.push(&expression::load_payload(Base::Transport, *offset, 3));
                self.push(&expression::compare(true, &bytes));
            }
            Statement::InvalidOrUntracked => {
                self.push(&expression::load_conntrack_state());
                self.push(&expression::mask(INVALID_OR_UNTRACKED));
                self.push(&expression::compare(false, &[0; 4]));
            }
            Statement::LocalDestination => {
                self.push(&expression::load_destination_type());
                self.push(&expression::compare(true, &LOCAL.to_ne_bytes()));
            }
            other => self.act(other),
        }
    }

    /// Adds what is done with a packet.
    fn act(&mut self, statement: &Statement) {
        let action = match statement {
            Statement::SetUdpDestination { port, checksum } => {
                self.only_udp();
                self.push(&expression::load(&port.to_be_bytes()));
                expression::write_payload(Base::Transport, PORT, 2, checksum.then_some(CHECKSUM))
            }
            Statement::CountIn(counter) => expression::count_in(counter),
            Statement::Count => expression::count_here(),
            Statement::NoTrack => expression::no_track(),
            Statement::Masquerade => expression::masquerade(),
            Statement::Comment(comment) => expression::comment_extension(comment),
            Statement::Verdict(verdict) => expression::verdict(verdict),
            _ => return,
        };
        self.push(&action);
    }

    fn udp_field(&mut self, offset: u32, is: bool, value: u16) {
        self.only_udp();
        self.push(&expression::load_payload(Base::Transport, offset, 2));
        self.push(&expression::compare(is, &value.to_be_bytes()));
    }

    /// Ends the rule for packets of the other version.
    fn only(&mut self, version: IpVersion) {
        if self.version != Some(version) {
            self.version = Some(version);
            self.push(&expression::load_meta(meta::NETWORK_PROTOCOL));
            self.push(&expression::compare(true, &[version.protocol()]));
        }
    }

    /// Ends the rule for packets that are not UDP.
    fn only_udp(&mut self) {
        if !self.is_udp {
            self.is_udp = true;
            self.push(&expression::load_meta(meta::TRANSPORT_PROTOCOL));
            self.push(&expression::compare(true, &[UDP]));
        }
    }
}
