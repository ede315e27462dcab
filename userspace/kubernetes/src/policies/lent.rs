//! The objects in which nodes lend each other the addresses of pods that the API does not show yet.
//!
//! Each node has one, by its own name, and writes no other: an admission policy ties the object to the node of the
//! writer's token. Written at most five times a second, for all pods of the node at once, and only while there are
//! policies. Nothing waits for it. A cluster without this kind of objects works as well, a kubelet's report later.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use hyper::Method;
use naru_core::policy::{lent::Lending, model::parse_address};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::object;
use crate::{
    api::{Api, ApiError, Connection},
    follow::{Backoff, Kind, Snapshot},
    nodes::Node,
};

/// All of these objects.
pub const PATH: &str = "/apis/naru.dev/v1alpha1/podaddresses";
/// Time between two writes.
const PERIOD: Duration = Duration::from_millis(200);
/// Time for which entries are gathered that nobody needs any more.
const GATHER: Duration = Duration::from_secs(2);
/// Time for which a connection is kept for the next write.
const IDLE: Duration = Duration::from_secs(10);
/// Addresses that are read of one pod.
const LONGEST: usize = 16;

/// The addresses that a node lends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lent(pub Lending);

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    pods: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    uid: String,
    #[serde(default)]
    addresses: Vec<String>,
}

impl Kind for Lent {
    fn read(json: &[u8]) -> Result<Self, String> {
        let mut lending = Lending::new();
        for Entry { uid, addresses } in object::<Object>(json)?.pods {
            let read = |text: &String| parse_address(text).ok_or_else(|| format!("{text} is no address"));
            let addresses =
                addresses.iter().take(LONGEST).map(read).collect::<Result<BTreeSet<IpAddr>, _>>()?;
            lending.entry(uid).or_default().extend(addresses);
        }
        Ok(Self(lending))
    }
}

/// The node that writes.
#[derive(Clone)]
pub struct Own {
    /// Its name.
    pub name: String,
    /// The Node objects, among which is the one that its object goes with.
    pub nodes: watch::Receiver<Snapshot<Node>>,
}

impl Own {
    /// The UID of the Node object; `None` if there is none.
    fn uid(&self, nodes: &Snapshot<Node>) -> Option<String> {
        let entry = nodes.entries.as_ref()?.get(&self.name)?;
        Some(entry.uid.clone())
    }
}

/// Makes the own object say what the node lends, for ever. `there` is what it says, as far as that was read.
pub async fn write(
    api: &Api,
    own: &Own,
    mut wanted: watch::Receiver<Option<Lending>>,
    there: watch::Sender<Option<Lending>>,
) {
    let mut changes = there.subscribe();
    let mut nodes = own.nodes.clone();
    let mut writer = Writer { api, own, connection: None, used: Instant::now() };
    let mut backoff = Backoff::default();
    let mut next = Instant::now();
    let mut due = None;
    loop {
        let difference = differs(&wanted.borrow_and_update(), &changes.borrow_and_update());
        // Without a Node object there is nothing that the own one could go with.
        let uid = own.uid(&nodes.borrow_and_update());
        let difference = difference.filter(|_| uid.is_some());
        due = difference.map(|wait| {
            let soon = Instant::now() + wait;
            due.map_or(soon, |due| soon.min(due)).max(next)
        });
        if let (Some(uid), true) = (&uid, due.is_some_and(|due| due <= Instant::now())) {
            let lending = wanted.borrow().clone().unwrap_or_default();
            next = Instant::now() + PERIOD;
            match writer.write(uid, &lending).await {
                Ok(()) => {
                    there.send_replace(Some(lending));
                    backoff.reset();
                }
                Err(error) => next = Instant::now() + backoff.next(error.after()).max(PERIOD),
            }
            due = None;
            continue;
        }
        tokio::select! {
            Ok(()) = wanted.changed() => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = nodes.changed() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = sleep(IDLE), if due.is_none() && writer.connection.is_some() => writer.connection = None,
            else => return,
        }
    }
}

