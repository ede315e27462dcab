//! Policies in the maps: a compiled plan is carried out write by write, so that at every moment a packet is judged by
//! the objects before the change or by those after it.

mod held;

use std::{net::IpAddr, thread, time::Duration};

use naru_abi::{InterfaceValue, PodValue, pod_flags, policy::CLOSED_SUBJECT};
use naru_bpf::{Interfaces, Pins, Pods, Policies};
use naru_core::policy::{
    compile::{Isolation, Plan},
    tables::{self, Write},
};
use naru_netlink::links::{Link, LinkError, Links};

use crate::{
    init,
    machine::{self, MARKS, MachineError, Request},
    paths::Paths,
    symmetry::{self, Records, SymmetryError},
};

pub use held::Held;

/// The time for which a program may still use a list of rules after the last reference to it is gone: one packet's.
const GRACE: Duration = Duration::from_millis(20);

/// Reasons why policies are not in force as they should be.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// About a map.
    #[error(transparent)]
    Map(#[from] naru_bpf::Error),
    /// Of the lock.
    #[error(transparent)]
    Machine(#[from] Box<MachineError>),
    /// About a pod's link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// About recorded flows.
    #[error(transparent)]
    Records(#[from] SymmetryError),
}

/// Makes the node's maps of policies, and has an init put programs that judge in the place of the others; called for
/// the first policy, and before [`Enforcement::open`]. Returns false where that was done.
///
/// # Errors
/// The node is not initialised, or the init fails.
pub fn begin(paths: &Paths) -> Result<bool, PolicyError> {
    let pins = paths.pins();
    if naru_bpf::has_policies(&pins)? {
        return Ok(false);
    }
    let lock = machine::lock(paths).map_err(Box::new)?;
    let sizes = naru_bpf::installed_sizes(&pins)?;
    let sizes = sizes.ok_or_else(|| naru_bpf::Error::NotInstalled(pins.root().to_owned()))?;
    naru_bpf::add_policy_maps(&pins, sizes)?;
    drop(lock);
    init::run(paths, &Request::default()).map_err(Box::new)?;
    Ok(true)
}

/// What the settings say about isolated pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// What a pod sends to its own node passes.
    pub own_node: bool,
}

/// The maps of a node in which policies are put into force.
pub struct Enforcement {
    policies: Policies,
    entries: Entries,
}

/// The entries of the node's pods.
struct Entries {
    pods: Pods,
    interfaces: Interfaces,
    records: Records,
    links: Links,
    options: Options,
}

/// Opens every pod of a node that has no maps of policies: those that were made before it was known that there are no
/// policies are closed. Returns their number of addresses.
///
/// # Errors
/// The kernel's.
pub fn release(pins: &Pins) -> Result<usize, PolicyError> {
    let mut entries = Entries::open(pins)?;
    let closed = entries.pods.entries()?.into_iter().filter(|(_, value)| value.subject != 0);
    let closed = closed.map(|(address, _)| address.into()).collect::<Vec<IpAddr>>();
    entries.isolate(&closed, Isolation::default())?;
    Ok(closed.len())
}

impl Enforcement {
    /// Opens the maps.
    ///
    /// # Errors
    /// A map is not pinned, as before [`begin`], or the kernel refuses a socket.
    pub fn open(pins: &Pins) -> Result<Self, PolicyError> {
        Ok(Self { policies: Policies::open(pins)?, entries: Entries::open(pins)? })
    }

    /// Sets what pods are isolated by from now on.
    pub const fn set_options(&mut self, options: Options) {
        self.entries.options = options;
    }

    /// Returns true if the entry of a pod says what [`Enforcement::isolate`] would write.
    #[must_use]
    pub const fn is_isolated_so(&self, value: &PodValue, isolation: Isolation) -> bool {
        let flags = self.entries.flags(isolation);
        value.subject == isolation.subject && value.flags & pod_flags::OF_POLICIES == flags
    }

    /// Carries out a plan. `addresses` names the addresses of a pod of this node by its UID; a pod that has none here
    /// yet is isolated by [`Enforcement::isolate`] when it gets them.
    ///
    /// # Errors
    /// The kernel's. What was written stays; nothing refers to the rest.
    pub fn carry_out(
        &mut self,
        plan: &Plan,
        addresses: impl Fn(&str) -> Vec<IpAddr>,
    ) -> Result<(), PolicyError> {
        let mut waits = !plan.removed_rules.is_empty();
        for write in tables::writes(plan) {
            match write {
                Write::Rules(value) => self.policies.put_rules(value)?,
                Write::Peer(value) => self.policies.put_peer(value)?,
                Write::Net(prefix, class) => self.policies.put_net(prefix, class)?,
                Write::RemoveNet(prefix) => drop(self.policies.remove_net(prefix)?),
                Write::RemovePeer(address) => drop(self.policies.remove_peer(address)?),
                Write::Pod(uid, isolation) => self.isolate(&addresses(&uid), isolation)?,
                Write::RemoveRules(key) => {
                    if waits {
                        thread::sleep(GRACE);
                        waits = false;
                    }
                    self.policies.remove_rules(key)?;
                }
            }
        }
        Ok(())
    }

    /// Has the pod with these addresses judged as `isolation` says. Addresses that no pod of this node has are left
    /// out.
    ///
    /// # Errors
    /// The kernel's.
    pub fn isolate(&mut self, addresses: &[IpAddr], isolation: Isolation) -> Result<(), PolicyError> {
        self.entries.isolate(addresses, isolation)
    }

    /// Closes the pod with these addresses: nothing passes but what the node's own processes send, and its answers.
    ///
    /// # Errors
    /// The kernel's.
    pub fn close(&mut self, addresses: &[IpAddr]) -> Result<(), PolicyError> {
        self.isolate(addresses, Isolation { subject: CLOSED_SUBJECT, ingress: true, egress: true })
    }

    /// Forgets the connections of pods that are gone. Returns the number of entries.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sweep(&mut self) -> Result<usize, PolicyError> {
        let known = self.entries.interfaces.list()?;
        Ok(self.policies.keep_states_of(|ifindex| known.binary_search(&ifindex).is_ok())?)
    }
}

