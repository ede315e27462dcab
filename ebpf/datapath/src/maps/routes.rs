use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use naru_abi::{Addr, MAX_ROUTES, RouteValue};

/// The trie's nodes are freed after a grace period (`kfree_rcu`, `bpf_mem_cache_free_rcu`), and never change: what was
/// found stays what it is until the program ends.
#[btf_map]
static ROUTES: LpmTrie<Addr, RouteValue, { MAX_ROUTES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    LpmTrie::new();

/// Returns the route of the longest prefix that holds `addr`.
#[inline(always)]
pub fn get(addr: &Addr) -> Option<&'static RouteValue> {
    ROUTES.get(&Key::new(128, *addr))
}
