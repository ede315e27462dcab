//! Kind 13 of the field cases: what a plugin inherits from the runtime. Outputs that nobody reads or that are full, few
//! descriptors, no PATH, ignored signals, a current directory with traps.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    fs::{self, File},
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use harness::{Netns, Node, PLUGIN};
use serde_json::{Value, json};

/// A call of the plugin on the node, with whatever the test does to the process.
struct Call<'a> {
    node: &'a Node,
    pod: &'a Netns,
    conf: Value,
}

impl Call<'_> {
    fn command(&self, verb: &str) -> Command {
        let mut command = self.node.netns.command(PLUGIN);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "abc"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", self.pod.path().to_str().unwrap()),
            ("CNI_PATH", "/usr/lib/cni"),
            ("NARU_BOOT_ID", &self.node.boot),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, mut command: Command) -> (ExitStatus, String, String) {
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(self.conf.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status, text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, verb: &str) {
        let (status, stdout, stderr) = self.run(self.command(verb));
        assert!(status.success(), "{verb}: {stdout}{stderr}");
    }
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The process begins without this descriptor.
fn without(command: &mut Command, descriptor: i32) {
    // SAFETY: a system call on a number, between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::close(descriptor);
            Ok(())
        });
    }
}

/// A change to a process before it begins.
type Harm = fn(&mut Command);

/// Ways in which standard output may be broken.
const OUTPUTS: [(&str, Harm); 3] = [
    ("full", |command| {
        command.stdout(full());
    }),
    ("closed", |command| without(command, 1)),
    ("a pipe that nobody reads", |command| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer);
    }),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_result_that_nobody_gets_is_no_success_and_the_attachment_can_be_undone() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let call = Call { node: &node, pod: &pod, conf: node.conf() };
    for (what, break_it) in OUTPUTS {
        for verb in ["ADD", "VERSION"] {
            let mut command = call.command(verb);
            break_it(&mut command);
            let (status, _, stderr) = call.run(command);
            assert_eq!(status.code(), Some(1), "{what}, {verb}: {stderr}");
            assert!(stderr.contains("naru-cni: standard output: "), "{what}, {verb}: {stderr}");
        }
        assert_eq!(node.held().len(), 2, "{what}: it stands, as the next ADD or DEL finds it");
        let mut command = call.command("DEL");
        break_it(&mut command);
        assert!(call.run(command).0.success(), "{what}: a DEL has nothing to say");
        node.assert_clean();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_log_that_takes_nothing_changes_nothing() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let call = Call { node: &node, pod: &pod, conf: node.conf() };
    let outputs: [Harm; 2] = [
        |command| {
            command.stderr(full());
        },
        |command| without(command, 2),
    ];
    for break_it in outputs {
        for (verb, container, code) in [("ADD", "abc", None), ("CHECK", "abc", Some(7)), ("DEL", "abc", None)]
        {
            let mut command = call.command(verb);
            command.env("CNI_CONTAINERID", container);
            break_it(&mut command);
            let (status, stdout, _) = call.run(command);
            assert_eq!(status.success(), code.is_none(), "{verb}: {stdout}");
            if let Some(code) = code {
                assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["code"], code, "{stdout}");
            }
        }
        node.assert_clean();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_few_descriptors_an_add_succeeds_or_says_so_and_leaves_nothing() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut lent = node.conf();
    let data = tempfile::tempdir().unwrap();
    lent["ipam"] = json!({ "type": "host-local", "dataDir": data.path(), "subnet": "10.88.0.0/24" });
    for conf in [node.conf(), lent] {
        let call = Call { node: &node, pod: &pod, conf };
        // The node is made with as many as it takes.
        call.ok("ADD");
        call.ok("DEL");
        let mut done = 0;
        // A dynamically linked program needs one to begin.
        for limit in 4..=40 {
            let mut command = call.command("ADD");
            // SAFETY: a system call on numbers, between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                    libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                    Ok(())
                });
            }
            let (status, stdout, stderr) = call.run(command);
            assert!(status.code().is_some_and(|code| code < 2), "{limit}: {status}: {stdout}{stderr}");
            let answer: Value =
                serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{limit}: {stdout}{stderr}"));
            assert_eq!(status.success(), answer["ips"].is_array(), "{limit}: {answer}");
            done += usize::from(status.success());
            if !status.success() {
                assert!(answer["code"].is_u64() && node.veths().is_empty(), "{limit}: {answer}");
            }
            call.ok("DEL");
            node.assert_clean();
        }
        assert!(done > 5, "40 are enough");
    }
    assert!(
        fs::read_dir(data.path().join("test"))
            .unwrap()
            .flatten()
            .all(|file| { !file.file_name().to_string_lossy().starts_with("10.88.") })
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_a_limit_of_file_sizes_an_add_succeeds_or_says_so_and_leaves_nothing() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let call = Call { node: &node, pod: &pod, conf: node.conf() };
    call.ok("ADD");
    call.ok("DEL");
    for limit in [0, 100, 4096, 1 << 20] {
        let mut command = call.command("ADD");
        // SAFETY: a system call on numbers, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
                Ok(())
            });
        }
        let (status, stdout, stderr) = call.run(command);
        let answer: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{limit}: {status} {stdout}{stderr}"));
        assert_eq!(status.success(), answer["ips"].is_array(), "{limit}: {answer}");
        assert_eq!(status.success(), limit == 1 << 20, "{limit}: {answer}");
        assert_eq!(node.veths().is_empty(), !status.success(), "{limit}: {answer}");
        call.ok("DEL");
        node.assert_clean();
    }
}

