use aya_ebpf::{btf_maps::Array, macros::btf_map};
use naru_abi::{ABI_VERSION, Config, ConfigSlots, DropReason};

#[btf_map]
static CONFIG: Array<ConfigSlots, 1> = Array::new();

/// Returns the node's configuration, never parts of two.
#[inline(always)]
pub fn current() -> Result<&'static Config, DropReason> {
    let slots = CONFIG.get(0).ok_or(DropReason::NotReady)?;
    // SAFETY: an aligned word of the value, which user space may change.
    let current = unsafe { (&raw const slots.current).read_volatile() };
    match slots.slots.get(ConfigSlots::position(current)) {
        Some(config) if config.abi == ABI_VERSION => Ok(config),
        _ => Err(DropReason::NotReady),
    }
}
