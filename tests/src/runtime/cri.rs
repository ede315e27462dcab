//! Pods through containerd's CRI, as kubelet makes them.

use std::sync::{PoisonError, atomic::Ordering};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    containerd::Containerd,
    grpc, image,
    pod::{Pod, Told},
    protobuf::{Fields, Message},
};

/// Of `PodSandboxState`.
const READY: u64 = 0;

impl Containerd {
    fn call(&self, method: &str, request: &Message) -> anyhow::Result<Fields> {
        grpc::call(&self.socket(), &format!("runtime.v1.RuntimeService/{method}"), request)
            .with_context(|| format!("containerd of {}", self.node.name))
    }

    /// Returns true if runtime and network are ready.
    ///
    /// # Errors
    /// containerd does not answer.
    pub fn is_ready(&self) -> anyhow::Result<bool> {
        let conditions = self.call("Status", &Message::new())?.message(1)?.messages(1)?;
        Ok(!conditions.is_empty() && conditions.iter().all(|condition| condition.number(2) == 1))
    }

    /// Runs the pod `name`.
    ///
    /// # Errors
    /// An error of containerd; leftovers of the pod are removed with the runtime.
    pub fn run_pod(&self, name: &str) -> anyhow::Result<Pod> {
        self.run_pod_with(name, &[])
    }

    /// As [`Containerd::run_pod`], with TCP ports of the node (left) that lead to ports of the pod (right).
    ///
    /// # Errors
    /// As [`Containerd::run_pod`].
    pub fn run_pod_with(&self, name: &str, ports: &[(u16, u16)]) -> anyhow::Result<Pod> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let mut config = self.pod_config(name, attempt);
        for (node, pod) in ports {
            config = config.message(5, &Message::new().number(2, (*pod).into()).number(3, (*node).into()));
        }
        let sandbox = self.call("RunPodSandbox", &Message::new().message(1, &config))?.text(1);
        let told = self.look_at(&sandbox)?;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(told.netns.clone());
        let container = self.run_container(&sandbox, &config, attempt)?;
        Ok(Pod::new(name, sandbox, container, told))
    }

    fn pod_config(&self, name: &str, attempt: u64) -> Message {
        let uid = format!("uid-{name}");
        let metadata = Message::new().text(1, name).text(2, &uid).text(3, "e2e").number(4, attempt);
        let linux = Message::new().text(1, &format!("/{}", self.cgroup));
        Message::new().message(1, &metadata).text(2, name).message(8, &linux)
    }

    fn run_container(&self, sandbox: &str, pod: &Message, attempt: u64) -> anyhow::Result<String> {
        let metadata = Message::new().text(1, "main").number(2, attempt);
        let config = Message::new().message(1, &metadata).message(2, &Message::new().text(1, image::NAME));
        let request = Message::new().text(1, sandbox).message(2, &config).message(3, pod);
        let container = self.call("CreateContainer", &request)?.text(1);
        self.call("StartContainer", &Message::new().text(1, &container))?;
        Ok(container)
    }

    fn look_at(&self, sandbox: &str) -> anyhow::Result<Told> {
        let answer = self.call("PodSandboxStatus", &Message::new().text(1, sandbox).number(2, 1))?;
        let info =
            answer.messages(2)?.into_iter().find(|entry| entry.text(1) == "info").context("no info")?;
        let info: Value = serde_json::from_str(&info.text(2)).context("read the info")?;
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().context("no namespaces")?;
        let network = namespaces.iter().find(|namespace| namespace["type"] == "network");
        let netns = network.and_then(|network| network["path"].as_str()).context("no network namespace")?;
        let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).context("no pid")?;
        let network = answer.message(1)?.message(5)?;
        let more = network.messages(2)?;
        let texts = std::iter::once(network.text(1)).chain(more.iter().map(|ip| ip.text(1)));
        let addresses = texts.map(|text| text.parse().with_context(|| format!("address {text:?}")));
        Ok(Told { netns: netns.into(), pid, addresses: addresses.collect::<Result<_, _>>()? })
    }

    /// Runs `line` in the pod's container by its shell and returns its output.
    ///
    /// # Errors
    /// The command fails; the error has its output.
    pub fn exec(&self, pod: &Pod, line: &str) -> anyhow::Result<String> {
        let request =
            Message::new().text(1, &pod.container).text(2, "sh").text(2, "-c").text(2, line).number(3, 30);
        let answer = self.call("ExecSync", &request).with_context(|| format!("{}: {line}", pod.name))?;
        let said = answer.text(2);
        ensure!(answer.number(3) == 0, "{}: {line}: status {}: {said}", pod.name, answer.number(3));
        Ok(answer.text(1))
    }

    /// Ids of the sandboxes that are ready, and of all others.
    ///
    /// # Errors
    /// An error of containerd.
    pub fn sandboxes(&self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let items = self.call("ListPodSandbox", &Message::new())?.messages(1)?;
        let (ready, other): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.number(3) == READY);
        let ids = |items: Vec<Fields>| items.iter().map(|item| item.text(1)).collect();
        Ok((ids(ready), ids(other)))
    }

    /// Stops the sandbox, which is the first DEL, and removes it, which is the second.
    ///
    /// # Errors
    /// An error of containerd.
    pub fn remove_pod(&self, sandbox: &str) -> anyhow::Result<()> {
        let request = Message::new().text(1, sandbox);
        self.call("StopPodSandbox", &request)?;
        self.call("RemovePodSandbox", &request).map(drop)
    }

    /// Removes the pods that are left at the end of a test.
    pub(super) fn remove_all_pods(&self) {
        let (ready, other) = self.sandboxes().unwrap_or_default();
        for sandbox in ready.iter().chain(&other) {
            if let Err(error) = self.remove_pod(sandbox) {
                eprintln!("{error:#}");
            }
        }
    }
}
