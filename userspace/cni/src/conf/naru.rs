use std::path::PathBuf;

use crate::{error::Error, fields::Fields};

/// naru's own keys, all in the object `naru`; an unknown key is refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NaruKeys {
    /// `runDir`.
    pub run_dir: Option<PathBuf>,
    /// `stateDir`.
    pub state_dir: Option<PathBuf>,
    /// `bpfDir`.
    pub bpf_dir: Option<PathBuf>,
    /// `configDir`.
    pub config_dir: Option<PathBuf>,
    /// `antispoof: "mac"`: the source MAC must be the assigned one.
    pub check_mac: bool,
    /// `sourceCheck`.
    pub source_check: SourceCheck,
    /// `ipamTimeout`: time that another IPAM plugin may take for one answer, in seconds, 1 to 600.
    pub ipam_timeout: Option<u32>,
    /// `pool`: the pool of the node from which addresses come instead of its blocks.
    pub pool: Option<String>,
    /// `allowOverlap`: the subnets are taken although addresses, links or routes of the machine lie in them.
    pub allow_overlap: bool,
    /// `shortcut: "off"`: the pod's packets take the node's stack in both directions.
    pub no_shortcut: bool,
    /// `unserved`: capabilities that no plugin of the list serves; a pod that wants one is refused.
    pub unserved: Vec<Unserved>,
}

/// Capability that a pod may request and that only another plugin can provide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unserved {
    /// `portMappings`: host ports.
    PortMappings,
    /// `bandwidth`: rate limits.
    Bandwidth,
}

/// The source addresses that may leave a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceCheck {
    /// Only the pod's own addresses.
    #[default]
    Strict,
    /// Any address.
    Off,
}

impl NaruKeys {
    pub(super) fn take(mut fields: Fields) -> Result<Self, Error> {
        let keys = Self {
            run_dir: directory(&mut fields, "runDir")?,
            state_dir: directory(&mut fields, "stateDir")?,
            bpf_dir: directory(&mut fields, "bpfDir")?,
            config_dir: directory(&mut fields, "configDir")?,
            check_mac: choice(&mut fields, "antispoof", &[("ip", false), ("mac", true)])?,
            source_check: choice(
                &mut fields,
                "sourceCheck",
                &[("strict", SourceCheck::Strict), ("off", SourceCheck::Off)],
            )?,
            ipam_timeout: timeout(&mut fields, "ipamTimeout")?,
            pool: fields.take::<String>("pool")?.filter(|name| !name.is_empty()),
            allow_overlap: fields.take::<bool>("allowOverlap")?.unwrap_or(false),
            no_shortcut: choice(&mut fields, "shortcut", &[("on", false), ("off", true)])?,
            unserved: unserved(&mut fields)?,
        };
        fields.refuse_rest()?;
        Ok(keys)
    }
}

impl NaruKeys {
    /// Only where the node's files are; other keys may hold anything.
    pub(super) fn take_directories(mut fields: Fields) -> Result<Self, Error> {
        Ok(Self {
            run_dir: directory(&mut fields, "runDir")?,
            state_dir: directory(&mut fields, "stateDir")?,
            bpf_dir: directory(&mut fields, "bpfDir")?,
            config_dir: directory(&mut fields, "configDir").unwrap_or_default(),
            ipam_timeout: timeout(&mut fields, "ipamTimeout").unwrap_or_default(),
            ..Self::default()
        })
    }
}

/// An absolute path. A relative one would depend on the runtime's working directory.
fn directory(fields: &mut Fields, key: &str) -> Result<Option<PathBuf>, Error> {
    let path: Option<PathBuf> =
        fields.take::<String>(key)?.filter(|path| !path.is_empty()).map(PathBuf::from);
    match path {
        Some(path) if !path.is_absolute() => {
            Err(fields.error(key, format_args!("{:?} is not an absolute path", path.display().to_string())))
        }
        path => Ok(path),
    }
}

fn unserved(fields: &mut Fields) -> Result<Vec<Unserved>, Error> {
    let names = fields.take::<Vec<String>>("unserved")?.unwrap_or_default();
    let known = |name: &String| match name.as_str() {
        "portMappings" => Ok(Unserved::PortMappings),
        "bandwidth" => Ok(Unserved::Bandwidth),
        _ => Err(fields.error("unserved", format_args!("{name:?} is none of portMappings, bandwidth"))),
    };
    names.iter().map(known).collect()
}

fn timeout(fields: &mut Fields, key: &str) -> Result<Option<u32>, Error> {
    match fields.take::<u32>(key)? {
        Some(seconds) if !(1..=600).contains(&seconds) => {
            Err(fields.error(key, format_args!("{seconds} is not between 1 and 600 seconds")))
        }
        seconds => Ok(seconds),
    }
}

/// One of the words; the type's default if the key is absent.
fn choice<T: Copy + Default>(fields: &mut Fields, key: &str, words: &[(&str, T)]) -> Result<T, Error> {
    let Some(text) = fields.take::<String>(key)? else { return Ok(T::default()) };
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        fields.error(key, format_args!("{text:?} is none of {}", all.join(", ")))
    })
}
