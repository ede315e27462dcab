//! Addresses from other IPAM plugins: Debian's host-local and static, and one made of a shell script.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use harness::{NODE, Netns, Node, Said, addresses};
use naru_store::NodeStore;
use serde_json::{Value, json};

/// Directory of the plugins in Debian's package.
const REFERENCE: &str = "/usr/lib/cni";

/// A configuration with the IPAM of the reference plugins.
fn with_ipam(node: &Node, ipam: Value) -> Value {
    let mut conf = node.conf();
    conf["ipam"] = ipam;
    conf
}

fn call(node: &Node, verb: &str, container: &str, pod: &Netns, conf: &Value, path: &str) -> Said {
    node.call_with(verb, container, pod.path().to_str().unwrap(), conf, &[("CNI_PATH", path)])
}

/// The number of leases in node.db.
fn noted(node: &Node) -> usize {
    NodeStore::open(&node.paths.node_store()).unwrap().delegated().unwrap().len()
}

/// host-local in a directory of its own.
struct HostLocal {
    directory: tempfile::TempDir,
    conf: Value,
}

impl HostLocal {
    fn new(node: &Node) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conf = with_ipam(
            node,
            json!({
                "type": "host-local", "dataDir": directory.path(),
                "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd88::/112" }]],
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            }),
        );
        Self { directory, conf }
    }

    fn call(&self, node: &Node, verb: &str, container: &str, pod: &Netns) -> Said {
        call(node, verb, container, pod, &self.conf, REFERENCE)
    }

    /// The addresses that it holds reserved.
    fn leases(&self) -> Vec<String> {
        let files = fs::read_dir(self.directory.path().join("test")).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().into_string().unwrap());
        let mut all: Vec<_> = names.filter(|name| name.starts_with(['1', 'f'])).collect();
        all.sort();
        all
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn addresses_of_host_local_work_like_our_own_and_return_to_it() {
    let (node, one, two) = (Node::new(), Netns::new("one"), Netns::new("two"));
    let ipam = HostLocal::new(&node);
    let result = ipam.call(&node, "ADD", "one", &one).ok();
    assert_eq!(addresses(&result), ["10.88.0.2", "fd88::2"]);
    assert_eq!(result["ips"][0]["gateway"], "10.88.0.1", "as host-local told it");
    assert_eq!(result["routes"][0], json!({ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }));
    assert_eq!(ipam.call(&node, "ADD", "one", &one).ok(), result, "a second ADD");
    let other = ipam.call(&node, "ADD", "two", &two).ok();
    assert_eq!((node.entries().len(), node.held().len(), noted(&node)), (4, 4, 2));
    for address in NODE.map(str::to_owned).into_iter().chain(addresses(&other)) {
        assert!(one.can_ping(&address), "pod to {address}");
    }
    let mut checked = ipam.conf.clone();
    checked["prevResult"] = result;
    call(&node, "CHECK", "one", &one, &checked, REFERENCE).ok();
    for container in ["one", "two", "one"] {
        ipam.call(&node, "DEL", container, &one).ok();
    }
    node.assert_clean();
    assert_eq!((ipam.leases(), noted(&node)), (Vec::new(), 0));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_returns_when_a_later_step_fails_and_survives_a_kill_until_the_del() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let ipam = HostLocal::new(&node);
    let path = pod.path();
    let add = |failpoint: &str| {
        let more = [("CNI_PATH", REFERENCE), ("NARU_FAILPOINT", failpoint)];
        node.call_with("ADD", "abc", path.to_str().unwrap(), &ipam.conf, &more)
    };
    for step in ["reserve", "create-pair", "attach-filters", "wire-pod", "confirm"] {
        assert_eq!(add(&format!("fail:{step}")).error().0, 100, "{step}");
        assert_eq!((ipam.leases(), noted(&node)), (Vec::new(), 0), "{step}");
        node.assert_clean();
    }
    assert!(add("kill:wire-pod").signal);
    assert_eq!((ipam.leases().len(), noted(&node)), (2, 1));
    let result = add("").ok();
    assert_eq!(ipam.leases(), addresses(&result), "the lease of the killed ADD is gone");
    assert!(add("kill:create-pair").success, "what stands is not asked for again");
    ipam.call(&node, "DEL", "abc", &pod).ok();
    assert_eq!((ipam.leases(), noted(&node)), (Vec::new(), 0));
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_created_anew_gives_the_old_lease_back() {
    let (node, old, new) = (Node::new(), Netns::new("old"), Netns::new("new"));
    let ipam = HostLocal::new(&node);
    ipam.call(&node, "ADD", "abc", &old).ok();
    let result = ipam.call(&node, "ADD", "abc", &new).ok();
    assert_eq!(ipam.leases(), addresses(&result));
    assert_eq!(old.ip(&["link", "show", "type", "veth"]), json!([]));
    assert_eq!(node.veths().len(), 1);
    assert!(new.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_a_reboot_the_leases_of_the_boot_before_are_released() {
    let (mut node, pod) = (Node::new(), Netns::new("pod"));
    let ipam = HostLocal::new(&node);
    ipam.call(&node, "ADD", "before", &pod).ok();
    drop(pod);
    node.unmount();
    fs::remove_dir_all(&node.paths.run).unwrap();
    node.boot = "boot-2".to_owned();
    let pod = Netns::new("pod");
    let result = ipam.call(&node, "ADD", "after", &pod).ok();
    assert_eq!((ipam.leases(), noted(&node)), (addresses(&result), 1));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_takes_leases_back_with_the_configuration_they_were_made_with() {
    let (node, kept, stale) = (Node::new(), Netns::new("kept"), Netns::new("stale"));
    let ipam = HostLocal::new(&node);
    let result = ipam.call(&node, "ADD", "kept", &kept).ok();
    ipam.call(&node, "ADD", "stale", &stale).ok();
    let mut conf = ipam.conf.clone();
    conf["cniVersion"] = json!("1.1.0");
    conf["cni.dev/valid-attachments"] = json!([{ "containerID": "kept", "ifname": "eth0" }]);
    call(&node, "GC", "", &kept, &conf, REFERENCE).ok();
    assert_eq!((ipam.leases(), noted(&node)), (addresses(&result), 1));
    assert_eq!(node.veths().len(), 1);
    // Debian's host-local does not support 1.1.0: no ADD with this configuration can succeed.
    let (code, msg) = call(&node, "STATUS", "", &kept, &conf, REFERENCE).error();
    assert_eq!((code, msg.as_str()), (50, "ipam host-local: does not speak cniVersion 1.1.0"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_holders_of_one_static_address_are_seen_and_the_second_refused() {
    let (node, one, two) = (Node::new(), Netns::new("one"), Netns::new("two"));
    let ipam = json!({ "type": "static", "addresses": [{ "address": "10.99.0.5/24", "gateway": "10.99.0.1" }],
        "routes": [{ "dst": "198.51.100.0/24", "gw": "10.99.0.1" }], "dns": { "nameservers": ["10.99.0.53"] } });
    let mut conf = with_ipam(&node, ipam);
    let result = call(&node, "ADD", "one", &one, &conf, REFERENCE).ok();
    assert_eq!(addresses(&result), ["10.99.0.5"]);
    assert_eq!(result["ips"][0]["gateway"], "10.99.0.1", "static looks for it in CHECK");
    assert_eq!(result["dns"]["nameservers"], json!(["10.99.0.53"]));
    assert_eq!(result["routes"], json!([{ "dst": "198.51.100.0/24", "gw": "169.254.1.1" }]));
    let (code, msg) = call(&node, "ADD", "two", &two, &conf, REFERENCE).error();
    assert_eq!(code, 11);
    assert!(msg.contains("10.99.0.5") && msg.contains("test/one/eth0"), "{msg}");
    assert_eq!((node.veths().len(), noted(&node)), (1, 1));
    conf["prevResult"] = result;
    call(&node, "CHECK", "one", &one, &conf, REFERENCE).ok();
    conf["ipam"]["addresses"] = json!([{ "address": format!("{}/24", NODE[0]) }]);
    let (code, msg) = call(&node, "ADD", "two", &two, &conf, REFERENCE).error();
    assert_eq!((code, msg.as_str()), (7, "ipam static: gave 192.0.2.1, an address of this node"));
}

/// A plugin that records its calls and answers as the test demands.
struct Fake {
    directory: tempfile::TempDir,
    conf: Value,
}

impl Fake {
    fn new(node: &Node) -> Self {
        Self::with(node, json!({ "type": "fake-ipam", "anything": { "goes": [1] } }))
    }

    fn with(node: &Node, ipam: Value) -> Self {
        let name = ipam["type"].as_str().unwrap().to_owned();
        let fake = Self { directory: tempfile::tempdir().unwrap(), conf: with_ipam(node, ipam) };
        let home = fake.directory.path().display();
        let script = format!(
            "#!/bin/sh\ncd {home}\n\
             echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME ${{CNI_NETNS##*/}} $CNI_ARGS\" >> log\n\
             cat > stdin.$CNI_COMMAND\ntr '\\0' '\\n' < /proc/self/environ > env.$CNI_COMMAND\n. ./$CNI_COMMAND\n"
        );
        let file = fake.path(&name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        fake.on("ADD", r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.66.0.9/24"}]}'"#);
        fake.on("VERSION", r#"echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}'"#);
        ["DEL", "CHECK", "GC", "STATUS"].iter().for_each(|verb| fake.on(verb, ":"));
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The script for a verb.
    fn on(&self, verb: &str, script: &str) {
        fs::write(self.path(verb), script).unwrap();
    }

    fn call(&self, node: &Node, verb: &str, pod: &Netns) -> Said {
        let path = format!("/naru-is-not-there:{}", self.directory.path().display());
        call(node, verb, "abc", pod, &self.conf, &path)
    }

    /// The commands with which it was called since the last time.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("log"));
        log.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

const FAILS: &str = r#"echo '{"code":123,"msg":"no lease","details":"nobody answers"}'; exit 1"#;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_plugin_sees_our_environment_and_standard_input_unchanged() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut fake = Fake::new(&node);
    let asked = fake.conf.clone();
    let result = fake.call(&node, "ADD", &pod).ok();
    assert_eq!(addresses(&result), ["10.66.0.9"]);
    fake.conf["prevResult"] = result;
    let log = fs::read_to_string(fake.path("log")).unwrap();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0";
    assert_eq!(log, format!("ADD abc eth0 {} {args}\n", pod.name));
    fake.call(&node, "CHECK", &pod).ok();
    fake.call(&node, "DEL", &pod).ok();
    assert_eq!(fake.asked(), ["ADD", "CHECK", "DEL"]);
    for verb in ["ADD", "CHECK", "DEL"] {
        let stdin = fs::read_to_string(fake.path(&format!("stdin.{verb}"))).unwrap();
        let given = if verb == "ADD" { &asked } else { &fake.conf };
        assert_eq!(stdin, given.to_string(), "{verb}");
    }
    node.assert_clean();
}

/// whereabouts is in no Debian package, so its configuration and the form of its result stand in for it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_ipam_that_naru_knows_nothing_of_gets_its_own_keys_and_the_whole_environment() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let ipam = json!({
        "type": "whereabouts", "range": "10.66.0.225-10.66.0.230/24", "exclude": ["10.66.0.229/32"],
        "ipRanges": [{ "range": "fd66::/116", "range_start": "fd66::10" }], "gateway": "10.66.0.1",
        "datastore": "kubernetes", "kubernetes": { "kubeconfig": "/etc/cni/net.d/whereabouts.kubeconfig" },
        "log_level": "debug", "sleep_for_race": 0, "network_name": "a",
    });
    let fake = Fake::with(&node, ipam);
    let addresses_of_both =
        r#"{"address":"10.66.0.225/24","gateway":"10.66.0.1"},{"address":"fd66::10/116"}"#;
    fake.on("ADD", &format!(r#"echo '{{"cniVersion":"1.0.0","ips":[{addresses_of_both}]}}'"#));
    let path = fake.directory.path().to_str().unwrap().to_owned();
    let own =
        [("CNI_PATH", path.as_str()), ("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("WHEREABOUTS_X", "a b=c;d")];
    let netns = pod.path();
    let call = |verb| node.call_with(verb, "abc", netns.to_str().unwrap(), &fake.conf, &own);
    let result = call("ADD").ok();
    assert_eq!(addresses(&result), ["10.66.0.225", "fd66::10"]);
    assert!(pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]));
    call("DEL").ok();
    for verb in ["ADD", "DEL"] {
        let stdin = fs::read_to_string(fake.path(&format!("stdin.{verb}"))).unwrap();
        assert_eq!(stdin, fake.conf.to_string(), "{verb}");
        let seen = fs::read_to_string(fake.path(&format!("env.{verb}"))).unwrap();
        let of_the_shell = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
        let mut seen: Vec<_> =
            seen.lines().filter(|line| !of_the_shell.iter().any(|own| line.starts_with(own))).collect();
        seen.sort_unstable();
        let mut sent = vec![
            "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0".to_owned(),
            format!("CNI_COMMAND={verb}"),
            "CNI_CONTAINERID=abc".to_owned(),
            "CNI_IFNAME=eth0".to_owned(),
            format!("CNI_NETNS={}", netns.display()),
            format!("CNI_PATH={path}"),
            "KUBERNETES_SERVICE_HOST=10.96.0.1".to_owned(),
            format!("NARU_BOOT_ID={}", node.boot),
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "WHEREABOUTS_X=a b=c;d".to_owned(),
        ];
        sent.sort_unstable();
        assert_eq!(seen, sent, "{verb}");
    }
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_error_of_the_plugin_is_passed_on_with_its_name_and_a_failed_add_is_followed_by_its_del() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut fake = Fake::new(&node);
    for (does, code, says) in [
        (FAILS, 123, "ipam fake-ipam: no lease"),
        ("echo garbage; exit 3", 5, "ipam fake-ipam: exit status: 3 without an error object"),
        ("echo '{\"cniVersion\":\"1.0.0\"}'", 6, "ipam fake-ipam: invalid result: no address"),
        (
            "echo '{\"ips\":[{\"address\":\"127.0.0.1/8\"}]}'",
            7,
            "ipam fake-ipam: gave 127.0.0.1, which no pod can have",
        ),
    ] {
        fake.on("ADD", does);
        let (found, msg) = fake.call(&node, "ADD", &pod).error();
        assert_eq!((found, msg.as_str()), (code, says));
        assert_eq!((fake.asked(), noted(&node)), (vec!["ADD".to_owned(), "DEL".to_owned()], 0), "{does}");
    }
    fake.on("ADD", r#"echo '{"ips":[{"address":"10.66.0.9/24"}]}'"#);
    fake.conf["prevResult"] = fake.call(&node, "ADD", &pod).ok();
    for verb in ["CHECK", "DEL"] {
        fake.on(verb, FAILS);
        let (code, msg) = fake.call(&node, verb, &pod).error();
        assert_eq!((code, msg.as_str()), (123, "ipam fake-ipam: no lease"), "{verb}");
    }
    assert_eq!((node.veths().len(), noted(&node)), (0, 1), "the lease waits for a DEL that succeeds");
    fake.on("DEL", ":");
    fake.call(&node, "DEL", &pod).ok();
    assert_eq!(noted(&node), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_plugin_that_hangs_or_is_not_there_ends_the_add_in_time() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut fake = Fake::new(&node);
    fake.conf["naru"]["ipamTimeout"] = json!(1);
    fake.on("ADD", "sleep 300");
    let (code, msg) = fake.call(&node, "ADD", &pod).error();
    assert_eq!((code, msg.as_str()), (11, "ipam fake-ipam: no answer within 1 s"));
    assert_eq!(fake.asked(), ["ADD", "DEL"]);
    let (code, msg) = call(&node, "ADD", "abc", &pod, &fake.conf, "/naru-is-not-there").error();
    assert_eq!(code, 7);
    assert!(msg.starts_with("ipam fake-ipam: not found in CNI_PATH \"/naru-is-not-there\""), "{msg}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn results_of_every_version_are_converted_to_the_one_asked_for() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let fake = Fake::new(&node);
    let early = r#""ip4":{"ip":"10.66.0.9/24","routes":[{"dst":"0.0.0.0/0"}]}"#;
    let listed = r#""ips":[{"version":"4","address":"10.66.0.9/24"}],"routes":[{"dst":"0.0.0.0/0"}]"#;
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let body = if version < "0.3" { early } else { listed };
        fake.on("ADD", &format!("echo '{{\"cniVersion\":\"{version}\",{body}}}'"));
        let result = fake.call(&node, "ADD", &pod).ok();
        assert_eq!(result["cniVersion"], "1.0.0");
        assert_eq!(addresses(&result), ["10.66.0.9"], "{version}");
        assert_eq!(result["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }]));
        fake.call(&node, "DEL", &pod).ok();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_and_gc_are_forwarded() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut fake = Fake::new(&node);
    fake.conf["cniVersion"] = json!("1.1.0");
    fake.call(&node, "STATUS", &pod).ok();
    for (does, code) in [("50", 50), ("51", 51), ("7", 50)] {
        fake.on("STATUS", &format!("echo '{{\"code\":{does},\"msg\":\"unhappy\"}}'; exit 1"));
        let (found, msg) = fake.call(&node, "STATUS", &pod).error();
        assert_eq!(found, code);
        assert!(msg.starts_with("ipam fake-ipam: unhappy"), "{msg}");
    }
    fake.call(&node, "ADD", &pod).ok();
    fake.asked();
    fake.conf["cni.dev/valid-attachments"] = json!([{ "containerID": "abc", "ifname": "eth0" }]);
    fake.call(&node, "GC", &pod).ok();
    assert_eq!(fake.asked(), ["VERSION", "GC"]);
    fake.on("GC", FAILS);
    fake.conf["cni.dev/valid-attachments"] = json!([]);
    let (code, msg) = fake.call(&node, "GC", &pod).error();
    assert_eq!((code, msg.as_str()), (103, "ipam fake-ipam: no lease (nobody answers)"));
    assert_eq!(fake.asked(), ["DEL", "VERSION", "GC"]);
    assert_eq!(noted(&node), 0);
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_leaves_alone_what_was_added_after_it_began() {
    let (node, stale, new) = (Node::new(), Netns::new("stale"), Netns::new("new"));
    let fake = Fake::new(&node);
    fake.call(&node, "ADD", &stale).ok();
    // While GC waits for this DEL, a container starts.
    fake.on("DEL", "touch began; while [ ! -e go ]; do sleep 0.02; done");
    fake.on("ADD", r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.66.0.10/24"}]}'"#);
    let mut conf = fake.conf.clone();
    conf["cniVersion"] = json!("1.1.0");
    conf["cni.dev/valid-attachments"] = json!([]);
    let path = fake.directory.path().to_str().unwrap();
    std::thread::scope(|scope| {
        let gc = scope.spawn(|| call(&node, "GC", "", &stale, &conf, path));
        while !fake.path("began").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let add = scope.spawn(|| call(&node, "ADD", "new", &new, &fake.conf, path));
        fs::write(fake.path("go"), "").unwrap();
        gc.join().unwrap().ok();
        add.join().unwrap().ok();
    });
    assert_eq!((node.veths().len(), noted(&node)), (1, 1));
    assert!(new.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn packets_of_delegated_addresses_leave_masqueraded_where_the_configuration_says_so() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let fake = Fake::new(&node);
    let mut conf = fake.conf.clone();
    conf["ipMasq"] = json!(true);
    let path = fake.directory.path().to_str().unwrap();
    let table = || node.netns.run("nft", &["list", "table", "inet", "naru"]);
    fake.call(&node, "ADD", &pod).ok();
    assert!(!table().contains("10.66.0.0/24"), "not asked for");
    fake.call(&node, "DEL", &pod).ok();
    call(&node, "ADD", "abc", &pod, &conf, path).ok();
    assert!(table().contains("10.66.0.0/24"));
}
