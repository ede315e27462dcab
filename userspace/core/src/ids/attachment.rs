use std::fmt;

use super::hash::stable_hash;

/// Length of the longest interface name that the kernel accepts (`IFNAMSIZ` less the final zero).
const MAX_IFNAME: usize = 15;

/// An attachment in the sense of CNI: one interface of one container in one network.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttachmentId {
    network: String,
    container: String,
    ifname: String,
}

/// A part of an attachment's identity that the CNI specification does not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidId {
    /// The network's name.
    #[error(
        "network name {0:?}: must start with a letter or digit and hold only letters, digits, '_', '.', '-'"
    )]
    Network(String),
    /// The container's id.
    #[error(
        "container id {0:?}: must start with a letter or digit and hold only letters, digits, '_', '.', '-'"
    )]
    Container(String),
    /// The interface's name.
    #[error("interface name {0:?}: must be 1 to 15 bytes, not '.' or '..', without '/', ':' and spaces")]
    Ifname(String),
}

impl AttachmentId {
    /// Checks the three parts by the rules of the CNI specification.
    pub fn new(
        network: impl Into<String>,
        container: impl Into<String>,
        ifname: impl Into<String>,
    ) -> Result<Self, InvalidId> {
        let (network, container, ifname) = (network.into(), container.into(), ifname.into());
        if !is_name(&network) {
            return Err(InvalidId::Network(network));
        }
        if !is_name(&container) {
            return Err(InvalidId::Container(container));
        }
        if !is_ifname(&ifname) {
            return Err(InvalidId::Ifname(ifname));
        }
        Ok(Self { network, container, ifname })
    }

    /// The network's name, `name` of the CNI configuration.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The container's id, `CNI_CONTAINERID`.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The interface's name in the container, `CNI_IFNAME`.
    #[must_use]
    pub fn ifname(&self) -> &str {
        &self.ifname
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

/// Returns true if `text` matches `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_ifname(text: &str) -> bool {
    (1..=MAX_IFNAME).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

/// Name of an attachment's interface on the node's side: `naru` and 11 hexadecimal digits, the same
/// for the same attachment on every node and in every version.
#[must_use]
pub fn host_ifname(id: &AttachmentId) -> String {
    let hash = stable_hash(&id.to_string(), 0) & 0xfff_ffff_ffff;
    format!("naru{hash:011x}")
}

/// The pod for which the runtime makes an attachment; every part is empty if the runtime names none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`.
    pub uid: String,
}

impl PodName {
    /// Returns true if the runtime named no pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }

    /// Returns true if both name the same pod. The uid does not count, because it changes when the pod is made again.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        !self.is_empty() && self.namespace == other.namespace && self.name == other.name
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.namespace.as_str(), self.name.as_str()) {
            (_, "") => f.write_str("-"),
            ("", name) => f.write_str(name),
            (namespace, name) => write!(f, "{namespace}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_is_named_by_its_three_parts() {
        let id = AttachmentId::new("naru", "4f2c", "eth0").unwrap();
        assert_eq!((id.network(), id.container(), id.ifname()), ("naru", "4f2c", "eth0"));
        assert_eq!(id.to_string(), "naru/4f2c/eth0");
    }

    #[test]
    fn names_outside_the_specification_are_refused_by_part() {
        for bad in ["", "-a", ".a", "_a", "a/b", "a b", "ä", "a\n"] {
            assert_eq!(AttachmentId::new(bad, "c", "eth0"), Err(InvalidId::Network(bad.into())));
            assert_eq!(AttachmentId::new("n", bad, "eth0"), Err(InvalidId::Container(bad.into())));
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-xx"] {
            assert_eq!(AttachmentId::new("n", "c", bad), Err(InvalidId::Ifname(bad.into())));
        }
    }

    #[test]
    fn names_at_the_edge_of_the_specification_are_taken() {
        for (network, ifname) in [("0", "a"), ("a_.-", "fifteen-bytes-x"), ("A9", "...")] {
            assert!(AttachmentId::new(network, "c", ifname).is_ok(), "{network} {ifname}");
        }
    }

    #[test]
    fn the_name_on_the_node_is_stable_fits_the_kernel_and_differs_by_part() {
        let id = AttachmentId::new("naru", "c1", "eth0").unwrap();
        let other = AttachmentId::new("naru", "c1", "eth1").unwrap();
        assert_eq!(host_ifname(&id).len(), MAX_IFNAME);
        assert_eq!(host_ifname(&id), host_ifname(&id.clone()));
        assert_ne!(host_ifname(&id), host_ifname(&other));
    }

    #[test]
    fn a_pod_is_written_as_namespace_and_name() {
        let pod = |namespace: &str, name: &str| PodName {
            namespace: namespace.into(),
            name: name.into(),
            uid: String::new(),
        };
        assert_eq!(pod("default", "web-0").to_string(), "default/web-0");
        assert_eq!(pod("", "p1").to_string(), "p1");
        assert_eq!(PodName::default().to_string(), "-");
        assert!(PodName::default().is_empty());
    }
}
