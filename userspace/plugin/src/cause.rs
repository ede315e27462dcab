//! The meaning of an adapter's error to the runtime.

use naru_netlink::netns::NetnsError;
use std::io::ErrorKind;

use naru_cni_types::{Code, Error};
use naru_core::ipam::IpamError;
use naru_node::{
    endpoint::{AttachError, Cause},
    machine::MachineError,
};
use naru_store::StoreError;

/// The error of an ADD.
pub(crate) fn of_attach(error: &AttachError) -> Error {
    Error::new(code_of(&error.cause, Code::Attach), error.to_string())
}

/// The code for `cause`; `otherwise` if the specification has none.
pub(crate) fn code_of(cause: &Cause, otherwise: Code) -> Code {
    match cause {
        Cause::Namespace(NetnsError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Code::UnknownContainer
        }
        Cause::Namespace(NetnsError::NotANetns { .. }) => Code::InvalidEnvironment,
        Cause::SmallMtu(_) => Code::InvalidConfig,
        Cause::Store(error) => code_of_store(error),
        Cause::Reserve(error) => match error {
            IpamError::Store(error) => code_of_store(error),
            IpamError::Outside { .. } | IpamError::Reserved { .. } | IpamError::NoRange { .. } => {
                Code::InvalidConfig
            }
            IpamError::Exhausted { .. }
            | IpamError::Empty { .. }
            | IpamError::Held { .. }
            | IpamError::NotAssigned { .. } => Code::TryAgainLater,
        },
        Cause::Datapath(error) if error.is_not_installed() => Code::TryAgainLater,
        Cause::Node(_) => Code::TryAgainLater,
        _ => otherwise,
    }
}

/// Every fault of the store is temporary: it is freed, remounted, upgraded or rebuilt.
const fn code_of_store(_: &StoreError) -> Code {
    Code::TryAgainLater
}

/// The error of a node that could not be made ready.
pub(crate) fn of_init(error: &MachineError) -> Error {
    let code = if error.is_retryable() { Code::TryAgainLater } else { Code::InvalidConfig };
    Error::new(code, error.to_string())
}

/// Returns true if making the node ready again is the remedy: the store or the pins are gone, damaged or of another
/// boot.
pub(crate) fn asks_for_init(cause: &Cause) -> bool {
    let store = |error: &StoreError| error.wants_creation();
    match cause {
        Cause::Store(error) | Cause::Reserve(IpamError::Store(error)) => store(error),
        // A store that naru-ipam made does not know the node's pools.
        Cause::Reserve(IpamError::Empty { .. }) => true,
        Cause::Datapath(error) => error.is_not_installed(),
        // It went at this moment.
        Cause::Node(error) => matches!(**error, MachineError::NotReady),
        _ => false,
    }
}
