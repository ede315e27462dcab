use aya::include_bytes_aligned;

/// The eBPF object that build.rs found; empty if there was none.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/naru-datapath.o"));

/// The embedded eBPF object, `None` in a binary built without it.
#[must_use]
pub fn object() -> Option<&'static [u8]> {
    (!OBJECT.is_empty()).then_some(OBJECT)
}
