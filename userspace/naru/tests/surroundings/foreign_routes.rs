//! Kind 10: cost grows with foreign objects. The kernel lists our routes only; of a long list nothing is kept.

use std::{fmt::Write as _, fs, time::Duration};

use crate::machine::{Agent, Machine, wait};

/// Routes of a router's: enough that keeping them would show.
const ROUTES: u32 = 60_000;

/// Largest resident size of the agent so far, in bytes.
fn peak(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_of_others_cost_the_agent_no_memory() {
    let machine = Machine::clustered();
    let agent = machine.agent_every(1);
    let marks = || machine.agent_log().len();
    // Passes over everything have been made before and after.
    std::thread::sleep(Duration::from_secs(3));
    let before = peak(&agent);
    let mut batch = String::new();
    for n in 0..ROUTES {
        let _ = writeln!(
            batch,
            "route add {}.{}.{}.0/24 via 198.51.100.254 proto bird",
            20 + (n >> 16),
            n >> 8 & 255,
            n & 255
        );
    }
    fs::write(machine.path("batch"), batch).unwrap();
    machine.tool(&format!("ip -batch {}", machine.path("batch").display()));
    let seen = marks();
    machine.ip("link set up0 mtu 1400");
    wait("the smaller mtu", Duration::from_secs(60), || {
        machine
            .kernel_routes()
            .iter()
            .any(|route| route.starts_with("10.32.1.0/24") && route.contains("mtu 1350"))
    });
    std::thread::sleep(Duration::from_secs(3));
    // The kernel sums counters of each CPU up from time to time only, so that the figure may go back a little.
    let grown = peak(&agent).saturating_sub(before);
    assert!(grown < 6 << 20, "{grown} bytes for {ROUTES} routes (log from {seen})");
    assert!(!machine.agent_log().contains("ERROR"), "{}", machine.agent_log());
}
