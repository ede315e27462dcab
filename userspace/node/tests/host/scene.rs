//! Parts that several topics need.

use std::{collections::BTreeMap, net::IpAddr};

use naru_node::host::{
    firewall::{Firewall, Tunnel},
    undo,
};

pub use crate::support::Netns;

/// Undoes everything in the journal, as uninstall does.
pub fn undo_all(journal: &BTreeMap<String, String>) {
    for (key, former) in journal {
        undo(key, former).unwrap();
        undo(key, former).unwrap();
    }
}

pub fn firewall() -> Firewall {
    Firewall {
        masquerade: ["10.32.0.0/24", "fd10:32::/112"].map(|prefix| prefix.parse().unwrap()).into(),
        direct: ["10.32.0.0/12", "fd10:32::/48", "10.32.1.0/24"].map(|prefix| prefix.parse().unwrap()).into(),
        tunnel: Some(Tunnel {
            port: 8472,
            device_port: 8472,
            vni: 5230,
            addresses: vec![IpAddr::from([198, 51, 100, 1])],
        }),
    }
}
