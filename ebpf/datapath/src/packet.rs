use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{bpf_csum_update, bpf_get_hash_recalc, bpf_l4_csum_replace, bpf_skb_change_tail},
    programs::TcContext,
};
use naru_abi::{Counter, DropReason};
use naru_packet::{Bytes, Checksums, Content, ETHERNET, Family, Ip, Parsed, Wire, parse_into};

/// `PACKET_HOST` (`include/uapi/linux/if_packet.h`).
const PACKET_HOST: u32 = 0;
/// A one in the hop limit, which is the second byte of its word.
const ONE: u32 = u16::from_ne_bytes([0, 1]) as u32;
/// Upper limit of the headers before a segment, including those of a tunnel.
const HEADERS: u32 = 160;
/// Ethernet and the longest IP header without options: this much must be linear to be read in place.
const LINEAR: usize = 54;

/// A note of our programs in `skb->tc_index` for the hooks that see the packet next on this node. The stack carries it
/// along, also to fragments. It is lost where a foreign filter behind ours ends with `TC_ACT_OK`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Nothing.
    None,
    /// The packet still has the addresses that a pod gave it.
    AsSent,
    /// Policies have judged it; the stack restores addresses.
    Judged,
    /// Policies let a pod send the packet, by the destination that it had: it is judged again by the one that the stack
    /// gives it.
    Provisional,
    /// The same as [`Note::AsSent`], and it has the tunnel key of the node that it goes to.
    Addressed,
}

impl Note {
    /// Magic values, unlikely to collide.
    #[inline(always)]
    const fn value(self) -> u32 {
        match self {
            Self::None => 0,
            Self::AsSent => 0x4e52,
            Self::Addressed => 0x4e53,
            Self::Judged => 0x4e54,
            Self::Provisional => 0x4e55,
        }
    }
}

/// Packets and bytes to be counted: segments in the upper half, length in the lower, so that a program keeps both in
/// one word of its stack.
#[derive(Clone, Copy)]
pub struct Amount(u64);

impl Amount {
    /// Its segments.
    #[inline(always)]
    pub fn packets(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl From<Amount> for Counter {
    #[inline(always)]
    fn from(Amount(both): Amount) -> Self {
        Self { packets: both >> 32, bytes: both & u64::from(u32::MAX) }
    }
}

/// A packet at a hook, or the one inside it.
pub struct Packet {
    ctx: TcContext,
    /// Offset of its Ethernet header.
    base: usize,
}

impl Packet {
    /// Wraps what the kernel hands to a program.
    #[inline(always)]
    pub fn new(skb: *mut __sk_buff) -> Self {
        Self { ctx: TcContext::new(skb), base: 0 }
    }

    /// The packet whose Ethernet header is at `base` of this one.
    #[inline(always)]
    pub fn inner(&self, base: usize) -> Self {
        Self { ctx: TcContext::new(self.raw()), base }
    }

    #[inline(always)]
    fn skb(&self) -> &__sk_buff {
        // SAFETY: the kernel's context pointer is valid while the program runs.
        unsafe { &*self.ctx.skb.skb }
    }

    /// The raw context, for helpers.
    #[inline(always)]
    pub fn raw(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }

    /// Returns the offset of this packet's Ethernet header in the frame that the hook sees.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.base
    }

    /// The interface the hook belongs to.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.skb().ifindex
    }

    /// Returns the segments and bytes of the packet. The kernel leaves the segments of packets from a virtual network
    /// card or a tunnel uncounted; then they follow from the length, which miscounts where the last segment is shorter
    /// than the headers may be.
    #[inline(always)]
    pub fn amount(&self) -> Amount {
        let skb = self.skb();
        let packets = match (skb.gso_segs, skb.gso_size) {
            (0, 0) => 1,
            (0, size) => skb.len.saturating_sub(HEADERS).div_ceil(size).max(1),
            (segments, _) => segments,
        };
        Amount(u64::from(packets) << 32 | u64::from(skb.len))
    }

