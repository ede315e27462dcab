use std::collections::BTreeMap;

use serde::Deserialize;

use serde_json::Value;

use super::{
    CounterValue, TABLE,
    text::{MARK, hash},
};
use crate::host::{HostError, command, nft_json};

/// What the name of the chain starts with that holds the table's seal: nft's form of a rule is not the text it was
/// made of, so the table is remembered as the kernel listed it when it was new, in the name of a chain without rules.
const SEAL: &str = "seal_";

/// The table as it is.
pub struct Live {
    /// Its mark, the comment of one of our rules.
    pub mark: Option<String>,
    /// Its named counters.
    pub counters: BTreeMap<String, CounterValue>,
    /// Hash of all that it holds, but for handles, what counters count, and seals.
    content: u64,
    seals: Vec<String>,
}

impl Live {
    /// Name of the chain that seals the table as it is.
    pub fn seal(&self) -> String {
        format!("{SEAL}{:016x}", self.content)
    }

    /// Whether nobody changed it since it was sealed.
    pub fn is_sealed(&self) -> bool {
        self.seals == [self.seal()]
    }
}

/// A counter in nft's JSON.
#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
    bytes: u64,
}

/// A chain in nft's JSON.
#[derive(Deserialize)]
struct Chain {
    name: String,
}

/// A rule in nft's JSON.
#[derive(Deserialize)]
struct Rule {
    comment: Option<String>,
}

/// Looks at the table; `None` when there is none.
pub fn read() -> Result<Option<Live>, HostError> {
    let text = match command::run("nft", &["-j", "list", "table", "inet", TABLE], "") {
        Ok(text) => text,
        Err(HostError::Tool { reason, .. }) if reason.contains("No such file or directory") => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let counters: Vec<Counter> = nft_json::objects(&text, "counter")?;
    let rules: Vec<Rule> = nft_json::objects(&text, "rule")?;
    let chains: Vec<Chain> = nft_json::objects(&text, "chain")?;
    let comment = rules.into_iter().filter_map(|rule| rule.comment).find(|comment| comment.starts_with(MARK));
    let value = |Counter { name, packets, bytes }| (name, CounterValue { packets, bytes });
    Ok(Some(Live {
        mark: comment,
        counters: counters.into_iter().map(value).collect(),
        content: content(&text)?,
        seals: chains.into_iter().map(|chain| chain.name).filter(|name| name.starts_with(SEAL)).collect(),
    }))
}

/// The hash of what stays the same until somebody changes it.
fn content(text: &str) -> Result<u64, HostError> {
    let mut all = String::new();
    for kind in ["table", "counter", "set", "map", "chain", "rule", "flowtable", "element"] {
        for mut object in nft_json::objects::<Value>(text, kind)? {
            let is_seal =
                kind == "chain" && object["name"].as_str().is_some_and(|name| name.starts_with(SEAL));
            if let Some(fields) = object.as_object_mut().filter(|_| !is_seal) {
                let passing = ["handle", "packets", "bytes"];
                fields.retain(|key, _| !passing.contains(&key.as_str()));
                all.push_str(&format!("{kind} {object}\n"));
            }
        }
    }
    Ok(hash(&all))
}
