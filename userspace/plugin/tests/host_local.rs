//! `naru-ipam` and the real host-local side by side on generated configurations: the same results, and refusals where
//! the other refuses. Deliberate differences are in [`DIFFERENCES`], each with a test of its own.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{collections::BTreeSet, fs};

use harness::{Said, addresses, call, ipam::Ipam};
use serde_json::{Value, json};

/// The plugin's path on Debian.
const HOST_LOCAL: &str = "/usr/lib/cni/host-local";

/// Deliberate differences of naru-ipam, each with its reason.
const DIFFERENCES: [(&str, &str); 8] = [
    ("a second ADD of a container", "the runtime may have lost our answer: the same addresses, not an error"),
    ("an address given back", "cools for 30 s before it is used again, unless nothing else is left"),
    ("a /31, /32, /127 or /128", "has addresses that can be used: given out, not refused"),
    ("rangeStart or rangeEnd on the network or broadcast address", "no host can use it: never given out"),
    ("an unknown key in ipam", "is a mistyped one: refused by name"),
    ("CHECK with another address in prevResult", "the container is not as ADD left it: code 102"),
    ("a refused ADD, an address asked for", "do not move the place where the next address is looked for"),
    (
        "two search lines in resolvConf",
        "the last one counts, as resolv.conf(5) says; host-local adds them up",
    ),
];

/// Both plugins on one configuration.
struct Pair {
    ipam: Ipam,
    conf: Value,
}

impl Pair {
    fn new(conf: Value) -> Self {
        assert!(fs::exists(HOST_LOCAL).unwrap(), "{HOST_LOCAL} is missing: cargo xtask setup");
        Self { ipam: Ipam::new(), conf }
    }

    fn of(ipam: Value) -> Self {
        Self::new(json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge", "ipam": ipam}))
    }

    fn naru(&self, verb: &str, container: &str, more: &Value, args: &str) -> Said {
        let mut conf = with(&self.conf, more);
        conf["ipam"]["type"] = json!("naru-ipam");
        self.ipam.call_with(verb, container, &conf, &[("CNI_ARGS", args)])
    }

    fn reference(&self, verb: &str, container: &str, more: &Value, args: &str) -> Said {
        let mut conf = with(&self.conf, more);
        conf["ipam"]["type"] = json!("host-local");
        conf["ipam"]["dataDir"] = json!(self.ipam.directory().join("host-local"));
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/nonexistent/netns"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", args),
        ];
        call(HOST_LOCAL, &environment, conf.to_string().as_bytes())
    }

    fn both(&self, verb: &str, container: &str) -> (Said, Said) {
        let none = json!({});
        (self.naru(verb, container, &none, ""), self.reference(verb, container, &none, ""))
    }
}

fn with(conf: &Value, more: &Value) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn once_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The address at an offset of the generated subnet number `place`.
fn at(v4: bool, place: u64, offset: u64) -> String {
    if v4 { format!("10.5.{place}.{offset}") } else { format!("fd05:0:0:{place}::{offset:x}") }
}

/// Part of a subnet, small enough to be used up; now and then an impossible one.
fn range(random: &mut Random, v4: bool, place: u64) -> Value {
    let host_bits = 2 + random.below(3);
    let size = 1 << host_bits;
    let len = if v4 { 32 } else { 128 } - host_bits;
    let base = u64::from(random.once_in(25));
    let mut range = json!({"subnet": format!("{}/{len}", at(v4, place, base))});
    let last = if v4 { size - 2 } else { size - 1 };
    let inside = |random: &mut Random| json!(at(v4, place, 1 + random.below(last)));
    for key in ["rangeStart", "rangeEnd", "gateway"] {
        if random.once_in(3) {
            range[key] = inside(random);
        }
    }
    if random.once_in(20) {
        range["gateway"] = json!(if v4 { "192.0.2.1" } else { "2001:db8::1" });
    }
    if random.once_in(30) {
        range["rangeEnd"] = json!(at(v4, place, size + 7));
    }
    if random.once_in(40) {
        range["subnet"] = json!("10.5/16");
    }
    range
}

