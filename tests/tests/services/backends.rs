//! Servers that go: who keeps asking the Service gets another one.

use std::{
    cell::Cell,
    net::{SocketAddr, UdpSocket},
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use naru_e2e::{cni::TestPod, probe::Host};
use naru_sandbox::kube_proxy::Proxy;
use serde_json::json;

use crate::world::{TARGET, Way, World, service};

/// Time within which the client must have another server.
const SOON: Duration = Duration::from_secs(1);

/// Answers every datagram with `word` and what it says until `done`.
fn serve(host: &Host, word: &str, done: &AtomicBool) {
    let open = || {
        let socket = UdpSocket::bind((host.address, TARGET))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(socket)
    };
    let socket = host.netns.run(open).unwrap();
    let mut buffer = [0; 64];
    while !done.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&[word.as_bytes(), &buffer[..length]].concat(), from);
        }
    }
}

/// A client that keeps one source port.
struct Client {
    socket: UdpSocket,
    to: SocketAddr,
    /// Questions so far.
    asked: Cell<u32>,
}

impl Client {
    fn new(host: &Host, to: SocketAddr) -> Self {
        let socket = host.netns.run(|| Ok(UdpSocket::bind((host.address, 0))?)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        Self { socket, to, asked: Cell::new(0) }
    }

    /// The server that answers now; none if no answer comes from the address that was asked. A late answer to an
    /// earlier question does not count.
    fn ask(&self) -> Option<String> {
        self.asked.set(self.asked.get() + 1);
        let question = format!(" {}", self.asked.get());
        // An ICMP error about an earlier datagram may be waiting.
        while self.socket.send_to(question.as_bytes(), self.to).is_err() {}
        let mut buffer = [0; 64];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
            let said = String::from_utf8_lossy(&buffer[..length]);
            if let Some(word) = said.strip_suffix(&question) {
                return (from == self.to).then(|| word.to_owned());
            }
        }
    }

    /// Keeps asking until `wanted` answers; how long that took.
    fn until(&self, wanted: &str) -> Duration {
        let start = Instant::now();
        while self.ask().as_deref() != Some(wanted) && start.elapsed() < 5 * SOON {}
        start.elapsed()
    }
}

/// The client's server is a pod that goes; kube-proxy hears of it before or after.
fn moves(world: &World, v6: bool, is_known_before: bool) {
    let about = format!("{:?}, IPv6 {v6}, rules first {is_known_before}", world.proxy);
    let pod = TestPod::add(&world.lab, "n1", "first", &json!({})).unwrap();
    let (first, second) = (pod.host(v6).unwrap(), world.host("p1-2", v6));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&first, "first", &done));
        scope.spawn(|| serve(&second, "second", &done));
        let outcome =
            panic::catch_unwind(AssertUnwindSafe(|| goes(world, v6, is_known_before, &pod, &about)));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|cause| panic::resume_unwind(cause));
    });
}

fn goes(world: &World, v6: bool, is_known_before: bool, first: &TestPod, about: &str) {
    world.in_front_of_addresses(v6, &[first.host(v6).unwrap().address]);
    let client = Client::new(&world.host("p1-1", v6), service(v6));
    assert!(client.until("first") < SOON, "{about}");
    let rules = || world.in_front_of(v6, &["p1-2"]);
    if is_known_before {
        rules();
        assert!(client.until("first") < SOON, "{about}: the flow is as it was");
    }
    first.call("DEL").unwrap();
    if !is_known_before {
        // A client that asks now gets no answer, and must not be bound to that.
        (0..10).for_each(|_| assert_eq!(client.ask(), None, "{about}"));
        rules();
    }
    let took = client.until("second");
    assert!(took < SOON, "{about}: {took:?}\n{}", world.describe());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_client_that_keeps_its_port_finds_the_next_server_within_a_second_of_del() {
    for proxy in Proxy::ALL {
        let world = World::without_agents(Way::ALL[0], proxy);
        for v6 in [false, true] {
            moves(&world, v6, true);
            moves(&world, v6, false);
        }
    }
}
