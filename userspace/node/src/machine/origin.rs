use serde::{Deserialize, Serialize};

use crate::host;

/// The machine on which a node's state was made: on a copy of its disk the state is another node's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The `product_uuid` of hardware or virtual machine, where there is one.
    #[serde(default)]
    hardware: Option<String>,
    /// The `machine-id` of the installed system, where there is one.
    #[serde(default)]
    system: Option<String>,
}

impl Origin {
    /// The one of this machine.
    #[must_use]
    pub fn here() -> Self {
        Self { hardware: host::product_uuid(), system: host::machine_id() }
    }

    /// Describes how `now` differs, if it is another machine; `None` otherwise. Hardware decides if both know it: in a
    /// container the system's identity may be the image's.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        let pairs =
            [("product_uuid", &self.hardware, &now.hardware), ("machine-id", &self.system, &now.system)];
        let (what, before, now) = pairs
            .into_iter()
            .find_map(|(what, before, now)| Some((what, before.as_ref()?, now.as_ref()?)))?;
        (before != now).then(|| format!("{what} was {before} and is {now}"))
    }

    /// Notes what `now` knows; what it does not know stays.
    pub(super) fn note(&mut self, now: Self) {
        self.hardware = now.hardware.or(self.hardware.take());
        self.system = now.system.or(self.system.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(hardware: &str, system: &str) -> Origin {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Origin { hardware: known(hardware), system: known(system) }
    }

    #[test]
    fn another_machine_is_told_by_its_hardware_and_else_by_its_system() {
        for (before, now, differs) in [
            (origin("h", "s"), origin("h", "s"), false),
            (origin("h", "s"), origin("i", "s"), true),
            (origin("h", "s"), origin("h", "t"), false),
            (origin("", "s"), origin("h", "t"), true),
            (origin("h", "s"), origin("", "t"), true),
            (origin("h", "s"), origin("", ""), false),
            (origin("h", ""), origin("", "t"), false),
            (origin("", ""), origin("h", "t"), false),
        ] {
            assert_eq!(before.difference(&now).is_some(), differs, "{before:?} {now:?}");
        }
        let told = origin("h", "s").difference(&origin("i", "s")).unwrap();
        assert_eq!(told, "product_uuid was h and is i");
    }

    #[test]
    fn what_is_not_known_now_stays_noted() {
        let mut noted = origin("h", "s");
        noted.note(origin("", "t"));
        assert_eq!(noted, origin("h", "t"));
    }
}
