//! Credentials and trusted authorities: read anew for every connection, because both rotate.

mod kubeconfig;
mod pem;
mod service_account;

use std::path::PathBuf;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use crate::api::ApiError;

/// The name that every API server's TLS certificate has within its cluster.
pub const IN_CLUSTER_NAME: &str = "kubernetes.default.svc";

/// The way to credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// The token and authority that the kubelet mounts into every pod.
    ServiceAccount(PathBuf),
    /// The current context of a kubeconfig; its server is the only one.
    Kubeconfig(PathBuf),
}

/// Certificates and key by which a client identifies itself.
pub type Identity = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

/// Credentials as they are now.
pub struct Credentials {
    pub roots: RootCertStore,
    pub identity: Identity,
    pub token: Option<String>,
    /// The server that the credentials are for, with the name in its certificate; `None` in a pod.
    pub server: Option<Server>,
}

/// A server of a kubeconfig.
pub struct Server {
    pub url: String,
    /// `tls-server-name`.
    pub name: Option<String>,
}

impl Access {
    /// The directory into which the kubelet mounts a pod's credentials.
    pub const POD: &'static str = "/var/run/secrets/kubernetes.io/serviceaccount";

    /// Reads the credentials.
    pub fn load(&self) -> Result<Credentials, ApiError> {
        match self {
            Self::ServiceAccount(directory) => service_account::load(directory),
            Self::Kubeconfig(file) => kubeconfig::load(file),
        }
    }

    /// Returns true if the servers are found by the node itself, not named beside the credentials.
    pub const fn is_in_cluster(&self) -> bool {
        matches!(self, Self::ServiceAccount(_))
    }
}
