use std::{thread::sleep, time::Duration};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, State},
};

use super::{LinkError, Links, link::question, socket::Request};

/// How often and how far apart the state is asked for: 100 ms in all.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_micros(500);

impl Links {
    /// Waits until the interface really sends; `false` when it does not within 100 ms.
    ///
    /// Of a veth pair the end that came up first has no transmit queue until the kernel's link watch has run, and drops
    /// what it is given meanwhile. Since Linux 6.8 the question itself makes the link watch run (`rtnl_getlink`), and
    /// the first answer is the last; before, the state follows within milliseconds.
    ///
    /// # Errors
    /// The interface is gone or the kernel refuses.
    pub fn await_running(&self, index: u32) -> Result<bool, LinkError> {
        for _ in 0..ATTEMPTS {
            if self.is_running(index)? {
                return Ok(true);
            }
            sleep(PAUSE);
        }
        Ok(false)
    }

    fn is_running(&self, index: u32) -> Result<bool, LinkError> {
        let mut message = question();
        message.header.index = index;
        let request = Request::new(RouteNetlinkMessage::GetLink(message), format!("link {index}: look"));
        let Some(RouteNetlinkMessage::NewLink(answer)) = self.ask(request)? else { return Ok(false) };
        Ok(answer.attributes.contains(&LinkAttribute::OperState(State::Up)))
    }
}
