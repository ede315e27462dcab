//! The network configuration on standard input: one conversion from JSON to valid types.

mod addressing;
mod naru;
mod runtime;

use serde_json::{Map, Value};

pub use addressing::{Addressing, Range, RangeSet};
pub use naru::{NaruKeys, SourceCheck, Unserved};
pub use runtime::{Attachment, RuntimeConfig};

pub(crate) use runtime::KEPT;

use crate::{
    environment::is_name,
    error::{Code, Error},
    fields::{Fields, required},
    result::{CniResult, Dns},
    version::Version,
};

/// The part that every verb needs, DEL included: an invalid field elsewhere must not keep a container from being
/// deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// `cniVersion`.
    pub version: Version,
    /// `name`.
    pub name: String,
    /// The object `naru`.
    pub naru: NaruKeys,
    /// `ipam.type`, if it names another plugin.
    pub delegate: Option<String>,
}

/// A whole configuration, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkConf {
    /// The part that every verb needs.
    pub network: Network,
    /// `mtu` of the pod's interface, in bytes; `None` or 0 leaves the choice to the node.
    pub mtu: Option<u32>,
    /// `ipMasq`: true if pods' packets that leave the cluster take the node's address.
    pub ip_masq: Option<bool>,
    /// `ipam`.
    pub ipam: Ipam,
    /// `dns`, passed on to the result.
    pub dns: Dns,
    /// `runtimeConfig` and `args`.
    pub runtime: RuntimeConfig,
    /// `prevResult`: the result of an earlier plugin of the chain, or of our own ADD.
    pub prev_result: Option<CniResult>,
    /// `cni.dev/valid-attachments` of GC, or the older `cni.dev/attachments`; `None` if neither is there.
    pub valid_attachments: Option<Vec<Attachment>>,
}

/// The source of the addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ipam {
    /// Our own store: `ipam` is absent or its type is `naru-ipam`.
    Own(Addressing),
    /// The CNI plugin of that name.
    Delegate(String),
}

/// Name of our own IPAM in `ipam.type`.
const OWN_IPAM: &str = "naru-ipam";

/// The version that the configuration asks for.
fn version_of(map: &Map<String, Value>) -> Result<Version, Error> {
    match map.get("cniVersion") {
        None | Some(Value::Null) => Ok(Version::V0_1_0),
        Some(Value::String(text)) => Ok(text.parse::<Version>()?),
        Some(other) => Err(Error::new(
            Code::IncompatibleVersion,
            format!("cniVersion: expected a string, found {other}"),
        )),
    }
}

/// The JSON object on standard input.
pub(crate) fn object(stdin: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(stdin) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => {
            Err(Error::new(Code::Decode, format!("standard input: expected an object, found {other}")))
        }
        Err(why) => Err(Error::new(Code::Decode, format!("standard input: {why}"))),
    }
}

impl Network {
    /// Reads only the fields that DEL needs, whatever became of the others since ADD took them; a version that is not
    /// known changes nothing about DEL. The version is returned with the error, so that the reply can carry it.
    ///
    /// # Errors
    /// Code 6; code 7 without a name; code 11 where the node's directories cannot be told.
    pub fn parse(stdin: &[u8]) -> Result<Self, (Option<Version>, Error)> {
        let map = object(stdin).map_err(|error| (None, error))?;
        let version = version_of(&map).unwrap_or(Version::LATEST);
        Self::take_some(version, &mut Fields::root(map))
            .map_err(|error| (Some(version), error.in_version(version)))
    }

    fn take_some(version: Version, fields: &mut Fields) -> Result<Self, Error> {
        let name = take_name(fields)?;
        let unclear = |error: Error| Error { code: Code::TryAgainLater, ..error };
        let naru = fields.object("naru").map_err(unclear)?.map(NaruKeys::take_directories).transpose();
        let naru = naru.map_err(unclear)?.unwrap_or_default();
        Ok(Self { version, name, naru, delegate: delegate(fields) })
    }

    fn take(version: Version, fields: &mut Fields) -> Result<Self, Error> {
        let name = take_name(fields)?;
        let naru = fields.object("naru")?.map(NaruKeys::take).transpose()?.unwrap_or_default();
        Ok(Self { version, name, naru, delegate: delegate(fields) })
    }
}

