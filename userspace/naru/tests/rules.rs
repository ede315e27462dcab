//! Kind 12: rules of others before ours. Whatever rule comes before the main table's, own pods are reached: by a rule
//! of ours before it, with an agent at once and without one by the next ADD; a rule that ours cannot precede is
//! reported.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::time::Duration;

use machine::{Machine, pod::Pod, wait};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

/// Rules as VPN clients and others make them, and whether pods of IPv4 are reached by a rule of ours before it.
const RULES: &[(&str, bool)] = &[
    ("rule add pref 5270 lookup 52", true),
    ("rule add pref 220 lookup 52", true),
    ("rule add pref 151 lookup 52", true),
    ("rule add pref 150 lookup 52", true),
    ("rule add pref 7 lookup 52", true),
    ("rule add pref 2 lookup 52", true),
    ("rule add lookup 52", true),
    ("rule add pref 5270 not fwmark 0xca6c lookup 52", true),
    ("rule add pref 5270 iif lo lookup 52", true),
    ("rule add pref 5270 to 10.0.0.0/8 lookup 52", true),
    ("rule add pref 5270 blackhole", true),
    ("rule add pref 1 lookup 52", false),
    ("rule add pref 5270 lookup main", true),
];

/// A device that swallows, with a default route in a table of its own.
fn vpn(machine: &Machine) {
    for line in [
        "link add vpn0 type veth peer name vpn1",
        "link set vpn0 up",
        "link set vpn1 up",
        "route add default dev vpn0 table 52",
        "-6 route add default dev vpn0 table 52",
    ] {
        machine.ip(line);
    }
}

fn warns(machine: &Machine) -> bool {
    machine.says(&["status"], "not by its interface")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn own_pods_are_reached_whatever_rules_others_make_or_status_says_what_leads_elsewhere() {
    for (rule, is_reached) in RULES {
        let machine = Machine::new();
        vpn(&machine);
        let before = (machine.ip("rule show"), machine.ip("-6 rule show"));
        let conf =
            json!({ "ipam": { "ranges": [[{ "subnet": "10.77.0.0/24" }], [{ "subnet": "fd77::/112" }]] } });
        let (one, two) = (Pod::new(&machine, "one", conf.clone()), Pod::new(&machine, "two", conf));
        let address = one.add(&machine).remove(0);
        assert_eq!(
            (machine.ip("rule show"), machine.ip("-6 rule show")),
            before,
            "without others no rule is needed"
        );
        machine.ip(rule);
        two.add(&machine);
        let way = machine.outcome_of(&format!("ip route get {address}"));
        assert_eq!(way.contains("dev naru"), *is_reached, "{rule}: {way}");
        assert_eq!(warns(&machine), !is_reached, "{rule}: {}", machine.ok(&["status"]));
        assert_eq!(one.can_ping("198.51.100.1"), *is_reached, "{rule}: the node's answer");
        one.del(&machine);
        two.del(&machine);
        machine.ip(&rule.replace("add", "del"));
        machine.ok(&["uninstall"]);
        assert_eq!((machine.ip("rule show"), machine.ip("-6 rule show")), before, "{rule}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_an_agent_pods_here_and_on_other_nodes_are_reached_as_soon_as_others_make_a_rule() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let pod = Pod::new(&machine, "one", json!({}));
    let addresses = pod.add(&machine);
    vpn(&machine);
    for (family, pref) in [("", 5270), ("-6 ", 5270), ("", 100), ("-6 ", 90)] {
        let rule = format!("{family}rule add pref {pref} lookup 52");
        machine.ip(&rule);
        let own = if family.is_empty() { &addresses[0] } else { &addresses[1] };
        let remote = if family.is_empty() { "10.32.1.9" } else { "fd10:32::1:9" };
        let leads =
            |to: &str, device: &str| machine.outcome_of(&format!("ip route get {to}")).contains(device);
        wait(&rule, PATIENCE, || leads(own, "dev naru") && leads(remote, "dev naru-vx"));
        assert!(leads("203.0.113.9", "dev vpn0") || family == "-6 ", "what is no pod's stays theirs");
        assert!(!warns(&machine));
    }
    for rule in ["rule del pref 5270", "rule del pref 100", "-6 rule del pref 5270", "-6 rule del pref 90"] {
        machine.ip(rule);
    }
    let ours = || machine.ip("rule show").contains("to 10.32.0.0/12");
    wait("our rule to go with theirs", PATIENCE, || !ours());
    assert!(machine.ip("rule show").contains("5230:\tfrom 10.32.0.0/24"), "{}", machine.ip("rule show"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_says_that_a_pod_is_led_elsewhere() {
    let machine = Machine::new();
    vpn(&machine);
    let conf = json!({ "ipam": { "subnet": "10.77.0.0/24" } });
    let pod = Pod::new(&machine, "one", conf);
    let output = pod.call_as(&machine, "ADD", "one");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = || pod.call_with(&machine, "CHECK", &json!({ "prevResult": result }));
    assert!(check().status.success());
    machine.ip("rule add pref 1 lookup 52");
    let said = String::from_utf8(check().stdout).unwrap();
    assert!(said.contains("vpn0"), "{said}");
}
