//! The eBPF object that userspace/bpf/build.rs embeds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

use crate::{
    run::step,
    setup::{Bpf, Tool},
    workspace::{Kind, Workspace},
};

/// The BPF target of little-endian machines.
pub const TARGET: &str = "bpfel-unknown-none";
/// BTF for map dumps and the verifier comes from the debug information. By default bpf-linker expands copies in order,
/// which turns every `memset` into a call of a loop over bytes: 45 ns a packet in each program.
const FLAGS: [&str; 4] = [
    "-Clinker=bpf-linker",
    "-Clink-arg=--btf",
    "-Clink-arg=--disable-expand-memcpy-in-order",
    "-Cdebuginfo=2",
];

/// Builds the object and puts it where build.rs reads it.
///
/// # Errors
/// There is no BPF compiler, the compiler fails, or the file cannot be written.
pub fn build(workspace: &Workspace, kind: Kind) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "build", kind)?;
    let what = match kind {
        Kind::Normal => "eBPF object",
        Kind::Debug => "eBPF object that logs",
    };
    step(what, command.args(["--release"]))?;
    let built = scratch(workspace).join(TARGET).join("release/naru-datapath");
    let object = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    replace(&without_dwarf(&object)?, &workspace.object(kind))
}

/// The object without what only a debugger reads: BTF has been made of it, and its relocations, of which there are
/// tens of thousands, would be read at each start.
fn without_dwarf(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("read the eBPF object")?;
    for section in builder.sections.iter_mut() {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections with those of symbols.
    let names = builder.sections.add();
    (names.name, names.sh_type, names.sh_addralign) = (b".shstrtab"[..].into(), SHT_STRTAB, 1);
    names.data = SectionData::SectionString;
    let mut shorter = Vec::new();
    builder.write(&mut shorter).context("write the eBPF object")?;
    Ok(shorter)
}

/// Cargo of the BPF toolchain, running `verb` on the datapath.
///
/// # Errors
/// There is no BPF compiler.
pub fn cargo(workspace: &Workspace, verb: &str, kind: Kind) -> anyhow::Result<Command> {
    let bpf = Bpf::present().context("no compiler for BPF; `cargo xtask setup` installs one")?;
    let mut command = bpf.cargo(&Tool::BPF_LINKER.bin_directory()?)?;
    command.current_dir(&workspace.root).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    command.args([verb, "--package", "naru-datapath", "--target", TARGET]).args(bpf.options());
    command.args(kind.features("naru-datapath"));
    command.arg("--target-dir").arg(scratch(workspace));
    Ok(command)
}

/// Cargo's directory for BPF builds, apart from the host's because another compiler fills it.
fn scratch(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/bpf/cargo")
}

/// Writes a file by rename. One with the same bytes stays as it is, so that nothing is rebuilt.
fn replace(new: &[u8], to: &Path) -> anyhow::Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let staged = to.with_extension("new");
    fs::write(&staged, new).with_context(|| format!("write {}", staged.display()))?;
    fs::rename(&staged, to).with_context(|| format!("rename to {}", to.display()))
}
