use std::{
    ffi::OsStr,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use crate::host::process::{Process, ProcessError, find};

/// The reasons for which a plugin gave no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `CNI_PATH` does not have it.
    #[error("not found in CNI_PATH {path:?}")]
    NotFound {
        /// The variable.
        path: String,
    },
    /// It is this very plugin, which would call itself without end.
    #[error("{} is this plugin itself", .0.display())]
    Itself(PathBuf),
    /// It took longer than it may.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// It could not be run.
    #[error("{action}: {source}")]
    Io {
        /// The action that was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The output of a plugin.
#[derive(Debug)]
pub struct Said {
    /// The exit status.
    pub status: ExitStatus,
    /// Its standard output.
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
    /// Time that it may take.
    pub deadline: Duration,
}

impl Run<'_> {
    /// Runs the plugin to its end. Its standard error is ours.
    ///
    /// # Errors
    /// [`RunError`]; a plugin that ran and failed is no error here.
    pub fn run(&self) -> Result<Said, RunError> {
        let process = Process {
            program: &self.find()?,
            arguments: &[],
            variables: self.variables,
            stdin: self.stdin,
            keeps_stderr: false,
            deadline: self.deadline,
        };
        match process.run() {
            Ok(ended) => Ok(Said { status: ended.status, stdout: ended.stdout }),
            Err(ProcessError::Deadline) => Err(RunError::Deadline(self.deadline)),
            Err(ProcessError::Io { action, source }) => Err(RunError::Io { action, source }),
        }
    }

    /// Finds the plugin and does not run it.
    ///
    /// # Errors
    /// [`RunError::NotFound`], [`RunError::Itself`].
    pub fn look(&self) -> Result<(), RunError> {
        self.find().map(drop)
    }

    fn find(&self) -> Result<PathBuf, RunError> {
        let not_found = || RunError::NotFound { path: self.path.to_owned() };
        let found = find(self.plugin, OsStr::new(self.path)).ok_or_else(not_found)?;
        if is_same(&found, Path::new("/proc/self/exe")) { Err(RunError::Itself(found)) } else { Ok(found) }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    number(one).is_some() && number(one) == number(other)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Instant};

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
