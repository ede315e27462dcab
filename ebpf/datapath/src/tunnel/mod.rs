//! VXLAN: the interface between tunnel device and programs, and encapsulation by the programs themselves.

pub mod arrival;
pub mod decap;
pub mod encap;
pub mod key;
