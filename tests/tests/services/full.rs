//! No room for another flow.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use naru_abi::{FlowKey, FlowValue};
use naru_bpf::{Flows, Pins};
use naru_e2e::{counters::Counters, kube_proxy::Proxy, probe::Host};
use naru_node::symmetry;

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
fn a_full_table_refuses_new_flows_and_forgets_no_idle_one() {
    for way in Way::ALL {
        let world = World::without_agents(way, Proxy::Nftables);
        let node = world.lab.node("n1").unwrap().clone();
        let mut flows = Flows::open(&Pins::at(node.pins().unwrap())).unwrap();
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
            stream.write_all(b"and back").unwrap();
            accepted.read_exact(&mut [0; 8]).unwrap();
            assert_eq!(Counters::read(&node).unwrap().since(&before).packets("drop", "flow-table-full"), 0);
            assert!(connect(&client, v6).is_err(), "{} to {}: there is no room", client.name, server.name);
            assert!(Counters::read(&node).unwrap().since(&before).packets("drop", "flow-table-full") > 0);
            fillers.iter().for_each(|key| assert!(flows.delete(key).unwrap()));
            established(&client, &listener, v6);
        }
    }
}
