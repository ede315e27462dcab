use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
};

use naru_abi::policy::CLOSED_SUBJECT;
use naru_core::policy::compile::Isolation;
use serde::{Deserialize, Serialize};

use crate::{
    machine::{MachineError, remove, write_json},
    paths::Paths,
};

/// What is known of policies on this node, in `<state>/policies.json`. There is no such file where the source is of a
/// kind without policies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// True if the source has never been read to its end: whether it has policies is not known.
    pub is_unread: bool,
    /// Namespaces with policies, and the directions in which these isolate any pod.
    pub namespaces: BTreeMap<String, Directions>,
}

/// Directions in which pods are isolated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Directions {
    /// Packets to pods are judged.
    pub ingress: bool,
    /// Packets of pods are judged.
    pub egress: bool,
}

impl Standing {
    /// What an agent left; `None` where there is no such source. A file that cannot be read is no permission.
    #[must_use]
    pub fn load(paths: &Paths) -> Option<Self> {
        let read = |text: io::Result<Vec<u8>>| -> io::Result<Self> { Ok(serde_json::from_slice(&text?)?) };
        match read(fs::read(paths.policy_standing())) {
            Ok(standing) => Some(standing),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => Some(Self { is_unread: true, ..Self::default() }),
        }
    }

    /// Leaves it, or takes the file away.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn save(paths: &Paths, standing: Option<&Self>) -> Result<(), MachineError> {
        match standing {
            Some(standing) => write_json(&paths.policy_standing(), standing).map(drop),
            None => remove(&paths.policy_standing()),
        }
    }

    /// True if there are policies, or may be.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.is_unread || !self.namespaces.is_empty()
    }

    /// The isolation of a pod of which only the namespace is known.
    #[must_use]
    pub fn isolation(&self, namespace: &str) -> Isolation {
        let known = self.namespaces.get(namespace).copied().unwrap_or_default();
        let Directions { ingress, egress } = match self.is_unread {
            true => Directions { ingress: true, egress: true },
            false => known,
        };
        let subject = if ingress || egress { CLOSED_SUBJECT } else { 0 };
        Isolation { subject, ingress, egress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_closed_where_a_policy_of_its_namespace_isolates_and_everywhere_before_anything_is_known() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        fs::create_dir_all(&paths.state).unwrap();
        assert_eq!(Standing::load(&paths), None);
        let shop = Directions { ingress: true, egress: false };
        let standing = Standing { is_unread: false, namespaces: [("shop".to_owned(), shop)].into() };
        Standing::save(&paths, Some(&standing)).unwrap();
        let known = Standing::load(&paths).unwrap();
        assert_eq!(known, standing);
        let closed = Isolation { subject: CLOSED_SUBJECT, ingress: true, egress: false };
        assert_eq!((known.isolation("shop"), known.isolation("other")), (closed, Isolation::default()));
        fs::write(paths.policy_standing(), "{").unwrap();
        let everywhere = Isolation { subject: CLOSED_SUBJECT, ingress: true, egress: true };
        assert_eq!(Standing::load(&paths).unwrap().isolation("other"), everywhere, "damage is no permission");
        Standing::save(&paths, None).unwrap();
        assert_eq!(Standing::load(&paths), None);
    }
}
