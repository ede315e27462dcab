//! The files of the reference plugin host-local: one for each address, named after it.

use std::net::IpAddr;

/// The holder of an address, from a file of host-local.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostLocalFile {
    /// The file's name.
    pub address: IpAddr,
    /// The first line; empty if the plugin died between making and writing the file.
    pub container: String,
    /// The second line; versions before 0.7 wrote none.
    pub ifname: String,
}

impl HostLocalFile {
    /// Reads a file of the directory; `None` if it stands for no address (`lock`, `last_reserved_ip.0`).
    #[must_use]
    pub fn read(name: &str, content: &str) -> Option<Self> {
        // The plugin writes underscores where file names may not contain colons.
        let address = name.replace('_', ":").parse().ok()?;
        let mut lines = content.lines().map(str::trim);
        let container = lines.next().unwrap_or_default().to_owned();
        let ifname = lines.next().filter(|line| !line.is_empty()).unwrap_or("eth0").to_owned();
        Some(Self { address, container, ifname })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_address_container_and_interface() {
        let file = HostLocalFile::read("10.22.0.5", "4f2c\r\nnet1").unwrap();
        assert_eq!(
            (file.address, file.container.as_str(), file.ifname.as_str()),
            ("10.22.0.5".parse().unwrap(), "4f2c", "net1")
        );
        assert_eq!(HostLocalFile::read("fd00::5", "4f2c").unwrap().ifname, "eth0");
        assert_eq!(
            HostLocalFile::read("fd00__5", "4f2c").unwrap().address,
            "fd00::5".parse::<IpAddr>().unwrap()
        );
        assert_eq!(HostLocalFile::read("10.22.0.6", "").unwrap().container, "");
    }

    #[test]
    fn other_files_are_none() {
        for name in ["lock", "last_reserved_ip.0", ""] {
            assert_eq!(HostLocalFile::read(name, "10.22.0.5"), None);
        }
    }
}
