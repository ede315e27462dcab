//! A relay in front of a real API server. It ends TLS, passes every request on, and falsifies answers as a test asks:
//! nothing else in the tests pretends to be an API server.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use http_body_util::{BodyExt, Full, channel::Channel, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::HOST,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use naru_controlplane::Certificate;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Body = BoxBody<Bytes, Infallible>;

/// A change to an event of a watch: the lines that are sent in its place.
pub type Filter = Box<dyn FnMut(&str) -> Vec<String> + Send>;
/// An answer in place of the server's: code and `Retry-After`, for a request's path.
pub type Refusal = Box<dyn FnMut(&str) -> Option<(u16, Option<u64>)> + Send>;
/// A change of a whole answer.
pub type Edit = Box<dyn FnMut(&str, String) -> String + Send>;

/// Faults that the relay adds to what passes through it.
#[derive(Default)]
pub struct Faults {
    pub refusal: Option<Refusal>,
    pub filter: Option<Filter>,
    /// Applied to lists.
    pub edit: Option<Edit>,
    /// Before an answer begins.
    pub delay: Duration,
    /// Nothing of a watch is handed on, and nothing ends.
    pub is_silent: bool,
}

/// The relay; it ends when it is dropped.
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    upstream: SocketAddr,
    client: Arc<ClientConfig>,
    server: Mutex<Arc<ServerConfig>>,
    faults: Mutex<Faults>,
    /// Changes when connections are to end: even while it is open.
    generation: watch::Sender<u64>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl Relay {
    /// A relay to `upstream`, closed, at an address of its own.
    pub fn new(upstream: SocketAddr, authority: &str, certificate: Certificate) -> Self {
        Self::at("127.0.0.1:0", upstream, authority, certificate)
    }

    /// The same, at that address.
    pub fn at(at: &str, upstream: SocketAddr, authority: &str, certificate: Certificate) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        let free = std::net::TcpListener::bind(at).unwrap();
        let shared = Shared {
            address: free.local_addr().unwrap(),
            upstream,
            client,
            server: Mutex::new(server_config(&certificate)),
            faults: Mutex::default(),
            generation: watch::Sender::new(1),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        };
        let shared = Arc::new(shared);
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(shared));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Takes connections from now on.
    pub fn open(&self) {
        self.shared.generation.send_modify(|generation| *generation = (*generation | 1) + 1);
    }

    /// Ends all connections, and takes none.
    pub fn close(&self) {
        self.shared.generation.send_modify(|generation| *generation = (*generation + 1) | 1);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.shared.generation.send_modify(|generation| *generation += 2);
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }

    /// Shows another certificate from now on.
    pub fn show(&self, certificate: &Certificate) {
        *self.shared.server.lock().unwrap() = server_config(certificate);
    }

    /// Paths that were asked for since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.generation.send_modify(|generation| *generation = 0);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn server_config(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

/// Odd: closed; even: open; 0: the end.
async fn serve(shared: Arc<Shared>) {
    let mut generation = shared.generation.subscribe();
    loop {
        let now = *generation.borrow_and_update();
        match now {
            0 => return,
            open if open % 2 == 0 => {
                let is_v4 = shared.address.is_ipv4();
                let socket = if is_v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(shared.address).unwrap();
                let listener = socket.listen(64).unwrap();
                let current = |now: &u64| *now % 2 == 1 || *now == 0;
                let mut closed = shared.generation.subscribe();
                tokio::select! {
                    () = accept(&shared, listener) => {}
                    _ = closed.wait_for(current) => {}
                }
            }
            _ => generation.changed().await.unwrap(),
        }
    }
}

async fn accept(shared: &Arc<Shared>, listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut generation = shared.generation.subscribe();
            generation.mark_unchanged();
            let config = shared.server.lock().unwrap().clone();
            let work = async {
                let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                let service = service_fn(|request| {
                    let shared = shared.clone();
                    async move { Ok::<_, Infallible>(hand_on(&shared, request).await) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            };
            tokio::select! {
                () = work => {}
                _ = generation.changed() => {}
            }
        });
    }
}

fn short(code: u16, after: Option<u64>, text: &str) -> Response<Body> {
    let mut response = Response::builder().status(code);
    if let Some(after) = after {
        response = response.header("Retry-After", after);
    }
    response.body(Full::from(text.to_owned()).boxed()).unwrap()
}

async fn hand_on(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().to_string();
    shared.requests.lock().unwrap().push(path.clone());
    let (refused, delay) = {
        let mut faults = shared.faults.lock().unwrap();
        (faults.refusal.as_mut().and_then(|refusal| refusal(&path)), faults.delay)
    };
    sleep(delay).await;
    if let Some((code, after)) = refused {
        return short(code, after, "{}");
    }
    match ask(shared, request).await {
        Ok(answer) if path.contains("watch=true") => watched(shared.clone(), answer),
        Ok(answer) => listed(shared, &path, answer).await,
        Err(error) => short(502, None, &error),
    }
}

async fn ask(shared: &Shared, mut request: Request<Incoming>) -> Result<Response<Incoming>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(shared.upstream).await.map_err(|error| text(&error))?;
    let name = ServerName::try_from("kubernetes.default.svc").unwrap();
    let stream = TlsConnector::from(shared.client.clone()).connect(name, stream).await;
    let stream = TokioIo::new(stream.map_err(|error| text(&error))?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    request.headers_mut().insert(HOST, shared.upstream.to_string().parse().unwrap());
    sender.send_request(request).await.map_err(|error| text(&error))
}

async fn listed(shared: &Shared, path: &str, answer: Response<Incoming>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = body.collect().await else { return short(502, None, "cut") };
    let mut body = body.to_bytes();
    if let Some(edit) = &mut shared.faults.lock().unwrap().edit {
        body = edit(path, String::from_utf8(body.to_vec()).unwrap()).into();
    }
    head.headers.remove("content-length");
    Response::from_parts(head, Full::from(body).boxed())
}

fn watched(shared: Arc<Shared>, answer: Response<Incoming>) -> Response<Body> {
    let (head, mut body) = answer.into_parts();
    let (mut sender, channel) = Channel::new(16);
    tokio::spawn(async move {
        let mut pending = Vec::new();
        loop {
            // The server's connection ends with ours.
            let Some(Ok(frame)) = body.frame().await else { return };
            let Ok(data) = frame.into_data() else { continue };
            pending.extend_from_slice(&data);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                let (lines, is_silent) = {
                    let mut faults = shared.faults.lock().unwrap();
                    let lines = match &mut faults.filter {
                        Some(filter) => filter(line.trim_end()),
                        None => vec![line.trim_end().to_owned()],
                    };
                    (lines, faults.is_silent)
                };
                for line in lines.into_iter().filter(|_| !is_silent) {
                    if sender.send_data(Bytes::from(line + "\n")).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Response::from_parts(head, channel.boxed())
}
