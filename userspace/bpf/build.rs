//! Puts the eBPF object where `naru_bpf::object` embeds it from: the file `NARU_EBPF_OBJECT` names, else the one that
//! `cargo xtask build` left below `target/bpf` (with the feature `debug` the one that logs), else an empty one, so that
//! everything builds without a BPF toolchain and says at run time what is missing.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

const BUILT: &str = "target/bpf/naru-datapath.o";
const BUILT_DEBUG: &str = "target/bpf/naru-datapath-debug.o";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=NARU_EBPF_OBJECT");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("naru-datapath.o");
    let object = match env::var_os("NARU_EBPF_OBJECT").filter(|path| !path.is_empty()) {
        Some(path) => read(Path::new(&path))?,
        None => built(&workspace()?.join(if cfg!(feature = "debug") { BUILT_DEBUG } else { BUILT }))?,
    };
    fs::write(out, object)?;
    Ok(())
}

fn workspace() -> Result<PathBuf, Box<dyn Error>> {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = own.ancestors().nth(2).ok_or("userspace/bpf is not two levels below the workspace")?;
    Ok(root.to_owned())
}

/// Returns the object that xtask left, or nothing if there is none yet.
fn built(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    if path.exists() {
        return read(path);
    }
    // Cargo repeats a build for ever while a file that it is told to watch is missing, so it watches the directory.
    if let Some(directory) = path.parent().filter(|directory| fs::create_dir_all(directory).is_ok()) {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    Ok(Vec::new())
}

fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
