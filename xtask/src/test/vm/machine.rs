//! The virtual machine.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

use super::{archive::Archive, kernel::Kernel};
use crate::run::say;

/// The beginning of the guest's last line; its exit status follows.
const LAST_WORDS: &str = "guest: exit status ";

/// A machine to run one script on.
pub struct Machine<'a> {
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Its first process, statically linked.
    pub init: PathBuf,
    /// The script to run; a path of this machine.
    pub script: PathBuf,
    /// The path of its initial file system.
    pub directory: PathBuf,
}

impl Machine<'_> {
    /// Boots, shows the console, and returns the script's exit status.
    ///
    /// # Errors
    /// qemu cannot be run, or the guest ended without a status.
    pub fn run(&self) -> anyhow::Result<i32> {
        let initial = self.directory.join("initramfs");
        fs::write(&initial, self.initial()?).with_context(|| initial.display().to_string())?;
        let mut command = self.qemu(&initial);
        say("boot");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("run qemu")?;
        let mut status = None;
        for line in BufReader::new(child.stdout.take().context("qemu: no stdout")?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{}", line.trim_end());
            status = line.trim().strip_prefix(LAST_WORDS).and_then(|code| code.parse().ok()).or(status);
        }
        child.wait().context("qemu")?;
        status.context("the guest ended without saying how")
    }

    fn initial(&self) -> anyhow::Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.directory("modules")?;
        let mut list = String::new();
        for file in self.kernel.root_modules()? {
            let name = file.file_name().context("a module without a name")?.to_string_lossy().into_owned();
            let name = format!("modules/{name}");
            archive.copy(&name, &file)?;
            list.push_str(&format!("/{name}\n"));
        }
        archive.file("modules.list", list.as_bytes())?;
        archive.copy("init", &self.init)?;
        archive.finish()
    }

    fn qemu(&self, initial: &Path) -> Command {
        let modules = self.kernel.modules();
        let environment = format!("NARU_SCRIPT={} NARU_MODULES={}", self.script.display(), modules.display());
        let mut command = Command::new("qemu-system-x86_64");
        // A /dev/kvm inside a virtual machine may accept the guest and never run it, so kvm is used only on request.
        let accelerator = env::var("NARU_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        command.args(["-accel", &accelerator, "-cpu", "max", "-smp", "2", "-m", "3G"]);
        command.args([
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
        ]);
        command.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(initial);
        command.args(["-append", &format!("console=ttyS0 quiet panic=-1 {environment}")]);
        let share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
        command.args(["-virtfs", share]);
        command
    }
}
