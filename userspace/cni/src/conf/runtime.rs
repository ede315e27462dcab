use std::{collections::HashSet, net::IpAddr};

use super::addressing::RangeSet;
use crate::{environment, error::Error, fields::Fields, pod_args, result::Dns};

/// Values that the runtime passes beside the administrator's configuration: `runtimeConfig` (whose keys match in any
/// case, as in Go's decoder) and `args.cni`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuntimeConfig {
    /// Requested addresses: `runtimeConfig.ips` or `args.cni.ips`, without prefix lengths.
    pub ips: Vec<IpAddr>,
    /// `runtimeConfig.mac`, or else `args.cni.mac`, as six bytes.
    pub mac: Option<[u8; 6]>,
    /// `runtimeConfig.ipRanges`: sets of ranges that come before those of the configuration.
    pub ip_ranges: Vec<RangeSet>,
    /// `runtimeConfig.dns`, in place of the configuration's.
    pub dns: Option<Dns>,
    /// True if a bandwidth limit is requested, which a chained plugin can only apply to packets through the stack.
    pub limits_bandwidth: bool,
    /// True if the limit is for packets that the pod sends (`egressRate`): that plugin then needs the ingress qdisc
    /// of the host veth.
    pub limits_egress: bool,
    /// Host ports that are requested (`portMappings`), which a chained plugin maps.
    pub host_ports: Vec<u16>,
    /// The pool that the pod's annotation `naru.dev/pool` names (`runtimeConfig`, capability
    /// `io.kubernetes.cri.pod-annotations`).
    pub pool: Option<String>,
}

/// An interface of a container that is still in use, as GC lists them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Attachment {
    /// `containerID`.
    pub container: String,
    /// `ifname`.
    pub ifname: String,
}

impl RuntimeConfig {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Error> {
        let mut taken = Self::default();
        if let Some(runtime) = fields.object("runtimeConfig")? {
            let mut runtime = runtime.ignoring_case();
            taken.ips = addresses(&mut runtime)?;
            taken.mac = mac(&mut runtime)?;
            taken.ip_ranges = super::addressing::sets(&mut runtime, "ipRanges")?;
            taken.dns = runtime.object("dns")?.map(dns).transpose()?;
            let rates = runtime.object("bandwidth")?.map(limited).unwrap_or_default();
            (taken.limits_bandwidth, taken.limits_egress) = (rates != [false; 2], rates[1]);
            taken.host_ports = host_ports(&mut runtime)?;
            taken.pool = annotated_pool(&mut runtime)?;
        }
        let args = fields.object("args")?.map(|mut args| args.object("cni")).transpose()?.flatten();
        if let Some(mut cni) = args {
            taken.ips.extend(addresses(&mut cni)?);
            taken.mac = taken.mac.or(mac(&mut cni)?);
        }
        Ok(taken)
    }
}

/// The object `dns` in the runtimes' terms: `servers`, `searches`, `options`.
fn dns(mut fields: Fields) -> Result<Dns, Error> {
    let mut list = |key: &str| fields.take::<Vec<String>>(key).map(Option::unwrap_or_default);
    let (nameservers, search, options) = (list("servers")?, list("searches")?, list("options")?);
    Ok(Dns { nameservers, search, options, domain: String::new() })
}

fn mac(fields: &mut Fields) -> Result<Option<[u8; 6]>, Error> {
    let Some(text) = fields.take::<String>("mac")?.filter(|text| !text.is_empty()) else { return Ok(None) };
    pod_args::mac(&text).map(Some).map_err(|why| fields.error("mac", why))
}

/// Tells for each direction, to the pod and from it, if the object `bandwidth` has a rate.
fn limited(mut bandwidth: Fields) -> [bool; 2] {
    ["ingressRate", "egressRate"]
        .map(|key| bandwidth.value(key).and_then(|rate| rate.as_f64()).is_some_and(|rate| rate > 0.0))
}

/// The ports of the host that are asked for. What else is in a mapping is for the plugin that maps them.
fn host_ports(runtime: &mut Fields) -> Result<Vec<u16>, Error> {
    let mappings = runtime.value("portMappings").unwrap_or_default();
    let port = |mapping: &serde_json::Value| {
        let mut keys = mapping.as_object()?.iter();
        let (_, port) = keys.find(|(key, _)| key.eq_ignore_ascii_case("hostPort"))?;
        port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
    };
    Ok(mappings.as_array().into_iter().flatten().filter_map(port).collect())
}

fn annotated_pool(runtime: &mut Fields) -> Result<Option<String>, Error> {
    let annotations = runtime.object("io.kubernetes.cri.pod-annotations")?;
    let pool = annotations.map(|mut all| all.take::<String>("naru.dev/pool")).transpose()?.flatten();
    Ok(pool.filter(|name| !name.is_empty()))
}

fn addresses(fields: &mut Fields) -> Result<Vec<IpAddr>, Error> {
    let texts = fields.take::<Vec<String>>("ips")?.unwrap_or_default();
    texts.iter().map(|text| pod_args::address(text).map_err(|why| fields.error("ips", why.msg))).collect()
}

/// Keys of the attachments that GC must keep: the specification's, and the one that its first text used
/// (containernetworking/cni#1101). libcni sends both.
pub(crate) const KEPT: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// The attachments under either key, without duplicates; `None` if there is neither. An empty list is one.
pub(super) fn valid_attachments(fields: &mut Fields) -> Result<Option<Vec<Attachment>>, Error> {
    let present: Vec<&str> = KEPT.into_iter().filter(|key| fields.value_is_set(key)).collect();
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    for key in &present {
        for entry in fields.objects(key)? {
            let attachment = attachment(entry)?;
            if seen.insert(attachment.clone()) {
                all.push(attachment);
            }
        }
    }
    Ok((!present.is_empty()).then_some(all))
}

fn attachment(mut entry: Fields) -> Result<Attachment, Error> {
    let container: String = entry.take("containerID")?.unwrap_or_default();
    let ifname: String = entry.take("ifname")?.unwrap_or_default();
    environment::check_container(&container).map_err(|why| entry.error("containerID", why.msg))?;
    environment::check_ifname(&ifname).map_err(|why| entry.error("ifname", why.msg))?;
    Ok(Attachment { container, ifname })
}
