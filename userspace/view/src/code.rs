use std::fmt;

use serde::{Serialize, Serializer};

/// The kinds of faults. The words are stable: programs rely on them, and a word never gets another meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Code {
    /// `not-initialised`: init has not run in this boot, or its work is gone.
    NotInitialised,
    /// `range-overlap`: a range of pods is also used elsewhere.
    RangeOverlap,
    /// `pin-missing`: a pinned map or program is gone.
    PinMissing,
    /// `node-address-missing`: the machine does not have an address that the cluster says is this node's.
    NodeAddressMissing,
    /// `node-unreachable`: there is no route to another node.
    NodeUnreachable,
    /// `not-as-made`: an object is not as init left it.
    NotAsMade,
    /// `state-differs`: a map entry, route or rule is not right.
    StateDiffers,
    /// `pod-elsewhere`: the node's own packets to a pod leave by another interface than the pod's.
    PodElsewhere,
    /// `pod-outside-range`: a pod has an address of a range that does not belong to this node any more.
    PodOutsideRange,
    /// `rules-unreadable`: rules of others are in use that nothing on this machine can read.
    RulesUnreadable,
    /// `programs-missing`: an interface does not have the programs that it should have.
    ProgramsMissing,
    /// `programs-doubled`: an interface has more programs of ours than it should have.
    ProgramsDoubled,
    /// `firewall-missing`: the nftables table is gone.
    FirewallMissing,
    /// `conflist-missing`: the container runtime does not find our network configuration.
    ConflistMissing,
    /// `plugin-missing`: the container runtime does not find our plugin.
    PluginMissing,
    /// `flows-full`: the record of flows that the stack translates is full, or nearly.
    FlowsFull,
    /// `limit-bypassed`: a rate limit does not hold between pods of this node.
    LimitBypassed,
    /// `xdp-bypassed`: a pod's XDP program does not see packets from pods of this node.
    XdpBypassed,
    /// `identity-lost`: the store of the node's identity and undo journal was damaged and replaced.
    IdentityLost,
    /// `node-invalid`: the contents of a Node object are invalid and left out.
    NodeInvalid,
    /// `node-without-range`: the cluster gives a node no range.
    NodeWithoutRange,
    /// `out-of-contact`: the node has not heard of its cluster for longer than it may, and gives out no address.
    OutOfContact,
    /// `blocks-overlap`: two nodes have blocks that share addresses.
    BlocksOverlap,
    /// `node-address-twice`: two nodes have one address.
    NodeAddressTwice,
    /// `node-cloned`: two nodes have one machine id.
    NodeCloned,
    /// `pod-address-twice`: two pods have one address.
    PodAddressTwice,
    /// `pod-closed`: a pod's rights are not known, and only its node's own processes reach it.
    PodClosed,
    /// `policy-refused`: a policy does not fit a limit and is not in force.
    PolicyRefused,
    /// `version-skew`: agents of more than one version run.
    VersionSkew,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::NotInitialised,
        Self::RangeOverlap,
        Self::PinMissing,
        Self::NodeAddressMissing,
        Self::NodeUnreachable,
        Self::NotAsMade,
        Self::StateDiffers,
        Self::PodElsewhere,
        Self::PodOutsideRange,
        Self::RulesUnreadable,
        Self::ProgramsMissing,
        Self::ProgramsDoubled,
        Self::FirewallMissing,
        Self::ConflistMissing,
        Self::PluginMissing,
        Self::FlowsFull,
        Self::LimitBypassed,
        Self::XdpBypassed,
        Self::IdentityLost,
        Self::VersionSkew,
        Self::PodAddressTwice,
        Self::NodeCloned,
        Self::NodeAddressTwice,
        Self::BlocksOverlap,
        Self::NodeWithoutRange,
        Self::NodeInvalid,
        Self::OutOfContact,
        Self::PodClosed,
        Self::PolicyRefused,
    ];

    /// The word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotInitialised => "not-initialised",
            Self::RangeOverlap => "range-overlap",
            Self::PinMissing => "pin-missing",
            Self::NodeAddressMissing => "node-address-missing",
            Self::NodeUnreachable => "node-unreachable",
            Self::NotAsMade => "not-as-made",
            Self::StateDiffers => "state-differs",
            Self::PodElsewhere => "pod-elsewhere",
            Self::PodOutsideRange => "pod-outside-range",
            Self::RulesUnreadable => "rules-unreadable",
            Self::ProgramsMissing => "programs-missing",
            Self::ProgramsDoubled => "programs-doubled",
            Self::FirewallMissing => "firewall-missing",
            Self::ConflistMissing => "conflist-missing",
            Self::PluginMissing => "plugin-missing",
            Self::FlowsFull => "flows-full",
            Self::LimitBypassed => "limit-bypassed",
            Self::XdpBypassed => "xdp-bypassed",
            Self::IdentityLost => "identity-lost",
            Self::VersionSkew => "version-skew",
            Self::PodAddressTwice => "pod-address-twice",
            Self::NodeCloned => "node-cloned",
            Self::NodeAddressTwice => "node-address-twice",
            Self::BlocksOverlap => "blocks-overlap",
            Self::NodeWithoutRange => "node-without-range",
            Self::NodeInvalid => "node-invalid",
            Self::OutOfContact => "out-of-contact",
            Self::PodClosed => "pod-closed",
            Self::PolicyRefused => "policy-refused",
        }
    }

    /// The remedy.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotInitialised | Self::PinMissing | Self::FirewallMissing => "run naru init",
            Self::RangeOverlap => "give the pods or the other side another range",
            Self::NodeAddressMissing => {
                "correct the node's addresses in the cluster, or give the machine the address"
            }
            Self::NodeUnreachable => "add a route to the node, or remove the node from the cluster",
            Self::NotAsMade | Self::StateDiffers | Self::ProgramsMissing => {
                "run naru init, or start naru agent, which repairs it whenever it changes"
            }
            Self::PodElsewhere => {
                "look at ip rule and ip route get, and remove or move the rule or route that comes first"
            }
            Self::PodOutsideRange => {
                "delete the pod: the next one gets an address of the range that the node has now"
            }
            Self::RulesUnreadable => "install the tool, or remove the rules",
            Self::ProgramsDoubled => "start naru agent, which detaches the surplus",
            Self::ConflistMissing => "run naru init, with --no-conflist if the configuration is elsewhere",
            Self::PluginMissing => "install naru-cni there",
            Self::FlowsFull => {
                "start naru agent, which forgets flows that ended; for more at a time: naru init --max-flows at the \
                 next boot"
            }
            Self::OutOfContact => {
                "let the agent reach the cluster's API, or set another contact_limit in the settings"
            }
            Self::PodClosed => "start naru agent, and let it reach the source of the policies",
            Self::PolicyRefused => {
                "make the policy say the same with fewer peers or ranges of ports, or spread its pods over nodes"
            }
            Self::NodeInvalid => "correct the Node object or its annotation",
            Self::NodeWithoutRange => {
                "let the controller manager allocate podCIDRs (--allocate-node-cidrs), or look at its log"
            }
            Self::BlocksOverlap => {
                "delete the Node object that is wrong, and let its kubelet register it again"
            }
            Self::NodeAddressTwice => {
                "set the annotation naru.dev/node-addresses to an address that is the node's alone"
            }
            Self::NodeCloned => "give the copy a machine id of its own and restart its kubelet",
            Self::PodAddressTwice => "delete one of the pods",
            Self::VersionSkew => "wait for the roll-out to end, or find out why it does not",
            Self::LimitBypassed => {
                "give naru-cni's entry the capability bandwidth, or \"naru\": {\"shortcut\": \"off\"}; for rates of \
                 the list itself run naru init; then recreate the pods"
            }
            Self::XdpBypassed => {
                "recreate the pod with \"naru\": {\"shortcut\": \"off\"}, or attach the program in generic mode"
            }
            Self::IdentityLost => "remove the file after dealing with that",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_a_word_of_its_own_in_lower_case_with_dashes_and_has_a_remedy() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.label()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        let is_word = |word: &&str| {
            word.split('-').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
        };
        assert_eq!(words.iter().find(|word| !is_word(word)), None);
        assert!(Code::ALL.iter().all(|code| !code.remedy().is_empty()));
    }

    #[test]
    fn the_page_about_findings_has_each_word_once_with_its_remedy() {
        let page = include_str!("../../../docs/findings.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let entries: Vec<&str> = page.split(" - `").skip(1).collect();
        assert_eq!(entries.len(), Code::ALL.len());
        for code in Code::ALL {
            let has = |entry: &&&str| {
                entry.starts_with(&format!("{code}`: "))
                    && entry.ends_with(&format!(" Remedy: {}.", code.remedy()))
            };
            assert_eq!(entries.iter().filter(has).count(), 1, "{code}");
        }
    }
}
