//! Directories in which runtimes look, according to the configurations of distributions.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use naru_install::directories::{Directories, find};
use tempfile::TempDir;

/// A host with these files; those that end in `.sock` are sockets.
fn host(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let place = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match path.ends_with(".sock") {
            true => drop(UnixListener::bind(&place).unwrap()),
            false => fs::write(&place, content).unwrap(),
        }
    }
    root
}

fn directories(conf: &str, bin: &[&str], source: Option<&str>) -> Directories {
    let bin = bin.iter().map(PathBuf::from).collect();
    Directories { conf: conf.into(), bin, source: source.map(PathBuf::from) }
}

const CONTAINERD: &str = "/etc/containerd/config.toml";
const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
const K3S_SOCKET: &str = "/run/k3s/containerd/containerd.sock";
const SOCKET: &str = "/run/containerd/containerd.sock";
const DEFAULT: (&str, &str) = ("/etc/cni/net.d", "/opt/cni/bin");

/// A layout: its name, the host's files, the right directories.
type Layout = (&'static str, Vec<(&'static str, &'static str)>, Directories);

fn cri(version: u8, name: &str, keys: &str) -> String {
    format!("version = {version}\n[plugins.\"{name}\".cni]\n{keys}\n")
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

const V2: &str = "io.containerd.grpc.v1.cri";
const V3: &str = "io.containerd.cri.v1.runtime";

fn default(source: Option<&str>) -> Directories {
    directories(DEFAULT.0, &[DEFAULT.1], source)
}

/// Runtimes that somebody installed.
fn plain() -> Vec<Layout> {
    vec![
        ("nothing at all", vec![], default(None)),
        (
            "kubeadm, kind: containerd without a word of CNI",
            vec![(CONTAINERD, "version = 2\n"), (SOCKET, "")],
            default(None),
        ),
        (
            "a socket without a file",
            vec![(SOCKET, ""), ("/etc/crio/crio.conf", "[crio.network]\nnetwork_dir = \"/x\"\n")],
            default(None),
        ),
        (
            "Debian's containerd",
            vec![
                (CONTAINERD, leak(cri(2, V2, "bin_dir = \"/usr/lib/cni\"\nconf_dir = \"/etc/cni/net.d\""))),
                (SOCKET, ""),
            ],
            directories("/etc/cni/net.d", &["/usr/lib/cni"], Some(CONTAINERD)),
        ),
        (
            "containerd 2.1, several directories",
            vec![
                (
                    CONTAINERD,
                    leak(cri(3, V3, "bin_dirs = [\"/opt/cni/bin\", \"/usr/lib/cni\"]\nbin_dir = \"\"")),
                ),
                (SOCKET, ""),
            ],
            directories(DEFAULT.0, &["/opt/cni/bin", "/usr/lib/cni"], Some(CONTAINERD)),
        ),
    ]
}

/// Runtimes that come with a distribution of Kubernetes.
fn distributions() -> Vec<Layout> {
    let k3s = "conf_dir = \"/var/lib/rancher/k3s/agent/etc/cni/net.d\"\nbin_dir = \"/var/lib/rancher/k3s/data/cni\"";
    let microk8s = "conf_dir = \"/var/snap/microk8s/current/args/cni-network\"\n\
                    bin_dir = \"/var/snap/microk8s/current/opt/cni/bin\"";
    vec![
        (
            "k3s, with an idle containerd of the host",
            vec![
                (K3S, leak(cri(3, V3, k3s))),
                (K3S_SOCKET, ""),
                (CONTAINERD, leak(cri(2, V2, "bin_dir = \"/no\""))),
            ],
            directories(
                "/var/lib/rancher/k3s/agent/etc/cni/net.d",
                &["/var/lib/rancher/k3s/data/cni"],
                Some(K3S),
            ),
        ),
        ("k3s without its own network plugin", vec![(K3S, "version = 3\n"), (K3S_SOCKET, "")], default(None)),
        (
            "rke2, whose containerd has not started yet",
            vec![(
                "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
                leak(cri(2, V2, "bin_dir = \"/opt/cni/bin\"")),
            )],
            directories(
                DEFAULT.0,
                &[DEFAULT.1],
                Some("/var/lib/rancher/rke2/agent/etc/containerd/config.toml"),
            ),
        ),
        (
            "microk8s",
            vec![
                ("/var/snap/microk8s/current/args/containerd.toml", leak(cri(2, V2, microk8s))),
                ("/var/snap/microk8s/common/run/containerd.sock", ""),
            ],
            directories(
                "/var/snap/microk8s/current/args/cni-network",
                &["/var/snap/microk8s/current/opt/cni/bin"],
                Some("/var/snap/microk8s/current/args/containerd.toml"),
            ),
        ),
        (
            "Talos, whose runtime imports files",
            vec![
                ("/etc/cri/containerd.toml", "version = 3\nimports = [\"/etc/cri/conf.d/*.toml\"]\n"),
                ("/etc/cri/conf.d/00.toml", leak(cri(3, V3, "bin_dir = \"/first\""))),
                ("/etc/cri/conf.d/10.toml", leak(cri(3, V3, "bin_dir = \"/second\""))),
                (SOCKET, ""),
            ],
            directories(DEFAULT.0, &["/second"], Some("/etc/cri/containerd.toml")),
        ),
    ]
}

/// CRI-O, and versions of long ago.
fn others() -> Vec<Layout> {
    vec![
        (
            "OpenShift",
            vec![
                ("/etc/crio/crio.conf", "[crio.network]\n"),
                (
                    "/etc/crio/crio.conf.d/00-default",
                    "[crio.network]\nnetwork_dir = \"/etc/kubernetes/cni/net.d/\"\n\
                     plugin_dirs = [\"/var/lib/cni/bin\"]\n",
                ),
                ("/run/crio/crio.sock", ""),
            ],
            directories("/etc/kubernetes/cni/net.d/", &["/var/lib/cni/bin"], Some("/etc/crio/crio.conf")),
        ),
        (
            "CRI-O beside Docker's containerd, which does not serve the kubelet",
            vec![
                (CONTAINERD, "disabled_plugins = [\"cri\"]\n"),
                (SOCKET, ""),
                (
                    "/etc/crio/crio.conf.d/10.conf",
                    "[crio.network]\nplugin_dirs = [\"/opt/cni/bin\", \"/usr/lib/cni\"]\n",
                ),
                ("/run/crio/crio.sock", ""),
            ],
            directories(DEFAULT.0, &["/opt/cni/bin", "/usr/lib/cni"], Some("/etc/crio/crio.conf")),
        ),
        (
            "containerd's first version",
            vec![(CONTAINERD, "[plugins.cri.cni]\nconf_dir = \"/c\"\nbin_dir = \"/b\"\n")],
            directories("/c", &["/b"], Some(CONTAINERD)),
        ),
    ]
}

#[test]
fn the_directories_of_every_layout_are_read_from_the_runtimes_own_configuration() {
    for (name, files, right) in [plain(), distributions(), others()].concat() {
        let root = host(&files);
        assert_eq!(find(root.path()).unwrap(), right, "{name}");
    }
}

#[test]
fn a_configuration_that_its_runtime_would_refuse_is_named_with_its_place() {
    let cases = [
        ("version = ", "line 1"),
        ("[plugins.cri.cni]\nconf_dir = 7\n", "plugins.\"cri\""),
        ("[plugins.cri.cni]\nbin_dir = \"opt/cni\"\n", "bin_dir: `opt/cni` is not an absolute path"),
    ];
    for (content, wanted) in cases {
        let root = host(&[(CONTAINERD, content)]);
        let error = find(root.path()).unwrap_err().to_string();
        assert!(error.starts_with(CONTAINERD) && error.contains(wanted), "{content}: {error}");
    }
}

#[test]
fn files_that_import_each_other_end() {
    let root = host(&[(CONTAINERD, "imports = [\"/etc/containerd/*.toml\"]\n"), (SOCKET, "")]);
    assert_eq!(find(root.path()).unwrap().bin, [Path::new("/opt/cni/bin")]);
}
