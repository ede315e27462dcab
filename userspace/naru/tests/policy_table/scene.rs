//! The machine of the table: pods, another node with a pod, a host outside, Services, and ports of the node.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    thread::sleep,
    time::Duration,
};

use crate::{
    ask::{Ask, PROMPT},
    machine::{Agent, CLUSTER, Machine, pod::Pod, run, wait},
    objects::{self, PodObject},
    rows::{Row, Section},
    servers::serve,
};

/// Ports on which pods answer.
const PORTS: [u16; 5] = [80, 8080, 9090, 5353, 5354];
/// Ports of the pod that tells which section is in force: one of them is open.
const TELLING: [u16; 2] = [1001, 1002];
/// A port of the node's own processes.
const OF_NODE: u16 = 7000;
/// Time limit for a section, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pods of this machine: name, namespace and label.
const PODS: [(&str, &str, &str); 6] = [
    ("s", "default", "s"),
    ("t", "default", "s"),
    ("a", "default", "a"),
    ("b", "default", "b"),
    ("x", "other", "a"),
    ("z", "default", "z"),
];
/// Addresses elsewhere: of the node, of the other one and its pod, and outside.
const OTHERS: [(&str, &str, &str); 5] = [
    ("node", "198.51.100.1", "2001:db8::1"),
    ("node-too", "203.0.113.1", "2001:db8:5::1"),
    ("far", "198.51.100.2", "2001:db8::2"),
    ("farpod", "10.32.1.5", "fd10:32::1:5"),
    ("outside", "203.0.113.9", "2001:db8:9::9"),
];
const SERVICE: (&str, &str) = ("10.96.0.10", "fd96::10");

/// A host of the table.
struct Host {
    netns: String,
    addresses: [IpAddr; 2],
}

/// Everything that rows speak about.
pub struct Scene {
    machine: Machine,
    hosts: BTreeMap<String, Host>,
    objects: BTreeMap<String, PodObject>,
    telling: usize,
    own_node: bool,
    _agent: Agent,
    _pods: Vec<Pod>,
    _far: Far,
}

/// The namespace behind the uplink.
struct Far(String);

impl Drop for Far {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

impl Scene {
    pub fn new() -> Self {
        let machine = Machine::new();
        let own = machine.netns().file_name().unwrap().to_string_lossy().into_owned();
        let far = Far(format!("{own}-far"));
        link(&machine, &far.0);
        fs::create_dir_all(machine.path("config/policies")).unwrap();
        fs::create_dir_all(machine.path("config/services")).unwrap();
        write_cluster(&machine, false);
        let agent = machine.agent();
        let (mut hosts, mut objects, mut pods) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, namespace, app) in PODS {
            let pod = Pod::new(&machine, name, serde_json::json!({})).in_namespace(namespace);
            let addresses: Vec<IpAddr> = pod.add(&machine).iter().map(|text| text.parse().unwrap()).collect();
            let ports = if name == "z" { &TELLING[..] } else { &PORTS };
            addresses.iter().for_each(|address| serve(&pod.name, *address, ports));
            objects.insert(name.to_owned(), object(&pod.name, namespace, app, "node1", &[]));
            let netns = pod.name.clone();
            hosts.insert(name.to_owned(), Host { netns, addresses: addresses.try_into().unwrap() });
            pods.push(pod);
        }
        for (name, v4, v6) in OTHERS {
            let is_here = name.starts_with("node");
            let netns = if is_here { &own } else { &far.0 };
            let addresses = [v4, v6].map(|text| text.parse().unwrap());
            let ports = if is_here { &[OF_NODE][..] } else { &PORTS };
            addresses.iter().for_each(|address| serve(netns, *address, ports));
            hosts.insert(name.to_owned(), Host { netns: netns.clone(), addresses });
        }
        let addresses = [SERVICE.0, SERVICE.1].map(|text| text.parse().unwrap());
        hosts.insert("service".to_owned(), Host { netns: String::new(), addresses });
        let of = |name: &str| hosts[name].addresses.map(|address| address.to_string());
        let farpod = object("farpod", "default", "far", "node2", &of("farpod"));
        let on_host = PodObject { host_network: true, ..object("h", "default", "h", "node1", &of("node")) };
        objects.insert("farpod".to_owned(), farpod);
        objects.insert("h".to_owned(), on_host);
        let scene = Self {
            machine,
            hosts,
            objects,
            telling: 0,
            own_node: false,
            _agent: agent,
            _pods: pods,
            _far: far,
        };
        scene.translate();
        scene.write("services/all.yaml", &scene.services());
        scene
    }

