use std::path::{Path, PathBuf};

use naru_core::cluster::{ClusterSpec, TunnelSpec};
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::{networks, nodes, position, raw};
use crate::{
    error::{ClusterError, Problem},
    policies,
    services::Mode,
};

/// A [`Problem`] and the byte of the file where it is.
pub struct Misfit {
    pub at: usize,
    pub problem: Problem,
}

impl Misfit {
    pub fn new<T>(value: &Spanned<T>, problem: Problem) -> Self {
        Self { at: value.span().start, problem }
    }
}

/// Content of a cluster file: the cluster, and the modes and files of its Services and policies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterFile {
    /// The cluster.
    pub cluster: ClusterSpec,
    /// Translator of packets to Services.
    pub services: Mode,
    /// The directory of the files of Services; `None`: there are none.
    pub service_files: Option<PathBuf>,
    /// What becomes of policies.
    pub policies: policies::Settings,
    /// The directory of the files of policies, namespaces and pods; `None`: there are none.
    pub policy_files: Option<PathBuf>,
}

/// All that `text` says; `file` names it in errors, and a relative directory begins at the file's own.
///
/// # Errors
/// As [`parse`].
pub fn parse_file(file: &Path, text: &str) -> Result<ClusterFile, ClusterError> {
    with_places(file, text, |raw: &raw::Cluster| {
        let here = file.parent().unwrap_or(Path::new("."));
        let directory = |named: &Option<Spanned<String>>| match named {
            Some(name) if name.get_ref().is_empty() => Err(Misfit::new(name, Problem::Empty)),
            name => Ok(name.as_ref().map(|name| here.join(name.get_ref()))),
        };
        Ok(ClusterFile {
            cluster: convert(raw)?,
            services: raw.services,
            service_files: directory(&raw.service_files)?,
            policies: raw::policies(raw.policies, raw.own_node_egress),
            policy_files: directory(&raw.policy_files)?,
        })
    })
}

/// The cluster that `text` describes; `file` only names it in errors.
///
/// # Errors
/// [`ClusterError::Invalid`] with line and key of the first thing that is wrong.
pub fn parse(file: &Path, text: &str) -> Result<ClusterSpec, ClusterError> {
    parse_file(file, text).map(|said| said.cluster)
}

/// Reads a text and converts it; errors carry file, line and key.
pub fn with_places<R: DeserializeOwned, T>(
    file: &Path,
    text: &str,
    convert: impl Fn(&R) -> Result<T, Misfit>,
) -> Result<T, ClusterError> {
    let invalid = |Misfit { at, problem }| ClusterError::Invalid {
        place: format!("{}:{}: {}", file.display(), position::line(text, at), position::key(text, at)),
        problem,
    };
    let raw: R = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        invalid(Misfit { at, problem: Problem::Malformed(error.message().to_owned()) })
    })?;
    convert(&raw).map_err(invalid)
}

fn convert(raw: &raw::Cluster) -> Result<ClusterSpec, Misfit> {
    let ranges = networks::list(&raw.ranges)?;
    if ranges.is_empty() {
        return Err(Misfit::new(&raw.ranges, Problem::Empty));
    }
    let no_masquerade = raw.no_masquerade.as_ref().map_or(Ok(Vec::new()), networks::list)?;
    Ok(ClusterSpec {
        masquerade: raw.masquerade.unwrap_or(true),
        no_masquerade,
        routing: raw.routing,
        encapsulation: raw.encapsulation,
        tunnel: tunnel(&raw.tunnel)?,
        nodes: nodes::list(&raw.nodes, &ranges)?,
        ranges,
    })
}

fn usable(port: &Spanned<u16>) -> Result<u16, Misfit> {
    if *port.get_ref() == 0 { Err(Misfit::new(port, Problem::BadPort)) } else { Ok(*port.get_ref()) }
}

/// The tunnel, with its defaults.
pub fn tunnel(raw: &raw::Tunnel) -> Result<TunnelSpec, Misfit> {
    let mut tunnel = TunnelSpec::default();
    if let Some(port) = &raw.port {
        tunnel.port = usable(port)?;
    }
    if let Some(ports) = &raw.fallback_ports {
        tunnel.fallback_ports = ports.iter().map(usable).collect::<Result<_, _>>()?;
    }
    tunnel.fallback_ports.retain(|port| *port != tunnel.port);
    if let Some(vni) = &raw.vni {
        tunnel.vni = *vni.get_ref();
        if !(1..1 << 24).contains(&tunnel.vni) {
            return Err(Misfit::new(vni, Problem::BadVni(tunnel.vni)));
        }
    }
    Ok(tunnel)
}
