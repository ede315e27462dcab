/// Number of addresses in a chunk.
pub const CHUNK_BITS: u32 = 4096;
/// Bytes of a stored chunk.
pub const CHUNK_BYTES: usize = CHUNK_BITS as usize / 8;

const WORDS: usize = CHUNK_BITS as usize / 64;

/// A bitmap of up to 4096 neighbouring addresses of a range, with a bit set for each that is not free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Its place in the range: its first address has the offset `index * 4096`.
    pub index: u32,
    words: [u64; WORDS],
}

impl Chunk {
    /// A chunk whose first `len` addresses are free; the rest does not exist and counts as used.
    #[must_use]
    pub fn new(index: u32, len: u32) -> Self {
        let mut words = [0; WORDS];
        for (word, start) in words.iter_mut().zip((0..CHUNK_BITS).step_by(64)) {
            *word = match len.saturating_sub(start) {
                0 => u64::MAX,
                here if here < 64 => u64::MAX << here,
                _ => 0,
            };
        }
        Self { index, words }
    }

    /// The number of free addresses.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.words.iter().map(|word| word.count_zeros()).sum()
    }

    /// The first free address from `from` on, as an offset in the chunk.
    #[must_use]
    pub fn first_free(&self, from: u32) -> Option<u32> {
        let skipped = (1_u64 << (from % 64)) - 1;
        let start = from / 64;
        self.words.iter().zip(0_u32..).skip(start as usize).find_map(|(word, number)| {
            let used = if number == start { word | skipped } else { *word };
            (used != u64::MAX).then(|| number * 64 + used.trailing_ones())
        })
    }

    /// Returns true if the address at an offset in the chunk is used; one outside the chunk is.
    #[must_use]
    pub fn is_used(&self, offset: u32) -> bool {
        self.words.get(offset as usize / 64).is_none_or(|word| word & (1 << (offset % 64)) != 0)
    }

    /// Marks the address at an offset in the chunk as used or free. Offsets outside change nothing.
    pub fn set(&mut self, offset: u32, used: bool) {
        let mask = 1_u64 << (offset % 64);
        if let Some(word) = self.words.get_mut(offset as usize / 64) {
            *word = if used { *word | mask } else { *word & !mask };
        }
    }

    /// The bits, in the form in which they are stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CHUNK_BYTES] {
        let mut bytes = [0; CHUNK_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(&self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a stored chunk.
    #[must_use]
    pub fn from_bytes(index: u32, bytes: &[u8; CHUNK_BYTES]) -> Self {
        let (parts, _) = bytes.as_chunks::<8>();
        let mut words = [0; WORDS];
        for (word, part) in words.iter_mut().zip(parts) {
            *word = u64::from_le_bytes(*part);
        }
        Self { index, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_chunk_has_as_many_free_addresses_as_it_is_long() {
        for len in [1, 63, 64, 65, 4095, 4096] {
            let chunk = Chunk::new(0, len);
            assert_eq!(chunk.free(), len);
            assert_eq!(chunk.first_free(len - 1), Some(len - 1));
            assert_eq!(chunk.first_free(len), None);
        }
    }

    #[test]
    fn the_first_free_address_is_found_from_any_offset() {
        let mut chunk = Chunk::new(3, CHUNK_BITS);
        for offset in 0..CHUNK_BITS {
            chunk.set(offset, ![5, 64, 4095].contains(&offset));
        }
        let found = [0, 5, 6, 64, 65, 4095].map(|from| chunk.first_free(from));
        assert_eq!(found, [Some(5), Some(5), Some(64), Some(64), Some(4095), Some(4095)]);
        assert_eq!(chunk.first_free(CHUNK_BITS), None);
        assert_eq!(chunk.free(), 3);
    }

    #[test]
    fn an_address_set_twice_counts_once_and_one_outside_not_at_all() {
        let mut chunk = Chunk::new(0, 10);
        chunk.set(4, true);
        chunk.set(4, true);
        chunk.set(CHUNK_BITS, true);
        assert_eq!(chunk.free(), 9);
        assert_eq!([3, 4, 10, CHUNK_BITS].map(|offset| chunk.is_used(offset)), [false, true, true, true]);
        chunk.set(4, false);
        assert_eq!(chunk.free(), 10);
    }

    #[test]
    fn a_chunk_survives_being_stored() {
        let mut chunk = Chunk::new(7, 4000);
        chunk.set(1, true);
        chunk.set(3999, true);
        assert_eq!(Chunk::from_bytes(7, &chunk.to_bytes()), chunk);
    }
}
