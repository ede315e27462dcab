use crate::{Checksums, Family, Wire, nat::after};

/// A frame, from its Ethernet header on.
pub trait Bytes {
    /// Bytes of the whole frame; with GSO, of all segments together.
    fn frame_len(&self) -> u32;

    /// Payload of one segment if the frame is a GSO frame, else 0.
    fn gso_size(&self) -> u32;

    /// Reads the header at `offset`; for the Ethernet and IP headers, at offsets known at compile time.
    fn read<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Replaces a header that could be read.
    fn write<T: Wire>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Reads the header at `offset`, wherever that is; slower than [`Bytes::read`].
    fn load<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Replaces a header that could be loaded.
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()>;
}

/// A frame in memory.
#[derive(PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    bytes: &'a mut [u8],
    gso_size: u32,
}

impl<'a> Frame<'a> {
    /// A frame that is one packet.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, gso_size: 0 }
    }

    /// A frame that stands for segments of `gso_size` bytes payload.
    pub fn segmented(bytes: &'a mut [u8], gso_size: u32) -> Self {
        Self { bytes, gso_size }
    }

    fn range<T>(&self, offset: usize) -> Option<core::ops::Range<usize>> {
        let end = offset.checked_add(size_of::<T>())?;
        (end <= self.bytes.len()).then_some(offset..end)
    }
}

impl Bytes for Frame<'_> {
    fn frame_len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn gso_size(&self) -> u32 {
        self.gso_size
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let bytes = self.bytes.get(self.range::<T>(offset)?)?;
        // SAFETY: the slice is as long as `T`, and `Wire` accepts every bit pattern.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn write<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let range = self.range::<T>(offset)?;
        let bytes = self.bytes.get_mut(range)?;
        // SAFETY: the slice is as long as `T`, which has no padding.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        self.read(offset)
    }

    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        self.write(offset, value)
    }
}

/// The bytes are all there is: no checksum is left for a device to complete.
impl Checksums for Frame<'_> {
    fn update(&mut self, offset: usize, difference: u32, is_udp: bool) -> Option<()> {
        let old = u16::from_ne_bytes(self.read(offset)?);
        if is_udp && old == 0 {
            return Some(());
        }
        let new = after(old, difference);
        let new = if is_udp && new == 0 { u16::MAX } else { new };
        self.write(offset, new.to_ne_bytes())
    }

    fn update_pseudo(&mut self, offset: usize, difference: u32, _: Family, is_udp: bool) -> Option<()> {
        self.update(offset, difference, is_udp)
    }
}
