//! The eBPF object, as userspace/bpf/build.rs embeds it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    run::step,
    setup::Bpf,
    workspace::{Kind, Workspace},
};

/// The BPF target of little-endian machines.
pub const TARGET: &str = "bpfel-unknown-none";
/// BTF for map dumps and the verifier comes out of the debug information. What bpf-linker does by default for copies in
/// order makes a call of every `memset`, and that a loop over bytes: 45 ns a packet in each program.
const FLAGS: [&str; 4] = [
    "-Clinker=bpf-linker",
    "-Clink-arg=--btf",
    "-Clink-arg=--disable-expand-memcpy-in-order",
    "-Cdebuginfo=2",
];

/// Builds the object and puts it where it is embedded from.
///
/// # Errors
/// There is no BPF compiler, it fails, or the file cannot be written.
pub fn build(workspace: &Workspace, kind: Kind) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "build", kind)?;
    let what = match kind {
        Kind::Normal => "eBPF object",
        Kind::Debug => "eBPF object that logs",
    };
    step(what, command.args(["--release"]))?;
    let built = scratch(workspace).join(TARGET).join("release/naru-datapath");
    replace(&built, &workspace.object(kind))
}

/// Cargo of the BPF toolchain, running `verb` on the datapath.
///
/// # Errors
/// There is no BPF compiler.
pub fn cargo(workspace: &Workspace, verb: &str, kind: Kind) -> anyhow::Result<Command> {
    let bpf = Bpf::present().context("no compiler for BPF: `cargo xtask setup` installs one")?;
    let mut command = bpf.cargo()?;
    command.current_dir(&workspace.root).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    command.args([verb, "--package", "naru-datapath", "--target", TARGET]).args(bpf.options());
    command.args(kind.features("naru-datapath"));
    command.arg("--target-dir").arg(scratch(workspace));
    Ok(command)
}

/// Cargo's directory for BPF builds: of another compiler, so not shared with the host's.
fn scratch(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/bpf/cargo")
}

/// Copies `from` over `to` by rename; a file with the same bytes is left alone, so that nothing is rebuilt.
fn replace(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let staged = to.with_extension("new");
    fs::write(&staged, new).with_context(|| format!("write {}", staged.display()))?;
    fs::rename(&staged, to).with_context(|| format!("rename to {}", to.display()))
}
