//! The shape of 0.3.0 and later: lists of interfaces, addresses and routes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CniResult, Dns, Interface, Ip, Route, null_as_empty};
use crate::version::Version;

/// `{"cniVersion", "interfaces", "ips", "routes", "dns"}`.
#[derive(Serialize, Deserialize)]
struct Shape {
    #[serde(default, rename = "cniVersion")]
    version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    ips: Vec<VersionedIp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    routes: Vec<Route>,
    #[serde(default, deserialize_with = "null_as_empty")]
    dns: Dns,
}

/// An address; before 1.0.0 it carries its family as `"version": "4"`.
#[derive(Serialize, Deserialize)]
struct VersionedIp {
    #[serde(default, rename = "version", skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(flatten)]
    ip: Ip,
}

pub(super) fn to_json(result: &CniResult, version: Version) -> Result<String, String> {
    let newest = version >= Version::V1_1_0;
    let family = |ip: &Ip| (version < Version::V1_0_0).then(|| family_name(ip).to_owned());
    let shape = Shape {
        version: version.to_string(),
        interfaces: result
            .interfaces
            .iter()
            .map(|one| if newest { one.clone() } else { one.without_details() })
            .collect(),
        ips: result.ips.iter().map(|ip| VersionedIp { family: family(ip), ip: ip.clone() }).collect(),
        routes: result
            .routes
            .iter()
            .map(|one| if newest { one.clone() } else { one.without_metrics() })
            .collect(),
        dns: result.dns.clone(),
    };
    serde_json::to_string(&shape).map_err(|why| why.to_string())
}

fn family_name(ip: &Ip) -> &'static str {
    if ip.address.addr().is_ipv4() { "4" } else { "6" }
}

pub(super) fn parse(value: Value) -> Result<CniResult, String> {
    let shape: Shape = serde_json::from_value(value).map_err(|why| why.to_string())?;
    let ips: Vec<Ip> = shape.ips.into_iter().map(|versioned| versioned.ip).collect();
    let count = shape.interfaces.len();
    if let Some(stray) = ips.iter().find(|ip| ip.interface.is_some_and(|at| at >= count)) {
        return Err(format!("ips: {} names an interface that is not among the {count}", stray.address));
    }
    Ok(CniResult { interfaces: shape.interfaces, ips, routes: shape.routes, dns: shape.dns })
}
