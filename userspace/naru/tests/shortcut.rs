//! Kind 11 of the field cases: functions that the shortcut bypasses. A rate limit of the list takes pods off the
//! shortcut; `naru status` reports the cases that cannot be repaired.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use machine::{Machine, pod::Pod};
use naru_abi::pod_flags::NO_SHORTCUT;
use naru_netlink::netns;
use serde_json::{Value, json};

fn write_list(machine: &Machine, own: &Value, limiter: &Value) {
    let list = json!({ "cniVersion": "1.0.0", "name": "naru", "plugins": [own, limiter] });
    fs::write(machine.path("cni/conf/10-limited.conflist"), list.to_string()).unwrap();
}

fn takes_stack(machine: &Machine, address: &str) -> bool {
    let endpoints: Value = serde_json::from_str(&machine.ok(&["endpoints", "--json"])).unwrap();
    let entry = endpoints.as_array().unwrap().iter().find(|one| one["address"] == address).unwrap();
    entry["flags"].as_u64().unwrap() & u64::from(NO_SHORTCUT) != 0
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_of_a_list_with_rates_of_its_own_take_the_stack_and_status_tells_where_that_is_not_so() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let own = json!({ "type": "naru-cni", "ipam": { "type": "naru-ipam" } });
    let rates = json!({ "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000 });
    write_list(&machine, &own, &rates);
    assert!(machine.says(&["status"], "limit-bypassed"), "init has not seen the list");
    machine.ok(&["init"]);
    assert!(!machine.says(&["status"], "limit-bypassed"));
    let pod = Pod::new(&machine, "a", json!({}));
    assert!(takes_stack(&machine, &pod.add(&machine)[0]));
    // The rates that pods will request are not known before.
    let asked = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    write_list(&machine, &own, &asked);
    machine.ok(&["init"]);
    assert!(machine.says(&["status"], "10-limited.conflist: naru-cni is not told of the rate limits"));
    let mut capable = own.clone();
    capable["capabilities"] = asked["capabilities"].clone();
    write_list(&machine, &capable, &asked);
    assert!(!machine.says(&["status"], "limit-bypassed"));
    let free = Pod::new(&machine, "b", json!({}));
    assert!(!takes_stack(&machine, &free.add(&machine)[0]));
}

/// `bpf(2)`.
fn bpf(command: libc::c_long, words: &mut [u32]) -> io::Result<OwnedFd> {
    // SAFETY: the words live until the call returns, and their number is said.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of_val(words)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel gave this descriptor to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) })
}

fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

/// A program that passes everything, at the driver of `eth0` of the pod.
fn attach_xdp(pod: &Pod) -> [OwnedFd; 2] {
    const DRIVER: u32 = 1 << 2;
    let path = Path::new("/run/netns").join(&pod.name);
    let netns = netns::open_netns(&path).unwrap();
    let attach = || {
        let code: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
        let ([low, high], [license, rest]) = (halves(code.as_ptr() as u64), halves(c"GPL".as_ptr() as u64));
        let program = bpf(5, &mut [6, 2, low, high, license, rest, 0, 0, 0, 0, 0, 0])?;
        // SAFETY: the name ends with a zero.
        let index = unsafe { libc::if_nametoindex(c"eth0".as_ptr()) };
        let link = bpf(28, &mut [program.as_raw_fd().cast_unsigned(), index, 37, DRIVER])?;
        io::Result::Ok([program, link])
    };
    netns::in_netns(netns.as_fd(), attach).unwrap().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_tells_of_a_pod_whose_xdp_program_the_shortcut_passes_by() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (pod, by_stack) = (
        Pod::new(&machine, "a", json!({})),
        Pod::new(&machine, "b", json!({ "naru": { "shortcut": "off" } })),
    );
    pod.add(&machine);
    by_stack.add(&machine);
    assert!(!machine.says(&["status"], "xdp-bypassed"));
    let held = [attach_xdp(&pod), attach_xdp(&by_stack)];
    let status = machine.ok(&["status"]);
    let told =
        format!("pod {}: the XDP program of its eth0 sees no packet from pods of this node", pod.title());
    assert!(status.contains(&told), "{status}");
    assert_eq!(status.matches("xdp-bypassed").count(), 1, "{status}");
    drop(held);
    assert!(!machine.says(&["status"], "xdp-bypassed"));
}
