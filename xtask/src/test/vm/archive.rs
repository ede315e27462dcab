//! The initial file system of the guest: a cpio archive of the "newc" form (kernel documentation, initramfs buffer
//! format).

use std::{fs, path::Path};

use anyhow::Context;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const END: &str = "TRAILER!!!";

/// An archive under construction.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an empty directory, named without leading slash.
    ///
    /// # Errors
    /// The name is too long.
    pub fn directory(&mut self, name: &str) -> anyhow::Result<()> {
        self.entry(name, DIRECTORY, &[])
    }

    /// Adds a copy of `from` as `name`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn copy(&mut self, name: &str, from: &Path) -> anyhow::Result<()> {
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(name, &content)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It is too large.
    pub fn file(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.entry(name, EXECUTABLE, content)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Never in practice: the end's name is short.
    pub fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        self.entry(END, 0, &[])?;
        Ok(self.bytes)
    }

    /// Thirteen fields of eight hexadecimal digits after the magic, then name and content, each padded to four bytes.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{name}: too large"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        let links = 1;
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_a_content_each_padded_to_four_bytes() {
        let mut archive = Archive::default();
        archive.file("init", b"hello").unwrap();
        let bytes = archive.bytes;
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081ed");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[94..102], b"00000005");
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..], b"hello\0\0\0");
    }

    #[test]
    fn an_archive_ends_with_its_trailer() {
        let bytes = Archive::default().finish().unwrap();
        assert_eq!(&bytes[110..120], END.as_bytes());
        assert_eq!(bytes.len() % 4, 0);
    }
}
