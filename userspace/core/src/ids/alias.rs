use std::fmt;
use std::str::FromStr;

use super::hash::stable_hash;
use super::{AttachmentId, Generation};

/// First part of every alias that naru writes, with the layout's version.
const MARK: &str = "naru1:";
/// Precedes a hash that replaces a longer name; no CNI name can contain it.
const HASHED: char = '#';
/// Length up to which network names and container ids are written out. With the mark, the separators, an interface
/// name (15), a generation (20) and flags (8) the alias then stays below the kernel's 255 bytes.
const MAX_NETWORK: usize = 64;
const MAX_CONTAINER: usize = 128;

/// The owner of a veth, as the alias of its host end names it: `naru1:<network>/<container>/<ifname>/<generation>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Alias {
    network: String,
    container: String,
    ifname: String,
    generation: Generation,
}

/// An alias that naru did not write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("alias {0:?}: not one of naru's")]
pub struct InvalidAlias(pub String);

impl Alias {
    /// The alias of an attachment's veth; names too long for the kernel are replaced by their hash.
    #[must_use]
    pub fn new(id: &AttachmentId, generation: Generation) -> Self {
        Self {
            network: shorten(id.network(), MAX_NETWORK),
            container: shorten(id.container(), MAX_CONTAINER),
            ifname: id.ifname().to_owned(),
            generation,
        }
    }

    /// Returns true if the veth was made for this attachment, in any generation.
    #[must_use]
    pub fn belongs_to(&self, id: &AttachmentId) -> bool {
        self.ifname == id.ifname()
            && self.network == shorten(id.network(), MAX_NETWORK)
            && self.container == shorten(id.container(), MAX_CONTAINER)
    }

    /// Number of the assignment for which the veth was made.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The alias of the same attachment in another generation.
    #[must_use]
    pub fn with_generation(&self, generation: Generation) -> Self {
        Self { generation, ..self.clone() }
    }

    /// The attachment's network as written: its name, or the hash of a long one.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The attachment for which the veth was made; `None` if the alias holds only a hash of it.
    #[must_use]
    pub fn attachment(&self) -> Option<AttachmentId> {
        AttachmentId::new(&*self.network, &*self.container, &*self.ifname).ok()
    }
}

fn shorten(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    format!("{HASHED}{:016x}{:016x}", stable_hash(name, 0), stable_hash(name, 1))
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}/{}/{}/{}", self.network, self.container, self.ifname, self.generation)
    }
}

/// The whole alias of a host end: the owner, and after it the pod's flags of the datapath, if any is set:
/// `naru1:<network>/<container>/<ifname>/<generation>[/<flags>]`. Everything else that knows the flags may be gone
/// before the veth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The owner of the veth.
    pub alias: Alias,
    /// The flags.
    pub flags: u32,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flags {
            0 => self.alias.fmt(f),
            flags => write!(f, "{}/{flags:x}", self.alias),
        }
    }
}

impl FromStr for Label {
    type Err = InvalidAlias;

    /// Accepts exactly the texts that [`Label`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = parse(text).filter(|label| label.to_string() == text);
        read.ok_or_else(|| InvalidAlias(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Label> {
    let mut parts = text.strip_prefix(MARK)?.split('/');
    let (network, container) = (parts.next()?, parts.next()?);
    let (ifname, generation) = (parts.next()?, parts.next()?.parse().ok()?);
    let flags = parts.next().map_or(Ok(0), |flags| u32::from_str_radix(flags, 16)).ok()?;
    let unhashed = |name: &str| name.strip_prefix(HASHED).unwrap_or(name).to_owned();
    let whole = AttachmentId::new(unhashed(network), unhashed(container), ifname).is_ok();
    let alias = Alias {
        network: network.to_owned(),
        container: container.to_owned(),
        ifname: ifname.to_owned(),
        generation: Generation(generation),
    };
    (whole && parts.next().is_none()).then_some(Label { alias, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(network: &str, container: &str) -> AttachmentId {
        AttachmentId::new(network, container, "fifteen-bytes-x").unwrap()
    }

    #[test]
    fn an_alias_survives_the_kernel_and_names_its_attachment() {
        let id = id("naru", "4f2c");
        let alias = Alias::new(&id, Generation(12));
        assert_eq!(alias.to_string(), "naru1:naru/4f2c/fifteen-bytes-x/12");
        let Label { alias: read, flags } = alias.to_string().parse().unwrap();
        assert_eq!((&read, flags), (&alias, 0));
        assert_eq!(read.attachment(), Some(id.clone()));
        assert_eq!(read.network(), "naru");
        assert!(read.belongs_to(&id));
    }

    #[test]
    fn the_longest_names_fit_the_kernel_and_still_belong_to_their_attachment() {
        for (network, container) in [(64, 128), (65, 128), (64, 129), (4000, 4000)] {
            let id = id(&"n".repeat(network), &"c".repeat(container));
            let label = Label { alias: Alias::new(&id, Generation(u64::MAX)), flags: u32::MAX };
            assert!(label.to_string().len() <= 255, "{}", label.to_string().len());
            let read: Label = label.to_string().parse().unwrap();
            assert_eq!(read, label);
            assert!(read.alias.belongs_to(&id));
            assert_eq!(read.alias.attachment().is_some(), network <= 64 && container <= 128);
        }
    }

    #[test]
    fn long_names_with_the_same_beginning_are_told_apart() {
        let one = id("n", &format!("{}1", "c".repeat(200)));
        let two = id("n", &format!("{}2", "c".repeat(200)));
        assert!(!Alias::new(&one, Generation(1)).belongs_to(&two));
    }

    #[test]
    fn an_alias_of_others_is_refused() {
        for text in [
            "",
            "web",
            "naru1:",
            "naru1:a/b/eth0",
            "naru1:a/b/eth0/x",
            "naru1:a/b/eth0/+1",
            "naru1:a/b/eth0/01",
            "naru1:a/b/eth0/1/",
            "naru1:a/b/eth0/1/0",
            "naru1:a/b/eth0/1/02",
            "naru1:a/b/eth0/1/A",
            "naru1:a/b/eth0/1/+2",
            "naru1:a/b/eth0/1/g",
            "naru1:a/b/eth0/1/100000000",
            "naru1:a/b/eth0/1/2/3",
            "naru2:a/b/eth0/1",
        ] {
            assert_eq!(text.parse::<Label>(), Err(InvalidAlias(text.into())), "{text}");
        }
    }

    #[test]
    fn flags_stand_behind_the_owner_where_any_is_set() {
        let alias = Alias::new(&AttachmentId::new("naru", "4f2c", "eth0").unwrap(), Generation(12));
        for (flags, text) in [(0, ""), (1, "/1"), (0x1f, "/1f"), (u32::MAX, "/ffffffff")] {
            let label = Label { alias: alias.clone(), flags };
            assert_eq!(label.to_string(), format!("naru1:naru/4f2c/eth0/12{text}"));
            assert_eq!(label.to_string().parse::<Label>(), Ok(label));
        }
    }

    #[test]
    fn another_interface_of_the_container_is_another_owner() {
        let id = AttachmentId::new("n", "c", "eth0").unwrap();
        let other = AttachmentId::new("n", "c", "eth1").unwrap();
        assert!(!Alias::new(&id, Generation(1)).belongs_to(&other));
        assert_eq!(Alias::new(&id, Generation(3)).generation(), Generation(3));
        assert_eq!(
            Alias::new(&id, Generation(3)).with_generation(Generation(4)),
            Alias::new(&id, Generation(4))
        );
    }
}
