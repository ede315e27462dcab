//! Certificates and keys in PEM.

use std::{fs, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::api::ApiError;

/// The file's bytes.
pub fn read(file: &Path) -> Result<Vec<u8>, ApiError> {
    fs::read(file).map_err(|error| ApiError::credentials(file, &error))
}

/// The authorities in `pem`; `place` names it in errors.
pub fn roots(place: &Path, pem: &[u8]) -> Result<RootCertStore, ApiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(place, pem)? {
        roots.add(certificate).map_err(|error| ApiError::credentials(place, &error))?;
    }
    Ok(roots)
}

/// The certificates in `pem`, at least one.
pub fn certificates(place: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ApiError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| ApiError::credentials(place, &error))?;
    if all.is_empty() { Err(ApiError::credentials(place, &"no certificate in it")) } else { Ok(all) }
}

/// The private key in `pem`.
pub fn key(place: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, ApiError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| ApiError::credentials(place, &error))
}