    /// Returns a hash of the packet's flow; made now unless its socket or a receiver made one.
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        match self.skb().hash {
            // SAFETY: a helper of this packet.
            0 => unsafe { bpf_get_hash_recalc(self.raw()) },
            hash => hash,
        }
    }

    /// Parses the headers, which are made linear first where they are not.
    #[inline(always)]
    pub fn parse(&self, parsed: &mut Parsed) -> Result<(), DropReason> {
        if self.skb().vlan_present != 0 {
            return Err(DropReason::UnknownEthertype);
        }
        if !self.linearise() {
            return Err(DropReason::Malformed);
        }
        parse_into(self, parsed).map_err(|_| DropReason::Malformed)
    }

    #[inline(always)]
    fn linearise(&self) -> bool {
        let wanted = (self.skb().len as usize).min(self.base + LINEAR);
        self.ctx.data() + wanted <= self.ctx.data_end() || self.ctx.pull_data(wanted as u32).is_ok()
    }

    /// Returns the IP header of a packet that came by the tunnel or from the stack; such packets carry nothing else.
    #[inline(always)]
    pub fn parse_ip<'a>(&self, parsed: &'a mut Parsed) -> Result<&'a Ip, DropReason> {
        self.parse(parsed)?;
        match parsed.content {
            Content::Ip => Ok(&parsed.ip),
            Content::Arp => Err(DropReason::ForeignNeighbour),
            Content::Other => Err(DropReason::UnknownEthertype),
        }
    }

    /// The traffic class of an IP packet, as [`Ip::traffic_class`].
    #[inline(always)]
    pub fn traffic_class(&self) -> Option<u8> {
        let [first, second]: [u8; 2] = self.read(ETHERNET)?;
        Some(if first >> 4 == 4 { second } else { first << 4 | second >> 4 })
    }

    /// Makes the packet one for this host, whatever MAC address it was sent to.
    #[inline(always)]
    pub fn claim(&self) -> Result<(), DropReason> {
        if self.skb().pkt_type == PACKET_HOST {
            return Ok(());
        }
        self.ctx.change_type(PACKET_HOST).map_err(|_| DropReason::HelperFailed)
    }

    /// Clears the mark, which is meaningful in this namespace only.
    #[inline(always)]
    pub fn clear_mark(&self) {
        self.ctx.set_mark(0);
    }

    /// Adjusts the sum over the packet (CHECKSUM_COMPLETE), if the kernel has one, for the TTL that is about to be
    /// decremented: the kernel would trust the sum more than the packet. In IPv4 the header's checksum compensates.
    #[inline(always)]
    pub fn sum_after_decrement(&self, family: Family) {
        if family == Family::V6 {
            self.sum_after(!ONE);
        }
    }

    /// Cuts the frame off behind `length` bytes, which must not be segments. Returns true if that could be done.
    #[inline(always)]
    pub fn trim(&self, length: u32) -> bool {
        // SAFETY: a helper of this packet, after which its headers are looked for anew.
        self.skb().len == length || unsafe { bpf_skb_change_tail(self.raw(), length, 0) } == 0
    }

    /// Adjusts the sum over the packet (CHECKSUM_COMPLETE), if the kernel has one, for a change by `difference`.
    #[inline(always)]
    pub fn sum_after(&self, difference: u32) {
        // SAFETY: a helper of this packet, which refuses where there is no such sum.
        let _ = unsafe { bpf_csum_update(self.raw(), difference) };
    }

    /// Leaves a note for the hooks that see the packet next.
    #[inline(always)]
    pub fn note(&self, note: Note) {
        if self.skb().tc_index != note.value() {
            // SAFETY: the kernel's context pointer is valid while the program runs, and this field may be written.
            unsafe { (*self.raw()).tc_index = note.value() };
        }
    }

    /// Returns true if a program of ours passed the packet on with the addresses that a pod gave it.
    #[inline(always)]
    pub fn is_as_sent(&self) -> bool {
        let note = self.skb().tc_index;
        note == Note::AsSent.value() || note == Note::Addressed.value()
    }

    /// Returns true if policies have judged the packet on this node, by the addresses of both ends.
    #[inline(always)]
    pub fn is_judged(&self) -> bool {
        self.is_as_sent() || self.skb().tc_index == Note::Judged.value()
    }

    /// Returns true if a pod sent the packet, and policies are to judge it by its next destination, too.
    #[inline(always)]
    pub fn is_provisional(&self) -> bool {
        self.skb().tc_index == Note::Provisional.value()
    }

    /// The interface by which the stack got the packet; 0 if a process of this node sent it.
    #[inline(always)]
    pub fn arrived_by(&self) -> u32 {
        self.skb().ingress_ifindex
    }

    /// Returns true if the packet has a socket: at egress of a pod's host veth, if a process of this node sent it.
    #[inline(always)]
    pub fn has_socket(&self) -> bool {
        // SAFETY: a word of the context, which is a pointer or null.
        let socket = unsafe { self.skb().__bindgen_anon_2.sk };
        !socket.is_null()
    }

    /// Returns true if a program of ours sent the packet into the tunnel with its key.
    #[inline(always)]
    pub fn is_addressed(&self) -> bool {
        self.skb().tc_index == Note::Addressed.value()
    }

    /// The address of a header within the linear part.
    #[inline(always)]
    fn header<T: Wire>(&self, offset: usize) -> Option<*mut T> {
        let start = self.ctx.data() + self.base + offset;
        (start + size_of::<T>() <= self.ctx.data_end()).then_some(start as *mut T)
    }
}

impl Bytes for Packet {
    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.skb().len.saturating_sub(self.base as u32)
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        self.skb().gso_size
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        // SAFETY: within the linear part. The kernel aligns the IP header (NET_IP_ALIGN) or accepts any alignment, and
        // its verifier checks these loads by the same rule, which `Wire` states.
        self.header::<T>(offset).map(|header| unsafe { *header })
    }

    #[inline(always)]
    fn write<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: as above; the kernel makes the header private to this packet before a program that writes.
        self.header::<T>(offset).map(|header| unsafe { *header = value })
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        self.ctx.load(self.base + offset).ok()
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        self.ctx.store(self.base + offset, &value, 0).ok()
    }
}

impl Packet {
    #[inline(always)]
    fn replace(&self, offset: usize, difference: u32, is_udp: bool, flags: u32) -> Option<()> {
        let flags = flags | if is_udp { BPF_F_MARK_MANGLED_0 } else { 0 };
        let (at, difference) = ((self.base + offset) as u32, difference.into());
        // SAFETY: a helper of this packet, which refuses what is not in it.
        let result = unsafe { bpf_l4_csum_replace(self.raw(), at, 0, difference, flags.into()) };
        (result == 0).then_some(())
    }
}

impl Checksums for Packet {
    #[inline(always)]
    fn update(&mut self, offset: usize, difference: u32, is_udp: bool) -> Option<()> {
        self.replace(offset, difference, is_udp, 0)
    }

    #[inline(always)]
    fn update_pseudo(&mut self, offset: usize, difference: u32, family: Family, is_udp: bool) -> Option<()> {
        self.replace(offset, difference, is_udp, BPF_F_PSEUDO_HDR)?;
        if family == Family::V6 {
            // The helper takes the address for one that the sum over the packet (CHECKSUM_COMPLETE) does not see
            // change, as in IPv4, whose header has a checksum of its own.
            self.sum_after(difference);
        }
        Some(())
    }
}
