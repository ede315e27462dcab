//! A machine with a server and two clients, and the questions that these ask.

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use naru_sandbox::netns;
use serde_json::{Value, json};

use crate::machine::{Agent, CLUSTER, Machine, pod::Pod};

/// Time limit for events that must come, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Well below the period in which the agent looks without being told.
pub const PROMPT: Duration = Duration::from_secs(5);
/// Time that one attempt waits for its answer; attempts are repeated.
const ATTEMPT: Duration = Duration::from_millis(300);
/// The same where an answer must come.
pub const SOON: Duration = Duration::from_secs(10);
/// The server's port.
pub const PORT: u16 = 8080;
/// A second one.
pub const OTHER: u16 = 9090;

/// The answers in both families, IPv4 first.
pub const ALL: [bool; 2] = [true, true];
/// No answer in either.
pub const NONE: [bool; 2] = [false, false];

/// A pod with its addresses, IPv4 first.
pub struct Host {
    pub pod: Pod,
    pub addresses: Vec<IpAddr>,
}

impl Host {
    /// Attaches a pod of namespace `default`.
    pub fn new(machine: &Machine, name: &str) -> Self {
        let pod = Pod::new(machine, name, json!({}));
        let addresses = pod.add(machine).iter().map(|text| text.parse().unwrap()).collect();
        Self { pod, addresses }
    }

    /// The name of the pod.
    pub fn name(&self) -> &str {
        &self.pod.name
    }

    /// The pod's object.
    pub fn object(&self, app: &str) -> Value {
        object(&self.pod, app)
    }

    fn ask(&self, to: &Self, port: u16, ask: fn(SocketAddr) -> io::Result<()>) -> [bool; 2] {
        let answered = to.addresses.iter().map(|address| {
            let at = SocketAddr::new(*address, port);
            netns::inside(self.name(), || Ok(ask(at).is_ok())).unwrap()
        });
        answered.collect::<Vec<_>>().try_into().unwrap()
    }

    /// Whether the other one answers by TCP, in each family.
    pub fn tcp(&self, to: &Self, port: u16) -> [bool; 2] {
        self.ask(to, port, by_tcp)
    }

    /// The same by UDP.
    pub fn udp(&self, to: &Self, port: u16) -> [bool; 2] {
        self.ask(to, port, by_udp)
    }

    /// Whether the other one answers by TCP in both families, however long that takes on a busy machine.
    pub fn reaches(&self, to: &Self, port: u16) -> bool {
        to.addresses.iter().all(|address| {
            let at = SocketAddr::new(*address, port);
            let ask = || {
                Ok(TcpStream::connect_timeout(&at, SOON).and_then(|mut to| question(&mut to, SOON)).is_ok())
            };
            netns::inside(self.name(), ask).unwrap()
        })
    }

    /// A connection that stays, by IPv4.
    pub fn connection(&self, to: &Self, port: u16) -> TcpStream {
        let at = SocketAddr::new(to.addresses[0], port);
        netns::inside(self.name(), || Ok(TcpStream::connect_timeout(&at, SOON)?)).unwrap()
    }
}

/// The object of a pod of namespace `default` on node1.
pub fn object(pod: &Pod, app: &str) -> Value {
    let ports = json!([{ "name": "web", "containerPort": PORT, "protocol": "TCP" }]);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": pod.name, "namespace": "default", "labels": { "app": app } },
        "spec": { "nodeName": "node1", "containers": [{ "name": "c", "image": "i", "ports": ports }] },
    })
}

/// A NetworkPolicy of namespace `default` for the pods with that label.
pub fn policy(name: &str, app: &str, spec: Value) -> Value {
    let mut whole = json!({ "podSelector": { "matchLabels": { "app": app } } });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": whole,
    })
}

/// A rule for packets from pods with that label to the server's port by TCP.
pub fn from_app(app: &str) -> Value {
    json!({
        "policyTypes": ["Ingress"],
        "ingress": [{
            "from": [{ "podSelector": { "matchLabels": { "app": app } } }],
            "ports": [{ "port": PORT, "protocol": "TCP" }],
        }],
    })
}

/// A machine with a server and two clients, and an agent.
pub struct Scene {
    pub machine: Machine,
    pub server: Host,
    pub a: Host,
    pub b: Host,
}

