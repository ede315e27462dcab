use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use naru_abi::{Addr, MAX_ROUTES, RouteKind, RouteValue};

#[btf_map]
static ROUTES: LpmTrie<Addr, RouteValue, { MAX_ROUTES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    LpmTrie::new();

/// A route and its kind.
#[derive(Clone, Copy)]
pub struct Route {
    /// What lies behind the prefix.
    pub kind: RouteKind,
    /// The rest of it.
    pub value: &'static RouteValue,
}

/// What lies behind the longest prefix that holds `addr`.
#[inline(always)]
pub fn get(addr: &Addr) -> Option<Route> {
    let value = ROUTES.get(&Key::new(128, *addr))?;
    let kind = RouteKind::try_from(value.kind).ok()?;
    Some(Route { kind, value })
}
