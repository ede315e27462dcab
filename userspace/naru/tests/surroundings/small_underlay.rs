//! Kind 3: a rule is applied at one of two places that need it. Here: a link of IPv6 carries 1280 bytes (RFC 8200,
//! section 5), in fragments of the layer beneath if need be, at every place that has an MTU; and every device of
//! ours is prepared for the families it serves (see also `host_sysctls`).

use serde_json::json;

use crate::machine::{CLUSTER, Machine, pod::Pod};

/// MTU of the underlay, that of pods, of the tunnel device, of IPv4 and of IPv6 routes to the other node's pods.
const TABLE: [(u32, [u32; 4]); 6] = [
    (1280, [1280, 1280, 1230, 1280]),
    (1300, [1280, 1280, 1250, 1280]),
    (1329, [1280, 1280, 1279, 1280]),
    (1330, [1280, 1280, 1280, 1280]),
    (1331, [1281, 1281, 1281, 1281]),
    (1500, [1450, 1450, 1450, 1450]),
];

fn mtu_of(text: &str) -> u32 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "mtu").unwrap_or_else(|| panic!("no mtu in {text}"));
    words[at + 1].parse().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn below_ipv6_every_place_has_the_floor_and_pods_start() {
    for (underlay, [pods, device, v4, v6]) in TABLE {
        let machine = Machine::clustered();
        machine.ip(&format!("link set up0 mtu {underlay}"));
        machine.ok(&["init"]);
        let pod = Pod::new(&machine, "a", json!({}));
        let own = pod.add(&machine);
        let when = format!("underlay {underlay}");
        let veth = machine.ip(&format!("route get {}", own[0]));
        let veth = veth.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap().to_owned();
        assert_eq!(mtu_of(&machine.ip(&format!("link show {veth}"))), pods, "{when}: the pod's link");
        assert_eq!(mtu_of(&machine.ip("link show naru-vx")), device, "{when}: the tunnel device");
        for address in &own {
            let family = if address.contains(':') { "-6" } else { "-4" };
            assert_eq!(
                mtu_of(&machine.ip(&format!("{family} route show {address}"))),
                pods,
                "{when}: {address}"
            );
        }
        for (family, block, expected) in [("-4", "10.32.1.0/24", v4), ("-6", "fd10:32::1:0/112", v6)] {
            assert_eq!(
                mtu_of(&machine.ip(&format!("{family} route show {block}"))),
                expected,
                "{when}: {block}"
            );
            let routes = machine.ok(&["routes"]);
            let entry = routes.lines().find(|line| line.starts_with(block)).unwrap();
            assert!(entry.contains(&format!(" {expected} ")), "{when}: {entry}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn where_pods_have_ipv4_only_there_is_no_floor() {
    let only_v4: String = CLUSTER
        .replace(", \"fd10:32::/48\"", "")
        .replace(", \"fd10:32::/112\"", "")
        .replace(", \"fd10:32::1:0/112\"", "");
    let machine = Machine::new();
    machine.write_cluster(&only_v4);
    machine.ip("link set up0 mtu 1280");
    machine.ok(&["init"]);
    assert_eq!(mtu_of(&machine.ip("link show naru-vx")), 1230);
    assert_eq!(mtu_of(&machine.ip("-4 route show 10.32.1.0/24")), 1230);
}
