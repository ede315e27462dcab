//! Kind 4: sysctls of the host judged once, by one global value. Each device has switches of its own, anybody may
//! turn them at any time, and devices come later.

use std::time::Duration;

use crate::{
    machine::{Machine, wait},
    scene::{OUTSIDE, Scene, network},
};

const PATIENCE: Duration = Duration::from_secs(15);

fn value(machine: &Machine, name: &str) -> String {
    machine.tool(&format!("sysctl -n {name}")).trim().to_owned()
}

/// Sysctls that somebody switches off, each with the text that status must show.
const CLOSED: [(&str, &str); 6] = [
    ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding is 0"),
    ("net.ipv4.conf.up0.forwarding", "net.ipv4.conf.up0.forwarding is 0"),
    ("net.ipv4.conf.default.forwarding", "net.ipv4.conf.default.forwarding is 0"),
    ("net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.forwarding is 0"),
    ("net.ipv6.conf.up0.forwarding", "net.ipv6.conf.up0.forwarding is 0"),
    ("net.ipv6.conf.default.forwarding", "net.ipv6.conf.default.forwarding is 0"),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forwarding_that_somebody_switches_off_for_all_or_for_one_is_named_and_switched_on_again() {
    let scene = Scene::new();
    let (conf, pod) = (network("net", 22), scene.pod("a"));
    scene.add(&pod, &conf);
    for (name, warning) in CLOSED {
        scene.machine.tool(&format!("sysctl -qw {name}=0"));
        assert!(scene.machine.says(&["status"], warning), "{name}: {}", scene.machine.ok(&["status"]));
        scene.machine.ok(&["init"]);
        assert_eq!(value(&scene.machine, name), "1", "{name}");
        assert!(!scene.machine.says(&["status"], warning), "{name}");
        assert!(OUTSIDE.iter().all(|address| pod.can_ping(address)), "{name}");
    }
    scene.machine.ok(&["uninstall", "--force"]);
    for name in CLOSED.map(|(name, _)| name) {
        assert_eq!(value(&scene.machine, name), "0", "{name}: as before init");
    }
}

/// A default for devices to come, and what the host end of a new pod has nevertheless.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("net.ipv4.conf.default.forwarding=0", "net.ipv4.conf.VETH.forwarding", "1"),
    ("net.ipv6.conf.default.forwarding=0", "net.ipv6.conf.VETH.forwarding", "1"),
    ("net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.VETH.disable_ipv6", "0"),
    ("net.ipv4.conf.default.rp_filter=1", "net.ipv4.conf.VETH.rp_filter", "2"),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_starts_and_has_both_families_whatever_the_defaults_for_devices_are() {
    for (default, own, expected) in DEFAULTS {
        let scene = Scene::new();
        let (conf, pods) = (network("net", 22), ["a", "b"].map(|name| scene.pod(name)));
        scene.add(&pods[0], &conf);
        scene.machine.tool(&format!("sysctl -qw {default}"));
        let addresses = scene.add(&pods[1], &conf);
        let route = scene.machine.ip(&format!("route get {}", addresses[0]));
        let veth = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap();
        assert_eq!(value(&scene.machine, &own.replace("VETH", veth)), expected, "{default}");
        for pod in &pods {
            assert!(OUTSIDE.iter().all(|address| pod.can_ping(address)), "{default}: {}", pod.0);
        }
        assert!(addresses.iter().all(|address| scene.machine_can_ping(address)), "{default}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tunnel_device_made_where_ipv6_is_off_by_default_serves_both_families() {
    let machine = Machine::clustered();
    machine.tool("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv4.conf.default.rp_filter=1");
    machine.ok(&["init"]);
    assert_eq!(value(&machine, "net.ipv6.conf.naru-vx.disable_ipv6"), "0");
    assert_eq!(value(&machine, "net.ipv4.conf.naru-vx.rp_filter"), "2");
    assert!(machine.ip("-6 route show fd10:32::1:0/112").contains("dev naru-vx"));
}

/// A device's accept_ra before init, and after.
const ADVERTISEMENTS: [(&str, &str); 3] = [("1", "2"), ("0", "0"), ("2", "2")];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_that_takes_router_advertisements_takes_those_that_come_later_too() {
    for (before, after) in ADVERTISEMENTS {
        let machine = Machine::new();
        // No advertisement has come yet: the default route is static.
        machine.tool(&format!("sysctl -qw net.ipv6.conf.up0.accept_ra={before}"));
        machine.ok(&["init", "--subnet", "10.22.0.0/16", "--subnet", "fd22::/64"]);
        assert_eq!(value(&machine, "net.ipv6.conf.up0.accept_ra"), after, "was {before}");
        machine.ok(&["uninstall"]);
        assert_eq!(value(&machine, "net.ipv6.conf.up0.accept_ra"), before, "restored");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_device_that_comes_later_hears_its_router_and_a_host_that_was_a_router_stays_deaf() {
    for (was_router, expected) in [(false, "2"), (true, "1")] {
        let machine = Machine::clustered();
        if was_router {
            machine.tool("sysctl -qw net.ipv6.conf.all.forwarding=1");
        }
        let _agent = machine.agent();
        machine.ip("link add usb0 type veth peer name usb1");
        machine.ip("link set usb0 up");
        let found = || value(&machine, "net.ipv6.conf.usb0.accept_ra");
        if was_router {
            std::thread::sleep(Duration::from_secs(1));
        } else {
            wait("the later device", PATIENCE, || found() == expected);
        }
        assert_eq!(found(), expected, "was a router before: {was_router}");
    }
}
