use std::{fmt, path::Path, time::Duration};

use super::Address;

/// The reasons for which the API did not give the requested answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody said where the API is.
    #[error("no address of the API is known: set api_servers in the settings, or --api-server")]
    NoPlace,
    /// An address that is none.
    #[error("`{0}` is not the address of an API server: host, host:port or a URL https://host:port")]
    NotAnAddress(String),
    /// Credentials cannot be read or are none.
    #[error("{place}: {reason}")]
    Credentials {
        /// The file.
        place: String,
        /// The error.
        reason: String,
    },
    /// No connection, or one that ended early or stayed silent.
    #[error("{address}: {reason}")]
    Connection {
        /// The server.
        address: Address,
        /// The error.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{address}: {code} {reason}")]
    Refused {
        /// The server.
        address: Address,
        /// HTTP's code, or the code within a watch.
        code: u16,
        /// The server's words.
        reason: String,
        /// The pause that it asks for.
        after: Option<Duration>,
    },
    /// The answer is not what was asked for.
    #[error("{address}: {reason}")]
    Nonsense {
        /// The server.
        address: Address,
        /// The error.
        reason: String,
    },
}

impl ApiError {
    pub(crate) fn credentials(place: &Path, reason: &impl fmt::Display) -> Self {
        Self::Credentials { place: place.display().to_string(), reason: reason.to_string() }
    }

    /// Returns true if the state that a watch should continue from is not kept any more.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// Returns true if the server does not have such objects, or shows them to others only.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { code: 403 | 404, .. })
    }

    /// The pause that the server asks for.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Refused { after, .. } => *after,
            _ => None,
        }
    }

    /// The server, where one was asked.
    #[must_use]
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Connection { address, .. }
            | Self::Refused { address, .. }
            | Self::Nonsense { address, .. } => Some(address),
            _ => None,
        }
    }
}
