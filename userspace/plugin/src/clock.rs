use std::time::{SystemTime, UNIX_EPOCH};

use naru_core::ipam::Millis;

/// Milliseconds since 1970; a clock before that counts as 1970.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
