use aya_ebpf::{btf_maps::Array, macros::btf_map};
use naru_abi::{ABI_VERSION, Config, DropReason};

#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();

/// The node's configuration.
#[inline(always)]
pub fn current() -> Result<&'static Config, DropReason> {
    match CONFIG.get(0) {
        Some(config) if config.abi == ABI_VERSION => Ok(config),
        _ => Err(DropReason::NotReady),
    }
}
