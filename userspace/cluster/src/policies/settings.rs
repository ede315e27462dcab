//! The settings of policies.

use serde::Deserialize;

/// Whether policies are enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are, wherever the source knows policies.
    #[default]
    Auto,
    /// They are not.
    Off,
}

impl Mode {
    /// The spelling in the settings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

/// What becomes of packets of an isolated pod to addresses of its own node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnNodeEgress {
    /// They are judged as any others.
    #[default]
    Judge,
    /// They pass.
    Pass,
}

impl OwnNodeEgress {
    /// The spelling in the settings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Pass => "pass",
        }
    }
}

/// What the settings say about policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Whether they are enforced.
    pub mode: Mode,
    /// What becomes of packets to the pod's own node.
    pub own_node_egress: OwnNodeEgress,
}
