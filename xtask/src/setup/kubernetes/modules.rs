//! The Go modules whose programs make up a cluster, each at a version that the tests were written with.

use std::fmt::Write as _;

/// Version of Kubernetes, as its programs report it.
pub const KUBERNETES: &str = "v1.37.2";
/// The directory of a module's copy, where packages are left out of its program.
pub const COPY: &str = "copy";

/// A module and the programs that are built from it.
pub struct Module {
    /// Its name in the cache.
    pub name: &'static str,
    /// Its path.
    pub path: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Packages of programs, and the name of each program.
    pub programs: &'static [(&'static str, &'static str)],
    /// A package whose tests are built as one program, and its name.
    pub tests: Option<(&'static str, &'static str)>,
    /// Packages that its program imports for their effect alone and that are left out of it: one needs a module that
    /// the Go proxy does not have, another needs a C compiler.
    pub without: &'static [&'static str],
}

/// Modules of an API server, for tests of agents with attached pods: the state of a cluster without kubelets. Helm
/// renders the chart that the API server is to take.
pub const CONTROL_PLANE: &[Module] = &[
    Module {
        name: "etcd",
        path: "go.etcd.io/etcd/server/v3",
        version: "v3.7.3",
        programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
        tests: None,
        without: &[],
    },
    Module {
        name: "control-plane",
        path: "k8s.io/kubernetes",
        version: KUBERNETES,
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
        tests: None,
        without: &[],
    },
    Module {
        name: "helm",
        path: "helm.sh/helm/v3",
        version: "v3.22.0",
        programs: &[("helm.sh/helm/v3/cmd/helm", "helm")],
        tests: None,
        without: &[],
    },
];

/// Modules that nodes with containers need beyond [`CONTROL_PLANE`].
pub const NODES: &[Module] = &[
    Module {
        name: "nodes",
        path: "k8s.io/kubernetes",
        version: KUBERNETES,
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            ("k8s.io/kubernetes/test/images/agnhost", "agnhost"),
        ],
        tests: None,
        without: &[],
    },
    Module {
        name: "coredns",
        path: "github.com/coredns/coredns",
        version: "v1.14.7",
        programs: &[("github.com/coredns/coredns", "coredns")],
        tests: None,
        without: &[],
    },
    Module {
        name: "plugins",
        path: "github.com/containernetworking/plugins",
        version: "v1.10.0",
        programs: &[
            ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
            ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
            ("github.com/containernetworking/plugins/plugins/meta/portmap", "portmap"),
            ("github.com/containernetworking/plugins/plugins/meta/bandwidth", "bandwidth"),
        ],
        tests: None,
        without: &[],
    },
];

/// Modules that tests with real clusters need beyond [`NODES`].
pub const SUITES: &[Module] = &[
    Module {
        name: "crictl",
        path: "sigs.k8s.io/cri-tools",
        version: "v1.37.0",
        programs: &[("sigs.k8s.io/cri-tools/cmd/crictl", "crictl")],
        tests: None,
        without: &[],
    },
    Module {
        name: "e2e",
        path: "k8s.io/kubernetes",
        version: KUBERNETES,
        programs: &[("k8s.io/kubernetes/test/images/regression-issue-74839", "regression-issue-74839")],
        tests: Some(("k8s.io/kubernetes/test/e2e", "e2e.test")),
        without: &[],
    },
    Module {
        name: "flannel",
        path: "github.com/flannel-io/flannel",
        version: "v0.28.10",
        programs: &[("github.com/flannel-io/flannel", "flanneld")],
        tests: None,
        without: &["pkg/backend/tencentvpc", "pkg/backend/udp"],
    },
];

impl Module {
    /// The `go.mod` of a module of ours that does nothing but build these programs; `own` is the module's.
    pub fn manifest(&self, own: &str) -> String {
        let tools: String = self.packages().map(|package| format!("\t{package}\n")).collect();
        let head = format!("module naru/{}\n\ngo 1.26.0\n\ntool (\n{tools})\n", self.name);
        // Kubernetes' own module takes libraries from folders that its published form lacks; each is published as a
        // module of its own, whose version has 0 in place of 1.
        let staged =
            own.lines().filter_map(|line| line.trim().split_once(" => ./staging/")).map(|(name, _)| name);
        let version = self.version.replacen("v1.", "v0.", 1);
        let mut replaced: String =
            staged.map(|name| format!("replace {name} => {name} {version}\n")).collect();
        if !self.without.is_empty() {
            writeln!(replaced, "replace {} => ./{COPY}", self.path).ok();
        }
        format!("{head}\nrequire {} {}\n{replaced}", self.path, self.version)
    }

    /// The text of the program's main file without the imports of packages that are left out.
    pub fn main_file(&self, text: &str) -> String {
        let quoted = self.without.iter().map(|package| format!("\"{}/{package}\"", self.path));
        let quoted: Vec<String> = quoted.collect();
        let lines =
            text.lines().filter(|line| !quoted.iter().any(|package| line.ends_with(package.as_str())));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Options of the linker: no symbols, and the version that Kubernetes' own build writes into its programs.
    pub fn linker_options(&self) -> String {
        let mut options = "-s -w".to_owned();
        if self.is_kubernetes() {
            let mut numbers = self.version.trim_start_matches('v').split('.').map(str::to_owned);
            for name in ["gitMajor", "gitMinor"] {
                let number = numbers.next().unwrap_or_default();
                options += &format!(" -X k8s.io/component-base/version.{name}={number}");
            }
            options += &format!(" -X k8s.io/component-base/version.gitVersion={}", self.version);
        }
        options
    }

    /// Names of all programs of the module.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().chain(&self.tests).map(|(_, name)| *name)
    }

    fn packages(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().chain(&self.tests).map(|(package, _)| *package)
    }

    fn is_kubernetes(&self) -> bool {
        self.path == "k8s.io/kubernetes"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_left_out_is_imported_no_more_and_the_copy_takes_the_modules_place() {
        let module = Module {
            name: "one",
            path: "example.org/one",
            version: "v0.1.0",
            programs: &[("example.org/one", "one")],
            tests: None,
            without: &["back/b"],
        };
        let text = "import (\n\t_ \"example.org/one/back/a\"\n\t_ \"example.org/one/back/b\"\n)\n";
        assert_eq!(module.main_file(text), "import (\n\t_ \"example.org/one/back/a\"\n)\n");
        assert!(module.manifest("").ends_with("replace example.org/one => ./copy\n"));
        assert!(!Module { without: &[], ..module }.manifest("").contains("replace"));
    }
}
