use std::io::ErrorKind;

use naru_bpf::{ConfigMap, Pins};
use naru_core::desired::ForeignRules;
use naru_netlink::links::Links;
use serde::{Deserialize, Serialize};

use super::digest;
use crate::{
    devices::{self, Tunnel},
    host::sysctl::Families,
    machine::{self, MachineError, Settings, Survey},
    paths::Paths,
};

/// The record of what init, or a pass of the agent, left in the kernel, in a form that a check can compare:
/// `<run>/ready.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// True if IPv4 is forwarded.
    v4: bool,
    /// True if IPv6 is.
    v6: bool,
    /// Routes and rules ([`super::mirrored`]).
    pub(super) mirrored: u64,
    /// Pods' routes that had lost their source already ([`digest::sourceless`]).
    pub(super) sourceless: u64,
    /// The preference at which the rules of others began.
    #[serde(with = "foreign_rules")]
    pub(super) foreign_rules: ForeignRules,
    /// The tunnel device; `None` without one.
    pub(super) tunnel: Option<Tunnel>,
    /// Uplinks whose reverse path filter must not be strict, by index.
    pub(super) loose: Vec<u32>,
    /// The programs' configuration in short.
    pub(super) config: u64,
}

impl Record {
    /// Reads the record; `None` if there is none, or if another version wrote it.
    pub(super) fn load(paths: &Paths) -> Result<Option<Self>, MachineError> {
        let path = paths.record();
        match std::fs::read(&path) {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
            Err(error) => Err(MachineError::file(path, "read")(error)),
        }
    }

    /// Notes the present state, after everything was made right; `mirrored` stands for the routes and rules as they
    /// are. The caller holds the init lock.
    pub(crate) fn note(
        paths: &Paths,
        (links, pins): (&Links, &Pins),
        (settings, survey): (&Settings, &Survey),
        mirrored: u64,
    ) -> Result<(), MachineError> {
        let families = settings.families();
        let record = Self {
            v4: families.v4,
            v6: families.v6,
            mirrored,
            sourceless: digest::sourceless(&links.routes()?),
            foreign_rules: survey.foreign_rules,
            tunnel: Tunnel::of(links, settings, survey)?,
            loose: devices::loose(settings, survey),
            config: digest::text(&format!("{:?}", ConfigMap::open(pins)?.get()?)),
        };
        machine::write_json(&paths.record(), &record).map(drop)
    }

    pub(super) fn families(&self) -> Families {
        Families { v4: self.v4, v6: self.v6 }
    }
}

/// `core` knows no file formats.
mod foreign_rules {
    use naru_core::desired::ForeignRules;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(rules: &ForeignRules, to: S) -> Result<S::Ok, S::Error> {
        (rules.v4, rules.v6).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ForeignRules, D::Error> {
        <(Option<u32>, Option<u32>)>::deserialize(from).map(|(v4, v6)| ForeignRules { v4, v6 })
    }
}
