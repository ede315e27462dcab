use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage},
};

use super::{
    LinkError, Links, Mac,
    link::{Link, delete, look, parsed, set, up},
    pair::no_link_local,
    socket::LinkRequest,
};

/// The desired vxlan device: `collect_md`, learning off, no IPv6 link-local address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Name, at most 15 bytes.
    pub name: String,
    /// Outer UDP port.
    pub port: u16,
    /// MAC address; no other node's.
    pub mac: Mac,
    /// MTU in bytes.
    pub mtu: u32,
}

/// The overlay device after [`Links::ensure_overlay`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverlayState {
    /// Interface index.
    pub index: u32,
    /// True if it was made anew, so that routes, neighbours and programs on it are gone.
    pub created: bool,
}

impl Links {
    /// Makes the overlay device match `overlay` and brings it up. A device of another kind or port under its name is
    /// replaced.
    ///
    /// # Errors
    /// [`LinkError::PortTaken`] (a device made for it is gone again), or the kernel refuses.
    pub fn ensure_overlay(&self, overlay: &Overlay) -> Result<OverlayState, LinkError> {
        let found = self.find_overlay(&overlay.name)?;
        let (link, created) = match found {
            Some((link, options)) if options.fits(overlay) => (link, false),
            Some((link, _)) => {
                self.removed(delete(link.index, &overlay.name))?;
                (self.create_overlay(overlay)?, true)
            }
            None => (self.create_overlay(overlay)?, true),
        };
        match self.settle(&link, overlay) {
            Ok(()) => Ok(OverlayState { index: link.index, created }),
            Err(error) => Err(self.give_up(&link, created, overlay, error)),
        }
    }

