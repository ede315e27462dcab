//! Running programs of others: with a deadline, and without anything of ours that they are not given.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// The directories of administrators' tools, which a container runtime may have left out of its plugins' `PATH`.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// Longest output that is read, in bytes.
const MAX_OUTPUT: u64 = 16 << 20;
/// The number of signals that the kernel has.
const SIGNALS: libc::c_int = 64;
/// Descriptors that are closed one by one where the kernel cannot close them together (before 5.11).
const DESCRIPTORS: libc::c_int = 4096;

/// The reason for which a program did not end by itself.
#[derive(Debug)]
pub enum ProcessError {
    /// It took longer than it may.
    Deadline,
    /// It could not be run.
    Io {
        /// The step that failed.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A program to be run.
pub struct Process<'a> {
    /// Its file.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Variables that differ from the caller's.
    pub variables: &'a [(&'a str, &'a str)],
    /// Standard input, whole.
    pub stdin: &'a [u8],
    /// True if its standard error is kept; else it goes where ours goes.
    pub keeps_stderr: bool,
    /// The time that it may take.
    pub deadline: Duration,
}

/// A program that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, where that is kept.
    pub stderr: Vec<u8>,
}

impl Process<'_> {
    /// Runs it in the calling thread's namespaces, to its end.
    ///
    /// # Errors
    /// [`ProcessError`]; a program that ran and failed is no error here.
    pub fn run(&self) -> Result<Ended, ProcessError> {
        // The outputs are files in memory: however much either side writes, nobody waits for the other.
        let (stdin, stdout) = (memory("naru-stdin", self.stdin)?, memory("naru-stdout", &[])?);
        let stderr = memory("naru-stderr", &[])?;
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .envs(std::env::var_os("PATH").map(|path| ("PATH", absolute_parts(&path))))
            .envs(self.variables.iter().copied())
            .stdin(stdin)
            .stdout(io_error("share its output", stdout.try_clone())?)
            .stderr(match self.keeps_stderr {
                true => io_error("share its output", stderr.try_clone())?.into(),
                false => Stdio::inherit(),
            })
            .process_group(0);
        // SAFETY: what runs between fork and exec makes system calls only, and those on numbers.
        unsafe { command.pre_exec(forget_ours) };
        hear_of_children();
        let status = self.wait(io_error("start it", command.spawn())?)?;
        Ok(Ended { status, stdout: written(stdout)?, stderr: written(stderr)? })
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, ProcessError> {
        let end = Instant::now() + self.deadline;
        let process = Pid::from_child(&child);
        let handle = io_error("watch it", pidfd_open(process, PidfdFlags::empty()).map_err(Into::into))?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It has its own process group, so that its children are ended too.
                let _ = kill_process_group(process, Signal::KILL);
                io_error("wait for it", child.wait())?;
                return Err(ProcessError::Deadline);
            }
            let timeout = Timespec::try_from(left).ok();
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], timeout.as_ref());
            if let Some(status) = io_error("wait for it", child.try_wait())? {
                return Ok(status);
            }
        }
    }
}

/// The file of a tool of the host, by the directories of `PATH` and then those of the system.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(name, &path).or_else(|| find(name, OsStr::new(SYSTEM_PATH)))
}

/// The first program of that name in the directories of `path`. Only absolute ones count: an empty or relative part
/// would search the directory that the caller happens to be in.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let mut candidates = absolute(path).map(|directory| directory.join(name));
    candidates.find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// The path without its empty and relative parts; the system's where no other is left.
fn absolute_parts(path: &OsStr) -> OsString {
    // Parts of a split path contain no colon.
    let parts = std::env::join_paths(absolute(path)).unwrap_or_default();
    if parts.is_empty() { SYSTEM_PATH.into() } else { parts }
}

fn absolute(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).filter(|part| part.is_absolute())
}

