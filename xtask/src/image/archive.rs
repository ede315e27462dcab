//! An image as an archive that every runtime imports: the OCI image layout in a tar file (image-spec v1.1, "OCI Image
//! Layout Specification").

use std::io::Write;

use anyhow::Context;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A part of an image, which is named by its digest.
struct Blob {
    media_type: &'static str,
    content: Vec<u8>,
}

/// An image of one layer for the machine that built it.
pub struct Archive {
    name: String,
    layer: Blob,
    config: Blob,
    manifest: Blob,
}

impl Blob {
    fn json(media_type: &'static str, content: &Value) -> anyhow::Result<Self> {
        Ok(Self { media_type, content: serde_json::to_vec(content)? })
    }

    fn digest(&self) -> String {
        digest(&self.content)
    }

    /// The reference to this part in another.
    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.content.len() })
    }
}

impl Archive {
    /// An image with this name and layer, which starts `naru`.
    ///
    /// # Errors
    /// The layer cannot be compressed.
    pub fn of(name: &str, layer: &[u8]) -> anyhow::Result<Self> {
        let diff_id = digest(layer);
        let layer =
            Blob { media_type: "application/vnd.oci.image.layer.v1.tar+gzip", content: compressed(layer)? };
        let config = json!({
            "architecture": architecture()?,
            "os": "linux",
            "config": { "Entrypoint": ["/naru"], "Cmd": ["--help"], "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
            "history": [{ "comment": "naru" }],
        });
        let config = Blob::json("application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        let manifest = Blob::json("application/vnd.oci.image.manifest.v1+json", &manifest)?;
        Ok(Self { name: name.to_owned(), layer, config, manifest })
    }

    /// The image's digest.
    pub fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// Bytes of the compressed layer.
    pub const fn layer_size(&self) -> usize {
        self.layer.content.len()
    }

    /// The archive.
    ///
    /// # Errors
    /// A part cannot be written.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut named = self.manifest.descriptor();
        // The first is the specification's, the second what containerd takes as the image's name.
        named["annotations"] = json!({
            "org.opencontainers.image.ref.name": self.name,
            "io.containerd.image.name": self.name,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [named],
        });
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, content)
        };
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json", &serde_json::to_vec(&index)?)?;
        for blob in [&self.config, &self.layer, &self.manifest] {
            let digest = blob.digest();
            let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(&digest);
            add(&format!("blobs/sha256/{hexadecimal}"), &blob.content)?;
        }
        Ok(archive.into_inner()?)
    }
}

/// Gzip without a name or a time in its header.
fn compressed(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish().context("compress the layer")
}

fn digest(content: &[u8]) -> String {
    let sum = Sha256::digest(content);
    let hexadecimal: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

/// This machine's architecture as images name it.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => anyhow::bail!("{other}: no name of this architecture in images is known"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use super::*;

    #[test]
    fn every_part_of_an_archive_is_what_its_digest_says_and_two_are_alike() {
        let archive = Archive::of("example/naru:v1", b"layer").unwrap();
        let bytes = archive.bytes().unwrap();
        assert_eq!(bytes, Archive::of("example/naru:v1", b"layer").unwrap().bytes().unwrap());
        let mut parts = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            parts.insert(entry.path().unwrap().display().to_string(), content);
        }
        for (name, content) in parts.iter().filter(|(name, _)| name.starts_with("blobs/")) {
            assert_eq!(format!("blobs/{}", digest(content).replace(':', "/")), *name);
        }
        let index: Value = serde_json::from_slice(&parts["index.json"]).unwrap();
        assert_eq!(index["manifests"][0]["digest"], archive.digest());
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "example/naru:v1");
        let mut unpacked = Vec::new();
        let layer = &parts[&format!("blobs/{}", archive.layer.digest().replace(':', "/"))];
        flate2::read::GzDecoder::new(layer.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, b"layer");
    }
}
