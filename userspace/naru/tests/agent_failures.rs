//! Failures that last (kind 7): a pass that fails does not wake itself, its pauses grow, it holds up nothing else, and
//! the log says it once and once more when it is over. With the real agent, on a machine of its own for each failure.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{
    fs::{self, File},
    io::Write,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use machine::{CLUSTER, Machine, NODE3, wait};

/// Time that a test waits for things that must come at all, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds between two periodic passes, and so the longest pause.
const PERIOD: u32 = 5;
/// Time for which passes are counted.
const WATCHED: Duration = Duration::from_secs(12);
/// Passes of all kinds in that time: one of each kind that fails a second at first, then one each period, and as many
/// that succeed. A failure that wakes itself makes some hundred.
const PASSES: usize = 30;

/// A failure that lasts.
struct Failure {
    name: &'static str,
    make: fn(&Machine),
    mend: fn(&Machine),
    /// Words of the log line that reports it; none for an event that is no failure to the agent, which must stay quiet
    /// too.
    says: Option<&'static str>,
    /// A route of ours that stays under our hands meanwhile, and how to take it away; none where every pass breaks off.
    other: Option<(&'static str, &'static str)>,
    /// Prefixes of node3, as far as the failure leaves them possible.
    node3: &'static [&'static str],
}

const OTHER: Option<(&str, &str)> = Some(("fd10:32::1:0/112 via", "-6 route del fd10:32::1:0/112"));
const OTHER_V4: Option<(&str, &str)> = Some(("10.32.1.0/24 via", "route del 10.32.1.0/24"));
const NODE3_ALL: &[&str] = &["10.32.2.0/24 via", "fd10:32::2:0/112 via"];
const NODE3_V4: &[&str] = &["10.32.2.0/24 via"];

const FAILURES: [Failure; 5] = [
    Failure {
        name: "somebody else's route to another node's block",
        make: |machine| drop(machine.ip("route replace 10.32.1.0/24 via 198.51.100.254 proto static")),
        mend: |machine| drop(machine.ip("route del 10.32.1.0/24 proto static")),
        says: Some("10.32.1.0/24"),
        other: OTHER,
        node3: NODE3_ALL,
    },
    Failure {
        name: "IPv6 off on the node",
        make: |machine| drop(machine.tool("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")),
        mend: |machine| {
            machine.tool("sysctl -qw net.ipv6.conf.all.disable_ipv6=0");
            machine.ip("addr add 2001:db8::1/64 dev up0 nodad");
            machine.ip("-6 route add default via 2001:db8::fe");
        },
        says: None,
        other: OTHER_V4,
        node3: NODE3_V4,
    },
    Failure {
        name: "IPv6 off on the tunnel device",
        make: |machine| drop(machine.tool("sysctl -qw net.ipv6.conf.naru-vx.disable_ipv6=1")),
        mend: |machine| drop(machine.tool("sysctl -qw net.ipv6.conf.naru-vx.disable_ipv6=0")),
        says: None,
        other: OTHER_V4,
        node3: NODE3_V4,
    },
    Failure {
        name: "facts that cannot be written",
        make: |machine| {
            fs::rename(machine.path("run/node.json"), machine.path("kept.json")).unwrap();
            // A directory alone would be taken out of the way.
            fs::create_dir(machine.path("run/node.json")).unwrap();
            machine.tool(&format!("mount -t tmpfs none {}", machine.path("run/node.json").display()));
            machine.ip("route del 10.32.1.0/24");
        },
        mend: |machine| {
            machine.tool(&format!("umount {}", machine.path("run/node.json").display()));
            fs::remove_dir(machine.path("run/node.json")).unwrap();
            fs::rename(machine.path("kept.json"), machine.path("run/node.json")).unwrap();
        },
        says: Some("node.json"),
        other: None,
        node3: &[],
    },
    Failure {
        name: "settings that cannot be read",
        make: |machine| {
            fs::rename(machine.path("state/init.json"), machine.path("kept.json")).unwrap();
            fs::write(machine.path("state/init.json"), "{").unwrap();
            machine.ip("route del 10.32.1.0/24");
        },
        mend: |machine| fs::rename(machine.path("kept.json"), machine.path("state/init.json")).unwrap(),
        says: Some("init.json"),
        other: None,
        node3: &[],
    },
];

fn passes(machine: &Machine) -> usize {
    machine.agent_log().matches("pass over ").count()
}

/// The lines of the log that report failures, without their times.
fn errors(machine: &Machine) -> Vec<String> {
    let log = machine.agent_log();
    let errors = log.lines().filter_map(|line| line.split_once(" ERROR ")).map(|(_, what)| what.to_owned());
    errors.collect()
}