impl Scene {
    /// The machine is made by `begin`, which starts its agent.
    pub fn new(begin: impl FnOnce(&Machine) -> Agent) -> (Self, Agent) {
        let machine = Machine::new();
        let agent = begin(&machine);
        let [server, a, b] = ["s", "a", "b"].map(|name| Host::new(&machine, name));
        serve(&server.pod);
        (Self { machine, server, a, b }, agent)
    }

    /// With policies in files, and no policy.
    pub fn with_files() -> (Self, Agent) {
        let (scene, agent) = Self::new(|machine| {
            fs::create_dir_all(machine.path("config/policies")).unwrap();
            let keys = "routing = \"tunnel\"\npolicy_files = \"policies\"\n";
            machine.write_cluster(&CLUSTER.replace("routing = \"tunnel\"\n", keys));
            machine.agent()
        });
        scene.write(&[]);
        (scene, agent)
    }

    /// Writes the pods' objects with these labels, and the other objects, in one step.
    pub fn write_with(&self, labels: [&str; 3], others: &[Value]) {
        let pods = [&self.server, &self.a, &self.b].into_iter().zip(labels);
        let mut items: Vec<Value> = pods.map(|(host, app)| host.object(app)).collect();
        items.push(
            json!({ "kind": "Namespace", "metadata": { "name": "default", "labels": { "team": "x" } } }),
        );
        items.extend(others.iter().cloned());
        let (file, next) = (self.machine.path("config/policies/all.json"), self.machine.path("config/next"));
        fs::write(&next, json!({ "kind": "List", "items": items }).to_string()).unwrap();
        fs::rename(next, file).unwrap();
    }

    /// The same with the labels s, a and b.
    pub fn write(&self, others: &[Value]) {
        self.write_with(["s", "a", "b"], others);
    }

    /// Whether the clients get answers from the server by TCP: a, then b.
    pub fn answers(&self) -> [[bool; 2]; 2] {
        [&self.a, &self.b].map(|client| client.tcp(&self.server, PORT))
    }

    /// Whether a process of the node gets an answer from the server.
    pub fn probe(&self) -> [bool; 2] {
        let own = self.machine.netns().file_name().unwrap().to_string_lossy().into_owned();
        let answered = self.server.addresses.iter().map(|address| {
            let at = SocketAddr::new(*address, PORT);
            netns::inside(&own, || Ok(by_tcp(at).is_ok())).unwrap()
        });
        answered.collect::<Vec<_>>().try_into().unwrap()
    }

    /// Programs of ours at ingress and at egress of the uplink.
    pub fn at_uplink(&self) -> Value {
        let status = self.machine.json(&["status"]).1;
        let all = status["programs"].as_array().unwrap().iter();
        let at = all.filter(|chain| chain["interface"] == "up0");
        at.map(|chain| chain["ours"].clone()).collect()
    }

    /// The field of `naru status --json` about what is in force.
    pub fn status(&self) -> Value {
        self.machine.json(&["status"]).1["policies"].clone()
    }
}

/// Makes a pod answer on both ports, for as long as the test runs.
pub fn serve(pod: &Pod) {
    for port in [PORT, OTHER] {
        let at = SocketAddr::from(([0; 16], port));
        let open = || Ok((TcpListener::bind(at)?, UdpSocket::bind(at)?));
        let (tcp, udp) = netns::inside(&pod.name, open).unwrap();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
        thread::spawn(move || {
            while let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
                let _ = udp.send_to(b"!", from);
            }
        });
    }
}

fn answer(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 1]), Ok(1)) && stream.write_all(b"!").is_ok() {}
}

fn by_tcp(at: SocketAddr) -> io::Result<()> {
    question(&mut TcpStream::connect_timeout(&at, ATTEMPT)?, ATTEMPT)
}

/// One byte for a question, one for its answer.
pub fn question(stream: &mut TcpStream, limit: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0; 1])
}

fn by_udp(at: SocketAddr) -> io::Result<()> {
    let any = if at.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(ATTEMPT))?;
    socket.connect(at)?;
    socket.send(b"?")?;
    socket.recv(&mut [0; 1]).map(drop)
}
