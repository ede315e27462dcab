//! The tables of policies, written by user space alone, and what their judgements leave.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuHashMap, SkStorage, lpm_trie::Key},
    macros::btf_map,
};
use naru_abi::{
    Addr, DenialKey, DenialValue, FragmentKey, MAX_DENIALS, MAX_PASSED_FRAGMENTS, MAX_PEER_NETS, MAX_PEERS,
    MAX_RULE_HITS, MAX_RULES, PolicyScratch, RuleHits, SocketNote,
    policy::{PeerNetValue, PeerValue, PolicyTables, RulesKey, RulesValue},
};

const LATER: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static PEERS: HashMap<Addr, PeerValue, { MAX_PEERS as usize }, LATER> = HashMap::new();

#[btf_map]
static PEER_NETS: LpmTrie<Addr, PeerNetValue, { MAX_PEER_NETS as usize }, LATER> = LpmTrie::new();

#[btf_map]
static RULES: HashMap<RulesKey, RulesValue, { MAX_RULES as usize }, LATER> = HashMap::new();

#[btf_map]
static RULE_HITS: PerCpuHashMap<u32, RuleHits, { MAX_RULE_HITS as usize }, LATER> = PerCpuHashMap::new();

#[btf_map]
static DENIALS: LruPerCpuHashMap<DenialKey, DenialValue, { MAX_DENIALS as usize }> = LruPerCpuHashMap::new();

#[btf_map]
static PASSED_FRAGMENTS: LruHashMap<FragmentKey, u32, { MAX_PASSED_FRAGMENTS as usize }> = LruHashMap::new();

#[btf_map]
static SOCKETS: SkStorage<SocketNote> = SkStorage::new();

/// The maps, as the judgement reads them.
pub struct Tables;

impl PolicyTables for Tables {
    #[inline(always)]
    fn peer(&self, address: &Addr) -> Option<PeerValue> {
        // SAFETY: the memory stays that of an element while the program runs; of which, the comparison sees to.
        let found = unsafe { PEERS.get(address) }?;
        let (class, base) = (found.class, found.base);
        compiler_fence(Ordering::Acquire);
        (found.address == *address).then_some(PeerValue { address: Addr::UNSPECIFIED, class, base })
    }

    #[inline(always)]
    fn net(&self, address: &Addr) -> u32 {
        // Nodes of the trie never change, and are freed after a grace period.
        PEER_NETS.get(&Key::new(128, *address)).map_or(0, |net| net.class)
    }

    /// Entries never change either, and are deleted only when no program knows their key any more.
    #[inline(always)]
    fn page(&self, key: &RulesKey) -> Option<&RulesValue> {
        // SAFETY: as above.
        unsafe { RULES.get(key) }.filter(|page| page.key == *key)
    }
}

/// Counts packets that the rule decided about.
#[inline(always)]
pub fn hit(rule: u32, new: RuleHits) {
    match RULE_HITS.get_ptr_mut(rule) {
        // SAFETY: this CPU's own value, and no program of ours interrupts another on it.
        Some(hits) => unsafe {
            (*hits).packets += new.packets;
            (*hits).bytes += new.bytes;
        },
        None => {
            // Where there is no room the rule is not counted.
            let _ = RULE_HITS.insert(rule, new, 0);
        }
    }
}

/// Records a denial of `scratch.denial`, filled in as `scratch.denied`.
#[expect(clippy::needless_borrows_for_generic_args, reason = "values would be copied to the stack")]
#[inline(always)]
pub fn deny(scratch: &PolicyScratch) {
    let new = &scratch.denied;
    match DENIALS.get_ptr_mut(&scratch.denial) {
        // SAFETY: as above.
        Some(known) => unsafe {
            (*known).packets += 1;
            (*known).last = new.last;
            ((*known).subject, (*known).rule, (*known).reason) = (new.subject, new.rule, new.reason);
        },
        None => {
            let _ = DENIALS.insert(&scratch.denial, new, 0);
        }
    }
}

/// Remembers that the first fragment of a packet passed out of the pod behind `ifindex`.
#[inline(always)]
pub fn pass_fragments(key: &FragmentKey, ifindex: u32) {
    // Where there is no room the packet is lost, as one of its fragments might be.
    let _ = PASSED_FRAGMENTS.insert(key, ifindex, 0);
}

/// Returns true if the first fragment of the packet passed out of the pod behind `ifindex`.
#[inline(always)]
pub fn passes_fragment(key: &FragmentKey, ifindex: u32) -> bool {
    // SAFETY: as above; the kernel may use the element for another packet of a pod at any time, with another ifindex.
    unsafe { PASSED_FRAGMENTS.get(key) }.is_some_and(|pod| *pod == ifindex)
}

/// The map of notes about sockets, for the helper.
#[inline(always)]
pub fn sockets() -> *mut core::ffi::c_void {
    (&raw const SOCKETS).cast_mut().cast()
}
