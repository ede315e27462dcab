//! Services in the datapath of a machine without any kube-proxy: whoever is answered at a ClusterIP was translated by
//! the programs.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread::{self, sleep},
    time::Duration,
};

use machine::{Agent, CLUSTER, Machine, pod::Pod, wait};
use naru_controlplane::{ControlPlane, Options};
use naru_sandbox::netns;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Well below the period in which the agent looks without being told.
const PROMPT: Duration = Duration::from_secs(5);
/// Time that one attempt waits for its answer; attempts are repeated.
const ATTEMPT: Duration = Duration::from_millis(200);
/// The same for a connection that must be answered.
const SOON: Duration = Duration::from_secs(10);
const TARGET: u16 = 8080;
const V4: &str = "10.96.0.80";
const V6: &str = "fd96::80";

/// A machine with a client, two servers that say their names, and an agent.
struct Scene {
    machine: Machine,
    client: Pod,
    servers: [(Pod, Vec<String>); 2],
}

impl Scene {
    /// The machine is made by `begin`, which starts its agent.
    fn new(begin: impl FnOnce(&Machine) -> Agent) -> (Self, Agent) {
        let machine = Machine::new();
        let agent = begin(&machine);
        let pod = |name: &str| {
            let pod = Pod::new(&machine, name, json!({}));
            let addresses = pod.add(&machine);
            (pod, addresses)
        };
        let (client, _) = pod("client");
        let servers = [pod("b"), pod("c")];
        for ((pod, _), name) in servers.iter().zip(["b", "c"]) {
            serve(pod, name);
        }
        (Self { machine, client, servers }, agent)
    }

    /// With Services in files.
    fn with_files() -> (Self, Agent) {
        Self::new(|machine| {
            fs::create_dir_all(machine.path("config/services")).unwrap();
            machine.write_cluster(&cluster("service_files = \"services\""));
            machine.agent()
        })
    }

    fn address(&self, server: usize, v6: bool) -> IpAddr {
        let addresses = self.servers[server].1.iter().map(|text| text.parse::<IpAddr>().unwrap());
        addresses.into_iter().find(|address| address.is_ipv6() == v6).unwrap()
    }

    /// Writes the Service `web` with these servers behind it.
    fn write(&self, servers: &[usize]) {
        let slices = [false, true].map(|v6| self.slice(servers, v6));
        let list = json!({ "kind": "List", "items": [service(), slices[0], slices[1]] });
        let (file, next) = (self.machine.path("config/services/web.json"), self.machine.path("config/next"));
        fs::write(&next, list.to_string()).unwrap();
        fs::rename(next, file).unwrap();
    }

    fn slice(&self, servers: &[usize], v6: bool) -> Value {
        let endpoint =
            |server: &usize| json!({ "addresses": [self.address(*server, v6)], "nodeName": "node1" });
        let port = |name, protocol| json!({ "name": name, "port": TARGET, "protocol": protocol });
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": if v6 { "web-v6" } else { "web-v4" },
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": if v6 { "IPv6" } else { "IPv4" },
            "ports": [port("tcp", "TCP"), port("udp", "UDP")],
            "endpoints": servers.iter().map(endpoint).collect::<Vec<_>>(),
        })
    }

    /// Returns the answers to the client by TCP and by UDP; `None` without an answer.
    fn asked(&self, address: &str) -> [Option<String>; 2] {
        let at = SocketAddr::new(address.parse().unwrap(), 80);
        let ask = |ask: fn(SocketAddr) -> io::Result<String>| {
            netns::inside(&self.client.name, || Ok(ask(at).ok())).unwrap()
        };
        [ask(by_tcp), ask(by_udp)]
    }

    fn is_answered_by(&self, name: &str) -> bool {
        let expected = [Some(name.to_owned()), Some(name.to_owned())];
        [V4, V6].iter().all(|address| self.asked(address) == expected)
    }

    fn is_answered_by_nobody(&self) -> bool {
        [V4, V6].iter().all(|address| self.asked(address) == [None, None])
    }

    /// Returns the output of `naru service show`; null on failure. The agent's note of the name may lag by a second.
    fn shown(&self) -> Value {
        match self.machine.outcome(&["service", "show", "web", "--json"]) {
            (0, text) => serde_json::from_str(&text).unwrap(),
            _ => Value::Null,
        }
    }

    fn waits_for_reason(&self, reason: &Value) {
        wait("the reason", PATIENCE, || self.shown()["frontends"][0]["stack"] == *reason);
    }

    /// A connection through the Service that stays.
    fn connection(&self) -> TcpStream {
        let at = SocketAddr::new(V4.parse().unwrap(), 80);
        netns::inside(&self.client.name, || Ok(TcpStream::connect_timeout(&at, SOON)?)).unwrap()
    }
}

