use std::net::IpAddr;

use anyhow::{Context, bail};
use naru_core::{ids::PodName, ipam::Reservation};
use naru_node::{
    paths::Paths,
    reservations::{self, ReservationError},
};
use serde::Serialize;

use super::{ReserveArgs, UnreserveArgs};
use crate::report::{OutputArgs, print_json};

/// The output of `naru ipam reserve` and `unreserve`; with `--json` this object.
#[derive(Serialize)]
struct Answer {
    /// The address.
    address: IpAddr,
    /// True if it is reserved now.
    reserved: bool,
    /// The pod that gets it, as `default/web-0`; null if nobody does.
    pod: Option<String>,
    /// The reason for which it is reserved.
    note: Option<String>,
    /// The reason for which nothing was done; null if something was.
    refused: Option<String>,
}

/// Keeps an address for a pod, or from everybody. Returns true if that was possible.
pub fn reserve(paths: &Paths, args: &ReserveArgs) -> anyhow::Result<bool> {
    let pod = args.pod.as_deref().map(pod_name).transpose()?.unwrap_or_default();
    let note =
        args.note.clone().unwrap_or_else(|| if pod.is_empty() { "reserved" } else { "static" }.to_owned());
    if note.is_empty() {
        bail!("--note: must not be empty");
    }
    let reservation = Reservation { address: args.address, note, pod };
    let refused = refusal(reservations::reserve(paths, &reservation, args.pool.as_deref()))?;
    let Reservation { address, note, pod } = reservation;
    let pod = (!pod.is_empty()).then(|| pod.to_string());
    answer(Answer { address, reserved: refused.is_none(), pod, note: Some(note), refused }, args.output)
}

/// Ends a reservation. Returns true if there was one.
pub fn unreserve(paths: &Paths, args: &UnreserveArgs) -> anyhow::Result<bool> {
    let refused = refusal(reservations::unreserve(paths, args.address))?;
    answer(Answer { address: args.address, reserved: false, pod: None, note: None, refused }, args.output)
}

/// `namespace/name`, or a name alone where the runtime has no namespaces.
fn pod_name(text: &str) -> anyhow::Result<PodName> {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    if name.is_empty() || name.contains('/') {
        bail!("--pod: {text:?} is not namespace/name");
    }
    Ok(PodName { namespace: namespace.to_owned(), name: name.to_owned(), uid: String::new() })
}

fn refusal(result: Result<(), ReservationError>) -> anyhow::Result<Option<String>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.is_refusal() => Ok(Some(error.to_string())),
        Err(error) => Err(error).context("reservations"),
    }
}

fn answer(answer: Answer, output: OutputArgs) -> anyhow::Result<bool> {
    if output.json {
        print_json(&answer)?;
    } else if let Some(refused) = &answer.refused {
        errln!("naru: {refused}");
    } else if let Some(pod) = &answer.pod {
        outln!("{}: reserved for pod {pod}", answer.address);
    } else {
        outln!("{}: {}", answer.address, if answer.reserved { "reserved" } else { "not reserved any more" });
    }
    Ok(answer.refused.is_none())
}