/// Resets an ignored `SIGCHLD`: programs pass it on to those they start, us among them, and the kernel would then reap
/// our children unseen. A handler is left alone.
fn hear_of_children() {
    // SAFETY: both calls are given a valid place for one action, or none.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut present) == 0
            && present.sa_sigaction == libc::SIG_IGN
        {
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
    }
}

/// Runs between fork and exec: keeps the program from inheriting what we inherited or hold.
fn forget_ours() -> io::Result<()> {
    // SAFETY: system calls on numbers and on memory of this frame, which a forked child may make; one that fails
    // changes nothing.
    unsafe {
        // Past the C library, which keeps two signals for itself; an action of zeros is the default one.
        let default = [0_u64; 4];
        for signal in 1..=SIGNALS {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8_usize);
        }
        // They are closed by exec, not now: the standard library uses one of them to report why exec failed.
        let (first, last) = (libc::STDERR_FILENO + 1, libc::c_int::MAX);
        if libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            for descriptor in first..DESCRIPTORS {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
    Ok(())
}

fn io_error<T>(action: &'static str, result: io::Result<T>) -> Result<T, ProcessError> {
    result.map_err(|source| ProcessError::Io { action, source })
}

/// A file without a name that holds `content`, to be read from the beginning.
fn memory(name: &str, content: &[u8]) -> Result<File, ProcessError> {
    let make = || {
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(file)
    };
    io_error("make its pipes", make())
}

/// All that was written to the file.
fn written(mut file: File) -> Result<Vec<u8>, ProcessError> {
    let mut all = Vec::new();
    io_error("read its output", file.rewind())?;
    io_error("read its output", file.take(MAX_OUTPUT).read_to_end(&mut all))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a shell.
    fn shell(script: &str) -> String {
        let process = Process {
            program: Path::new("/bin/sh"),
            arguments: &["-c", script],
            variables: &[],
            stdin: b"",
            keeps_stderr: true,
            deadline: Duration::from_secs(20),
        };
        String::from_utf8(process.run().unwrap().stdout).unwrap()
    }

    #[test]
    fn no_empty_or_relative_part_of_a_path_is_searched() {
        for path in ["", ":", "bin:", "./bin:../bin", "::usr/bin"] {
            assert_eq!(absolute_parts(OsStr::new(path)), SYSTEM_PATH, "{path:?}");
            assert_eq!(find("sh", OsStr::new(path)), None, "{path:?}");
        }
        assert_eq!(absolute_parts(OsStr::new("/opt/x::y:/opt/z")), "/opt/x:/opt/z");
        assert_eq!(absolute_parts(OsStr::new("/opt/x:/opt/z")), "/opt/x:/opt/z", "a good one stays as it is");
        assert_eq!(find("sh", OsStr::new(":/bin")), Some("/bin/sh".into()));
        assert_eq!(find("../bin/sh", OsStr::new("/bin")), None);
    }

    #[test]
    fn a_program_gets_a_path_without_the_current_directory() {
        assert!(shell("echo $PATH").split(':').all(|part| part.starts_with('/')));
    }

    #[test]
    fn a_program_inherits_no_descriptor_and_no_ignored_signal() {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: the descriptor is open; its double, unlike it, would go on to programs.
        let stray = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_DUPFD, 100) };
        assert!(stray >= 100);
        // SAFETY: nothing in this process waits for the signal.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        assert_eq!(shell(&format!("[ ! -e /proc/$$/fd/{stray} ] && echo closed")), "closed\n");
        let ignored = shell("grep SigIgn /proc/$$/status");
        assert_eq!(ignored.split_whitespace().nth(1), Some("0000000000000000"));
    }

    #[test]
    fn a_caller_that_ignores_the_end_of_children_is_told_of_it_all_the_same() {
        // In a process of its own: other tests wait for their children meanwhile.
        let test = "host::process::tests::a_program_gets_a_path_without_the_current_directory";
        let script = "trap '' CHLD; exec \"$0\" --exact \"$1\"";
        let own = std::env::current_exe().unwrap();
        let output = Command::new("sh").args(["-c", script]).arg(own).arg(test).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }
}
