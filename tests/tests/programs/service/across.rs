//! Real packets to a Service whose backend is on another node, in every way that nodes send.

use std::net::SocketAddr;

use naru_e2e::probe::{tcp, udp};

use super::world::{PORT, Served, TCP, UDP, address};
use crate::{
    pair::{Mode, Pair},
    world::FAMILIES,
};

const TARGET: u16 = 8080;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_and_datagrams_reach_a_backend_on_another_node_in_every_mode() {
    for mode in [Mode::Device, Mode::Own, Mode::Direct, Mode::Stack] {
        if !mode.is_possible() {
            continue;
        }
        for underlay in FAMILIES {
            let pair = Pair::new(underlay, [mode, mode]);
            for family in FAMILIES {
                check(&pair, family);
            }
        }
    }
}

fn check(pair: &Pair, family: crate::world::Family) {
    let [client, server] = pair.hosts(family);
    let services = [TCP, UDP].map(|protocol| Served::new(address(family, 10), protocol));
    services.iter().for_each(|service| service.write(&pair.near.node, &[(server.address, TARGET)]));
    let at = SocketAddr::new(address(family, 10), PORT);
    let report = tcp::stream_by(&client, at, &server, TARGET, 3 << 20, 3 << 20).unwrap();
    assert_eq!(report.peer.ip(), client.address);
    udp::echo_by(&client, at, &server, TARGET, &[1, 100, 1300]).unwrap();
    assert_eq!(services.map(|service| service.counters(&pair.near.node).translated), [1, 1]);
}
