//! The same requests with Services translated by the programs and by the stack, cell by cell.

use std::{fs, time::Duration};

use naru_e2e::{
    lab::Node,
    probe::{tcp, udp},
    tool::holds_within,
};
use naru_sandbox::kube_proxy::Proxy;
use serde_json::{Value, json};

use crate::{
    translated::{BY_CLUSTER_IP, is_refused},
    world::{TARGET, Way, World, service},
};

const PATIENCE: Duration = Duration::from_secs(60);
const STREAM: u64 = 1 << 20;
const SIZES: [usize; 3] = [1, 1200, 4000];

/// The Service of [`World::in_front_of`] as an object, and its slices.
fn objects(world: &World, server: &str) -> Value {
    let ports = |port: u16| {
        let of = |name, protocol| json!({ "name": name, "port": port, "protocol": protocol });
        json!([of("web", "TCP"), of("dns", "UDP")])
    };
    let [v4, v6] = [false, true].map(|v6| service(v6).ip());
    let slice = |v6: bool| {
        json!({
            "kind": "EndpointSlice",
            "metadata": {
                "name": if v6 { "web-v6" } else { "web-v4" },
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": if v6 { "IPv6" } else { "IPv4" },
            "ports": ports(TARGET),
            "endpoints": [{ "addresses": [world.host(server, v6).address] }],
        })
    };
    let spec = json!({ "clusterIP": v4, "clusterIPs": [v4, v6], "ports": ports(80) });
    let web = json!({ "kind": "Service", "metadata": { "name": "web" }, "spec": spec });
    json!({ "kind": "List", "items": [web, slice(false), slice(true)] })
}

/// Makes every node know the Service in front of this server.
fn tell(world: &World, server: &str) {
    world.in_front_of(false, &[server]);
    world.in_front_of(true, &[server]);
    for node in &world.lab.nodes {
        let directory = node.root.join("config/services");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(".next"), objects(world, server).to_string()).unwrap();
        fs::rename(directory.join(".next"), directory.join("web.json")).unwrap();
    }
}

/// Makes every node translate as `mode` says.
fn switch(world: &World, mode: &str) {
    for node in &world.lab.nodes {
        let (file, next) = (node.root.join("config/cluster.toml"), node.root.join("config/next"));
        let text = fs::read_to_string(&file).unwrap();
        let before = text.lines().filter(|line| !line.starts_with("service"));
        let rest = before.collect::<Vec<_>>().join("\n");
        fs::write(&next, format!("service_files = \"services\"\nservices = \"{mode}\"\n{rest}\n")).unwrap();
        fs::rename(next, file).unwrap();
    }
}

/// Every frontend of the Service on a node; nothing while it knows none.
fn shown(node: &Node) -> Vec<Value> {
    let shown = node.naru_json("service show web").unwrap_or_default();
    shown["frontends"].as_array().cloned().unwrap_or_default()
}

/// Waits until every node does what it was told.
fn settle(world: &World, mode: &str, server: &str) {
    let addresses = [false, true].map(|v6| json!(world.host(server, v6).address));
    let is_so = |one: &Value| match mode {
        "stack" => one["stack"] == "services = \"stack\"",
        _ => one["stack"].is_null() && addresses.contains(&one["backends"][0]["address"]),
    };
    let is_settled = |node: &Node| {
        let frontends = shown(node);
        frontends.len() == 4 && frontends.iter().all(is_so)
    };
    let all = || world.lab.nodes.iter().all(is_settled);
    assert!(holds_within(PATIENCE, all), "{mode}, {server}: {}", world.describe());
}

/// The result of a request, in words.
fn cell(world: &World, v6: bool, client: &str, server: &str) -> String {
    let (from, to, at) = (world.host(client, v6), world.host(server, v6), service(v6));
    let refused = is_refused(world, client, at);
    let tcp = match tcp::stream_by(&from, at, &to, TARGET, STREAM, STREAM) {
        Ok(report) => format!("TCP seen as {}", report.peer.ip()),
        Err(error) => format!("TCP fails: {error:#}"),
    };
    let udp = match udp::echo_by(&from, at, &to, TARGET, &SIZES) {
        Ok(bytes) => format!("UDP {bytes} bytes"),
        Err(error) => format!("UDP fails: {error:#}"),
    };
    format!("{client} to {server}, IPv6 {v6}: {tcp}, {udp}, nobody listens: refused {refused}")
}

fn table(world: &World, mode: &str) -> Vec<String> {
    switch(world, mode);
    let mut cells = Vec::new();
    for case in &BY_CLUSTER_IP {
        tell(world, case.server);
        settle(world, mode, case.server);
        cells.extend([false, true].map(|v6| cell(world, v6, case.client, case.server)));
    }
    cells
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_request_has_the_same_answer_whoever_translates_it() {
    for (way, proxy) in Way::ALL.into_iter().zip([Proxy::Nftables, Proxy::Iptables, Proxy::Nftables]) {
        let world = World::up(way, proxy);
        let by_stack = table(&world, "stack");
        let by_programs = table(&world, "auto");
        assert_eq!(by_programs, by_stack, "{way:?}, {proxy:?}");
        let frontends: Vec<Value> = world.lab.nodes.iter().flat_map(shown).collect();
        let translated: u64 = frontends.iter().filter_map(|one| one["translated"].as_u64()).sum();
        assert!(translated > 0, "{way:?}: the programs translated nothing: {frontends:?}");
        assert!(by_stack.iter().all(|cell| !cell.contains("fails")), "{by_stack:#?}");
    }
}
