use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    CounterValue, TABLE,
    text::{MARK, Mark},
};
use crate::host::{HostError, command, nft_json};

/// The table as it is.
pub struct Live {
    /// Its mark; `None` when nobody of us made it as it is.
    pub mark: Option<Mark>,
    /// Its named counters.
    pub counters: BTreeMap<String, CounterValue>,
}

/// A counter in nft's JSON.
#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
    bytes: u64,
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
    let count = rules.len();
    let comment = rules.into_iter().filter_map(|rule| rule.comment).find(|comment| comment.starts_with(MARK));
    let value = |Counter { name, packets, bytes }| (name, CounterValue { packets, bytes });
    Ok(Some(Live {
        mark: comment.map(|comment| Mark { comment, rules: count }),
        counters: counters.into_iter().map(value).collect(),
    }))
}
