//! Kind 23: ADD and DEL beside verbs of the whole node. A verb that succeeds is not undone by another: an ADD that
//! returned a result has a pod that works, and an uninstall that succeeded leaves nothing.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use harness::{NODE, Netns, Node, Said};
use naru_node::{
    init,
    machine::{MachineError, Request},
    uninstall::{Wishes, uninstall},
};

/// The steps of an ADD, before each of which somebody comes.
const STEPS: [&str; 8] =
    ["reserve", "create-pair", "purge", "enter-maps", "attach-filters", "activate", "wire-pod", "confirm"];

/// Something that another process does meanwhile; none of it takes away a pod that was there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    Uninstall,
    Init,
    /// Init after somebody took all maps and programs away.
    InitWithoutPins,
    /// Init after somebody took the store away.
    InitWithoutStore,
}

const ALL: [Beside; 4] = [Beside::Uninstall, Beside::Init, Beside::InitWithoutPins, Beside::InitWithoutStore];

fn act(node: &Node, beside: Beside) -> Result<(), MachineError> {
    let paths = &node.paths;
    match beside {
        Beside::Uninstall => return node.netns.inside(|| uninstall(paths, Wishes::default())).map(drop),
        Beside::Init => {}
        Beside::InitWithoutPins => drop(fs::remove_dir_all(paths.pins().root())),
        Beside::InitWithoutStore => drop(fs::remove_file(paths.lease_store())),
    }
    node.netns.inside(|| init::run(paths, &Request::default())).map(drop)
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {}", path.display());
        thread::sleep(Duration::from_millis(2));
    }
}

/// A verb of the plugin that stops before the step until the file is gone.
fn paused(node: &Node, verb: &str, pod: &Netns, step: &str, file: &Path) -> Said {
    fs::write(file, "").unwrap();
    let asked = format!("pause:{step}");
    let environment = [("NARU_FAILPOINT", asked.as_str()), ("NARU_FAILPOINT_FILE", file.to_str().unwrap())];
    node.call_with(verb, "abc", pod.path().to_str().unwrap(), &node.conf(), &environment)
}

/// The results of a verb, and of the act that was done while the verb waited before a step.
fn beside(
    node: &Node,
    verb: &str,
    step: &str,
    other: Beside,
    pod: &Netns,
) -> (Said, Result<(), MachineError>) {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("pause");
    thread::scope(|scope| {
        let call = scope.spawn(|| paused(node, verb, pod, step, &file));
        wait_for(&file.with_extension("reached"));
        let done = scope.spawn(|| act(node, other));
        // An act that waits for the verb waits by now; one that does not has done harm.
        thread::sleep(Duration::from_millis(300));
        fs::remove_file(&file).unwrap();
        (call.join().unwrap(), done.join().unwrap())
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_add_succeeds_that_somebody_undoes_at_the_same_moment() {
    for other in ALL {
        for step in STEPS {
            let (node, first, pod) = (Node::new(), Netns::new("first"), Netns::new("pod"));
            node.add("first", &first).ok();
            node.del("first").ok();
            let (said, done) = beside(&node, "ADD", step, other, &pod);
            if said.success {
                assert!(pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]), "{other:?} before {step}");
                assert!(other != Beside::Uninstall || done.is_err(), "before {step}: both succeeded");
                let again = node.add("second", &first);
                assert!(again.success, "{other:?} before {step}: {again:?}");
                assert!(first.can_ping(NODE[0]), "{other:?} before {step}");
                node.del("second").ok();
            } else {
                assert!(node.veths().is_empty(), "{other:?} before {step}: {said:?}");
            }
            node.del("abc").ok();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_beside_anything_leaves_nothing_and_takes_nothing_of_others() {
    for other in ALL {
        for step in ["detach-maps", "detach-link", "detach-flows", "detach-release"] {
            let (node, pod, stays) = (Node::new(), Netns::new("pod"), Netns::new("stays"));
            node.add("abc", &pod).ok();
            node.add("stays", &stays).ok();
            let (said, done) = beside(&node, "DEL", step, other, &pod);
            said.ok();
            assert_eq!(
                done.is_err(),
                other == Beside::Uninstall,
                "{other:?} before {step}: a pod is attached"
            );
            assert!(stays.can_ping(NODE[0]) && stays.can_ping(NODE[1]), "{other:?} before {step}");
            assert_eq!((node.veths().len(), node.entries().len()), (1, 2), "{other:?} before {step}");
        }
    }
}

/// Acts of each of those who work beside each other.
const ROUNDS: usize = 25;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_that_come_and_go_beside_all_of_it_work_whenever_their_add_succeeded() {
    let (node, is_over) = (Node::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let pods: Vec<_> = (0..3)
            .map(|number| {
                let node = &node;
                scope.spawn(move || {
                    let (pod, name) = (Netns::new("pod"), format!("pod-{number}"));
                    for round in 0..ROUNDS {
                        let said = node.add(&name, &pod);
                        if said.success {
                            let works = pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]);
                            assert!(works, "{name} round {round}: {said:?}");
                        } else {
                            let (code, told) = said.error();
                            assert_eq!(code, 11, "{name} round {round}: {told}");
                        }
                        node.del(&name).ok();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut acts = ALL.into_iter().cycle();
            while !is_over.load(Ordering::Relaxed) {
                // An act that is refused in the current state changes nothing, as the pods show.
                let _ = acts.next().map(|other| act(&node, other));
                thread::sleep(Duration::from_millis(30));
            }
        });
        let ends: Vec<_> = pods.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
    act(&node, Beside::Init).ok();
    node.netns.inside(|| uninstall(&node.paths, Wishes::default())).unwrap();
    assert!(node.veths().is_empty());
}
