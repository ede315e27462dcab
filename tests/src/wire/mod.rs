//! Packets as bytes, built by hand: an independent witness of what the datapath reads.

pub mod checksum;
pub mod ethernet;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod sctp;
