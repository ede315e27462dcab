//! The events of a watch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Kind, Meta,
    known::{Change, Known},
    read::{meta, revision},
};
use crate::api::{Address, ApiError, Status};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: Position,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    resource_version: String,
}

/// Takes one line of a watch.
///
/// # Errors
/// The server ends the watch, or the line is no event; an object that is none of its kind is no error.
pub fn take<T: Kind>(line: &[u8], known: &mut Known<T>, address: &Address) -> Result<(), ApiError> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let nonsense = |reason: String| ApiError::Nonsense { address: address.clone(), reason };
    let no_event = |error: serde_json::Error| nonsense(format!("not an event: {error}"));
    let event: Event<'_> = serde_json::from_slice(line).map_err(no_event)?;
    let object = event.object.get().as_bytes();
    match event.kind {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let meta = meta(object).map_err(nonsense)?;
            let number = number(&meta).ok_or_else(|| nonsense("no state".to_owned()))?;
            let change = match event.kind {
                "DELETED" => Change::Gone(meta),
                _ => Change::Is(meta, T::read(object)),
            };
            known.changed(number, change);
            Ok(())
        }
        "BOOKMARK" => {
            let mark: Bookmark = serde_json::from_slice(object).map_err(no_event)?;
            revision(&mark.metadata.resource_version).into_iter().for_each(|number| known.reached(number));
            Ok(())
        }
        "ERROR" => {
            let status: Status = serde_json::from_slice(object).unwrap_or_default();
            Err(status.into_error(address.clone(), 500, None))
        }
        other => Err(nonsense(format!("an event of type {other}"))),
    }
}

fn number(meta: &Meta) -> Option<u64> {
    revision(&meta.resource_version)
}
