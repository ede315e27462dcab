//! The API: its addresses, a connection to it, and requests.

mod address;
mod connection;
mod error;
mod items;
mod lines;
mod places;

use std::{path::PathBuf, sync::Mutex, time::Duration};

pub use address::Address;
pub use connection::{Answer, Connection, Status};
pub use error::ApiError;
pub use items::Items;
pub use lines::Lines;
pub use places::Places;

use crate::access::Access;

/// Time for a connection and its TLS handshake, after which the next address is tried. If no address is in time,
/// everything is slow, and the next round waits twice as long, up to the longest.
const HANDSHAKE: Duration = Duration::from_secs(1);
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(8);

/// The API as this node reaches it.
pub struct Api {
    access: Access,
    places: Mutex<Places>,
}

impl Api {
    /// The API behind these addresses, with these credentials.
    #[must_use]
    pub const fn new(access: Access, places: Places) -> Self {
        Self { access, places: Mutex::new(places) }
    }

    /// The API of a kubeconfig.
    #[must_use]
    pub fn of_kubeconfig(file: PathBuf) -> Self {
        Self::new(Access::Kubeconfig(file), Places::default())
    }

    /// Connects to the first place that completes a TLS handshake in time.
    ///
    /// # Errors
    /// The credentials cannot be read, or no place answers: the error of the first one that was asked.
    pub async fn connect(&self) -> Result<Connection, ApiError> {
        let credentials = self.access.load()?;
        let all = self.places(|places| places.in_order(credentials.server.as_ref()))?;
        let limit = self.places(|places| HANDSHAKE * (1 << places.failures().min(3))).min(LONGEST_HANDSHAKE);
        let mut failure = None;
        for address in all {
            match Connection::open(&address, &credentials, limit).await {
                Ok(connection) => {
                    self.places(|places| places.answered(&address));
                    return Ok(connection);
                }
                // The later addresses are ever less certain.
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        self.places(Places::nobody_answered);
        Err(failure.unwrap_or(ApiError::NoPlace))
    }

    /// Sends one request on a connection of its own: `method` is HTTP's, `body` has its type before it. Returns the
    /// answer's body.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Vec<u8>, ApiError> {
        let mut connection = self.connect().await?;
        let method = method.parse().unwrap_or_default();
        connection.ask(method, path, body).await?.whole().await
    }

    /// Asks other places before this one for a while.
    pub fn avoid(&self, address: &Address) {
        self.places(|places| places.avoid(address));
    }

    /// Takes over the addresses at which the API says it is. Returns true if they have changed. A kubeconfig names its
    /// server, and no other is used.
    pub fn remember(&self, addresses: Vec<String>) -> bool {
        self.access.is_in_cluster() && self.places(|places| places.remember(addresses))
    }

    /// The addresses that it named last.
    pub fn remembered(&self) -> Vec<String> {
        self.places(|places| places.remembered().to_vec())
    }

    /// Takes over the addresses that the cluster's settings name.
    pub fn configure(&self, addresses: &[String]) {
        self.places(|places| places.configure(addresses));
    }

    fn places<T>(&self, change: impl FnOnce(&mut Places) -> T) -> T {
        // No code that holds the lock can panic half-way through a change.
        change(&mut self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
