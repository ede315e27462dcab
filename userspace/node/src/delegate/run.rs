use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Why a plugin gave no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `CNI_PATH` does not have it.
    #[error("not found in CNI_PATH {path:?}")]
    NotFound {
        /// The variable.
        path: String,
    },
    /// It is this very plugin: that would have no end.
    #[error("{} is this plugin itself", .0.display())]
    Itself(PathBuf),
    /// It took longer than it may.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// It could not be run.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a plugin said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
}

/// Runs a CNI plugin by its name, without a shell, with these variables in place of the caller's of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Name of the file, without directories.
    pub plugin: &'a str,
    /// `CNI_PATH`: directories, separated by colons.
    pub path: &'a str,
    /// Variables that differ from the caller's.
    pub variables: &'a [(&'a str, &'a str)],
    /// Standard input, whole.
    pub stdin: &'a [u8],
    /// How long it may take.
    pub deadline: Duration,
}

impl Run<'_> {
    /// Runs it to its end. What it writes to standard error goes where ours goes.
    ///
    /// # Errors
    /// [`RunError`]; a plugin that ran and failed is no error here.
    pub fn run(&self) -> Result<Said, RunError> {
        let program = self.find()?;
        // Files in settings: however much either side writes, nobody waits for the other.
        let (stdin, mut stdout) = (settings("naru-stdin", self.stdin)?, settings("naru-stdout", &[])?);
        let child = Command::new(&program)
            .envs(self.variables.iter().copied())
            .stdin(stdin)
            .stdout(io_error("share its output", stdout.try_clone())?)
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn();
        let status = self.wait(io_error("start it", child)?)?;
        let mut said = Vec::new();
        io_error("read its output", stdout.rewind())?;
        io_error("read its output", stdout.take(MAX_ANSWER).read_to_end(&mut said))?;
        Ok(Said { status, stdout: said })
    }

    fn find(&self) -> Result<PathBuf, RunError> {
        let not_found = || RunError::NotFound { path: self.path.to_owned() };
        if self.plugin.is_empty() || self.plugin.contains('/') {
            return Err(not_found());
        }
        let directories = self.path.split(':').filter(|directory| !directory.is_empty());
        let mut candidates = directories.map(|directory| Path::new(directory).join(self.plugin));
        let found = candidates.find(|file| is_program(file)).ok_or_else(not_found)?;
        if is_same(&found, Path::new("/proc/self/exe")) { Err(RunError::Itself(found)) } else { Ok(found) }
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, RunError> {
        let end = Instant::now() + self.deadline;
        let process = Pid::from_child(&child);
        let handle = io_error("watch it", pidfd_open(process, PidfdFlags::empty()).map_err(Into::into))?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Its own process group: whatever it started goes too.
                let _ = kill_process_group(process, Signal::KILL);
                io_error("wait for it", child.wait())?;
                return Err(RunError::Deadline(self.deadline));
            }
            let timeout = Timespec::try_from(left).ok();
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], timeout.as_ref());
            if let Some(status) = io_error("wait for it", child.try_wait())? {
                return Ok(status);
            }
        }
    }
}

fn io_error<T>(action: &'static str, result: io::Result<T>) -> Result<T, RunError> {
    result.map_err(|source| RunError::Io { action, source })
}

/// A file without a name that holds `content`, to be read from the beginning.
fn settings(name: &str, content: &[u8]) -> Result<File, RunError> {
    let make = || {
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    io_error("make its pipes", make())
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    number(one).is_some() && number(one) == number(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(plugin: &'a str, path: &'a str, stdin: &'a [u8]) -> Run<'a> {
        let deadline = Duration::from_secs(20);
        Run { plugin, path, variables: &[("CNI_COMMAND", "DEL")], stdin, deadline }
    }

    fn script(text: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("plugin");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    #[test]
    fn a_plugin_gets_all_of_its_input_and_may_answer_before_it_reads() {
        let directory = script("echo $CNI_COMMAND; cat");
        let input = vec![b'x'; 1 << 20];
        let said = run("plugin", directory.path().to_str().unwrap(), &input).run().unwrap();
        assert!(said.status.success());
        assert_eq!(said.stdout, [&b"DEL\n"[..], &input].concat());
    }

    #[test]
    fn the_first_directory_that_has_it_counts() {
        let (one, two) = (script("echo one"), script("echo two"));
        let path = format!("/naru-not-there:{}:{}", one.path().display(), two.path().display());
        assert_eq!(run("plugin", &path, b"").run().unwrap().stdout, b"one\n");
    }

    #[test]
    fn a_name_with_a_directory_is_never_run() {
        let error = run("../bin/true", "/usr/bin", b"").run().unwrap_err();
        assert_eq!(error.to_string(), "not found in CNI_PATH \"/usr/bin\"");
        assert!(run("true", "/usr/bin", b"").run().unwrap().status.success());
    }

    #[test]
    fn a_plugin_does_not_call_itself() {
        let own = std::env::current_exe().unwrap();
        let (directory, name) = (own.parent().unwrap().to_str().unwrap(), own.file_name().unwrap());
        let error = run(name.to_str().unwrap(), directory, b"").run().unwrap_err();
        assert!(matches!(error, RunError::Itself(_)), "{error}");
    }

    #[test]
    fn a_plugin_that_hangs_is_ended_with_what_it_started() {
        let directory = script("sleep 300 & echo $!; sleep 300");
        let mut hangs = run("plugin", directory.path().to_str().unwrap(), b"");
        hangs.deadline = Duration::from_millis(200);
        let began = Instant::now();
        assert!(matches!(hangs.run(), Err(RunError::Deadline(_))));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