    /// Waits for the first policy, with which the node gets other programs.
    pub fn begin(&mut self, section: &Section) {
        self.put(section);
        wait("the first policy", PATIENCE, || !self.machine.json(&["status"]).1["policies"].is_null());
    }

    /// What did not pass so far.
    pub fn denials(&self) -> String {
        self.machine.ok(&["policy", "denials"])
    }

    /// Puts a section into force.
    pub fn put(&mut self, section: &Section) {
        let own_node = section.setup.iter().any(|line| line == "own_node_egress pass");
        if std::mem::replace(&mut self.own_node, own_node) != own_node {
            write_cluster(&self.machine, own_node);
            let wanted = if own_node { "pass" } else { "judge" };
            let told = || self.machine.json(&["status"]).1["agent"]["policies"]["own_node_egress"] == wanted;
            wait("the setting", PROMPT, told);
        }
        self.telling = 1 - self.telling;
        let words = self.hosts.iter().flat_map(|(name, host)| {
            let [v4, v6] = host.addresses.map(|address| address.to_string());
            [(format!("{name}4"), v4), (format!("{name}6"), v6)]
        });
        let port = TELLING[self.telling];
        let telling = format!(
            "---\nkind: NetworkPolicy\nmetadata: {{name: telling}}\nspec: {{podSelector: {{matchLabels: {{app: z}}}}, \
             ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
        );
        let text = objects::file(section, &self.objects, &words.collect());
        self.write("policies/all.yaml", &(text + &telling));
        wait("the section", PATIENCE, || self.tells());
        // The pods are moved over one after the other.
        sleep(Duration::from_millis(30));
    }

    /// Returns true if the port of the pod that tells is open.
    fn tells(&self) -> bool {
        let target = SocketAddr::new(self.hosts["z"].addresses[0], TELLING[self.telling]);
        // No row isolates the other node's pod.
        self.ask("farpod", target, "tell").is_answered(false)
    }

    /// The questions of a row.
    pub fn asks(&self, row: &Row) -> Vec<Ask> {
        let families =
            [4, 6].into_iter().enumerate().filter(|(_, family)| row.family.is_none_or(|one| one == *family));
        let to = self.hosts.get(&row.to).unwrap_or_else(|| panic!("{}: {}", row.text, row.to));
        families
            .map(|(at, _)| {
                let target = SocketAddr::new(to.addresses[at], row.port);
                self.ask(&row.from, target, &row.how)
            })
            .collect()
    }

    fn ask(&self, from: &str, target: SocketAddr, how: &str) -> Ask {
        let host = self.hosts.get(from).unwrap_or_else(|| panic!("{from}"));
        let source = host.addresses[usize::from(target.is_ipv6())];
        Ask { netns: host.netns.clone(), source, target, how: how.to_owned() }
    }

