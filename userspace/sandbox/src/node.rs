//! The directories of a host, and the environment by which its binaries find them.

use std::path::{Path, PathBuf};

use naru_node::paths::Paths;

/// The directories of the node whose files are below `root`.
#[must_use]
pub fn paths(root: &Path) -> Paths {
    Paths { bpf: root.join("bpf"), ..Paths::under(root) }
}

/// The environment that makes a binary work on the node whose files are below `root`.
#[must_use]
pub fn environment(node: &str, root: &Path) -> Vec<(&'static str, PathBuf)> {
    let paths = paths(root);
    vec![
        ("NARU_NODE", node.into()),
        ("NARU_RUN_DIR", paths.run),
        ("NARU_STATE_DIR", paths.state),
        ("NARU_BPF_DIR", paths.bpf),
        ("NARU_CONFIG_DIR", paths.config),
        ("NARU_CNI_CONF_DIR", paths.cni_conf),
        ("NARU_CNI_BIN_DIR", paths.cni_bin),
    ]
}
