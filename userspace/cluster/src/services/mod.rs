//! Services as sources tell of them: a [`Register`] that a source fills and a node reads, the form of Kubernetes'
//! objects (`object`), and the simplest source, a directory of files (`files`).

mod files;
mod object;
mod register;

use serde::Deserialize;

pub(crate) use files::follow;
pub use object::{NodeObject, ServiceObject, SliceObject};
pub use register::{Kind, Known, Register, Standing};

/// Translator of packets to Services: the datapath or the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The datapath, wherever the source knows Services.
    #[default]
    Auto,
    /// The stack, by whatever rules others made there.
    Stack,
}

impl Mode {
    /// The spelling in the settings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Stack => "stack",
        }
    }
}
