use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use crate::{tcx, trial};

/// Name of the optional feature that [`crate::AttachMode::Tcx`] needs.
pub const TCX: &str = "tcx links (6.6)";

/// Name of the optional feature that encapsulation by our programs needs.
pub const ENCAPSULATION: &str = "bpf_skb_adjust_room for VXLAN both ways (6.3)";

/// A feature of the kernel that the datapath needs or uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Its name, with the kernel that brought it.
    pub name: &'static str,
    /// True if the datapath cannot do without.
    pub required: bool,
    /// True if the kernel has it.
    pub present: bool,
}

/// The features of this kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Every feature looked for.
    pub features: Vec<Feature>,
}

impl Probe {
    /// The required features that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.features
            .iter()
            .filter(|feature| feature.required && !feature.present)
            .map(|feature| feature.name)
    }

    /// Returns true if the feature `name` is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name && feature.present)
    }
}

const MAPS: [(&str, MapType); 5] = [
    ("bpf system call with hash maps (3.19)", MapType::Hash),
    ("array maps (3.19)", MapType::Array),
    ("longest-prefix maps (4.11)", MapType::LpmTrie),
    ("per-CPU array maps (4.6)", MapType::PerCpuArray),
    ("per-CPU hash maps (4.6)", MapType::PerCpuHash),
];

const HELPERS: [(&str, BpfHelper); 5] = [
    ("bpf_redirect_peer (5.10)", BpfHelper::BPF_FUNC_redirect_peer),
    ("bpf_redirect (4.2)", BpfHelper::BPF_FUNC_redirect),
    ("bpf_skb_change_type (4.8)", BpfHelper::BPF_FUNC_skb_change_type),
    ("bpf_skb_set_tunnel_key (4.3)", BpfHelper::BPF_FUNC_skb_set_tunnel_key),
    ("bpf_skb_get_tunnel_key (4.3)", BpfHelper::BPF_FUNC_skb_get_tunnel_key),
];

/// Returns true if programs can put packets into the tunnel and take them out; the kernel is asked once a process.
#[must_use]
pub fn can_encapsulate() -> bool {
    trial::can_encapsulate()
}

/// Tests every feature of the kernel; changes nothing. Without the right to use eBPF, everything counts as missing.
#[must_use]
pub fn probe() -> Probe {
    let required = |name, present| Feature { name, required: true, present };
    let optional = |name, present| Feature { name, required: false, present };
    let mut features = Vec::new();
    for (name, kind) in MAPS {
        features.push(required(name, is_map_supported(kind).unwrap_or(false)));
    }
    let classifier = ProgramType::SchedClassifier;
    features
        .push(required("tc classifier programs (4.1)", is_program_supported(classifier).unwrap_or(false)));
    for (name, helper) in HELPERS {
        features.push(required(name, is_helper_supported(classifier, helper).unwrap_or(false)));
    }
    features.push(optional("BTF of maps and programs (4.18)", aya::features().btf().is_some()));
    features.push(optional(TCX, tcx::is_supported("lo")));
    features.push(optional(ENCAPSULATION, can_encapsulate()));
    Probe { features }
}
