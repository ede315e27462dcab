//! Flows that are recorded, flows that are not, and the lifetime of records.

use std::{
    collections::BTreeSet,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use naru_abi::{FlowKey, FlowValue};
use naru_bpf::{Flows, Pins};
use naru_e2e::{
    cni::TestPod,
    matrix::{self, Plan},
    probe::{
        ping::{self, Ping},
        tcp, udp,
    },
    tool::holds_within,
};
use naru_node::symmetry;
use naru_sandbox::kube_proxy::Proxy;
use serde_json::json;

use crate::world::{TARGET, Way, World, service};

fn flows(world: &World, node: &str) -> Flows {
    Flows::open(&Pins::at(world.lab.node(node).unwrap().pins().unwrap())).unwrap()
}

fn keys(world: &World, node: &str) -> BTreeSet<FlowKey> {
    flows(world, node).entries().unwrap().into_iter().map(|(key, _)| key).collect()
}

/// Makes every entry look as if nothing had been seen of it for long.
fn age(world: &World, node: &str) {
    let mut flows = flows(world, node);
    for (key, _) in flows.entries().unwrap() {
        flows.insert(&key, FlowValue { last_seen: 1 }).unwrap();
    }
}

fn sweep(world: &World, node: &str) -> usize {
    let netns = world.lab.node(node).unwrap().open().unwrap();
    netns.run(|| Ok(symmetry::sweep(&mut flows(world, node), 1000)?)).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plain_traffic_leaves_no_record_however_it_goes() {
    for way in Way::ALL {
        let world = World::up(way, Proxy::Nftables);
        // All kinds of traffic without Services: fragments, oversized packets, packets with a used-up TTL or with
        // options.
        matrix::must_pass(&world.lab, &Plan { stream: 1 << 20, ..Plan::default() }).unwrap();
        let by_stack =
            TestPod::add(&world.lab, "n1", "bystack", &json!({"naru": {"shortcut": "off"}})).unwrap();
        for v6 in [false, true] {
            world.in_front_of(v6, &["p1-1", "p2-1"]);
            let by_stack = by_stack.host(v6).unwrap();
            for peer in ["p1-1", "p2-1", "n1", "n2"] {
                ping::all_return(&by_stack, &world.host(peer, v6), 3000, 2).unwrap();
                ping::all_return(&world.host(peer, v6), &by_stack, 3000, 2).unwrap();
            }
            let near = Ping { hops: Some(1), ..Ping::default() };
            ping::once(&world.host("p1-1", v6).netns, world.host("p2-1", v6).address, near).unwrap();
        }
        for node in ["n1", "n2"] {
            assert_eq!(keys(&world, node), BTreeSet::new(), "{way:?}, {node}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flow_is_recorded_once_at_the_clients_node_and_for_fragments_beside() {
    for way in Way::ALL {
        let world = World::up(way, Proxy::Nftables);
        for v6 in [false, true] {
            for server in ["p1-2", "p2-1"] {
                world.in_front_of(v6, &[server]);
                let (client, server) = (world.host("p1-1", v6), world.host(server, v6));
                let before = keys(&world, "n1");
                let report = tcp::stream_by(&client, service(v6), &server, TARGET, 1000, 1000).unwrap();
                let pair = FlowKey::between(server.address.into(), client.address.into(), 6);
                let recorded = [pair.with_ports(TARGET, report.peer.port()), pair];
                let grown: BTreeSet<FlowKey> = keys(&world, "n1").difference(&before).copied().collect();
                assert_eq!(grown, recorded.into(), "{way:?}, {} to {}", client.name, server.name);
            }
        }
        assert_eq!(keys(&world, "n2"), BTreeSet::new(), "{way:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_record_lives_as_long_as_its_connection_however_idle() {
    let world = World::up(Way::ALL[0], Proxy::Iptables);
    for v6 in [false, true] {
        world.in_front_of(v6, &["p2-1"]);
        let (client, server) = (world.host("p1-1", v6), world.host("p2-1", v6));
        let listener = server.netns.run(|| Ok(TcpListener::bind((server.address, TARGET))?)).unwrap();
        let stream = client.netns.run(|| Ok(TcpStream::connect(service(v6))?)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(keys(&world, "n1").len(), 2);
        for _ in 0..2 {
            age(&world, "n1");
            assert_eq!(sweep(&world, "n1"), 0, "conntrack knows it");
        }
        drop((stream, accepted));
        // First the flow, when the last packets have passed, then what was kept for its fragments.
        let is_empty = || {
            age(&world, "n1");
            sweep(&world, "n1");
            keys(&world, "n1").is_empty()
        };
        assert!(holds_within(Duration::from_secs(20), is_empty), "{:?}", keys(&world, "n1"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_an_agent_every_attachment_and_detachment_sweeps_a_few() {
    let world = World::without_agents(Way::ALL[0], Proxy::Nftables);
    let mut map = flows(&world, "n1");
    let dead = |port: u16| {
        let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap().into();
        FlowKey::between(ip("10.32.9.9"), ip("10.32.9.8"), 6).with_ports(port, 80)
    };
    for port in 1..=200 {
        map.insert(&dead(port), FlowValue { last_seen: u64::from(port) }).unwrap();
    }
    let pod = TestPod::add(&world.lab, "n1", "one", &json!({})).unwrap();
    assert_eq!(keys(&world, "n1"), (65..=200).map(dead).collect(), "the longest idle went");
    drop(pod);
    assert_eq!(keys(&world, "n1"), (129..=200).map(dead).collect());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_takes_an_address_over_inherits_no_flow_of_it_and_loses_none_to_a_late_goodbye() {
    let world = World::without_agents(Way::ALL[0], Proxy::Nftables);
    let mut map = flows(&world, "n1");
    let old = TestPod::add(&world.lab, "n1", "old", &json!({})).unwrap();
    let ips: Vec<String> = old.addresses.iter().map(ToString::to_string).collect();
    let of_old: Vec<FlowKey> = old
        .addresses
        .iter()
        .flat_map(|ip| {
            let other = world.host("p1-1", ip.is_ipv6()).address.into();
            let key = FlowKey::between((*ip).into(), other, 17).with_ports(53, 4000);
            [key, key.reversed(), key.without_ports()]
        })
        .collect();
    let enter = |map: &mut Flows| {
        of_old.iter().for_each(|key| map.insert(key, FlowValue { last_seen: symmetry::now() }).unwrap());
    };
    enter(&mut map);
    old.call("DEL").unwrap();
    assert_eq!(keys(&world, "n1"), BTreeSet::new(), "DEL forgets");
    enter(&mut map);
    let wanted = json!({"runtimeConfig": {"ips": ips}, "capabilities": {"ips": true}});
    let new = TestPod::add(&world.lab, "n1", "new", &wanted).unwrap();
    assert_eq!(new.addresses, old.addresses, "the test needs the same addresses");
    assert_eq!(keys(&world, "n1"), BTreeSet::new(), "ADD forgets what came after the DEL");
    enter(&mut map);
    old.call("DEL").unwrap();
    assert_eq!(keys(&world, "n1"), of_old.into_iter().collect(), "a late DEL takes nothing");
    udp::echo(&world.host("p1-1", false), &new.host(false).unwrap(), &[100]).unwrap();
}
