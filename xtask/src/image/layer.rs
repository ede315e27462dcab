//! The image's one layer: the static programs and nothing else.

use std::{fs, path::Path};

use anyhow::Context;

/// Programs with content of their own.
const PROGRAMS: [&str; 2] = ["naru", "naru-cni"];
/// Further names of `naru-cni`, which looks at the name it is started by.
const LINKS: [&str; 2] = ["naru-ipam", "loopback"];

/// Returns the layer of the programs in `directory` as an archive without times, owners or an order of its own.
///
/// # Errors
/// A program cannot be read.
pub fn tar(directory: &Path) -> anyhow::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for name in PROGRAMS {
        let place = directory.join(name);
        let content = fs::read(&place).with_context(|| place.display().to_string())?;
        let mut header = header(tar::EntryType::Regular, content.len() as u64);
        layer.append_data(&mut header, name, content.as_slice())?;
    }
    for name in LINKS {
        layer.append_link(&mut header(tar::EntryType::Link, 0), name, "naru-cni")?;
    }
    Ok(layer.into_inner()?)
}

fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_layer_says_nothing_of_when_and_by_whom_it_was_made() {
        let directory = |age: u64| {
            let directory = tempfile::tempdir().unwrap();
            for name in PROGRAMS {
                let file = fs::File::create(directory.path().join(name)).unwrap();
                fs::write(directory.path().join(name), name).unwrap();
                let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age);
                file.set_modified(time).unwrap();
            }
            directory
        };
        let layer = tar(directory(1_000).path()).unwrap();
        assert_eq!(layer, tar(directory(2_000).path()).unwrap());
        let mut names = Vec::new();
        for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o755, 0));
            names.push((entry.path().unwrap().display().to_string(), content));
        }
        let pair = |name: &str, content: &str| (name.to_owned(), content.to_owned());
        let right =
            [pair("naru", "naru"), pair("naru-cni", "naru-cni"), pair("naru-ipam", ""), pair("loopback", "")];
        assert_eq!(names, right);
    }
}
