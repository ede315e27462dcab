//! One module a hook: what becomes of a packet there, as a [`crate::exit::Decision`].

pub mod from_overlay;
pub mod from_pod;
pub mod from_underlay;
pub mod to_overlay;
pub mod to_pod;
pub mod to_underlay;
