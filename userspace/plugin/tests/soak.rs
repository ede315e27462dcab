//! Random rounds of ADD, DEL and GC, in both families, by naru-cni and by naru-ipam, most of them killed at some
//! step, and namespaces that end without a DEL. A few hundred rounds; 10,000 with `NARU_SOAK` set; `NARU_SOAK_ROUNDS`
//! sets another number.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use naru_node::machine::MARKS;
use std::{
    collections::BTreeMap, env, fs::File, net::IpAddr, os::fd::AsFd, process::Command, time::Duration,
};

use harness::{Netns, Node, PLUGIN, Said, addresses, speak_for};
use naru_netlink::links::pod_facts;
use naru_node::endpoint::examine;
use serde_json::{Value, json};

/// Containers, each with one namespace after another.
const CONTAINERS: usize = 6;
/// Rounds after which everything alive is examined, and rounds after which everything is removed.
const LOOK: u32 = 20;
const SETTLE: u32 = 200;
/// An ADD takes less.
const LONGEST_LIFE: u64 = 15_000;
const STEPS: [&str; 14] = [
    "unwire",
    "reserve",
    "create-pair",
    "enter-maps",
    "attach-filters",
    "activate",
    "wire-pod",
    "confirm",
    "detach-maps",
    "detach-link",
    "detach-release",
    "store-begun",
    "store-commit",
    "store-committed",
];

/// The plugin of a call; each has a network of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Plugin {
    Main,
    Ipam,
}

/// The fate of a process.
enum Fate {
    Lives,
    DiesIn(&'static str),
    DiesAfter(Duration),
}

struct World {
    node: Node,
    pods: Vec<Option<Netns>>,
    /// Results of ADD that no later call for the container has made obsolete.
    given: BTreeMap<(Plugin, usize), Vec<String>>,
    random: u64,
    killed: u32,
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn random_rounds_with_kills_share_no_address_and_leak_none() {
    let rounds = match (env::var("NARU_SOAK_ROUNDS"), env::var_os("NARU_SOAK")) {
        (Ok(rounds), _) => rounds.parse().unwrap(),
        (_, Some(_)) => 10_000,
        _ => 200,
    };
    let seed = env::var("NARU_SOAK_SEED").map_or(u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("{rounds} rounds, NARU_SOAK_SEED={seed}");
    let mut world = World::new(seed);
    for round in 1..=rounds {
        world.play();
        if round % LOOK == 0 {
            world.assert_nothing_shared();
        }
        if round % SETTLE == 0 || round == rounds {
            world.settle();
        }
    }
    println!("{} processes were killed", world.killed);
    assert!(world.killed > rounds / 8, "{} of {rounds}", world.killed);
}

impl World {
    fn new(seed: u64) -> Self {
        let node = Node::new();
        node.add("first", &Netns::new("first")).ok();
        node.del("first").ok();
        let pods = (0..CONTAINERS).map(|_| None).collect();
        Self { node, pods, given: BTreeMap::new(), random: seed << 8 | 1, killed: 0 }
    }

    fn below(&mut self, limit: u64) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from((self.random >> 11) % limit).unwrap()
    }

    fn play(&mut self) {
        let container = self.below(CONTAINERS as u64);
        let plugin = if self.below(3) == 0 { Plugin::Ipam } else { Plugin::Main };
        match self.below(8) {
            0..=3 => self.add(plugin, container),
            4 | 5 => self.del(plugin, container),
            6 => self.gc(plugin),
            // The namespace of a container ends without a DEL.
            _ => self.bury(container),
        }
    }

    fn add(&mut self, plugin: Plugin, container: usize) {
        if self.pods[container].is_none() || self.below(4) == 0 {
            self.bury(container);
            self.pods[container] = Some(Netns::new("pod"));
        }
        self.given.remove(&(plugin, container));
        let path = self.pods[container].as_ref().unwrap().path();
        let (conf, name) = (self.conf(plugin), format!("c{container}"));
        let said = self.call(plugin, "ADD", &name, path.to_str().unwrap(), &conf);
        if said.success {
            let given = addresses(&said.ok());
            for ((by, other), theirs) in &self.given {
                let shared = *by == plugin && theirs.iter().any(|address| given.contains(address));
                assert!(!shared, "{given:?} given to c{container} while c{other} has {theirs:?}");
            }
            self.given.insert((plugin, container), given);
        } else {
            assert!(said.signal, "{}{}", said.stdout, said.stderr);
        }
    }

    fn del(&mut self, plugin: Plugin, container: usize) {
        self.given.remove(&(plugin, container));
        let conf = self.conf(plugin);
        let said = self.call(plugin, "DEL", &format!("c{container}"), "", &conf);
        assert!(said.success || said.signal, "{}{}", said.stdout, said.stderr);
    }

    /// The runtime lists the containers that have a namespace, one of them apart.
    fn gc(&mut self, plugin: Plugin) {
        let forgotten = self.below(CONTAINERS as u64);
        let is_listed = |at: &usize| self.pods[*at].is_some() && *at != forgotten;
        let listed: Vec<usize> = (0..CONTAINERS).filter(is_listed).collect();
        self.given.retain(|(by, at), _| *by != plugin || listed.contains(at));
        let name = |at: &usize| json!({"containerID": format!("c{at}"), "ifname": "eth0"});
        let mut conf = self.conf(plugin);
        conf["cni.dev/valid-attachments"] = listed.iter().map(name).collect();
        let said = self.call(plugin, "GC", "", "", &conf);
        assert!(said.success || said.signal, "{}{}", said.stdout, said.stderr);
        if said.success {
            let held = self.held(plugin);
            for ((by, at), given) in &self.given {
                let kept = *by != plugin || given.iter().all(|one| held.contains(&one.parse().unwrap()));
                assert!(kept, "GC took {given:?} from c{at}, which is listed; held: {held:?}");
            }
        }
    }

    fn bury(&mut self, container: usize) {
        self.pods[container] = None;
        self.given.retain(|(_, at), _| *at != container);
    }

    fn conf(&self, plugin: Plugin) -> Value {
        let mut conf = self.node.conf();
        conf["cniVersion"] = json!("1.1.0");
        // Few addresses, so that another container soon gets one that was given back.
        conf["ipam"] = json!({"ranges": [[{"subnet": "10.77.0.0/28"}], [{"subnet": "fd77::/124"}]]});
        if plugin == Plugin::Ipam {
            conf["name"] = json!("lan");
            conf["ipam"]["type"] = json!("naru-ipam");
        }
        conf
    }

    fn call(&mut self, plugin: Plugin, verb: &str, container: &str, netns: &str, conf: &Value) -> Said {
        let fate = match self.below(3) {
            0 => Fate::Lives,
            1 => Fate::DiesIn(STEPS[self.below(STEPS.len() as u64)]),
            _ => Fate::DiesAfter(Duration::from_micros(self.below(LONGEST_LIFE) as u64)),
        };
        let (failpoint, life) = match fate {
            Fate::Lives => (String::new(), None),
            Fate::DiesIn(step) => (format!("kill:{step}"), None),
            Fate::DiesAfter(life) => (String::new(), Some(life)),
        };
        let mut command = match plugin {
            Plugin::Main => self.node.netns.command(PLUGIN),
            Plugin::Ipam => self.named_ipam(),
        };
        command.stderr(std::process::Stdio::piped());
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", netns),
            ("CNI_PATH", "/opt/cni/bin"),
            ("NARU_BOOT_ID", &self.node.boot),
            ("NARU_FAILPOINT", &failpoint),
        ];
        let said = speak_for(life, command, &environment, conf.to_string().as_bytes());
        self.killed += u32::from(said.signal);
        said
    }

