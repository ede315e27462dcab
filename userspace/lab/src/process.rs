//! The agents of a lab, by their pid files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// An agent's pid file: its process and when that started, so that a reused number is not taken for it.
pub fn pid_file(node_root: &Path) -> PathBuf {
    node_root.join("agent.pid")
}

/// Remembers the process `pid` as the agent of the node below `node_root`.
pub fn remember_agent(node_root: &Path, pid: u32) -> anyhow::Result<()> {
    let started = start_time(pid.cast_signed()).with_context(|| format!("process {pid}: not running"))?;
    let path = pid_file(node_root);
    fs::write(&path, format!("{pid} {started}\n")).with_context(|| format!("write {}", path.display()))
}

/// The running agent of the node below `node_root`: the number is alive and started when the file says.
pub fn agent(node_root: &Path) -> Option<i32> {
    let text = fs::read_to_string(pid_file(node_root)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (start_time(pid)? == started.parse::<u64>().ok()?).then_some(pid)
}

/// Clock ticks after boot at which `pid` started (`/proc/PID/stat`, field 22); `None` for a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let alive = fields.next()? != "Z";
    fields.nth(18)?.parse().ok().filter(|_| alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_known_by_number_and_start() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(agent(directory.path()), None);
        remember_agent(directory.path(), std::process::id()).unwrap();
        assert_eq!(agent(directory.path()), Some(std::process::id().cast_signed()));
        fs::write(pid_file(directory.path()), format!("{} 1\n", std::process::id())).unwrap();
        assert_eq!(agent(directory.path()), None);
    }
}
