//! Names: those of a lab's namespaces, and the directories of its files.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Parent of every lab's directory.
const ROOT: &str = "/run/naru-lab";

/// A lab's name: 1 to 24 lower-case letters and digits, so that no lab's names begin with another's and a dash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabName(String);

impl FromStr for LabName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=24).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err("1 to 24 lower-case letters and digits".to_owned()) }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LabName {
    /// The lab's directory.
    pub fn root(&self) -> PathBuf {
        Path::new(ROOT).join(&self.0)
    }

    /// The lab's description, written by `up`.
    pub fn description(&self) -> PathBuf {
        self.root().join("lab.json")
    }

    /// Name of the namespace of `place`: a node, a pod, `net` or `out`.
    pub fn netns(&self, place: &str) -> String {
        format!("{}-{place}", self.0)
    }

    /// The lab's name for the namespace `netns`, `None` if it is not this lab's.
    pub fn place<'a>(&self, netns: &'a str) -> Option<&'a str> {
        let place = netns.strip_prefix(self.0.as_str())?.strip_prefix('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let ours = match place.as_bytes() {
            b"net" | b"out" => true,
            [b'n', ..] => digits(&place[1..]),
            [b'p', ..] => place[1..].split_once('-').is_some_and(|(node, pod)| digits(node) && word(pod)),
            _ => false,
        };
        ours.then_some(place)
    }

    /// Directory of the node `node`.
    pub fn node_root(&self, node: &str) -> PathBuf {
        self.root().join(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_knows_its_own_namespaces_and_no_others() {
        let lab: LabName = "naru".parse().unwrap();
        for place in ["n1", "n12", "net", "out", "p1-1", "p12-x7"] {
            assert_eq!(lab.place(&lab.netns(place)), Some(place));
        }
        for netns in
            ["naru", "naru-", "naru-n", "naru-foo", "naru-p1", "naru-p1-", "naru2-n1", "other-n1", "naru-n1x"]
        {
            assert_eq!(lab.place(netns), None, "{netns}");
        }
    }

    #[test]
    fn a_name_that_could_run_into_anothers_is_refused() {
        for name in ["", "a-b", "A", "a/b", "..", "abcdefghijklmnopqrstuvwxyz"] {
            assert!(name.parse::<LabName>().is_err(), "{name}");
        }
        assert!("e2e42".parse::<LabName>().is_ok());
    }
}
