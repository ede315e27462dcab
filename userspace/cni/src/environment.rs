use std::{ffi::OsString, path::PathBuf};

use crate::{
    error::{Code, Error},
    pod_args::{self, PodArgs},
};

/// The interface of a container that a call concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`: the interface's name in the container.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: PodArgs,
    /// `CNI_NETNS_OVERRIDE`: the container may live in the namespace that the plugin runs in.
    pub in_own_netns: bool,
}

/// The runtime's command, from its environment variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Attach the target in the namespace at the path.
    Add(Target, PathBuf),
    /// Detach the target; the namespace may be gone.
    Del(Target, Option<PathBuf>),
    /// Check that the target is still as ADD left it.
    Check(Target, PathBuf),
    /// Remove everything that the listed attachments do not need.
    Gc,
    /// Tell if an ADD could be served.
    Status,
    /// List the supported versions.
    Version,
}

impl Call {
    /// Reads and checks the variables that the command needs; others may hold anything.
    ///
    /// # Errors
    /// Code 4 with the variable's name.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let text = |name: &str| match variable(name).unwrap_or_default().into_string() {
            Ok(text) => Ok(text),
            Err(raw) => Err(invalid(name, format!("{raw:?} is not UTF-8"))),
        };
        let target = |args| -> Result<Target, Error> {
            let (container, ifname) = (text("CNI_CONTAINERID")?, text("CNI_IFNAME")?);
            check_container(&container)?;
            check_ifname(&ifname)?;
            let allowed = variable("CNI_NETNS_OVERRIDE").unwrap_or_default();
            let in_own_netns = allowed.to_str().is_some_and(pod_args::is_true);
            Ok(Target { container, ifname, args, in_own_netns })
        };
        let netns =
            || text("CNI_NETNS").map(|path| Some(path).filter(|path| !path.is_empty()).map(PathBuf::from));
        let needed = || netns()?.ok_or_else(|| invalid("CNI_NETNS", "missing"));
        let args = || PodArgs::parse(&text("CNI_ARGS")?);
        match text("CNI_COMMAND")?.as_str() {
            "ADD" => Ok(Self::Add(target(args()?)?, needed()?)),
            // DEL must succeed whatever CNI_ARGS holds.
            "DEL" => Ok(Self::Del(target(args().unwrap_or_default())?, netns()?)),
            "CHECK" => Ok(Self::Check(target(args()?)?, needed()?)),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            "VERSION" => Ok(Self::Version),
            "" => Err(invalid("CNI_COMMAND", "missing")),
            other => Err(invalid("CNI_COMMAND", format!("unknown command {other:?}"))),
        }
    }
}

/// Returns true if `text` matches `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, as the specification demands of container ids and
/// network names.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

pub(crate) fn check_container(id: &str) -> Result<(), Error> {
    match id {
        "" => Err(invalid("CNI_CONTAINERID", "missing")),
        id if is_name(id) => Ok(()),
        id => Err(invalid(
            "CNI_CONTAINERID",
            format!("{id:?} has characters other than letters, digits, _ . -"),
        )),
    }
}

/// The kernel's rule for interface names (`dev_valid_name`), which the specification repeats.
pub(crate) fn check_ifname(name: &str) -> Result<(), Error> {
    let why = match name {
        "" => "missing",
        "." | ".." => "names a directory",
        name if name.len() > 15 => "is longer than 15 bytes",
        name if name.contains(['/', ':']) || name.contains(char::is_whitespace) => {
            "has a slash, colon or space"
        }
        _ => return Ok(()),
    };
    Err(invalid("CNI_IFNAME", if name.is_empty() { why.to_owned() } else { format!("{name:?} {why}") }))
}

fn invalid(variable: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidEnvironment, format!("{variable}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pairs: &[(&str, &str)]) -> Result<Call, Error> {
        Call::from_environment(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/x"),
    ];

    fn with<'a>(key: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut pairs: Vec<_> = ADD.into_iter().filter(|(known, _)| *known != key).collect();
        pairs.push((key, value));
        pairs
    }

    #[test]
    fn an_add_names_its_target_and_namespace() {
        let Ok(Call::Add(target, netns)) = call(&ADD) else { panic!("not an ADD") };
        assert_eq!((target.container.as_str(), target.ifname.as_str()), ("abc", "eth0"));
        assert_eq!(netns, PathBuf::from("/run/netns/x"));
    }

    #[test]
    fn the_plugins_own_namespace_is_allowed_by_one_word_only() {
        for (text, allowed) in
            [("1", true), ("TRUE", true), ("true", true), ("", false), ("0", false), ("yes", false)]
        {
            let Ok(Call::Add(target, _)) = call(&with("CNI_NETNS_OVERRIDE", text)) else {
                panic!("not an ADD")
            };
            assert_eq!(target.in_own_netns, allowed, "{text}");
        }
    }

    #[test]
    fn each_missing_or_invalid_variable_is_named() {
        for (key, value) in [
            ("CNI_COMMAND", ""),
            ("CNI_COMMAND", "add"),
            ("CNI_CONTAINERID", ""),
            ("CNI_CONTAINERID", "../etc"),
            ("CNI_IFNAME", ""),
            ("CNI_IFNAME", "an-interface-too-long"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", ".."),
            ("CNI_NETNS", ""),
            ("CNI_ARGS", "FOO=bar"),
        ] {
            let error = call(&with(key, value)).unwrap_err();
            assert_eq!(error.code, Code::InvalidEnvironment);
            assert!(error.msg.starts_with(key), "{key}={value}: {}", error.msg);
        }
    }

    #[test]
    fn a_del_needs_no_namespace_and_forgives_its_arguments() {
        let mut pairs = with("CNI_NETNS", "");
        pairs.extend([("CNI_ARGS", "FOO")]);
        pairs[0] = ("CNI_COMMAND", "DEL");
        assert!(matches!(call(&pairs), Ok(Call::Del(_, None))));
    }

    #[test]
    fn a_version_probe_may_carry_dummies() {
        let probe = [
            ("CNI_COMMAND", "VERSION"),
            ("CNI_NETNS", "dummy"),
            ("CNI_IFNAME", "dummy"),
            ("CNI_CONTAINERID", ""),
        ];
        assert_eq!(call(&probe).unwrap(), Call::Version);
    }
}
