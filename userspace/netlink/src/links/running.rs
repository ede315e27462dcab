use std::{net::Ipv6Addr, thread::sleep, time::Duration};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, State},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::{LinkError, Links, link::question, listed_route::ListedRoute, socket::LinkRequest};

/// The pause after the first answer; each later one is half as long again. An idle work queue is done by then.
const FIRST_PAUSE: Duration = Duration::from_micros(30);
/// Total time to wait.
const PATIENCE: Duration = Duration::from_millis(100);

impl Links {
    /// Waits until the interface really sends. Returns false if it does not within 100 ms.
    ///
    /// Of a veth pair the end that came up first has no transmit queue until the kernel's link watch has run, and drops
    /// what it is given meanwhile. Since Linux 6.8 the question itself makes the link watch run (`rtnl_getlink`), and
    /// the first answer is the last; before, the state follows within milliseconds.
    ///
    /// # Errors
    /// The interface is gone or the kernel refuses.
    pub fn await_running(&self, index: u32) -> Result<bool, LinkError> {
        until(|| self.is_running(index))
    }

    /// Waits until this namespace accepts packets to its address. Returns false if it does not within 100 ms.
    ///
    /// The kernel puts the local route of an IPv6 address in from a work queue, also without duplicate address
    /// detection (`addrconf_dad_work`), so an answer that comes at once would find no route.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn await_local(&self, ip: Ipv6Addr) -> Result<bool, LinkError> {
        until(|| self.is_local(ip))
    }

    fn is_running(&self, index: u32) -> Result<bool, LinkError> {
        let mut message = question();
        message.header.index = index;
        let request = LinkRequest::new(RouteNetlinkMessage::GetLink(message), format!("link {index}: look"));
        let Some(answer) = self.ask(request)? else { return Ok(false) };
        let RouteNetlinkMessage::NewLink(answer) = answer.decode("link: look")? else { return Ok(false) };
        Ok(answer.attributes.contains(&LinkAttribute::OperState(State::Up)))
    }

    fn is_local(&self, ip: Ipv6Addr) -> Result<bool, LinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet6;
        message.header.destination_prefix_length = 128;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(ip)));
        let what = format!("route to {ip}: look");
        match self.ask(LinkRequest::new(RouteNetlinkMessage::GetRoute(message), what.as_str())) {
            Ok(Some(answer)) => {
                Ok(ListedRoute::of(&answer, &what)?.is_some_and(|route| route.kind == libc::RTN_LOCAL))
            }
            Err(error) if error.errno() != Some(libc::ENETUNREACH) => Err(error),
            _ => Ok(false),
        }
    }
}

/// Asks repeatedly until the answer is yes or the time is over.
fn until(mut holds: impl FnMut() -> Result<bool, LinkError>) -> Result<bool, LinkError> {
    let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
    while !holds()? {
        if waited > PATIENCE {
            return Ok(false);
        }
        sleep(pause);
        waited += pause;
        pause += pause / 2;
    }
    Ok(true)
}