    /// The plugin under its other name.
    fn named_ipam(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = self.node.netns.command(PLUGIN);
        command.arg0("naru-ipam");
        command
    }

    /// The addresses that attachments of the plugin's network hold in the store.
    fn held(&self, plugin: Plugin) -> Vec<IpAddr> {
        let network = if plugin == Plugin::Main { "test" } else { "lan" };
        let rows = self.node.store().rows().unwrap();
        let of_network = rows.iter().filter(|row| {
            let owner = row.owner.as_ref().filter(|_| row.state == naru_core::ipam::State::Assigned);
            owner.is_some_and(|owner| owner.network() == network)
        });
        of_network.map(|row| row.address).collect()
    }

    /// Checks that no two namespaces have the same address on their interfaces, and that no interface has an address
    /// that the store gave to another.
    fn assert_nothing_shared(&self) {
        let mut seen: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (at, pod) in self.pods.iter().enumerate() {
            let Some(pod) = pod else { continue };
            let file = File::open(pod.path()).unwrap();
            let Some(facts) = pod_facts(file.as_fd(), "eth0", MARKS).unwrap() else { continue };
            for address in facts.addresses {
                let other = seen.insert(address.ip, at);
                assert!(other.is_none(), "c{at} and c{} both have {}", other.unwrap(), address.ip);
            }
        }
        let look =
            || examine(&self.node.tools(), naru_core::reconcile::Policy::default(), u64::MAX / 2).unwrap();
        let found = self.node.netns.inside(look);
        let shared: Vec<_> =
            found.iter().filter(|finding| finding.kind == naru_core::reconcile::Kind::Duplicate).collect();
        assert!(shared.is_empty(), "{shared:?}");
    }

    /// Ends all namespaces: after two passes nothing is left, and every address is free again.
    fn settle(&mut self) {
        (0..CONTAINERS).for_each(|container| self.bury(container));
        self.node.reconcile_until((0, 0, 0));
        let faults = self.node.store().index_faults().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
    }
}
