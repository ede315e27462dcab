//! Features of the running kernel: a test of a feature may be left out where the kernel is too old for it, and only
//! there.

use std::fs;

use naru_bpf::{ENCAPSULATION, TCX, probe};

/// Returns true if the kernel has tcx links (6.6).
pub fn has_tcx() -> bool {
    has(TCX, (6, 6))
}

/// Returns true if programs can encapsulate and decapsulate (6.3).
pub fn has_encapsulation() -> bool {
    has(ENCAPSULATION, (6, 3))
}

/// # Panics
/// The kernel lacks the feature and is not older than the version that brought it.
fn has(feature: &str, since: (u32, u32)) -> bool {
    let has = probe().has(feature);
    if !has {
        assert!(version() < since, "this kernel should have {feature}");
        eprintln!("not tested, as this kernel does not have it: {feature}");
    }
    has
}

/// Of the running kernel, as `uname -r` begins.
fn version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