fn take_name(fields: &mut Fields) -> Result<String, Error> {
    let name: Option<String> = fields.take("name")?;
    let name = required(fields, "name", name)?;
    if is_name(&name) {
        return Ok(name);
    }
    Err(fields.error("name", format_args!("{name:?} has characters other than letters, digits, _ . -")))
}

impl NetworkConf {
    /// The attachments that GC must keep. Without the list nothing says that the others are not in use.
    ///
    /// # Errors
    /// Code 7: the list is missing.
    pub fn attachments_to_keep(&self) -> Result<&[Attachment], Error> {
        let missing = || Error::conf(format!("{}: missing: GC would take every attachment down", KEPT[0]));
        self.valid_attachments.as_deref().ok_or_else(missing)
    }

    /// Reads and checks everything. The version is returned with the error, so that the reply can carry it.
    ///
    /// # Errors
    /// Codes 1, 2, 6 and 7, naming the field.
    pub fn parse(stdin: &[u8]) -> Result<Self, (Option<Version>, Error)> {
        let map = object(stdin).map_err(|error| (None, error))?;
        let version = version_of(&map).map_err(|error| (None, error))?;
        Self::take(version, Fields::root(map)).map_err(|error| (Some(version), error.in_version(version)))
    }

    fn take(version: Version, mut fields: Fields) -> Result<Self, Error> {
        let mut conf = Self {
            network: Network::take(version, &mut fields)?,
            mtu: take_mtu(&mut fields)?,
            ip_masq: fields.take("ipMasq")?,
            ipam: Ipam::take(&mut fields)?,
            dns: fields.take_object("dns")?.unwrap_or_default(),
            runtime: RuntimeConfig::take(&mut fields)?,
            prev_result: take_prev_result(version, &mut fields)?,
            valid_attachments: runtime::valid_attachments(&mut fields)?,
        };
        conf.take_over_runtime()?;
        Ok(conf)
    }
}

/// The other plugin that `ipam.type` names. DEL ignores other faults in `ipam`.
fn delegate(fields: &Fields) -> Option<String> {
    let name = fields.peek("ipam")?.get("type")?.as_str()?;
    (name != OWN_IPAM && is_name(name)).then(|| name.to_owned())
}

impl NetworkConf {
    /// The runtime's values take precedence over the administrator's.
    fn take_over_runtime(&mut self) -> Result<(), Error> {
        if let Some(dns) = self.runtime.dns.take() {
            self.dns = dns;
        }
        if let Ipam::Own(addressing) = &mut self.ipam {
            addressing.sets.splice(0..0, self.runtime.ip_ranges.clone());
            let overlap = addressing::check_overlap(&addressing.sets);
            overlap.map_err(|why| Error::conf(format!("runtimeConfig.ipRanges: {why}")))?;
        }
        Ok(())
    }
}

impl Ipam {
    fn take(fields: &mut Fields) -> Result<Self, Error> {
        let Some(mut ipam) = fields.object("ipam")? else { return Ok(Self::Own(Addressing::default())) };
        match ipam.take::<String>("type")?.as_deref() {
            None | Some("") | Some(OWN_IPAM) => Addressing::take(ipam).map(Self::Own),
            Some(other) if is_name(other) => Ok(Self::Delegate(other.to_owned())),
            Some(other) => Err(ipam.error("type", format_args!("{other:?} is not the name of a plugin"))),
        }
    }
}

/// The MTU must be in the range that the kernel's veth accepts (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
fn take_mtu(fields: &mut Fields) -> Result<Option<u32>, Error> {
    match fields.take::<u32>("mtu")? {
        None | Some(0) => Ok(None),
        Some(mtu @ 68..=65_535) => Ok(Some(mtu)),
        Some(mtu) => Err(fields.error("mtu", format_args!("{mtu} is not between 68 and 65535"))),
    }
}

fn take_prev_result(version: Version, fields: &mut Fields) -> Result<Option<CniResult>, Error> {
    let Some(value) = fields.value("prevResult") else { return Ok(None) };
    CniResult::parse(version, value).map(Some).map_err(|why| fields.error("prevResult", why))
}
