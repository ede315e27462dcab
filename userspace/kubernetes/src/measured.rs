//! The size in memory of what a test makes, in a process of its own: other tests of the binary use memory, too.

use std::{env, fs, process::Command};

/// Set in the process that measures.
const MEASURES: &str = "NARU_TEST_MEASURES";

/// Returns true in a process that runs this test alone; in any other it starts one, and waits for it.
pub fn alone(test: &str) -> bool {
    if env::var_os(MEASURES).is_some() {
        return true;
    }
    let (_, name) = test.split_once("::").unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(MEASURES, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// The size of the process in memory, in bytes.
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
