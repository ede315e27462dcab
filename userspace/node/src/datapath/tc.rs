//! Listing tc filters over netlink.