/// The time for which a write can wait; `None` if there is nothing to write, or if it is not known yet.
fn differs(wanted: &Option<Lending>, there: &Option<Lending>) -> Option<Duration> {
    let (wanted, there) = (wanted.as_ref()?, there.as_ref()?);
    let is_lent = |(uid, addresses): (&String, &BTreeSet<IpAddr>)| {
        there.get(uid).is_some_and(|there| addresses.is_subset(there))
    };
    match wanted == there {
        true => None,
        false if wanted.iter().all(is_lent) => Some(GATHER),
        false => Some(Duration::ZERO),
    }
}

struct Writer<'a> {
    api: &'a Api,
    own: &'a Own,
    connection: Option<Connection>,
    used: Instant,
}

impl Writer<'_> {
    /// Writes the whole object. One that exists is replaced, one that does not is made.
    async fn write(&mut self, uid: &str, lending: &Lending) -> Result<(), ApiError> {
        let name = &self.own.name;
        let pods: Vec<_> =
            lending.iter().map(|(uid, addresses)| json!({ "uid": uid, "addresses": addresses })).collect();
        let object = json!({
            "apiVersion": "naru.dev/v1alpha1",
            "kind": "PodAddresses",
            "metadata": {
                "name": name,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }],
            },
            "pods": pods,
        });
        let path = format!("{PATH}/{name}?fieldManager=naru&force=true");
        let object = object.to_string().into_bytes();
        if let Some(connection) = self.connection.take().filter(|_| self.used.elapsed() < IDLE) {
            match self.send(connection, &path, object.clone()).await {
                Err(ApiError::Connection { .. }) => {}
                answer => return answer,
            }
        }
        // The server may end a connection that is not in use at any time.
        let connection = self.api.connect().await?;
        self.send(connection, &path, object).await
    }

    async fn send(
        &mut self,
        mut connection: Connection,
        path: &str,
        object: Vec<u8>,
    ) -> Result<(), ApiError> {
        let body = Some(("application/apply-patch+yaml", object));
        connection.ask(Method::PATCH, path, body).await?.whole().await?;
        self.connection = Some(connection);
        self.used = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lending(pods: &[(&str, &[&str])]) -> Option<Lending> {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Some(pods.iter().map(|(uid, texts)| ((*uid).to_owned(), of(texts))).collect())
    }

    #[test]
    fn an_address_is_lent_at_once_and_taken_back_with_others() {
        let (none, one) = (lending(&[]), lending(&[("a", &["10.0.0.1"])]));
        let other = lending(&[("a", &["10.0.0.2"])]);
        assert_eq!(differs(&one, &None), None, "nobody knows what is there");
        assert_eq!(differs(&None, &one), None, "nobody knows what is wanted");
        assert_eq!(differs(&one, &one), None);
        assert_eq!(differs(&one, &none), Some(Duration::ZERO));
        assert_eq!(differs(&other, &one), Some(Duration::ZERO));
        assert_eq!(differs(&none, &one), Some(GATHER));
    }

    #[test]
    fn an_object_is_read_and_one_with_an_address_that_is_none_is_a_fault() {
        let read = |text: &str| Lent::read(text.as_bytes());
        assert_eq!(read("{}"), Ok(Lent::default()));
        let pods = r#"{"pods":[{"uid":"a","addresses":["10.0.0.1","fd00::1"]},{"uid":"b"}]}"#;
        let wanted = lending(&[("a", &["10.0.0.1", "fd00::1"]), ("b", &[])]).unwrap();
        assert_eq!(read(pods), Ok(Lent(wanted)));
        let reason = read(r#"{"pods":[{"uid":"a","addresses":["10.0.0"]}]}"#).unwrap_err();
        assert_eq!(reason, "10.0.0 is no address");
    }
}
