//! Kind 17: what keeps traffic going needs no agent. A full table of flows, and no room for another one.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use naru_abi::{FlowKey, FlowValue};
use naru_bpf::{Flows, Pins};
use naru_e2e::{counters::Counters, probe::Host};
use naru_node::symmetry;
use naru_sandbox::kube_proxy::Proxy;

use crate::world::{TARGET, Way, World, service};

const PATIENCE: Duration = Duration::from_secs(3);

/// Entries that look as if they were in use.
fn fill(flows: &mut Flows) -> Vec<FlowKey> {
    let value = FlowValue { last_seen: symmetry::now() };
    let fillers = (0..u32::MAX).map(|number| FlowKey {
        protocol: 255,
        ..FlowKey::NONE.with_ports((number >> 16) as u16 + 1, number as u16)
    });
    fillers.take_while(|key| flows.insert(key, value).is_ok()).collect()
}

fn connect(client: &Host, v6: bool) -> std::io::Result<TcpStream> {
    client.netns.run(|| Ok(TcpStream::connect_timeout(&service(v6), Duration::from_millis(1500)))).unwrap()
}

/// A connection that has carried something one way, and its server's end.
fn established(client: &Host, listener: &TcpListener, v6: bool) -> (TcpStream, TcpStream) {
    let mut stream = connect(client, v6).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    for end in [&stream, &accepted] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    stream.write_all(b"hello").unwrap();
    accepted.read_exact(&mut [0; 5]).unwrap();
    (stream, accepted)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_table_forgets_no_idle_flow_and_serves_new_ones_by_their_hosts() {
    for way in Way::ALL {
        let world = World::without_agents(way, Proxy::Nftables);
        let node = world.lab.node("n1").unwrap().clone();
        let pins = Pins::at(node.pins().unwrap());
        let (mut flows, pairs) = (Flows::open(&pins).unwrap(), Flows::open_pairs(&pins).unwrap());
        for (v6, server) in [(false, "p1-2"), (false, "p2-1"), (true, "p1-2"), (true, "p2-1")] {
            world.in_front_of(v6, &[server]);
            let (client, server) = (world.host("p1-1", v6), world.host(server, v6));
            let listener = server.netns.run(|| Ok(TcpListener::bind((server.address, TARGET))?)).unwrap();
            let (mut stream, mut accepted) = established(&client, &listener, v6);
            let fillers = fill(&mut flows);
            assert_eq!(flows.entries().unwrap().len(), flows.capacity().unwrap() as usize);
            let before = Counters::read(&node).unwrap();
            // The server speaks next.
            accepted.write_all(&[7; 100_000]).unwrap();
            stream.read_exact(&mut vec![0; 100_000]).unwrap();
            let pair = FlowKey::between(server.address.into(), client.address.into(), 6);
            assert_eq!(pairs.get(&pair).unwrap(), None, "{way:?}: an old flow needs none");
            for _ in 0..3 {
                established(&client, &listener, v6);
            }
            assert!(pairs.get(&pair).unwrap().is_some() && pairs.get(&pair.reversed()).unwrap().is_some());
            // The same holds for a connection that nobody translates, and for the old one.
            let direct = client.netns.run(|| Ok(TcpStream::connect((server.address, TARGET))?)).unwrap();
            listener.accept().unwrap();
            drop(direct);
            stream.write_all(b"and back").unwrap();
            accepted.read_exact(&mut [0; 8]).unwrap();
            let dropped = Counters::read(&node).unwrap().since(&before).packets("drop", "flow-table-full");
            assert_eq!(dropped, 0, "{way:?}, {} to {}", client.name, server.name);
            fillers.iter().for_each(|key| assert!(flows.delete(key).unwrap()));
        }
        // The sweep, which asks connection tracking, forgets pairs without a flow.
        let mut pairs = Flows::open_pairs(&pins).unwrap();
        let strangers = FlowKey { protocol: 6, ..FlowKey::NONE };
        pairs.insert(&strangers, FlowValue { last_seen: 1 }).unwrap();
        let live = pairs.entries().unwrap().len() - 1;
        for (key, _) in pairs.entries().unwrap() {
            pairs.insert(&key, FlowValue { last_seen: 1 }).unwrap();
        }
        let swept = node.open().unwrap().run(|| Ok(symmetry::sweep_pairs(&mut pairs)?)).unwrap();
        assert_eq!(
            (swept, pairs.entries().unwrap().len()),
            (1, live),
            "the last connections wait for their end"
        );
        assert_eq!(live, 8);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn where_there_is_no_room_for_hosts_either_new_flows_are_refused_and_old_ones_go_on() {
    let world = World::without_agents(Way::ALL[0], Proxy::Nftables);
    let node = world.lab.node("n1").unwrap().clone();
    let pins = Pins::at(node.pins().unwrap());
    let (mut flows, mut pairs) = (Flows::open(&pins).unwrap(), Flows::open_pairs(&pins).unwrap());
    world.in_front_of(false, &["p1-2"]);
    let (client, server) = (world.host("p1-1", false), world.host("p1-2", false));
    let listener = server.netns.run(|| Ok(TcpListener::bind((server.address, TARGET))?)).unwrap();
    let (mut stream, mut accepted) = established(&client, &listener, false);
    let (fillers, filler_pairs) = (fill(&mut flows), fill(&mut pairs));
    let before = Counters::read(&node).unwrap();
    assert!(connect(&client, false).is_err(), "there is no room");
    assert!(Counters::read(&node).unwrap().since(&before).packets("drop", "flow-table-full") > 0);
    accepted.write_all(&[7; 100_000]).unwrap();
    stream.read_exact(&mut vec![0; 100_000]).unwrap();
    fillers.iter().for_each(|key| assert!(flows.delete(key).unwrap()));
    filler_pairs.iter().for_each(|key| assert!(pairs.delete(key).unwrap()));
    established(&client, &listener, false);
}