fn cluster(keys: &str) -> String {
    CLUSTER.replace("routing = \"tunnel\"\n", &format!("routing = \"tunnel\"\n{keys}\n"))
}

fn service() -> Value {
    let port =
        |name, protocol| json!({ "name": name, "port": 80, "targetPort": TARGET, "protocol": protocol });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web" },
        "spec": {
            "clusterIP": V4,
            "clusterIPs": [V4, V6],
            "ports": [port("tcp", "TCP"), port("udp", "UDP")],
        },
    })
}

/// Makes a pod answer with its name to everything, for as long as the test runs.
fn serve(pod: &Pod, name: &'static str) {
    let at = SocketAddr::from(([0; 16], TARGET));
    let (tcp, udp) = netns::inside(&pod.name, || Ok((TcpListener::bind(at)?, UdpSocket::bind(at)?))).unwrap();
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            thread::spawn(move || answer(stream, name));
        }
    });
    thread::spawn(move || {
        while let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
            let _ = udp.send_to(name.as_bytes(), from);
        }
    });
}

/// One byte for a question, one for its answer.
fn answer(mut stream: TcpStream, name: &str) {
    while matches!(stream.read(&mut [0; 1]), Ok(1)) && stream.write_all(name.as_bytes()).is_ok() {}
}

fn by_tcp(at: SocketAddr) -> io::Result<String> {
    question(&mut TcpStream::connect_timeout(&at, ATTEMPT)?, ATTEMPT)
}