fn has_route(machine: &Machine, beginning: &str) -> bool {
    machine.kernel_routes().iter().any(|route| route.starts_with(beginning))
}

fn lasts(failure: &Failure) {
    println!("{}", failure.name);
    let machine = Machine::clustered();
    let _agent = machine.agent_every(PERIOD);
    let whole = machine.kernel_routes();
    (failure.make)(&machine);
    if let Some(words) = failure.says {
        wait("the failure to be told", PATIENCE, || {
            errors(&machine).iter().any(|error| error.contains(words))
        });
    } else {
        thread::sleep(Duration::from_secs(2));
    }
    let before = passes(&machine);
    thread::sleep(WATCHED);
    let count = passes(&machine) - before;
    println!("  {count} passes in {WATCHED:?}");
    assert!(count <= PASSES, "{}: {count} passes in {WATCHED:?}:\n{}", failure.name, machine.agent_log());
    if let Some((route, taken)) = failure.other {
        machine.ip(taken);
        wait("what else is taken away to be back", PATIENCE, || has_route(&machine, route));
        machine.write_cluster(&format!("{CLUSTER}{NODE3}"));
        wait("a node that joins", PATIENCE, || failure.node3.iter().all(|route| has_route(&machine, route)));
        thread::sleep(Duration::from_secs(2));
        assert!(failure.node3.iter().all(|route| has_route(&machine, route)), "it stays");
        machine.write_cluster(CLUSTER);
        wait("the node to be gone", PATIENCE, || !has_route(&machine, failure.node3[0]));
    }
    let mut said = errors(&machine);
    said.sort_unstable();
    assert!(said.windows(2).all(|two| two[0] != two[1]), "{}: said twice:\n{said:#?}", failure.name);
    (failure.mend)(&machine);
    wait("all to be as before", PATIENCE, || machine.kernel_routes() == whole);
    if failure.says.is_some() {
        wait("the end to be told", PATIENCE, || machine.agent_log().contains(" over: "));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lasting_failure_is_repeated_in_growing_pauses_and_told_once_and_holds_up_nothing_else() {
    // At once: most of the time is waited.
    thread::scope(|scope| {
        let runs: Vec<_> = FAILURES.iter().map(|failure| scope.spawn(move || lasts(failure))).collect();
        let failed = runs
            .into_iter()
            .zip(&FAILURES)
            .filter_map(|(run, failure)| run.join().err().map(|_| failure.name));
        assert_eq!(failed.collect::<Vec<_>>(), Vec::<&str>::new());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_whose_pass_blocks_hears_its_source_and_ends_when_it_is_told_to() {
    let machine = Machine::clustered();
    let agent = machine.agent();
    let lock = File::open(machine.path("run/lock")).unwrap();
    lock.lock().unwrap();
    machine.ip("route flush 10.32.1.0/24");
    machine.write_cluster("ranges = 7\n");
    wait("the complaint", PATIENCE, || machine.agent_log().contains("cluster.toml:1: ranges: invalid type"));
    thread::sleep(Duration::from_secs(1));
    assert!(!has_route(&machine, "10.32.1.0/24 via"), "a pass waits for the lock");
    let asked = Instant::now();
    assert!(agent.terminate(), "SIGTERM ends the agent well");
    println!("ended after {:?}", asked.elapsed());
    assert!(!has_route(&machine, "10.32.1.0/24 via"), "the pass still had to wait");
    drop(lock);
    let _agent = machine.agent();
    wait("the route", PATIENCE, || has_route(&machine, "10.32.1.0/24 via"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_of_others_that_lead_nowhere_near_cause_next_to_no_pass() {
    let machine = Machine::clustered();
    let agent = machine.agent();
    // The records of the first pass itself.
    thread::sleep(Duration::from_secs(1));
    let (before, used) = (passes(&machine), agent.cpu());
    for action in ["add", "del"] {
        let lines = (0..30_000_u32).map(|number| {
            let [_, high, middle, low] = number.to_be_bytes();
            format!(
                "route {action} 20.{high}.{middle}.{low}/32 via 198.51.100.254 dev up0 proto bird table 7\n"
            )
        });
        let mut ip = machine.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(lines.collect::<String>().as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
    }
    thread::sleep(Duration::from_secs(1));
    println!("60,000 changes: {:?} of CPU", agent.cpu().saturating_sub(used));
    // On a busy machine notifications may be lost, and then the agent looks once more.
    let count = passes(&machine) - before;
    assert!(count <= 6, "{count} passes: {}", machine.agent_log());
    let before = passes(&machine);
    machine.ip("route add 10.32.1.0/25 via 198.51.100.254 proto bird");
    wait("a pass for one that leads to pods", PATIENCE, || passes(&machine) > before);
}