/// A directory of programs that record when somebody runs them.
fn traps(directory: &Path) {
    for name in [
        "nft",
        "iptables",
        "iptables-legacy",
        "iptables-legacy-save",
        "ip6tables-legacy-save",
        "modprobe",
        "host-local",
        "sh",
    ] {
        let file = directory.join(name);
        fs::write(&file, "#!/bin/sh\ntouch \"$(dirname \"$0\")/sprung\"\nexit 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_path_and_signals_it_inherits_an_attachment_works_and_nothing_of_the_current_directory_runs() {
    let here = tempfile::tempdir().unwrap();
    traps(here.path());
    for path in [None, Some(""), Some(":"), Some("."), Some("bin:./:")] {
        // A node of its own: making it is where most tools would be run.
        let (node, pod, data) = (Node::new(), Netns::new("pod"), tempfile::tempdir().unwrap());
        let mut lent = node.conf();
        lent["ipam"] = json!({ "type": "host-local", "dataDir": data.path(), "subnet": "10.88.0.0/24" });
        for conf in [node.conf(), lent] {
            let call = Call { node: &node, pod: &pod, conf };
            for verb in ["ADD", "DEL"] {
                let mut command = call.command(verb);
                command.env_remove("PATH").envs(path.map(|path| ("PATH", path))).current_dir(here.path());
                // SAFETY: a system call on numbers, between fork and exec.
                unsafe {
                    command.pre_exec(|| {
                        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                        Ok(())
                    });
                }
                let (status, stdout, stderr) = call.run(command);
                assert!(status.success(), "{path:?}, {verb}: {stdout}{stderr}");
            }
            node.assert_clean();
        }
        assert!(!here.path().join("sprung").exists(), "{path:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_shows_no_character_that_commands_a_terminal() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut conf = node.conf();
    conf["ipam"] = json!({ "subnet": "10.77.0.0/31" });
    let call = Call { node: &node, pod: &pod, conf };
    let name = "IgnoreUnknown=1;K8S_POD_NAMESPACE=de\u{9b}2Jfault;K8S_POD_NAME=web\x1b[31m\nERROR forged";
    for container in ["a", "b", "c"] {
        let mut command = call.command("ADD");
        command
            .env("CNI_CONTAINERID", container)
            .env("CNI_IFNAME", format!("eth{container}"))
            .env("CNI_ARGS", name);
        let (status, stdout, stderr) = call.run(command);
        if !status.success() {
            let answer: Value = serde_json::from_str(&stdout).unwrap();
            let msg = answer["msg"].as_str().unwrap();
            for text in [msg, stderr.trim_end()] {
                assert!(!text.contains(char::is_control), "{text:?}");
                assert!(text.contains("de\\u009b2Jfault/web\\u001b[31m\\u000aERROR forged"), "{text}");
            }
            return;
        }
    }
    panic!("three pods in a subnet of two addresses");
}
