use std::{fs, path::Path};

use super::{Credentials, pem};
use crate::api::ApiError;

/// The credentials of a pod, as the kubelet mounts and renews them.
pub fn load(directory: &Path) -> Result<Credentials, ApiError> {
    let authority = directory.join("ca.crt");
    let token = directory.join("token");
    let text = fs::read_to_string(&token).map_err(|error| ApiError::credentials(&token, &error))?;
    Ok(Credentials {
        roots: pem::roots(&authority, &pem::read(&authority)?)?,
        identity: None,
        token: Some(text.trim().to_owned()),
        server: None,
    })
}
