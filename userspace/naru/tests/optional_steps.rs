//! Kind 24: a last, optional step that fails has no other effect. It is a warning; the node is made, pods start, and
//! the agent looks after them and repeats the step in growing pauses.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use machine::{Machine, pod::Pod, run, wait};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is read-only while the guard lives.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(directory: PathBuf) -> Self {
        run(Command::new("mount").arg("--bind").args([&directory, &directory]));
        run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&directory));
        Self(directory)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An obstacle to writing the runtime's configuration.
type Obstacle = (&'static str, fn(&Machine) -> Option<ReadOnly>);

const OBSTACLES: [Obstacle; 3] = [
    ("a read-only directory", |machine| Some(ReadOnly::new(machine.path("cni/conf")))),
    ("a file in place of the directory", |machine| {
        fs::remove_dir(machine.path("cni/conf")).unwrap();
        fs::write(machine.path("cni/conf"), "").unwrap();
        None
    }),
    ("a directory in place of the file", |machine| {
        fs::create_dir(machine.path("cni/conf/05-naru.conflist")).unwrap();
        None
    }),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_configuration_that_cannot_be_written_keeps_no_node_from_being_made_and_no_pod_from_starting() {
    for (obstacle, put) in OBSTACLES {
        let machine = Machine::clustered();
        let guard = put(&machine);
        Pod::new(&machine, "first", json!({})).add_as(&machine, "first").unwrap_err();
        let (status, told) = machine.outcome(&["init"]);
        assert_eq!(status, 0, "{obstacle}: {told}");
        assert_eq!(
            told.contains("warning: the runtime's configuration: "),
            guard.is_some(),
            "{obstacle}: {told}"
        );
        // Without a directory there is no runtime that would look for it.
        let has_runtime = machine.path("cni/conf").is_dir();
        assert_eq!(machine.says(&["status"], "05-naru.conflist"), has_runtime, "{obstacle}: status names it");
        Pod::new(&machine, "one", json!({})).add(&machine);
        Pod::new(&machine, "two", json!({})).of_boot("the-next-boot").add(&machine);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_looks_after_pods_all_the_same_and_repeats_the_step_in_growing_pauses() {
    let machine = Machine::clustered();
    let _guard = ReadOnly::new(machine.path("cni/conf"));
    let _agent = machine.agent_every(4);
    let pod = Pod::new(&machine, "dies", json!({}));
    let own = pod.add(&machine);
    let knows = || machine.ok(&["endpoints"]).contains(&own[0]);
    assert!(knows());
    drop(pod);
    wait("two passes over pods", PATIENCE, || !knows());
    let log = machine.agent_log();
    assert_eq!(log.matches("the runtime's configuration: ").count(), 1, "told once: {log}");
    let passes = || machine.agent_log().matches("pass over everything").count();
    let before = passes();
    std::thread::sleep(Duration::from_secs(9));
    assert!((1..=3).contains(&(passes() - before)), "{}", machine.agent_log());
}
