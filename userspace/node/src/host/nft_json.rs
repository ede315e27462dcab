//! Reading what `nft -j` prints (libnftables-json(5)).

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::HostError;

/// The objects of one kind, in their order.
pub fn objects<T: DeserializeOwned>(text: &str, kind: &str) -> Result<Vec<T>, HostError> {
    let unreadable = |error: serde_json::Error| HostError::Tool {
        tool: "nft -j".to_owned(),
        reason: format!("unexpected {kind}: {error}"),
    };
    let mut document: Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
    let Some(Value::Array(list)) = document.remove("nftables") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for mut object in list {
        if let Some(object) = object.get_mut(kind) {
            found.push(serde_json::from_value(object.take()).map_err(unreadable)?);
        }
    }
    Ok(found)
}
