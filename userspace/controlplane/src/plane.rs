use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{
    Process, Programs,
    authority::{Authority, Certificate, key_pair},
    process::in_namespace,
};

/// Time for a server to be ready, on a machine that is busy with builds too.
const PATIENCE: Duration = Duration::from_secs(180);

/// The bearer token of the administrator.
const TOKEN: &str = "administrator-of-a-test";

/// The shape of a control plane.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network namespace that it runs in; `None`: this one.
    pub netns: Option<PathBuf>,
    /// The address that servers listen on.
    pub address: IpAddr,
    /// The port of the first server; 0: a free one.
    pub port: u16,
    /// Ranges of Service addresses, `10.96.0.0/16` or two with a comma.
    pub services: String,
    /// More names and addresses in the servers' certificate.
    pub names: Vec<String>,
    /// More arguments of the servers.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            netns: None,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            services: "10.96.0.0/16".to_owned(),
            names: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// etcd and API servers.
pub struct ControlPlane {
    programs: Programs,
    options: Options,
    authority: Authority,
    etcd: String,
    servers: Vec<Server>,
    // Processes end before their directory goes.
    store: Option<Process>,
    root: TempDir,
}

/// An API server.
pub struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl ControlPlane {
    /// Starts etcd and one API server, and waits until it is ready.
    ///
    /// # Errors
    /// A program is missing, or does not become ready in time: its last words.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let (programs, root) = (Programs::find()?, TempDir::new()?);
        let authority = Authority::new("naru-test")?;
        let etcd = format!("http://127.0.0.1:{}", free_port(Ipv4Addr::LOCALHOST.into())?);
        let mut plane = Self { programs, options, authority, etcd, servers: Vec::new(), store: None, root };
        plane.write_files()?;
        plane.start_store()?;
        plane.add_server(plane.options.port, &plane.etcd.clone())?;
        Ok(plane)
    }

    /// The certificates' authority.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The API servers.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The URL of etcd.
    #[must_use]
    pub fn etcd(&self) -> &str {
        &self.etcd
    }

    /// The programs.
    #[must_use]
    pub const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A file below the control plane's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a kubeconfig of the administrator for a server at `address`, into a file of that name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn kubeconfig(&self, name: &str, address: SocketAddr) -> anyhow::Result<PathBuf> {
        let (file, authority) = (self.path(name), self.path("ca.crt"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster:\n    server: https://{address}\n    certificate-authority: {}\n\
             contexts:\n- name: test\n  context:\n    cluster: test\n    user: admin\n\
             users:\n- name: admin\n  user:\n    token: {TOKEN}\n",
            authority.display()
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// `kubectl` as the administrator, with the first server.
    ///
    /// # Errors
    /// There is no server.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        let server = self.servers.first().context("no API server")?;
        let file = self.kubeconfig("kubectl.kubeconfig", server.address)?;
        let netns = self.options.netns.as_deref();
        let mut command = in_namespace(netns, self.programs.path("kubectl").as_os_str());
        command.arg("--kubeconfig").arg(file);
        Ok(command)
    }

    /// Runs `kubectl` with `arguments` and standard input; its standard output.
    ///
    /// # Errors
    /// It fails: what it said.
    pub fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        use std::io::Write as _;
        let mut command = self.kubectl()?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends the API server of that place in the list.
    pub fn stop_server(&mut self, place: usize) {
        if place < self.servers.len() {
            drop(self.servers.remove(place));
        }
    }

    /// Starts one more API server on `port` (0: a free one) with the store behind `etcd`, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready in time: its last words.
    pub fn add_server(&mut self, port: u16, etcd: &str) -> anyhow::Result<SocketAddr> {
        let ip = self.options.address;
        let port = if port == 0 { free_port(ip)? } else { port };
        let address = SocketAddr::new(ip, port);
        let log = self.path(&format!("apiserver-{port}.log"));
        let program = self.programs.path("kube-apiserver");
        let arguments = self.server_arguments(address, etcd);
        let process = Process::start(self.options.netns.as_deref(), &program, &arguments, log)?;
        self.servers.push(Server { process, address });
        self.wait_for(address)?;
        Ok(address)
    }

    fn server_arguments(&self, address: SocketAddr, etcd: &str) -> Vec<String> {
        let file = |name: &str| self.path(name).display().to_string();
        let mut arguments = vec![
            format!("--etcd-servers={etcd}"),
            format!("--bind-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-cluster-ip-range={}", self.options.services),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        if address.ip().is_loopback() {
            // No other machine could use it, and the server refuses to name it.
            arguments.push("--endpoint-reconciler-type=none".to_owned());
        } else {
            arguments.push(format!("--advertise-address={}", address.ip()));
        }
        arguments.extend(self.options.arguments.iter().cloned());
        arguments
    }

    fn write_files(&self) -> anyhow::Result<()> {
        let ip = self.options.address.to_string();
        let mut names = vec!["kubernetes.default.svc", "kubernetes", "localhost", "127.0.0.1", "::1", &ip];
        names.extend(self.options.names.iter().map(String::as_str));
        let Certificate { certificate, key } = self.authority.server(&names)?;
        let (private, public) = key_pair()?;
        for (name, content) in [
            ("ca.crt", self.authority.pem()),
            ("server.crt", certificate),
            ("server.key", key),
            ("accounts.key", private),
            ("accounts.pub", public),
            ("tokens.csv", format!("{TOKEN},administrator,administrator,\"system:masters\"\n")),
        ] {
            fs::write(self.path(name), content)?;
        }
        Ok(())
    }

    fn start_store(&mut self) -> anyhow::Result<()> {
        let peer = format!("http://127.0.0.1:{}", free_port(Ipv4Addr::LOCALHOST.into())?);
        let arguments = [
            format!("--data-dir={}", self.path("etcd").display()),
            format!("--listen-client-urls={}", self.etcd),
            format!("--advertise-client-urls={}", self.etcd),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Nothing here has to outlive a crash of the machine.
            "--unsafe-no-fsync".to_owned(),
        ];
        let program = self.programs.path("etcd");
        let log = self.path("etcd.log");
        self.store = Some(Process::start(self.options.netns.as_deref(), &program, &arguments, log)?);
        Ok(())
    }

    /// Waits until the server at `address` says that it is ready.
    fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let file = self.kubeconfig("ready.kubeconfig", address)?;
        let since = Instant::now();
        loop {
            let netns = self.options.netns.as_deref();
            let mut command = in_namespace(netns, self.programs.path("kubectl").as_os_str());
            command.arg("--kubeconfig").arg(&file).args(["get", "--raw", "/readyz"]);
            let output = command.output()?;
            if output.status.success() {
                return Ok(());
            }
            let process = self.servers.iter_mut().find(|server| server.address == address);
            let process = &mut process.context("no such server")?.process;
            if !process.is_alive() || since.elapsed() > PATIENCE {
                let store = self.store.as_ref().map(Process::last_words).unwrap_or_default();
                bail!("kube-apiserver {address} is not ready:\n{}\netcd:\n{store}", process.last_words());
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The directory of everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

/// A port that nobody has at the moment.
fn free_port(address: IpAddr) -> anyhow::Result<u16> {
    // In a namespace of its own the address is not here, and its ports are free.
    let listener =
        TcpListener::bind((address, 0)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}
