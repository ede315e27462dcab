/// A type whose every byte is defined in every value: fixed layout, no padding, any bit pattern valid.
///
/// # Safety
/// Implemented only by [`plain!`], which proves that the size equals the sum of the fields.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: an integer has no padding and accepts every bit pattern.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: an array of bytes has no padding and accepts every bit pattern.
unsafe impl<const N: usize> Plain for [u8; N] {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [u16; N] {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [u32; N] {}

/// Declares `$type` as [`Plain`] and refuses to compile if its fields do not fill it exactly.
macro_rules! plain {
    ($type:ty { $($field:ident: $field_type:ty),+ $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == 0 $(+ size_of::<$field_type>())+, "padding in a shared type");
            assert!(align_of::<$type>() <= 8, "BTF printers refuse an alignment over 8");
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$field_type>();)+
        };
        // SAFETY: the assertions above exclude padding, and every field is plain itself.
        unsafe impl $crate::Plain for $type {}
    };
}
pub(crate) use plain;
