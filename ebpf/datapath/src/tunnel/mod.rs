//! VXLAN: what the tunnel device and the programs exchange, and what the programs do in the device's place.

pub mod arrival;
pub mod decap;
pub mod encap;
pub mod key;