    fn write(&self, name: &str, text: &str) {
        let next = self.machine.path("config/next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.machine.path(&format!("config/{name}"))).unwrap();
    }

    /// The Service `web`, behind which are both servers.
    fn services(&self) -> String {
        let (v4, v6) = SERVICE;
        let slice = |at: usize| {
            let endpoint = |name: &str| {
                format!("{{addresses: ['{}'], nodeName: node1}}", self.hosts[name].addresses[at])
            };
            let (name, kind) = [("web4", "IPv4"), ("web6", "IPv6")][at];
            format!(
                "---\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: {{kubernetes.io/service-name: web}}}}\n\
                 addressType: {kind}\nports: [{{name: a, port: 8080}}, {{name: b, port: 9090}}]\nendpoints: [{}, {}]\n",
                endpoint("s"),
                endpoint("t")
            )
        };
        format!(
            "kind: Service\nmetadata: {{name: web}}\nspec:\n  clusterIP: {v4}\n  clusterIPs: ['{v4}', '{v6}']\n  \
             ports: [{{name: a, port: 80, targetPort: 8080}}, {{name: b, port: 81, targetPort: 9090}}]\n{}{}",
            slice(0),
            slice(1)
        )
    }

    /// Ports of the node, as kube-proxy translates them: 30080 to `s` and 30083 outside with the node's address for the
    /// client's, 30081 to `s` and 30082 to `b` with the client's own.
    fn translate(&self) {
        for (at, family) in ["ip", "ip6"].into_iter().enumerate() {
            let nodes =
                ["node", "node-too"].map(|name| self.hosts[name].addresses[at].to_string()).join(", ");
            let port = |(port, mark, name): (u16, &str, &str)| {
                let to = SocketAddr::new(self.hosts[name].addresses[at], 8080);
                format!("{family} daddr {{ {nodes} }} tcp dport {port} {mark} dnat to {to}\n")
            };
            let marked = "meta mark set 0x4000";
            let ports =
                [(30080, marked, "s"), (30081, "", "s"), (30082, "", "b"), (30083, marked, "outside")];
            let rules = format!(
                "table {family} ports {{\n chain before {{ type nat hook prerouting priority -100;\n{}}}\n chain after \
                 {{ type nat hook postrouting priority 90;\n meta mark 0x4000 masquerade\n }}\n}}\n",
                ports.map(port).concat()
            );
            let file = self.machine.path("rules.nft");
            fs::write(&file, rules).unwrap();
            self.machine.tool(&format!("nft -f {}", file.display()));
        }
    }
}

fn object(name: &str, namespace: &str, app: &str, node: &str, addresses: &[String]) -> PodObject {
    PodObject {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        app: app.to_owned(),
        node: node.to_owned(),
        addresses: addresses.to_vec(),
        phase: "Running".to_owned(),
        ..PodObject::default()
    }
}

/// Moves the uplink's other end into a namespace of its own, with the addresses of everybody there.
fn link(machine: &Machine, far: &str) {
    run(Command::new("ip").args(["netns", "add", far]));
    // Without one the kernel looks for no neighbour of a packet that it forwards.
    machine.ip("addr add fe80::1/64 dev up0 nodad");
    machine.ip("addr add 203.0.113.1/32 dev lo");
    machine.ip("addr add 2001:db8:5::1/128 dev lo nodad");
    machine.ip(&format!("link set far0 netns {far}"));
    let there = |line: &str| run(Command::new("ip").args(["-n", far]).args(line.split_whitespace()));
    for line in [
        "link set lo up",
        "link set far0 up",
        "addr add 198.51.100.2/24 dev far0",
        "addr add 198.51.100.254/24 dev far0",
        "addr add 2001:db8::2/64 dev far0 nodad",
        "addr add 2001:db8::fe/64 dev far0 nodad",
        "addr add 10.32.1.5/32 dev lo",
        "addr add 203.0.113.9/32 dev lo",
        "addr add fd10:32::1:5/128 dev lo nodad",
        "addr add 2001:db8:9::9/128 dev lo nodad",
        "route add 10.32.0.0/24 via 198.51.100.1",
        "route add 203.0.113.1/32 via 198.51.100.1",
        "-6 route add fd10:32::/112 via 2001:db8::1",
        "-6 route add 2001:db8:5::1/128 via 2001:db8::1",
    ] {
        there(line);
    }
    let is_up =
        || machine.ip("link show up0").contains("state UP") && there("link show far0").contains("state UP");
    wait("the carrier", Duration::from_secs(60), is_up);
}

fn write_cluster(machine: &Machine, own_node: bool) {
    let egress = if own_node { "pass" } else { "judge" };
    let keys = format!(
        "routing = \"direct\"\npolicy_files = \"policies\"\nservice_files = \"services\"\n\
         own_node_egress = \"{egress}\"\n"
    );
    machine.write_cluster(&CLUSTER.replace("routing = \"tunnel\"\n", &keys));
}