fn configuration(random: &mut Random, pair: &Ipam) -> Value {
    let mut place = 0;
    let mut set = |random: &mut Random| {
        let v4 = random.below(2) == 0;
        let ranges = 1 + random.below(2);
        let mut one = |random: &mut Random| {
            place += u64::from(!random.once_in(20));
            let same_family = !random.once_in(20);
            range(random, v4 == same_family, place)
        };
        (0..ranges).map(|_| one(random)).collect::<Vec<_>>()
    };
    let sets = (0..=random.below(3)).map(|_| set(random)).collect::<Vec<_>>();
    let mut ipam = match sets.as_slice() {
        [only] if only.len() == 1 && random.once_in(2) => only[0].clone(),
        sets => json!({ "ranges": sets }),
    };
    let routes = [json!({"dst": "0.0.0.0/0"}), json!({"dst": "fd99::/64", "gw": "fd05::1"})];
    ipam["routes"] = json!(&routes[..random.below(3) as usize]);
    if random.once_in(3) {
        let file = pair.directory().join("resolv.conf");
        let lines =
            ["nameserver 10.0.0.1", "nameserver ::1", "domain a", "search b c", "options d", "# e", ""];
        let text: BTreeSet<&str> = (0..5).map(|_| *random.pick(&lines)).collect();
        let text: Vec<&str> = text.into_iter().collect();
        fs::write(&file, text.join("\n")).unwrap();
        ipam["resolvConf"] = if random.once_in(9) { json!("/nonexistent") } else { json!(file) };
    }
    let version = random.pick(&["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"]);
    json!({"cniVersion": version, "name": "lan", "type": "bridge", "ipam": ipam})
}

/// Addresses of a result of any version.
fn given(result: &Value) -> BTreeSet<String> {
    let early = [&result["ip4"]["ip"], &result["ip6"]["ip"]].into_iter().filter_map(Value::as_str);
    let listed = result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str());
    early.chain(listed).map(str::to_owned).collect()
}

/// A request for an address, by one of the three ways.
fn request(random: &mut Random) -> (Value, String) {
    if !random.once_in(4) {
        return (json!({}), String::new());
    }
    let v4 = random.below(2) == 0;
    let (place, offset) = (1 + random.below(3), random.below(9));
    let address = at(v4, place, offset);
    match random.below(3) {
        0 => (json!({}), format!("IP={address}")),
        1 => (json!({"runtimeConfig": {"ips": [address]}}), String::new()),
        _ => (json!({"args": {"cni": {"ips": [address]}}}), String::new()),
    }
}

