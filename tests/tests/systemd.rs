//! The unit of `deploy/` under systemd, which is the first process of namespaces of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{fs, path::Path, process::Command};

use naru_e2e::{dist, tool};

/// Runs inside the new namespaces: hides the machine's units and directories, makes an uplink, and becomes systemd,
/// which has the unit as it is delivered, where the administrator would put it, and a script that looks at it.
const MACHINE: &str = r#"
set -e
mount --make-rprivate /
for place in /run /etc/systemd/system /usr/local/bin /lib/systemd/system/*.target.wants; do
    mount -t tmpfs tmpfs $place
done
# systemd raises limits of the whole machine where it may.
mount --bind /proc/sys /proc/sys; mount --bind /proc/sys/net /proc/sys/net; mount -o remount,bind,ro /proc/sys
mount -t sysfs sysfs /sys; mount -t cgroup2 none /sys/fs/cgroup; mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/config /run/cni /etc/systemd/system/naru.service.d
cp "$NARU" /usr/local/bin/naru
cp "$SCRATCH/cluster.toml" /run/config/
cp "$UNIT" /etc/systemd/system/naru.service
cat > /etc/systemd/system/naru.service.d/place.conf <<END
[Service]
Environment=NARU_NODE=node1 NARU_STATE_DIR=/run/state NARU_CONFIG_DIR=/run/config
Environment=NARU_CNI_CONF_DIR=/run/cni NARU_CNI_BIN_DIR=/run/cni
StandardError=append:$SCRATCH/agent.log
END
cat > /etc/systemd/system/look.service <<END
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=SCRATCH=$SCRATCH NARU_STATE_DIR=/run/state NARU_CONFIG_DIR=/run/config
Environment=NARU_CNI_CONF_DIR=/run/cni NARU_CNI_BIN_DIR=/run/cni
StandardOutput=file:$SCRATCH/seen
StandardError=file:$SCRATCH/errors
ExecStart=/bin/sh $SCRATCH/look
END
printf '[Unit]\nDefaultDependencies=no\nWants=naru.service look.service\n' > /etc/systemd/system/goal.target
ip link set lo up; ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up
ip address add 198.51.100.1/24 dev up0
container=test exec /lib/systemd/systemd --system --unit=goal.target --log-target=null --show-status=false
"#;

/// The script that looks at the state, step by step.
const LOOK: &str = r#"
until_says() { for i in $(seq 100); do eval "$1" | grep -q "$2" && return; sleep .1; done; echo "never: $1: $2"; }
until_says "cat $SCRATCH/agent.log" following
echo "ready: $(systemctl is-active naru) $(naru status | grep -c '^node  *node1')"
systemctl kill --signal KILL --kill-whom main naru
until_says "systemctl show naru -p NRestarts" =1
until_says "grep -c following $SCRATCH/agent.log" 2
echo "killed: $(systemctl is-active naru)"
systemctl stop naru
nodes=$(naru status | grep -c '^node  *node1')
echo "stopped: $(systemctl show naru -p Result --value) $nodes $(ip -o link show naru-vx | wc -l)"
naru uninstall --force > /dev/null
echo "uninstalled: $(ls /run/naru 2>&1 | grep -c 'No such')"
kill -RTMIN+4 1
"#;

const CLUSTER: &str = r#"ranges = ["10.32.0.0/12"]
[[node]]
name = "node1"
addresses = ["198.51.100.1"]
blocks = ["10.32.0.0/24"]
[[node]]
name = "node2"
addresses = ["198.51.100.2"]
blocks = ["10.32.1.0/24"]
"#;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_unit_runs_the_agent_again_after_a_kill_and_leaves_the_node_when_it_is_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, text) in [("machine", MACHINE), ("look", LOOK), ("cluster.toml", CLUSTER)] {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/naru.service");
    let mut command = Command::new("timeout");
    command.args(
        "--signal KILL 60 unshare --pid --fork --kill-child --mount --net --uts --ipc --cgroup".split(' '),
    );
    command.args(["--mount-proc", "bash"]).arg(scratch.path().join("machine"));
    command.env("NARU", dist::binary("naru").unwrap()).env("UNIT", unit).env("SCRATCH", scratch.path());
    let ended = command.output().map_err(anyhow::Error::from).and_then(tool::text);
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap_or_default();
    let seen = read("seen");
    let expected = "ready: active 1\nkilled: active\nstopped: success 1 1\nuninstalled: 1\n";
    assert_eq!(seen, expected, "{ended:?} {} {}", read("errors"), read("agent.log"));
}
