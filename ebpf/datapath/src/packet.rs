use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::{bpf_csum_update, bpf_get_hash_recalc, bpf_l4_csum_replace},
    programs::TcContext,
};
use naru_abi::{Counter, DropReason};
use naru_packet::{Bytes, Checksums, Content, ETHERNET, Family, Ip, Parsed, Wire, parse_into};

/// `PACKET_HOST` (`include/uapi/linux/if_packet.h`).
const PACKET_HOST: u32 = 0;
/// One in the hop limit, the second byte of its word.
const ONE: u32 = u16::from_ne_bytes([0, 1]) as u32;
/// As much as headers take that come before a segment, a tunnel's among them.
const HEADERS: u32 = 160;
/// Ethernet and the longest IP header without options: what must be linear to be read in place.
const LINEAR: usize = 54;

/// What a program of ours tells the hooks that see the packet next on this node, in `skb->tc_index`, which the stack
/// carries along, also to fragments. It is lost where a foreign filter behind ours ends with `TC_ACT_OK`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Nothing.
    None,
    /// It still has the addresses that a pod gave it.
    AsSent,
    /// That, and the tunnel key of the node it goes to.
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
        }
    }
}

/// How much a packet counts: its segments in the upper half, its length in the lower, as a program keeps it on its
/// stack from the beginning to the end.
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
    /// Where its Ethernet header begins.
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

    /// Where in the frame of the hook this packet's begins.
    #[inline(always)]
    pub fn base(&self) -> usize {
        self.base
    }

    /// The interface the hook belongs to.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.skb().ifindex
    }

    /// How much this packet counts: its segments, and its length. The kernel has not counted those that a virtual
    /// network card or a tunnel's end hands over: then by their length, the last one wrongly where it is shorter than
    /// headers may be.
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

    /// A hash of the flow it belongs to: as its socket or a receiver has made it, or made now.
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        match self.skb().hash {
            // SAFETY: a helper of this packet.
            0 => unsafe { bpf_get_hash_recalc(self.raw()) },
            hash => hash,
        }
    }

    /// Reads the headers, made linear first where they are not.
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

    /// The IP header of a packet that came by the tunnel or the stack; those carry nothing else.
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

    /// Takes off the mark, which means something to this namespace only.
    #[inline(always)]
    pub fn clear_mark(&self) {
        self.ctx.set_mark(0);
    }

    /// Adjusts the sum over the packet for the TTL that is about to be decremented, where the kernel has one
    /// (CHECKSUM_COMPLETE) and would believe it more than the packet. In IPv4 the header's checksum makes up for it.
    #[inline(always)]
    pub fn sum_after_decrement(&self, family: Family) {
        if family == Family::V6 {
            // SAFETY: a helper of this packet, which refuses where there is no such sum.
            let _ = unsafe { bpf_csum_update(self.raw(), !ONE) };
        }
    }

    /// Leaves a note for the hooks that see the packet next.
    #[inline(always)]
    pub fn note(&self, note: Note) {
        if self.skb().tc_index != note.value() {
            // SAFETY: the kernel's context pointer is valid while the program runs, and this field may be written.
            unsafe { (*self.raw()).tc_index = note.value() };
        }
    }

    /// Whether a program of ours let the packet through to where a pod sent it.
    #[inline(always)]
    pub fn is_as_sent(&self) -> bool {
        let note = self.skb().tc_index;
        note == Note::AsSent.value() || note == Note::Addressed.value()
    }

    /// Whether a program of ours sent the packet into the tunnel, with its key.
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
        // SAFETY: within the linear part. The kernel aligns the IP header (NET_IP_ALIGN) or takes any alignment, and
        // its verifier checks these loads by just that rule, which is the one `Wire` states.
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
            // change, as in IPv4, whose header has a checksum of its own. SAFETY: a helper of this packet, which
            // refuses where there is no such sum.
            let _ = unsafe { bpf_csum_update(self.raw(), difference) };
        }
        Some(())
    }
}
