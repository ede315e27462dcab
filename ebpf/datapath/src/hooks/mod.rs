//! One module for each hook, which makes a [`crate::exit::Decision`] about a packet.

pub mod from_overlay;
pub mod from_pod;
pub mod from_underlay;
pub mod to_overlay;
pub mod to_pod;
pub mod to_underlay;
