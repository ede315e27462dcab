//! `naru ipam` on a node with pods.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, time::Duration};

use machine::{Machine, pod::Pod};
use serde_json::{Value, json};

/// The addresses in `ipam check`'s lines of one kind.
fn found<'a>(lines: &'a Value, kind: &str) -> Vec<&'a str> {
    let of_kind = lines.as_array().unwrap().iter().filter(|line| line["kind"] == kind);
    of_kind.filter_map(|line| line["address"].as_str()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn show_tells_owner_pool_and_what_the_kernel_has() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = Pod::new(&machine, "a", json!({}));
    let addresses = pod.add(&machine);
    let (status, shown) = machine.json(&["ipam", "show", &addresses[0]]);
    assert_eq!((status, shown[0]["status"].as_str()), (0, Some("ASSIGNED")), "{shown}");
    assert_eq!(shown[0]["pod"], pod.title());
    assert_eq!(shown[0]["attachment"], format!("naru/{}/eth0", pod.name));
    assert_eq!((&shown[0]["pool"], &shown[0]["block"]), (&json!("node"), &json!("10.32.0.0/24")));
    assert_eq!(shown[0]["generation"], shown[0]["kernel"]["entry_generation"]);
    assert_eq!(shown[0]["kernel"]["route_ifindex"], shown[0]["kernel"]["entry_ifindex"]);
    assert!(shown[0]["netns"]["path"].as_str().unwrap().ends_with(&pod.name), "{shown}");
    pod.del(&machine);
    let (_, shown) = machine.json(&["ipam", "show", &addresses[1]]);
    assert_eq!(shown[0]["status"], "COOLING");
    assert_eq!(shown[0]["kernel"]["entry_ifindex"], Value::Null);
    let free = if addresses[0] == "10.32.0.200" { "10.32.0.201" } else { "10.32.0.200" };
    assert_eq!(machine.json(&["ipam", "show", free]).1[0]["status"], "FREE");
    let (status, said) = machine.outcome(&["ipam", "show", "192.0.2.1"]);
    assert_eq!((status, said.trim()), (1, "192.0.2.1: in no pool of this node, and not in use"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_names_what_is_wrong_and_repairs_it_by_two_looks() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (a, b) = (Pod::new(&machine, "a", json!({})), Pod::new(&machine, "b", json!({})));
    let (of_a, of_b) = (a.add(&machine), b.add(&machine));
    assert_eq!(machine.outcome(&["ipam", "check"]), (0, "store and kernel agree\n".to_owned()));
    // With its spare, by which the node still reaches the pod where the first is gone.
    machine.ip(&format!("route flush {}", of_a[0]));
    let veth =
        machine.json(&["ipam", "show", &of_b[0]]).1[0]["kernel"]["interface"].as_str().unwrap().to_owned();
    drop(b);
    machine::wait("the veth to go", Duration::from_secs(60), || !machine.ip("-o link show").contains(&veth));
    let (status, lines) = machine.json(&["ipam", "check"]);
    assert_eq!((status, found(&lines, "missing")), (1, vec![of_a[0].as_str()]), "{lines}");
    let leaked: Vec<&str> = of_b.iter().map(String::as_str).collect();
    let mut leaks = found(&lines, "leak");
    leaks.dedup();
    assert!(leaked.iter().all(|address| leaks.contains(address)), "{lines}");
    assert!(lines.to_string().contains("settings or counters of interface"), "{lines}");
    assert_eq!(machine.json(&["ipam", "check"]).0, 1, "looking changes nothing");
    let (status, lines) = machine.json(&["ipam", "check", "--repair"]);
    assert_eq!(status, 0, "{lines}");
    assert!(lines.as_array().unwrap().iter().all(|line| line["repaired"] == true), "{lines}");
    assert_eq!(machine.outcome(&["ipam", "check"]).0, 0);
    assert_eq!(machine.json(&["ipam", "show", &of_b[0]]).1[0]["status"], "COOLING");
    assert!(a.can_ping("198.51.100.1"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_finds_an_index_of_free_addresses_that_is_wrong_and_makes_it_anew() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = Pod::new(&machine, "a", json!({}));
    pod.add(&machine);
    let store = rusqlite::Connection::open(machine.path("run/state.db")).unwrap();
    store.execute_batch("UPDATE chunks SET bits = zeroblob(512), free = 4096").unwrap();
    drop(store);
    let (status, lines) = machine.json(&["ipam", "check"]);
    assert_eq!(status, 1, "{lines}");
    let is_told = |line: &Value| {
        line["kind"] == "missing"
            && line["finding"].as_str().unwrap().ends_with("held, and free in the index")
    };
    assert!(lines.as_array().unwrap().iter().all(is_told), "{lines}");
    assert_eq!(machine.json(&["ipam", "check", "--repair"]).0, 0);
    assert_eq!(machine.outcome(&["ipam", "check"]), (0, "store and kernel agree\n".to_owned()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_of_a_node_that_is_none_is_an_error() {
    let machine = Machine::clustered();
    let (status, said) = machine.outcome(&["ipam", "check"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("not initialised"), "{said}");
    machine.ok(&["init"]);
    let pod = Pod::new(&machine, "a", json!({}));
    let address = pod.add(&machine).remove(0);
    let store = machine.path("run/state.db");
    for file in ["", "-journal"] {
        let _ = fs::remove_file(format!("{}{file}", store.display()));
    }
    assert_eq!(machine.outcome(&["ipam", "check"]).0, 2, "the store is gone");
    machine.ok(&["init"]);
    assert_eq!(machine.outcome(&["ipam", "check"]).0, 0);
    assert_eq!(machine.json(&["ipam", "show", &address]).1[0]["status"], "ASSIGNED");
}

/// A reboot as the node sees it: the run directory and everything in the kernel is gone.
fn reboot(machine: &Machine) {
    machine::run(std::process::Command::new("umount").arg(machine.path("run/bpf")));
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.ip("link del naru-vx");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reserved_address_is_its_pods_over_recreation_and_reboot_and_nobody_elses() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (v4, v6) = ("10.32.0.77", "fd10:32::77");
    for address in [v4, v6] {
        machine.ok(&["ipam", "reserve", address, "--pod", "default/db-0"]);
    }
    let listed = machine.ok(&["ipam", "list"]);
    assert!(
        listed.lines().any(|line| line.starts_with(v4) && line.ends_with("RESERVED  default/db-0")),
        "{listed}"
    );
    for container in ["a", "b"] {
        let pod = Pod::new(&machine, container, json!({}));
        assert_eq!(pod.add_as(&machine, "db-0").unwrap(), [v4, v6]);
        let waiting = Pod::new(&machine, "waiting", json!({}));
        let (code, text) = waiting.add_as(&machine, "db-0").unwrap_err();
        assert_eq!(code, 11, "{text}");
        assert!(text.contains(&format!("{v4}: held by pod default/db-0 (naru/{}/eth0)", pod.name)), "{text}");
        pod.del(&machine);
    }
    reboot(&machine);
    let thief = Pod::new(&machine, "thief", json!({"args": {"cni": {"ips": [v4]}}}));
    let (_, text) = thief.add_as(&machine, "web").unwrap_err();
    assert!(text.contains("10.32.0.77: reserved (for pod default/db-0: static)"), "{text}");
    let pod = Pod::new(&machine, "c", json!({}));
    assert_eq!(pod.add_as(&machine, "db-0").unwrap(), [v4, v6]);
    for address in [v4, v6] {
        machine.ok(&["ipam", "unreserve", address]);
    }
    pod.del(&machine);
    assert_eq!(machine.json(&["ipam", "show", v4]).1[0]["status"], "COOLING");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_cannot_be_reserved_is_refused_with_the_holders_name() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = Pod::new(&machine, "a", json!({"args": {"cni": {"ips": ["10.32.0.77"]}}}));
    let held = pod.add(&machine).remove(0);
    let (status, said) = machine.outcome(&["ipam", "reserve", &held, "--pod", "default/db-0"]);
    assert_eq!(status, 1);
    assert!(said.contains(&format!("address {held}: held by pod {}", pod.title())), "{said}");
    assert_eq!(machine.outcome(&["ipam", "reserve", "192.0.2.9"]).0, 1);
    assert_eq!(machine.outcome(&["ipam", "reserve", "10.32.0.9", "--pod", "a/b/c"]).0, 2);
    let (status, answer) = machine.json(&["ipam", "reserve", "10.32.0.9", "--note", "printer"]);
    assert_eq!((status, &answer["reserved"], &answer["note"]), (0, &json!(true), &json!("printer")));
    assert_eq!(
        machine.outcome(&["ipam", "unreserve", "fd10:32::"]).0,
        1,
        "the anycast address is not ours to give"
    );
    assert_eq!(machine.outcome(&["ipam", "unreserve", "10.32.0.9"]).0, 0);
    assert_eq!(machine.outcome(&["ipam", "unreserve", "10.32.0.9"]).0, 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_is_asked_for_is_given_exactly_or_its_holder_is_named() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let asks = json!({"args": {"cni": {"ips": ["10.32.0.50", "fd10:32::50"]}}});
    let (a, b) = (Pod::new(&machine, "a", asks.clone()), Pod::new(&machine, "b", asks));
    assert_eq!(a.add(&machine), ["10.32.0.50", "fd10:32::50"]);
    let (code, text) = b.add_as(&machine, &b.name).unwrap_err();
    assert_eq!(code, 11);
    assert!(
        text.contains(&format!("address 10.32.0.50: held by pod {} (naru/{}/eth0)", a.title(), a.name)),
        "{text}"
    );
    a.del(&machine);
    assert_eq!(b.add(&machine), ["10.32.0.50", "fd10:32::50"], "one that cools may be asked for");
}

#[test]
fn split_prints_sections_of_a_cluster_file() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_naru"))
            .args(["ipam", "split"])
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = run(&["10.32.0.0/12", "--nodes", "2"]);
    assert_eq!(status, 0);
    assert!(text.starts_with("ranges = [\"10.32.0.0/12\"]\n"), "{text}");
    assert!(
        text.contains("name = \"node2\"") && text.contains("blocks = [\"10.40.0.0/13\"]  # 524287 addresses"),
        "{text}"
    );
    let (_, json) = run(&["10.32.0.0/12", "--nodes", "64", "--json"]);
    let shares: Value = serde_json::from_str(&json).unwrap();
    let assignable: u64 =
        shares.as_array().unwrap().iter().map(|share| share["assignable"].as_u64().unwrap()).sum();
    assert_eq!(assignable, 1_048_574);
    assert_eq!(run(&["10.0.0.0/30", "--nodes", "5"]).0, 2);
}

/// A configuration for pods of a pool.
fn of_pool(name: &str) -> Value {
    json!({"naru": {"pool": name}})
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pool_is_made_grown_chosen_three_ways_and_drained() {
    let machine = Machine::new();
    machine.ok(&["ipam", "pool", "add", "blue", "10.60.0.0/30", "--exclude", "10.60.0.0/31"]);
    let (a, b, c) = (
        Pod::new(&machine, "a", of_pool("blue")),
        Pod::new(&machine, "b", of_pool("blue")),
        Pod::new(&machine, "c", of_pool("blue")),
    );
    let mut both = [a.add(&machine).remove(0), b.add(&machine).remove(0)];
    both.sort();
    assert_eq!(both, ["10.60.0.2", "10.60.0.3"]);
    let (code, text) = c.add_as(&machine, "c").unwrap_err();
    assert_eq!(code, 11);
    assert!(
        text.contains("pool blue: no ipv4 address left: 2 assigned, 0 cooling, 0 reserved of 2"),
        "{text}"
    );
    machine.ok(&["ipam", "pool", "add", "blue", "10.60.1.0/24", "--namespace", "default"]);
    let of_c = c.add(&machine).remove(0);
    assert!(of_c.starts_with("10.60.1."), "{of_c}");
    assert!(c.can_ping("10.60.0.2"), "pods of both ranges reach each other");

    machine.ok(&["ipam", "pool", "add", "red", "10.61.0.0/24"]);
    let annotated = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"naru.dev/pool": "red"}}});
    let of_annotation = Pod::new(&machine, "d", annotated);
    assert!(
        of_annotation.add(&machine)[0].starts_with("10.61.0."),
        "the annotation counts before the namespace"
    );
    let of_namespace = Pod::new(&machine, "e", of_pool("red"));
    assert!(
        of_namespace.add(&machine)[0].starts_with("10.60.1."),
        "the namespace counts before the configuration"
    );
    let (code, text) = Pod::new(&machine, "f", of_pool("green")).add_as(&machine, "f").unwrap_err();
    assert_eq!((code, text.as_str()), (7, "pool green: not on this node; its pools: blue, red"));

    machine.ok(&["ipam", "pool", "drain", "10.60.0.0/30"]);
    let (_, lines) = machine.json(&["ipam", "pool", "show", "blue"]);
    assert_eq!(
        (&lines[0]["range"], &lines[0]["draining"], &lines[0]["assigned"]),
        (&json!("10.60.0.2/31"), &json!(true), &json!(2))
    );
    assert!(a.can_ping(&of_c), "what lives in a range that drains goes on");
    assert_eq!(machine.ok(&["ipam", "check"]), "store and kernel agree\n");
    of_annotation.del(&machine);
    machine.ok(&["ipam", "pool", "drain", "red"]);
    let (code, text) = of_annotation.add_as(&machine, "d").unwrap_err();
    assert_eq!(code, 11, "{text}");
    assert!(text.contains("pool red: has no range"), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pool_that_clashes_is_refused_with_a_free_range_and_changes_nothing() {
    let machine = Machine::new();
    machine.ok(&["ipam", "pool", "add", "blue", "10.60.0.0/16"]);
    let before = machine.json(&["ipam", "pool", "show"]);
    for (name, range) in [("red", "198.51.100.0/24"), ("red", "10.60.1.0/24"), ("no", "127.0.0.0/24")] {
        let (status, said) = machine.outcome(&["ipam", "pool", "add", name, range]);
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("overlaps"), "{said}");
    }
    let (_, said) = machine.outcome(&["ipam", "pool", "add", "red", "198.51.100.0/24"]);
    assert!(said.contains("is free"), "{said}");
    assert_eq!(machine.outcome(&["ipam", "pool", "drain", "red"]).0, 1);
    assert_eq!(machine.outcome(&["ipam", "pool", "show", "red"]).0, 1);
    assert_eq!(machine.json(&["ipam", "pool", "show"]), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn in_a_cluster_a_pool_is_part_of_the_nodes_blocks_and_other_pods_keep_out_of_it() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (status, said) = machine.outcome(&["ipam", "pool", "add", "blue", "10.60.0.0/24"]);
    assert_eq!(status, 1);
    assert!(
        said.contains("10.60.0.0/24 is in no block of this node (10.32.0.0/24, fd10:32::/112)"),
        "{said}"
    );
    machine.ok(&["ipam", "pool", "add", "blue", "10.32.0.0/25"]);
    let (a, b) = (Pod::new(&machine, "a", of_pool("blue")), Pod::new(&machine, "b", json!({})));
    let is_blue = |address: &str| address.rsplit('.').next().unwrap().parse::<u8>().unwrap() < 128;
    let of_a = a.add(&machine);
    assert!(of_a.len() == 1 && is_blue(&of_a[0]), "{of_a:?}");
    let of_b = b.add(&machine);
    assert!(of_b.len() == 2 && !is_blue(&of_b[0]), "{of_b:?}");
    assert!(b.can_ping(&of_a[0]));
    a.del(&machine);
    reboot(&machine);
    assert!(is_blue(&a.add(&machine)[0]), "the pool is there after a reboot");
    a.del(&machine);
    machine.ok(&["ipam", "pool", "drain", "blue"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_local_directory_is_taken_over_while_its_containers_run() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let old = Pod::new(&machine, "old", json!({}));
    for line in [
        "link add eth0 type veth peer name far0",
        "addr add 10.32.0.5/24 dev eth0",
        "addr add fd10:32::5/112 dev eth0 nodad",
    ] {
        machine::run(std::process::Command::new("ip").args(["-n", &old.name]).args(line.split(' ')));
    }
    let directory = machine.path("naru");
    fs::create_dir(&directory).unwrap();
    for (name, content) in [
        ("10.32.0.5", format!("{}\r\neth0", old.name)),
        ("fd10:32::5", format!("{}\r\neth0", old.name)),
        ("10.32.0.6", "gone\r\neth0".to_owned()),
        ("10.32.0.7", String::new()),
        ("last_reserved_ip.0", "10.32.0.6".to_owned()),
        ("lock", String::new()),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    let given = directory.display().to_string();
    let results = |lines: &Value| -> Vec<String> {
        lines.as_array().unwrap().iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect()
    };
    let (status, lines) = machine.json(&["ipam", "import", &given]);
    assert_eq!(
        (status, results(&lines)),
        (0, ["adopted", "stale", "stale", "adopted"].map(String::from).to_vec())
    );
    let (_, lines) = machine.json(&["ipam", "import", &given]);
    assert_eq!(results(&lines), ["known", "stale", "stale", "known"]);
    let (_, shown) = machine.json(&["ipam", "show", "10.32.0.5"]);
    assert_eq!(shown[0]["attachment"], format!("naru/{}/eth0", old.name), "{shown}");
    assert_eq!(machine.ok(&["ipam", "check"]), "store and kernel agree\n");
    let thief = Pod::new(&machine, "thief", json!({"args": {"cni": {"ips": ["10.32.0.5"]}}}));
    let (code, text) = thief.add_as(&machine, "web").unwrap_err();
    assert!(code == 11 && text.contains(&format!("held by naru/{}/eth0", old.name)), "{text}");
    old.del(&machine);
    assert_eq!(machine.json(&["ipam", "show", "10.32.0.5"]).1[0]["status"], "COOLING");
    let (status, lines) = machine.json(&["ipam", "import", &given, "--ipam", "--network", "lan"]);
    assert_eq!((status, results(&lines).len()), (0, 4));
    let (_, shown) = machine.json(&["ipam", "show", "10.32.0.5"]);
    assert_eq!((&shown[1]["domain"], &shown[1]["status"]), (&json!("ipam/lan"), &json!("ASSIGNED")));
}

/// A configuration with these subnets, one set each.
fn of_subnets(subnets: &[&str]) -> Value {
    let sets: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    json!({"ipam": {"ranges": sets}})
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_smallest_pools_give_every_address_they_have_and_no_more() {
    let machine = Machine::new();
    for (subnets, expected) in [
        (["10.70.0.0/31", "fd70::/127"], vec![["10.70.0.0", "fd70::"], ["10.70.0.1", "fd70::1"]]),
        (["10.70.1.9/32", "fd70::9:1/128"], vec![["10.70.1.9", "fd70::9:1"]]),
    ] {
        let conf = of_subnets(&subnets);
        let pods: Vec<Pod> =
            (0..expected.len()).map(|number| Pod::new(&machine, &number.to_string(), conf.clone())).collect();
        let given: Vec<Vec<String>> = pods.iter().map(|pod| pod.add(&machine)).collect();
        for family in 0..2 {
            let mut of_family: Vec<&str> = given.iter().map(|addresses| addresses[family].as_str()).collect();
            of_family.sort_unstable();
            assert_eq!(of_family, expected.iter().map(|addresses| addresses[family]).collect::<Vec<_>>());
        }
        if let [first, _, ..] = &pods[..] {
            assert!(given[1].iter().all(|address| first.can_ping(address)), "{subnets:?}");
        }
        let late = Pod::new(&machine, "late", conf);
        let (code, text) = late.add_as(&machine, "late").unwrap_err();
        assert!(code == 11 && text.contains("no ipv4 address left"), "{text}");
        pods[0].del(&machine);
        assert_eq!(late.add(&machine), given[0], "what cools is given out when nothing else is left");
        late.del(&machine);
        pods.iter().for_each(|pod| pod.del(&machine));
    }
    assert_eq!(machine.ok(&["ipam", "check"]), "store and kernel agree\n");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pool_of_a_million_addresses_gives_its_first_and_its_last_one() {
    let machine = Machine::new();
    machine.ok(&["ipam", "pool", "add", "large", "10.80.0.0/12"]);
    let asks = |address: &str| json!({"naru": {"pool": "large"}, "args": {"cni": {"ips": [address]}}});
    let (a, b) = (Pod::new(&machine, "a", asks("10.80.0.0")), Pod::new(&machine, "b", asks("10.95.255.255")));
    assert_eq!(
        (a.add(&machine), b.add(&machine)),
        (vec!["10.80.0.0".to_owned()], vec!["10.95.255.255".to_owned()])
    );
    assert!(a.can_ping("10.95.255.255"));
    let (_, lines) = machine.json(&["ipam", "pool", "show", "large"]);
    assert_eq!((&lines[0]["total"], &lines[0]["assigned"]), (&json!(1_048_576), &json!(2)));
    let outside = Pod::new(&machine, "c", asks("10.96.0.0"));
    assert!(outside.add_as(&machine, "c").unwrap_err().1.contains("address 10.96.0.0: not in pool large"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_tells_once_of_a_second_live_holder_and_nobody_else_gets_the_address() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pods = ["a", "b"].map(|name| Pod::new(&machine, name, json!({})));
    let [first, second] = pods.each_ref().map(|pod| pod.add(&machine).remove(0));
    let veth = |address: &str| {
        let route = machine.ip(&format!("route show {address}"));
        route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap().to_owned()
    };
    // The second is one that the store forgot, and it has the first one's address.
    let other = veth(&second);
    for line in [format!("route flush {second}"), format!("-6 route flush dev {other} proto 150")] {
        machine.ip(&line);
    }
    machine.ip(&format!("route append {first}/32 dev {other} proto 150"));
    let store = rusqlite::Connection::open(machine.path("run/state.db")).unwrap();
    let forget = |pod: &Pod| {
        let owner = format!("naru/{}/eth0", pod.name);
        assert_eq!(store.execute("DELETE FROM addresses WHERE owner = ?", [owner]).unwrap(), 2);
    };
    forget(&pods[1]);
    let shown = || machine.json(&["ipam", "show", &first]).1[0]["status"].clone();
    {
        let _agent = machine.agent_every(1);
        let words = format!("{first}: assigned to naru1:naru/{}/eth0/", pods[0].name);
        machine::wait("the word of it", Duration::from_secs(60), || machine.agent_log().contains(&words));
        // Two further passes say nothing of it.
        std::thread::sleep(Duration::from_millis(2500));
        let log = machine.agent_log();
        assert_eq!(log.matches(&words).count(), 1, "{log}");
        assert!(log.contains(&format!("and live at naru1:naru/{}/eth0/", pods[1].name)), "{log}");
        assert_eq!(shown(), "ASSIGNED");
    }
    // Its owner is unknown.
    forget(&pods[0]);
    let _agent = machine.agent_every(1);
    let words = format!("ERROR naru_agent::said: {first}: live at ");
    machine::wait("the error", Duration::from_secs(60), || machine.agent_log().contains(&words));
    std::thread::sleep(Duration::from_millis(2500));
    let log = machine.agent_log();
    assert_eq!(log.matches(&words).count(), 1, "{log}");
    assert_eq!(
        (shown(), found(&machine.json(&["ipam", "check"]).1, "duplicate")),
        (json!("RESERVED"), vec![&*first])
    );
    pods[1].del(&machine);
    machine::wait("the one that is left", Duration::from_secs(60), || shown() == "ASSIGNED");
    assert!(pods[0].can_ping("198.51.100.1"));
}
