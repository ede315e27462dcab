//! A list in pages, read item by item.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Kind, Meta, known::Listing};
use crate::api::{ApiError, Connection, Items};

/// Objects in a page. The server answers a page from memory; here it is read item by item, and never held whole.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct Head {
    metadata: Meta,
}

/// Name, identity and state of an object; an error if one of them is missing.
pub fn meta(object: &[u8]) -> Result<Meta, String> {
    let head: Head = serde_json::from_slice(object).map_err(|error| error.to_string())?;
    match head.metadata {
        meta if meta.name.is_empty() || meta.uid.is_empty() => Err("no name or no uid".to_owned()),
        meta => Ok(meta),
    }
}

/// The number of a state of the store.
pub fn revision(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `path` with more of a query.
pub fn with(path: &str, query: &str) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("{path}{sign}{query}")
}

/// A consistent list of all objects below `path`.
///
/// # Errors
/// [`ApiError`]; a list that ends early is an error, whatever came before.
pub async fn list<T: Kind>(connection: &mut Connection, path: &str) -> Result<Listing<T>, ApiError> {
    let mut listing = Listing { revision: 0, objects: BTreeMap::new(), nameless: 0 };
    let mut token = String::new();
    loop {
        let mut query = format!("limit={PAGE}");
        if !token.is_empty() {
            query = format!("{query}&continue={}", escaped(&token));
        }
        let mut answer = connection.get(&with(path, &query)).await?;
        let nonsense = |reason: String| ApiError::Nonsense { address: connection.address().clone(), reason };
        let mut items = Items::default();
        while let Some(piece) = answer.prompt_piece().await? {
            if !items.push(&piece, |item| listing.add(item)) {
                return Err(nonsense("a list without end".to_owned()));
            }
        }
        let page = items.end().map_err(nonsense)?;
        // All pages show the state of the first one.
        listing.revision = revision(&page.resource_version)
            .ok_or_else(|| nonsense(format!("resourceVersion `{}` is no number", page.resource_version)))?;
        match page.r#continue.filter(|token| !token.is_empty()) {
            Some(next) => token = next,
            None => return Ok(listing),
        }
    }
}

impl<T: Kind> Listing<T> {
    fn add(&mut self, object: &[u8]) {
        match meta(object) {
            Ok(meta) => drop(self.objects.insert(meta.key(), (meta, T::read(object)))),
            Err(_) => self.nameless += 1,
        }
    }
}

/// A token as a part of a query.
fn escaped(token: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(token.len());
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_escaped_and_a_query_goes_on() {
        assert_eq!(escaped("aZ9-._~=+/"), "aZ9-._~%3D%2B%2F");
        assert_eq!(with("/a", "b=1"), "/a?b=1");
        assert_eq!(with("/a?c=2", "b=1"), "/a?c=2&b=1");
    }
}
