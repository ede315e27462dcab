use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
};

use anyhow::Context;

/// A process that ends with its guard, and with this process however that ends. What it says is in a file.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Keeps the thread alive that started it: the kernel ends a child with the thread that is its parent.
    _parent: Sender<()>,
}

impl Process {
    /// Starts `program` in the network namespace, if one is named.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        netns: Option<&Path>,
        program: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let mut command = in_namespace(netns, OsStr::new("setpriv"));
        let out = File::create(&log)?;
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let (started, child) = channel();
        let (parent, end) = channel::<()>();
        thread::spawn(move || {
            if started.send(command.spawn()).is_ok() {
                // Ends when the guard is gone.
                let _ = end.recv();
            }
        });
        let child = child.recv()?.with_context(|| program.display().to_string())?;
        Ok(Self { child, log, _parent: parent })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns true if it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|end| end.is_none())
    }

    /// The last lines that it said.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command in the network namespace, if one is named. `nsenter` becomes the program, so its id is the program's.
pub fn in_namespace(netns: Option<&Path>, program: &OsStr) -> Command {
    match netns {
        None => Command::new(program),
        Some(netns) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", netns.display())).arg("--").arg(program);
            command
        }
    }
}
