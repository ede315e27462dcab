//! A hash that is the same in every build and on every machine, for names that are stored.

/// FNV-1a of 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
#[must_use]
pub fn fnv1a(content: &(impl AsRef<[u8]> + ?Sized)) -> u64 {
    seeded(content.as_ref(), 0)
}

/// FNV-1a over the bytes, finished by splitmix64's mixer so that short inputs spread over all bits.
#[must_use]
pub fn stable_hash(content: &(impl AsRef<[u8]> + ?Sized), seed: u64) -> u64 {
    mix(seeded(content.as_ref(), seed))
}

fn seeded(bytes: &[u8], seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes_between_builds() {
        assert_eq!(stable_hash("naru/pod/eth0", 0), 5_285_827_617_183_756_088);
    }

    #[test]
    fn texts_and_seeds_that_differ_in_one_bit_give_different_hashes() {
        assert_ne!(stable_hash("a", 0), stable_hash("b", 0));
        assert_ne!(stable_hash("a", 0), stable_hash("a", 1));
    }
}
