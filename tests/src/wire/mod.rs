//! Packets as bytes, built by hand: an independent witness of the datapath's parsing.

pub mod checksum;
pub mod ethernet;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod sctp;
