//! A host without any tool of a firewall. The plugins and the agent search the system's directories whatever `PATH`
//! says, so the tools are hidden where they are: in a mount namespace of the test's own.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use machine::{Machine, pod::Pod, wait};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use serde_json::json;

/// Runs `work` on a thread with a mount namespace of its own.
fn with_own_mounts(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: only this thread leaves its mount namespace, and it ends right after.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            work();
        });
    });
}

/// Runs `work` on a thread from which no tool of a firewall can be run.
fn without_tools(work: impl FnOnce() + Send) {
    with_own_mounts(|| {
        for directory in ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"] {
            hide_tools(Path::new(directory));
        }
        work();
    });
}

/// Puts something that cannot be run in the place of each tool.
fn hide_tools(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_tool = ["nft", "iptables", "ip6tables", "xtables"]
            .iter()
            .any(|tool| name.strip_prefix(tool).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
        if let Some(file) = fs::canonicalize(entry.path()).ok().filter(|file| is_tool && file.is_file()) {
            mount_bind("/dev/null", file).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_with_its_pods_and_its_agent_needs_no_tool_of_the_host() {
    let witness = tempfile::tempdir().unwrap();
    let nft = witness.path().join("witness");
    fs::copy("/usr/sbin/nft", &nft).unwrap();
    without_tools(|| {
        let machine = Machine::clustered();
        let table = || machine.outcome_of(&format!("{} -s list table inet naru", nft.display()));
        assert!(machine.command("nft").output().is_ok_and(|output| !output.status.success()), "it is hidden");
        machine.ok(&["init"]);
        let whole = table();
        assert!(whole.contains("masquerade fully-random"), "{whole}");
        let (a, b) = (Pod::new(&machine, "a", json!({})), Pod::new(&machine, "b", json!({})));
        let address = a.add(&machine).remove(0);
        b.add(&machine);
        assert!(b.can_ping(&address));
        let agent = machine.agent();
        machine.tool(&format!("{} delete table inet naru", nft.display()));
        wait("the table", Duration::from_secs(10), || table() == whole);
        machine.tool(&format!("{} add table ip fw", nft.display()));
        let chain = "add chain ip fw f { type filter hook forward priority 0 ; policy drop ; }";
        machine.tool(&format!("{} {chain}", nft.display()));
        let shown = || machine.tool(&format!("{} list table ip fw", nft.display()));
        wait("the exception", Duration::from_secs(10), || shown().matches("comment \"naru\"").count() == 2);
        let log = machine.agent_log();
        assert!(!log.contains("ERROR"), "{log}");
        assert!(agent.terminate());
        let status = machine.ok(&["status"]);
        assert!(!status.contains("is gone") && !status.contains("not installed"), "{status}");
        a.del(&machine);
        b.del(&machine);
        machine.ok(&["uninstall"]);
        assert_eq!(table(), "");
        assert!(!shown().contains("naru"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_legacy_tool_that_fails_is_named_and_keeps_the_node_from_counting_as_ready() {
    with_own_mounts(|| {
        let machine = Machine::clustered();
        machine.tool("iptables-legacy -P FORWARD DROP");
        let (script, tool) =
            (machine.path("failing"), fs::canonicalize("/usr/sbin/iptables-legacy").unwrap());
        fs::write(&script, "#!/bin/sh\necho another app is holding the xtables lock >&2\nexit 4\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        mount_bind(&script, &tool).unwrap();
        let told = machine.refused(&["init"]);
        assert!(told.contains("iptables-legacy") && told.contains("xtables lock"), "{told}");
        let pod = Pod::new(&machine, "a", json!({}));
        let refusal = String::from_utf8(pod.call_as(&machine, "ADD", "a").stdout).unwrap();
        assert!(refusal.contains("xtables lock"), "no pod starts whose packets would be dropped: {refusal}");
        unmount(&tool, UnmountFlags::DETACH).unwrap();
        let address = pod.add(&machine).remove(0);
        assert!(!address.is_empty());
        assert_eq!(machine.tool("iptables-legacy -S FORWARD").matches("naru+").count(), 2);
        pod.del(&machine);
        machine.ok(&["uninstall"]);
        assert_eq!(machine.tool("iptables-legacy -S FORWARD").trim(), "-P FORWARD DROP");
    });
}
