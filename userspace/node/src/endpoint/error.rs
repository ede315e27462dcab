use crate::machine::MachineError;
use naru_netlink::netns::NetnsError;
use std::fmt;

use naru_core::desired::IPV6_MIN_MTU;
use naru_netlink::links::LinkError;
use naru_store::{ReserveError, StoreError};

use crate::{host::HostError, symmetry::SymmetryError};

/// An error of one adapter.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// About a namespace.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// About sysctls and files.
    #[error(transparent)]
    Host(#[from] HostError),
    /// About addresses.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// About the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// About links, addresses, routes and neighbours.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// About maps and filters.
    #[error(transparent)]
    Datapath(#[from] naru_bpf::Error),
    /// About flows that the stack rewrites.
    #[error(transparent)]
    Flows(#[from] SymmetryError),
    /// No random MAC address.
    #[error("random mac address: {0}")]
    Random(std::io::Error),
    /// The pod has an interface of that name which is not ours.
    #[error("interface {0} exists in the container already")]
    NameTaken(String),
    /// IPv6 needs 1280 bytes (RFC 8200, section 5).
    #[error("mtu {0} is below {IPV6_MIN_MTU}, the least an IPv6 address needs")]
    SmallMtu(u32),
    /// About the node.
    #[error(transparent)]
    Node(Box<MachineError>),
    /// A failpoint asked for it.
    #[error("failed at {0} because a test asked for it")]
    Asked(&'static str),
}

impl From<MachineError> for Cause {
    fn from(error: MachineError) -> Self {
        Self::Node(Box::new(error))
    }
}

impl From<Cause> for MachineError {
    fn from(cause: Cause) -> Self {
        Self::Pods(Box::new(cause))
    }
}

/// The reason for which an attachment was not made; nothing of it is left, except what `undo` names.
#[derive(Debug)]
pub struct AttachError {
    /// The subject: `pod default/web-0`.
    pub subject: String,
    /// The cause.
    pub cause: Box<Cause>,
    /// The steps that could not be undone.
    pub undo: Vec<Cause>,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.cause)?;
        self.undo.iter().try_for_each(|cause| write!(f, "; undo: {cause}"))
    }
}

impl std::error::Error for AttachError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}