fn question(stream: &mut TcpStream, limit: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"?")?;
    let mut name = [0; 1];
    stream.read_exact(&mut name)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn by_udp(at: SocketAddr) -> io::Result<String> {
    let any = if at.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(ATTEMPT))?;
    socket.connect(at)?;
    socket.send(b"?")?;
    let mut name = [0; 1];
    socket.recv(&mut name)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn services_of_files_are_answered_without_any_kube_proxy_and_every_change_is_followed() {
    let (scene, agent) = Scene::with_files();
    scene.write(&[0]);
    wait("an answer", PATIENCE, || scene.is_answered_by("b"));
    wait("the note", PATIENCE, || scene.shown() != Value::Null);
    let shown = scene.shown();
    let first = &shown["frontends"][0];
    assert_eq!((&first["service"], &first["stack"]), (&json!("default/web"), &Value::Null));
    let backend =
        json!({ "address": scene.address(0, false), "port": TARGET, "state": "serving", "share": 1.0 });
    assert_eq!(first["backends"], json!([backend]));
    assert!(first["translated"].as_u64().unwrap() >= 1, "{first}");
    assert_eq!(scene.machine.outcome(&["service", "show", "nobody"]).0, 1);

    let mut open = scene.connection();
    assert_eq!(question(&mut open, SOON).unwrap(), "b");
    scene.write(&[1]);
    wait("the other backend", PROMPT, || scene.is_answered_by("c"));
    assert_eq!(question(&mut open, SOON).unwrap(), "b", "a connection stays where it is");

    agent.kill();
    wait("an answer without the agent", PATIENCE, || scene.is_answered_by("c"));
    let _agent = scene.machine.agent();
    scene.write(&[]);
    wait("nobody", PATIENCE, || scene.is_answered_by_nobody());
    scene.waits_for_reason(&json!("no endpoints"));
    scene.write(&[0]);
    wait("an answer again", PROMPT, || scene.is_answered_by("b"));
    let status = scene.machine.json(&["status"]).1["agent"]["services"].clone();
    assert_eq!((&status["mode"], &status["known"]), (&json!("auto"), &json!(1)), "{status}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_the_node_takes_itself_is_the_nodes_at_once() {
    let (scene, _agent) = Scene::with_files();
    scene.write(&[0]);
    wait("an answer", PATIENCE, || scene.is_answered_by("b"));
    scene.machine.ip(&format!("addr add {V4}/32 dev lo"));
    scene.machine.ip(&format!("addr add {V6}/128 dev lo"));
    let here = TcpListener::bind;
    let at = SocketAddr::new(V4.parse().unwrap(), 80);
    let cache =
        netns::inside(&scene.machine.netns().file_name().unwrap().to_string_lossy(), || Ok(here(at)?));
    let cache = cache.unwrap();
    thread::spawn(move || cache.incoming().flatten().for_each(|stream| answer(stream, "n")));
    wait("the node's own", PROMPT, || scene.asked(V4)[0].as_deref() == Some("n"));
    scene.waits_for_reason(&json!("the address is one of this node's own"));
    scene.machine.ip(&format!("addr del {V4}/32 dev lo"));
    scene.machine.ip(&format!("addr del {V6}/128 dev lo"));
    wait("an answer again", PROMPT, || scene.is_answered_by("b"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn services_are_switched_off_and_on_and_no_connection_breaks() {
    let (scene, _agent) = Scene::with_files();
    scene.write(&[0]);
    wait("an answer", PATIENCE, || scene.is_answered_by("b"));
    let mut open = scene.connection();
    for _ in 0..2 {
        scene.machine.write_cluster(&cluster("service_files = \"services\"\nservices = \"stack\""));
        wait("nobody", PATIENCE, || scene.is_answered_by_nobody());
        assert_eq!(question(&mut open, SOON).unwrap(), "b");
        scene.machine.write_cluster(&cluster("service_files = \"services\"\nservices = \"auto\""));
        wait("an answer", PATIENCE, || scene.is_answered_by("b"));
        assert_eq!(question(&mut open, SOON).unwrap(), "b");
    }
    scene.machine.write_cluster(&cluster(""));
    wait("no Services at all", PATIENCE, || scene.is_answered_by_nobody());
    wait("no word of them", PATIENCE, || scene.machine.outcome(&["service", "show", "web"]).0 == 1);
    assert_eq!(question(&mut open, SOON).unwrap(), "b");
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn services_of_the_api_are_answered_and_stay_while_it_is_away() {
    let mut plane = None;
    let (scene, _agent) = Scene::new(|machine| {
        let options = Options {
            netns: Some(machine.netns()),
            services: "10.96.0.0/16,fd96::/112".to_owned(),
            ..Options::default()
        };
        let started = ControlPlane::start(options).unwrap();
        let node = json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": { "name": "node1" },
            "spec": { "podCIDR": "10.32.0.0/24", "podCIDRs": ["10.32.0.0/24", "fd10:32::/112"] },
            "status": { "addresses": [{ "type": "InternalIP", "address": "198.51.100.1" }] },
        });
        started.run(&["create", "--raw", "/api/v1/nodes", "-f", "-"], &node.to_string()).unwrap();
        let file = started.kubeconfig("agent.kubeconfig", started.servers()[0].address()).unwrap();
        plane = Some(started);
        let agent = machine.agent_with(&["--kubernetes", "--kubeconfig", file.to_str().unwrap()]);
        let is_ready = || machine.outcome(&["agent", "--probe", "ready"]).0 == 0;
        wait("readiness", PATIENCE, is_ready);
        agent
    });
    let mut plane = plane.unwrap();
    let mut web = service();
    web["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    plane.run(&["create", "-f", "-"], &web.to_string()).unwrap();
    let both = |servers: &[usize]| {
        let slices = [false, true].map(|v6| scene.slice(servers, v6));
        json!({ "kind": "List", "apiVersion": "v1", "items": slices }).to_string()
    };
    plane.run(&["create", "-f", "-"], &both(&[0])).unwrap();
    wait("an answer", PATIENCE, || scene.is_answered_by("b"));
    plane.run(&["replace", "-f", "-"], &both(&[1])).unwrap();
    wait("the other backend", PROMPT, || scene.is_answered_by("c"));
    plane.stop_server(0);
    wait("a complaint", PATIENCE, || {
        scene.machine.json(&["status"]).1["agent"]["services"]["complaint"].is_string()
    });
    sleep(Duration::from_secs(1));
    wait("what was known last", PATIENCE, || scene.is_answered_by("c"));
}
