//! A machine that is a copy of another one, as a snapshot that was started twice.

use std::{
    fs,
    process::{Child, Stdio},
};

use serde_json::json;

use crate::{
    PATIENCE,
    machine::{pod::Pod, wait},
    scene::Scene,
};

/// The agent on a machine of that identity, which is that of its boot as well; its log is in the file of that name.
struct Cloned(Child);

impl Cloned {
    fn start(scene: &Scene, machine_id: &str) -> Self {
        let file = scene.kubeconfig();
        let mut agent =
            scene.machine.naru(&["agent", "--kubernetes", "--kubeconfig", file.to_str().unwrap()]);
        let log = fs::File::create(log(scene, machine_id)).unwrap();
        Self(
            agent
                .env("NARU_MACHINE_ID", machine_id)
                .env("NARU_BOOT_ID", machine_id)
                .stderr(Stdio::from(log))
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Cloned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log(scene: &Scene, machine_id: &str) -> std::path::PathBuf {
    scene.plane.path(&format!("{machine_id}.log"))
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn an_agent_on_a_cloned_machine_refuses_and_changes_nothing() {
    let scene = Scene::new();
    let original = Cloned::start(&scene, "original");
    wait("node2", PATIENCE, || scene.has("10.32.1.0/24 ") && scene.probe("ready"));
    drop(original);
    let before = scene.traces();
    let copy = Cloned::start(&scene, "copy");
    // What comes to pass in the cluster meanwhile is the original's to follow.
    scene.create(3, &["10.32.2.0/24"]);
    let said = || fs::read_to_string(log(&scene, "copy")).unwrap();
    let refusal = "its state was made on another machine (machine-id was original and is copy)";
    wait("the refusal", PATIENCE, || said().contains(refusal));
    assert!(!scene.probe("ready"), "{}", said());
    let pod = Pod::new(&scene.machine, "a", json!({})).of_machine("copy").of_boot("copy");
    let (code, told) = pod.add_as(&scene.machine, "a").unwrap_err();
    assert!(code == 11 && told.contains("made on another machine"), "{code} {told}");
    assert_eq!(scene.traces(), before);
    drop(copy);
    let _original = Cloned::start(&scene, "original");
    wait("node3", PATIENCE, || scene.has("10.32.2.0/24 ") && scene.probe("ready"));
}
