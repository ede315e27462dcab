use std::fmt;

use super::{
    Attributes,
    attribute::{number, text},
};

/// `NFTA_VERDICT_CODE`.
const CODE: u16 = 1;
/// `NFTA_VERDICT_CHAIN`.
const CHAIN: u16 = 2;

/// The fate of a packet that a rule matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on to the next chain of its hook.
    Accept,
    /// It goes nowhere.
    Drop,
    /// It goes through that chain, and comes back at its end.
    Jump(String),
    /// It goes through that chain, and does not come back.
    Goto(String),
    /// It leaves the chain.
    Return,
    /// Something that only others' rules say.
    Other(i32),
}

impl Verdict {
    /// `NF_*` and `NFT_*`.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
            Self::Other(code) => *code,
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().number(CODE, self.code().cast_unsigned());
        match self {
            Self::Jump(chain) | Self::Goto(chain) => attributes.text(CHAIN, chain),
            _ => attributes,
        }
    }

    pub(super) fn read(attributes: &[u8]) -> Option<Self> {
        let chain = || text(attributes, CHAIN).map(str::to_owned);
        Some(match number(attributes, CODE)?.cast_signed() {
            0 => Self::Drop,
            1 => Self::Accept,
            -3 => Self::Jump(chain()?),
            -4 => Self::Goto(chain()?),
            -5 => Self::Return,
            other => Self::Other(other),
        })
    }
}

/// The verdict as nft writes it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Return => f.write_str("return"),
            Self::Other(code) => write!(f, "verdict {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_read_back() {
        let chain = || "fw".to_owned();
        for verdict in [
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Jump(chain()),
            Verdict::Goto(chain()),
            Verdict::Return,
            Verdict::Other(3),
        ] {
            assert_eq!(Verdict::read(verdict.attributes().as_bytes()), Some(verdict));
        }
    }
}