/// Makes twenty calls; returns the number of ADDs that succeeded and that were refused.
fn compare(seed: u64) -> (u32, u32) {
    let random = &mut Random(seed);
    let ipam = Ipam::new();
    let conf = configuration(random, &ipam);
    let pair = Pair { ipam, conf };
    let asks = random.once_in(2);
    let mut held: Vec<(String, BTreeSet<String>)> = Vec::new();
    let (mut returned, mut counts) = (BTreeSet::new(), (0, 0));
    // host-local continues behind an address that was requested, and behind one that it gave out and took back for a
    // refused ADD.
    let mut may_differ = false;
    for number in 0..20 {
        if !held.is_empty() && random.once_in(4) {
            let (container, had) = held.swap_remove(random.below(held.len() as u64) as usize);
            let (ours, theirs) = pair.both("DEL", &container);
            assert!(ours.success && theirs.success, "seed {seed}: DEL: {ours:?} {theirs:?}");
            returned.extend(had);
            continue;
        }
        let container = format!("c{number}");
        let (more, args) = if asks { request(random) } else { (json!({}), String::new()) };
        let ours = pair.naru("ADD", &container, &more, &args);
        let theirs = pair.reference("ADD", &container, &more, &args);
        let told = format!("seed {seed}: {} {more} {args}\n{ours:?}\n{theirs:?}", pair.conf);
        assert_eq!(ours.success, theirs.success, "{told}");
        may_differ |= !ours.success || !args.is_empty() || more != json!({});
        if !ours.success {
            counts.1 += 1;
            continue;
        }
        let (ours, theirs) = (ours.ok(), theirs.ok());
        if ours != theirs {
            // From here on the two hold different addresses; the table explains the differences.
            assert!(may_differ || !given(&theirs).is_disjoint(&returned), "{told}");
            assert_eq!(given(&ours).len(), given(&theirs).len(), "{told}");
            break;
        }
        counts.0 += 1;
        held.push((container, given(&ours)));
    }
    counts
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn generated_configurations_have_the_results_and_refusals_of_host_local() {
    let counts: Vec<(u32, u32)> = (0..150).map(compare).collect();
    let given: u32 = counts.iter().map(|(given, _)| given).sum();
    let refused: u32 = counts.iter().map(|(_, refused)| refused).sum();
    assert!(given > 300 && refused > 300, "the generator makes {given} results and {refused} refusals");
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn a_second_add_of_a_container_returns_the_same_address() {
    assert!(DIFFERENCES[0].0.starts_with("a second ADD"));
    let pair = Pair::of(json!({"subnet": "10.5.0.0/24"}));
    let (ours, theirs) = pair.both("ADD", "c1");
    assert_eq!(ours.ok(), theirs.ok());
    let (ours, theirs) = pair.both("ADD", "c1");
    assert_eq!(addresses(&ours.ok()), ["10.5.0.2"]);
    assert!(!theirs.success);
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn an_address_given_back_cools_unless_nothing_else_is_left() {
    assert!(DIFFERENCES[1].0.starts_with("an address given back"));
    let pair = Pair::of(json!({"subnet": "10.5.0.0/29"}));
    let add = |container: &str| {
        let (ours, theirs) = pair.both("ADD", container);
        [ours, theirs].map(|said| addresses(&said.ok()).remove(0))
    };
    (2..=5).for_each(|number| {
        assert_eq!(add(&format!("c{number}")), [format!("10.5.0.{number}"), format!("10.5.0.{number}")])
    });
    pair.both("DEL", "c3").0.ok();
    pair.both("DEL", "c2").0.ok();
    assert_eq!(add("c6"), ["10.5.0.6", "10.5.0.6"]);
    assert_eq!(add("c7"), ["10.5.0.3", "10.5.0.2"], "ours is the one that cools for longest");
}

/// The results of one ADD: naru-ipam's address and host-local's, or nothing for a refusal.
fn one_add(ipam: Value) -> [Option<String>; 2] {
    let (ours, theirs) = Pair::of(ipam).both("ADD", "c1");
    [ours, theirs].map(|said| said.success.then(|| addresses(&said.ok()).remove(0)))
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn the_other_differences_are_as_the_table_says() {
    let ours = |address: &str| [Some(address.to_owned()), None];
    let both = |one: &str, other: &str| [Some(one.to_owned()), Some(other.to_owned())];
    let theirs = |address: &str| [None, Some(address.to_owned())];
    for (row, ipam, expected) in [
        (2, json!({"subnet": "10.5.0.0/31"}), ours("10.5.0.0")),
        (2, json!({"subnet": "10.5.0.0/32"}), ours("10.5.0.0")),
        (2, json!({"subnet": "fd05::/127"}), ours("fd05::")),
        (2, json!({"subnet": "fd05::/128"}), ours("fd05::")),
        (3, json!({"subnet": "10.5.0.0/24", "rangeStart": "10.5.0.0"}), both("10.5.0.2", "10.5.0.0")),
        (
            3,
            json!({"subnet": "10.5.0.0/24", "rangeStart": "10.5.0.255", "rangeEnd": "10.5.0.255"}),
            theirs("10.5.0.255"),
        ),
        (4, json!({"subnet": "10.5.0.0/24", "rangeBegin": "10.5.0.9"}), theirs("10.5.0.2")),
    ] {
        assert_eq!(one_add(ipam), expected, "{:?}", DIFFERENCES[row]);
    }
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn check_sees_another_address_in_the_previous_result() {
    assert!(DIFFERENCES[5].0.starts_with("CHECK"));
    let pair = Pair::of(json!({"subnet": "10.5.0.0/24"}));
    let (ours, theirs) = pair.both("ADD", "c1");
    let mut more = json!({"prevResult": ours.ok()});
    theirs.ok();
    let check = |more: &Value| [pair.naru("CHECK", "c1", more, ""), pair.reference("CHECK", "c1", more, "")];
    assert!(check(&more).iter().all(|said| said.success));
    more["prevResult"]["ips"][0]["address"] = json!("10.5.0.9/24");
    assert_eq!(check(&more).map(|said| said.success), [false, true]);
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn a_refused_add_does_not_move_the_next_address() {
    assert!(DIFFERENCES[6].0.starts_with("a refused ADD"));
    let pair = Pair::of(json!({"subnet": "10.5.0.0/24"}));
    let more = json!({"runtimeConfig": {"ips": ["10.5.0.77", "10.9.0.1"]}});
    assert!(!pair.naru("ADD", "c1", &more, "").success && !pair.reference("ADD", "c1", &more, "").success);
    let (ours, theirs) = pair.both("ADD", "c2");
    assert_eq!([ours, theirs].map(|said| addresses(&said.ok()).remove(0)), ["10.5.0.2", "10.5.0.78"]);
}

#[test]
#[ignore = "needs host-local: cargo xtask test"]
fn the_last_search_line_counts() {
    assert!(DIFFERENCES[7].0.starts_with("two search lines"));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "search a b\nsearch c\n").unwrap();
    let (ours, theirs) =
        Pair::of(json!({"subnet": "10.5.0.0/24", "resolvConf": file.path()})).both("ADD", "c1");
    let searched = [ours, theirs].map(|said| said.ok()["dns"]["search"].clone());
    assert_eq!(searched, [json!(["c"]), json!(["a", "b", "c"])]);
}
