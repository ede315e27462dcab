//! The kernel's connection tracking over ctnetlink: look-ups of flows, and deletion of an address's flows.
//!
//! Only what naru needs is here. Entries are never decoded as a whole: a deletion names the flow by the attributes with
//! which the kernel listed it.

mod attributes;
mod entry;
mod listed;
mod message;
mod socket;
mod tuple;

use std::{collections::HashSet, net::IpAddr};

use crate::links::LinkError;
use entry::Entry;
use message::{Filter, Message, Side};
use socket::Socket;

pub use tuple::Tuple;

/// Limit of flows for reading the kernel's text. Beyond it each flow costs as much as in a dump, older kernels begin
/// anew for every page, and flows that end meanwhile would hide others.
const FEW: u32 = 1000;

/// Connection tracking's knowledge of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracked {
    /// It has no such flow.
    No,
    /// It has it, but both ends have closed it.
    Closed,
    /// It has it.
    Yes,
}

/// A connection to the connection tracking of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens a connection into the calling thread's network namespace.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> Result<Self, LinkError> {
        Ok(Self { socket: Socket::open()? })
    }

    /// Looks up each flow by the packets of its answer.
    ///
    /// # Errors
    /// The kernel's, except "no such flow".
    pub fn look_up(&mut self, answers: &[Tuple]) -> Result<Vec<Tracked>, LinkError> {
        let requests = answers.iter().map(message::look_up).collect();
        let outcomes = self.socket.exchange(requests, "conntrack: look up")?;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Some(entry)) if Entry::new(&entry).is_closed() => Ok(Tracked::Closed),
                Ok(_) => Ok(Tracked::Yes),
                Err(error) if error.is_absent() => Ok(Tracked::No),
                Err(error) => Err(error),
            })
            .collect()
    }

    /// The pairs of hosts that answer each other in some flow, both ways round. Walks the whole table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pairs(&mut self) -> Result<HashSet<[IpAddr; 2]>, LinkError> {
        let answers = |body: &[u8]| Entry::new(body).answering();
        let all = self.socket.dump(&message::list(&Filter::everything()), "conntrack: list", answers)?;
        Ok(all.into_iter().flat_map(|[from, to]| [[from, to], [to, from]]).collect())
    }

    /// The packets with which each flow of a protocol with ports began, before anything was translated. Walks the whole
    /// table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begun(&mut self, protocol: u8) -> Result<Vec<Tuple>, LinkError> {
        if self.count()? == 0 {
            return Ok(Vec::new());
        }
        let begun = |body: &[u8]| Entry::new(body).begun().filter(|tuple| tuple.protocol == protocol);
        self.socket.dump(&message::list(&Filter::everything()), "conntrack: list", begun)
    }

    /// Forgets every flow that has one of the addresses at any end, before or after translation.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget(&mut self, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let count = if addresses.is_empty() { 0 } else { self.count()? };
        if count == 0 {
            return Ok(());
        }
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
        let left = if self.flush(&v4)? { v6 } else { addresses.to_vec() };
        if left.is_empty() {
            return Ok(());
        }
        if count <= FEW
            && let Some(flows) = listed::flows_of(&left)
        {
            return self.delete(flows.iter().map(message::delete_answered).collect());
        }
        for filter in left.iter().filter(|address| address.is_ipv4()).flat_map(by_source) {
            self.list_and_delete(&filter, &left)?;
        }
        match left.iter().any(IpAddr::is_ipv6) {
            true => self.list_and_delete(&Filter::everything_v6(), &left),
            false => Ok(()),
        }
    }

    /// Deletes flows like [`Conntrack::forget`], but only those that cost little: IPv4 flows if the kernel finds them
    /// itself (6.8 and newer), and those with these answers. To walk the whole table for the others takes 10 ms and
    /// more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_at_hand(&mut self, addresses: &[IpAddr], answers: &[Tuple]) -> Result<(), LinkError> {
        let v4: Vec<IpAddr> = addresses.iter().copied().filter(IpAddr::is_ipv4).collect();
        self.flush(&v4)?;
        self.delete(answers.iter().map(message::delete_answered).collect()).map(drop)
    }

    /// Makes the kernel delete all flows of IPv4 addresses. Returns false if it cannot.
    fn flush(&mut self, addresses: &[IpAddr]) -> Result<bool, LinkError> {
        let requests = addresses.iter().flat_map(by_source).map(|filter| message::flush(&filter)).collect();
        match self.delete(requests) {
            // Older kernels take the address for part of one flow's name, and miss the rest of that name.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(false),
            result => result.map(|()| true),
        }
    }

    fn list_and_delete(&mut self, filter: &Filter, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let doomed = self.socket.dump(&message::list(filter), "conntrack: list", |body| {
            let entry = Entry::new(body);
            entry.addresses().any(|ip| addresses.contains(&ip)).then(|| message::delete(&entry))
        })?;
        self.delete(doomed)
    }

    /// Deletes the entries; one that is gone already is no error.
    fn delete(&mut self, requests: Vec<Message>) -> Result<(), LinkError> {
        let outcomes = self.socket.exchange(requests, "conntrack: delete")?.into_iter();
        outcomes
            .filter(|outcome| !outcome.as_ref().is_err_and(LinkError::is_absent))
            .try_for_each(|outcome| outcome.map(drop))
    }

    /// The number of tracked flows; 0 on a kernel without connection tracking.
    fn count(&mut self) -> Result<u32, LinkError> {
        match self.socket.exchange(vec![message::statistics()], "conntrack: count")?.pop() {
            Some(Ok(Some(body))) => Ok(Entry::new(&body).count()),
            // This kernel has no such subsystem, or one that does not answer.
            Some(Err(error)) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(0),
            Some(Err(error)) => Err(error),
            _ => Ok(0),
        }
    }
}

/// Filters for flows in which an address is the source of the packets or of their answers, whatever is translated.
///
/// For IPv4 only: a kernel's filter for an IPv6 address selects all flows except those of the address, up to 6.18 at
/// least (`ctnetlink_filter_match_tuple` takes `ipv6_addr_cmp` for true if the addresses are equal).
fn by_source(address: &IpAddr) -> [Filter; 2] {
    Side::BOTH.map(|side| Filter::source(*address, side))
}
