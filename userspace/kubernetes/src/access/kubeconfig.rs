//! The current context of a kubeconfig: server, authority, and a token or a client certificate.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Credentials, Server, pem};
use crate::api::ApiError;

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(rename = "current-context")]
    current_context: String,
    clusters: Vec<NamedCluster>,
    contexts: Vec<NamedContext>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<serde::de::IgnoredAny>,
}

/// Reads the file's current context.
pub fn load(path: &Path) -> Result<Credentials, ApiError> {
    let wrong = |what: String| ApiError::credentials(path, &what);
    let text = fs::read_to_string(path).map_err(|error| ApiError::credentials(path, &error))?;
    let file: File = serde_saphyr::from_str(&text).map_err(|error| wrong(first_line(&error)))?;
    let name = &file.current_context;
    let context = file.contexts.iter().find(|context| context.name == *name);
    let context = &context.ok_or_else(|| wrong(format!("no context {name}")))?.context;
    let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = &cluster.ok_or_else(|| wrong(format!("no cluster {}", context.cluster)))?.cluster;
    let user = file.users.iter().find(|user| user.name == context.user);
    let user = &user.ok_or_else(|| wrong(format!("no user {}", context.user)))?.user;
    if user.exec.is_some() && user.token.is_none() && user.client_certificate_data.is_none() {
        return Err(wrong(
            "credentials by a program (exec) are not read: give a token or a certificate".into(),
        ));
    }
    let origin = Origin { path, directory: path.parent().unwrap_or_else(|| Path::new(".")) };
    let authority = origin.content(&cluster.certificate_authority, &cluster.certificate_authority_data)?;
    let authority = authority.ok_or_else(|| wrong("no certificate-authority".into()))?;
    Ok(Credentials {
        roots: pem::roots(path, &authority)?,
        identity: origin.identity(user)?,
        token: origin.token(user)?,
        server: Some(Server { url: cluster.server.clone(), name: cluster.tls_server_name.clone() }),
    })
}

/// The file, and the directory to which paths in it are relative.
struct Origin<'a> {
    path: &'a Path,
    directory: &'a Path,
}

impl Origin<'_> {
    /// Returns the data that is in the file itself, else the contents of the file that it names; `None` without either.
    fn content(&self, file: &Option<PathBuf>, data: &Option<String>) -> Result<Option<Vec<u8>>, ApiError> {
        if let Some(data) = data {
            let decoded = STANDARD.decode(data.trim());
            return decoded.map(Some).map_err(|error| ApiError::credentials(self.path, &error));
        }
        file.as_ref().map(|file| pem::read(&self.directory.join(file))).transpose()
    }

    fn identity(&self, user: &User) -> Result<super::Identity, ApiError> {
        let certificate = self.content(&user.client_certificate, &user.client_certificate_data)?;
        let key = self.content(&user.client_key, &user.client_key_data)?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Ok(Some((pem::certificates(self.path, &certificate)?, pem::key(self.path, &key)?)))
            }
            (None, None) => Ok(None),
            _ => Err(ApiError::credentials(self.path, &"a client certificate needs a client key")),
        }
    }

    fn token(&self, user: &User) -> Result<Option<String>, ApiError> {
        let Some(file) = &user.token_file else { return Ok(user.token.clone()) };
        let file = self.directory.join(file);
        let text = fs::read_to_string(&file).map_err(|error| ApiError::credentials(&file, &error))?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// Returns the first line of an error: the parser shows the place in the text below it.
fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or("not a kubeconfig").to_owned()
}
