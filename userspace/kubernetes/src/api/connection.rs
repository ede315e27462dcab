use std::{fmt, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use serde::Deserialize;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Address, ApiError};
use crate::access::Credentials;

/// Time in milliseconds for the peer to acknowledge data, and probes of a quiet connection. A half-open connection ends
/// with the next probe after it, so that another address is tried within 30 seconds.
const USER_TIMEOUT: u32 = 20_000;
/// Quiet time before the first probe, and between probes.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Longest time until an answer begins, and longest pause within it. A busy server lists slowly.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest answer that is read as a whole.
const LONGEST: usize = 4 << 20;

/// A connection to the API; one request at a time.
pub struct Connection {
    address: Address,
    token: Option<String>,
    sender: SendRequest<Full<Bytes>>,
    work: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An answer whose body is still to be read.
pub struct Answer {
    address: Address,
    body: Incoming,
}

impl Connection {
    /// Connects and completes the TLS handshake within `limit`.
    pub async fn open(
        address: &Address,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Self, ApiError> {
        let failed = |reason: &dyn fmt::Display| failure(address, reason);
        let stream = timeout(limit, tls(address, credentials)).await;
        let stream = stream
            .map_err(|_| failed(&format_args!("no TLS connection within {} s", limit.as_secs_f32())))??;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(&innermost(&error)))?;
        // If the connection ends, the request under way reports it.
        let work = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { address: address.clone(), token: credentials.token.clone(), sender, work })
    }

    /// The server.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for `path`.
    pub async fn get(&mut self, path: &str) -> Result<Answer, ApiError> {
        self.ask(Method::GET, path, None).await
    }

    /// Sends a request, with a body and its type. Returns the answer if its status is a success.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer, ApiError> {
        let request = self.request(method, path, body)?;
        let address = self.address.clone();
        let failed = |reason: &dyn fmt::Display| failure(&address, reason);
        let answer = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let answer = timeout(ANSWER, answer).await.map_err(|_| failed(&silence()))?;
        let answer = answer.map_err(|error| failed(&innermost(&error)))?;
        if answer.status().is_success() {
            return Ok(Answer { address, body: answer.into_body() });
        }
        Err(refusal(address, answer).await)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("naru/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let (kind, body) = body.unwrap_or_default();
        if !kind.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        request.body(Full::new(body.into())).map_err(|error| failure(&self.address, &error))
    }
}

impl Answer {
    /// Returns the next piece of the body; `None` at its end. The caller limits the wait.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(failure(&self.address, &innermost(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The next piece of a body that is under way.
    pub async fn prompt_piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        let address = self.address.clone();
        timeout(ANSWER, self.piece()).await.map_err(|_| failure(&address, &silence()))?
    }

    /// The whole body.
    pub async fn whole(mut self) -> Result<Vec<u8>, ApiError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.prompt_piece().await? {
            whole.extend_from_slice(&piece);
            if whole.len() > LONGEST {
                return Err(ApiError::Nonsense {
                    address: self.address,
                    reason: "an answer without end".into(),
                });
            }
        }
        Ok(whole)
    }
}

async fn tls(address: &Address, credentials: &Credentials) -> Result<TlsStream<TcpStream>, ApiError> {
    let failed = |reason: &dyn fmt::Display| failure(address, reason);
    let name = ServerName::try_from(address.name.clone());
    let name = name.map_err(|_| failed(&format_args!("`{}` is no name of a certificate", address.name)))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
    let builder = builder.with_root_certificates(credentials.roots.clone());
    let config = match &credentials.identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()),
        None => Ok(builder.with_no_client_auth()),
    };
    let config = config.map_err(|error| failed(&error))?;
    let mut last = failed(&"the name has no address");
    let found = lookup_host((address.host.as_str(), address.port)).await.map_err(|error| failed(&error))?;
    for end in found.collect::<Vec<SocketAddr>>() {
        match TcpStream::connect(end).await {
            Ok(stream) => {
                limit(&stream).map_err(|error| failed(&error))?;
                let connector = TlsConnector::from(Arc::new(config));
                return connector.connect(name, stream).await.map_err(|error| failed(&error));
            }
            Err(error) => last = failed(&error),
        }
    }
    Err(last)
}

/// Makes the kernel end the connection when the other side has vanished.
fn limit(stream: &TcpStream) -> rustix::io::Result<()> {
    let socket = stream.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY)?;
    sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT)
}

fn failure(address: &Address, reason: &dyn fmt::Display) -> ApiError {
    ApiError::Connection { address: address.clone(), reason: reason.to_string() }
}

fn silence() -> String {
    format!("no answer within {} seconds", ANSWER.as_secs())
}

/// Returns the cause, which hyper's own text leaves out.
fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The API's own words for an error.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Status {
    message: String,
    code: u16,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// The error; `code` where the status has none.
    pub fn into_error(self, address: Address, code: u16, after: Option<Duration>) -> ApiError {
        let code = if self.code == 0 { code } else { self.code };
        let reason = if self.message.is_empty() { words(code) } else { self.message };
        let after = after.or(self.details.retry_after_seconds.map(Duration::from_secs));
        ApiError::Refused { address, code, reason, after }
    }
}

fn words(code: u16) -> String {
    let known = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
    known.unwrap_or("an error without words").to_owned()
}

async fn refusal(address: Address, answer: Response<Incoming>) -> ApiError {
    let code = answer.status().as_u16();
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body =
        Answer { address: address.clone(), body: answer.into_body() }.whole().await.unwrap_or_default();
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    Status { code, ..status }.into_error(address, code, after.map(Duration::from_secs))
}