    /// Returns the outer UDP port of the overlay device of that name; `None` if there is no such device.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn overlay_port(&self, name: &str) -> Result<Option<u16>, LinkError> {
        let found = self.find_overlay(name)?;
        Ok(found.filter(|(_, options)| options.vxlan).map(|(_, options)| options.port))
    }

    /// Returns the overlay device of that name with its outer UDP port; `None` if there is none of the form that
    /// [`Links::ensure_overlay`] makes.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn overlay(&self, name: &str) -> Result<Option<(Link, u16)>, LinkError> {
        let found = self.find_overlay(name)?.filter(|(_, options)| options.is_of_our_form());
        Ok(found.map(|(link, options)| (link, options.port)))
    }

    /// Deletes the overlay device; `false` when it was gone already.
    ///
    /// # Errors
    /// [`LinkError::Foreign`] when the link of that name is no vxlan device; the kernel refuses.
    pub fn delete_overlay(&self, name: &str) -> Result<bool, LinkError> {
        match self.link(name)? {
            None => Ok(false),
            Some(link) if link.kind == "vxlan" => self.removed(delete(link.index, name)),
            Some(link) => {
                let reason = format!("a link of kind \"{}\", not vxlan", link.kind);
                Err(LinkError::Foreign { device: name.to_owned(), reason })
            }
        }
    }

    /// The link of that name and, where it is a vxlan device, its options.
    fn find_overlay(&self, name: &str) -> Result<Option<(Link, Options)>, LinkError> {
        match self.ask(look(name)) {
            Ok(Some(answer)) => {
                let answer = answer.decode(name)?;
                Ok(parsed(&answer).map(|link| (link, options(&answer))))
            }
            Ok(None) => Ok(None),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the device, down.
    fn create_overlay(&self, overlay: &Overlay) -> Result<Link, LinkError> {
        self.ask(create(overlay))?;
        let missing = || LinkError::kernel(format!("{}: look", overlay.name), libc::ENODEV);
        self.link(&overlay.name)?.ok_or_else(missing)
    }

    /// Sets everything that can be changed on a living device, and brings it up.
    fn settle(&self, link: &Link, overlay: &Overlay) -> Result<(), LinkError> {
        let (index, name) = (link.index, overlay.name.as_str());
        match self.ask(no_link_local(index, name)) {
            Err(error) if error.errno() != Some(libc::EAFNOSUPPORT) => return Err(error),
            _ => {}
        }
        let mut requests = Vec::new();
        if link.mac != Some(overlay.mac) {
            let what = format!("{name}: set mac {}", overlay.mac);
            requests.push(set(index, vec![LinkAttribute::Address(overlay.mac.0.to_vec())], what));
        }
        if link.mtu != overlay.mtu {
            let what = format!("{name}: set mtu {}", overlay.mtu);
            requests.push(set(index, vec![LinkAttribute::Mtu(overlay.mtu)], what));
        }
        if !link.up {
            requests.push(up(index, name));
        }
        self.socket().apply(requests)
    }

    /// Returns an error that names a taken port, and removes a device that was just made.
    fn give_up(&self, link: &Link, created: bool, overlay: &Overlay, error: LinkError) -> LinkError {
        if created {
            // The reason why it did not come up is the error to report.
            let _ = self.removed(delete(link.index, &overlay.name));
        }
        match error.errno() {
            Some(libc::EADDRINUSE) => {
                let holder = self.port_holder(overlay.port);
                LinkError::PortTaken { device: overlay.name.clone(), port: overlay.port, holder }
            }
            _ => error,
        }
    }
}

/// The options of a vxlan device that cannot be changed while it lives.
#[derive(Default)]
struct Options {
    vxlan: bool,
    port: u16,
    collect_metadata: bool,
    learning: bool,
    zero_checksum_received: bool,
}

impl Options {
    /// Returns true if the device serves `overlay` without being made anew.
    fn fits(&self, overlay: &Overlay) -> bool {
        self.is_of_our_form() && self.port == overlay.port
    }

    fn is_of_our_form(&self) -> bool {
        self.vxlan && self.collect_metadata && !self.learning && self.zero_checksum_received
    }
}

/// The outer UDP port of a vxlan device in the kernel's answer.
pub(super) fn port_of(answer: &RouteNetlinkMessage) -> Option<u16> {
    Some(options(answer)).filter(|options| options.vxlan).map(|options| options.port)
}

/// The options in the kernel's answer.
fn options(answer: &RouteNetlinkMessage) -> Options {
    let RouteNetlinkMessage::NewLink(message) = answer else { return Options::default() };
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let mut options = Options::default();
    for info in infos.flatten() {
        if let LinkInfo::Data(InfoData::Vxlan(list)) = info {
            options.vxlan = true;
            list.iter().for_each(|option| options.note(option));
        }
    }
    options
}

impl Options {
    /// Notes one option.
    fn note(&mut self, option: &InfoVxlan) {
        match option {
            InfoVxlan::Port(port) => self.port = *port,
            InfoVxlan::CollectMetadata(on) => self.collect_metadata = *on,
            InfoVxlan::Learning(on) => self.learning = *on,
            InfoVxlan::UDPZeroCsumRX(on) => self.zero_checksum_received = *on,
            _ => {}
        }
    }
}

/// The request that makes the device. It accepts outer checksum 0 (RFC 6935), which a peer's own encapsulation sends.
fn create(overlay: &Overlay) -> LinkRequest {
    let mut message = LinkMessage::default();
    let options = vec![
        InfoVxlan::CollectMetadata(true),
        InfoVxlan::Port(overlay.port),
        InfoVxlan::Learning(false),
        InfoVxlan::UDPZeroCsumRX(true),
    ];
    message.attributes = vec![
        LinkAttribute::IfName(overlay.name.clone()),
        LinkAttribute::Mtu(overlay.mtu),
        LinkAttribute::Address(overlay.mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(options)),
        ]),
    ];
    let what = format!("{}: create vxlan, udp port {}, mtu {}", overlay.name, overlay.port, overlay.mtu);
    LinkRequest::new(RouteNetlinkMessage::NewLink(message), what).with(NLM_F_CREATE | NLM_F_EXCL)
}