impl Entries {
    fn open(pins: &Pins) -> Result<Self, PolicyError> {
        Ok(Self {
            pods: Pods::open(pins)?,
            interfaces: Interfaces::open(pins)?,
            records: Records::open(pins)?,
            links: Links::open(MARKS)?,
            options: Options::default(),
        })
    }

    /// Writes the entries of the addresses that are there. One that goes meanwhile, with its pod, does not come back.
    fn isolate(&mut self, addresses: &[IpAddr], isolation: Isolation) -> Result<(), PolicyError> {
        let flags = self.flags(isolation);
        for address in addresses {
            let Some(value) = self.pods.get(*address)? else { continue };
            let Some(link) = self.links.link_at(value.ifindex)? else { continue };
            self.interfaces.change(value.ifindex, |known| InterfaceValue {
                subject: isolation.subject,
                flags: known.flags & !pod_flags::OF_POLICIES | flags,
                ..known
            })?;
            let value = PodValue {
                subject: isolation.subject,
                flags: value.flags & !pod_flags::OF_POLICIES | flags,
                netns: netns(&link),
                ..value
            };
            let (pods, records) = (&mut self.pods, &self.records);
            let known = value.marks();
            symmetry::enter(
                || symmetry::marks(records, *address).map(|marks| marks | known),
                |marks| pods.replace(*address, value.with_marks(marks)).map(drop),
            )?;
        }
        Ok(())
    }

    /// The bits of [`pod_flags`] for a pod that is isolated so. A pod whose rules are not known has no others.
    const fn flags(&self, isolation: Isolation) -> u32 {
        let has_rules = isolation.egress && isolation.subject != CLOSED_SUBJECT;
        let own_node = if has_rules && self.options.own_node { pod_flags::OWN_NODE } else { 0 };
        judged(isolation) | own_node
    }
}

/// The bits of [`pod_flags`] for a pod that is isolated so.
pub(crate) const fn judged(isolation: Isolation) -> u32 {
    let ingress = if isolation.ingress { pod_flags::JUDGE_INGRESS } else { 0 };
    ingress | if isolation.egress { pod_flags::JUDGE_EGRESS } else { 0 }
}

/// [`PodValue::netns`] of the pod behind a host veth.
#[must_use]
pub fn netns(link: &Link) -> u32 {
    link.peer_netnsid.and_then(|id| u32::try_from(id).ok()).map_or(0, |id| id + 1)
}
