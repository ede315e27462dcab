//! The overlay device.

use super::scene::MARKS;
use std::net::UdpSocket;

use naru_netlink::links::{LinkError, Links, Mac, Overlay};

use super::scene::{node, overlay};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_overlay_device_is_made_once_and_remade_only_for_another_port_or_kind() {
    let node = node();
    node.sh("ip link add naru-vx type bridge");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        assert!(links.ensure_overlay(&overlay(8472)).unwrap().created, "a link of another kind is replaced");
        let first = links.ensure_overlay(&overlay(8472)).unwrap();
        assert!(!first.created);
        let changed = Overlay { mtu: 1400, mac: Mac([2, 9, 9, 9, 9, 9]), ..overlay(8472) };
        let same = links.ensure_overlay(&changed).unwrap();
        assert_eq!((same.index, same.created), (first.index, false));
        let link = links.link("naru-vx").unwrap().unwrap();
        assert_eq!((link.mac, link.mtu, link.up), (Some(changed.mac), 1400, true));
        assert!(links.ensure_overlay(&overlay(8473)).unwrap().created);
    });
    let shown = node.sh("ip -d link show naru-vx");
    for word in [
        "vxlan external",
        "dstport 8473",
        "nolearning",
        "udp6zerocsumrx",
        "addrgenmode none",
        "qdisc noqueue",
    ] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert_eq!(node.sh("ip -6 addr show dev naru-vx"), "");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        assert!(links.delete_overlay("naru-vx").unwrap());
        assert!(!links.delete_overlay("naru-vx").unwrap());
        assert!(matches!(links.delete_overlay("lo"), Err(LinkError::Foreign { .. })));
    });
}

fn taken(port: u16, holder: &str) -> LinkError {
    LinkError::PortTaken { device: "naru-vx".to_owned(), port, holder: Some(holder.to_owned()) }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_taken_port_is_told_by_number_and_holder_and_leaves_no_device() {
    let node = node();
    node.sh("ip link add other type vxlan external dstport 8472; ip link set other up");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let error = links.ensure_overlay(&overlay(8472)).unwrap_err();
        assert_eq!(error, taken(8472, "device other"));
        assert_eq!(links.link("naru-vx").unwrap(), None);
        links.ensure_overlay(&overlay(8473)).unwrap();
        let _socket = UdpSocket::bind("0.0.0.0:8474").unwrap();
        let holder = format!("process {} (", std::process::id());
        match links.ensure_overlay(&overlay(8474)).unwrap_err() {
            LinkError::PortTaken { port: 8474, holder: Some(found), .. } => {
                assert!(found.starts_with(&holder), "{found}");
            }
            other => panic!("{other}"),
        }
    });
}
