//! `NetworkUnavailable`: a cloud sets this condition on new nodes, and the network removes it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::Method;
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::{
    api::{Api, ApiError},
    follow::{Backoff, Snapshot},
    nodes::Node,
};

/// Removes the condition whenever the own node has it and serves pods.
pub async fn keep(
    api: Arc<Api>,
    node: String,
    mut nodes: watch::Receiver<Snapshot<Node>>,
    mut ready: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    loop {
        let is_wanted = *ready.borrow_and_update() && is_set(&nodes.borrow_and_update(), &node);
        if is_wanted {
            match take_back(&api, &node).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    sleep(backoff.next(error.after())).await;
                    continue;
                }
            }
        }
        let change = async {
            tokio::select! {
                change = nodes.changed() => change.is_ok(),
                change = ready.changed() => change.is_ok(),
            }
        };
        if !change.await {
            return;
        }
    }
}

fn is_set(nodes: &Snapshot<Node>, name: &str) -> bool {
    let entry = nodes.entries.as_ref().and_then(|entries| entries.get(name));
    entry.and_then(|entry| entry.value.as_ref()).is_some_and(|node| node.is_unavailable)
}

async fn take_back(api: &Api, node: &str) -> Result<(), ApiError> {
    let now = timestamp(SystemTime::now());
    let condition = json!({
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "NaruIsReady",
        "message": "naru serves pods on this node",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    });
    let patch = json!({ "status": { "conditions": [condition] } }).to_string().into_bytes();
    let path = format!("/api/v1/nodes/{node}/status");
    let mut connection = api.connect().await?;
    let body = Some(("application/strategic-merge-patch+json", patch));
    connection.ask(Method::PATCH, &path, body).await?.whole().await.map(drop)
}

/// A time in RFC 3339, in UTC, to the second.
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day of a day since 1970. Years begin with March, so that the leap day comes last.
const fn date(days: u64) -> (u64, u64, u64) {
    let since_0000 = days + 719_468;
    let (era, day_of_era) = (since_0000 / 146_097, since_0000 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_reads_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
