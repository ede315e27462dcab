//! The result of ADD: one model in the newest version's terms, and the shape of each version.

mod early;
mod listed;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::version::Version;

/// The container's interfaces, addresses and routes, independent of the version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CniResult {
    /// Interfaces on the node and in the container.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes in the container.
    pub routes: Vec<Route>,
    /// Name resolution, for the runtime to write into the container.
    pub dns: Dns,
}

/// A network interface; its JSON is that of 1.1.0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Name in its namespace.
    pub name: String,
    /// Hardware address, empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// MTU in bytes (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The container's namespace; absent for an interface on the node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Socket of a user-space interface (since 1.1.0).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// Address of a PCI device (since 1.1.0).
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address of an interface; its JSON is that of 1.0.0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ip {
    /// Index into the interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "negative_as_none")]
    pub interface: Option<usize>,
    /// The address with its prefix length, host bits included.
    pub address: IpNet,
    /// The gateway of the address's subnet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_as_none")]
    pub gateway: Option<IpAddr>,
}

/// A route in the container; its JSON is that of 1.1.0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The gateway; if absent, the address's own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_as_none")]
    pub gw: Option<IpAddr>,
    /// Path MTU in bytes (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce, in bytes (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Metric, the smaller the better (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope by number, 253 for link (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// Name resolution; the same JSON in every version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub options: Vec<String>,
}

impl Route {
    /// A plain route.
    #[must_use]
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// The route without the fields that only 1.1.0 has.
    fn without_metrics(&self) -> Self {
        Self::new(self.dst, self.gw)
    }
}

impl Interface {
    /// The interface without the fields that only 1.1.0 has.
    fn without_details(&self) -> Self {
        Self { mtu: None, socket_path: String::new(), pci_id: String::new(), ..self.clone() }
    }
}

impl CniResult {
    /// The JSON object for standard output, in the shape of `version`.
    ///
    /// # Errors
    /// 0.1.0 and 0.2.0 cannot express a result without an address.
    pub fn to_json(&self, version: Version) -> Result<String, String> {
        if version <= Version::V0_2_0 {
            early::to_json(self, version)
        } else {
            listed::to_json(self, version)
        }
    }

    /// Reads a result in the shape of `version`, as `prevResult` holds it; unknown keys are ignored.
    ///
    /// # Errors
    /// The text names the field that does not fit.
    pub fn parse(version: Version, value: Value) -> Result<Self, String> {
        refuse_lists(&value)?;
        if version <= Version::V0_2_0 { early::parse(value) } else { listed::parse(value) }
    }

    /// This result with the additions of `later`, as a later plugin of the chain returns it.
    #[must_use]
    pub fn followed_by(mut self, later: Self) -> Self {
        let shift = self.interfaces.len();
        self.interfaces.extend(later.interfaces);
        let moved = later.ips.into_iter().map(|ip| Ip { interface: ip.interface.map(|at| at + shift), ..ip });
        self.ips.extend(moved);
        self.routes.extend(later.routes);
        if self.dns == Dns::default() {
            self.dns = later.dns;
        }
        self
    }
}

/// Refuses a list in the place of an object, which serde would read as an object's fields in their order: of an empty
/// one nothing is left to compare with.
fn refuse_lists(result: &Value) -> Result<(), String> {
    let Value::Object(fields) = result else { return Err(format!("expected an object, found {result}")) };
    let single = ["ip4", "ip6", "dns"].into_iter().filter_map(|key| Some((key, fields.get(key)?)));
    let listed = ["interfaces", "ips", "routes"]
        .into_iter()
        .filter_map(|key| Some(fields.get(key)?.as_array()?.iter().map(move |one| (key, one))));
    for (key, one) in single.chain(listed.flatten()) {
        if !one.is_object() && !one.is_null() {
            return Err(format!("{key}: expected an object, found {one}"));
        }
    }
    Ok(())
}

/// Some plugins write -1 for "no interface".
fn negative_as_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    Ok(Option::<i64>::deserialize(from)?.and_then(|index| usize::try_from(index).ok()))
}

/// Go writes an absent address as an empty string or as null.
fn empty_as_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Go writes an empty list as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
