//! The rights of this process that eBPF needs.

use std::fs;

/// The capability of everything, which stands for both others.
const ADMIN: u32 = 21;
/// Names and numbers of the capabilities (include/uapi/linux/capability.h).
const NEEDED: [(&str, u32); 2] = [("CAP_BPF", 39), ("CAP_PERFMON", 38)];

/// The capabilities that eBPF needs and this process does not have; none where that cannot be told.
#[must_use]
pub fn lacking() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    effective(&status).map_or_else(Vec::new, without)
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn without(effective: u64) -> Vec<&'static str> {
    let has = |number: u32| effective & (1 << number) != 0;
    let missing = NEEDED.into_iter().filter(|(_, number)| !has(*number) && !has(ADMIN));
    missing.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_may_not_do_is_named() {
        let status = |value: &str| without(effective(&format!("Name:\tx\nCapEff:\t{value}\n")).unwrap());
        assert_eq!(status("000001ffffffffff"), Vec::<&str>::new());
        assert_eq!(status("0000000000200000"), Vec::<&str>::new());
        assert_eq!(status("0000004000001000"), ["CAP_BPF"]);
        assert_eq!(status("0000000000000000"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(effective("nothing"), None);
    }
}
