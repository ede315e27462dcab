//! The socket on which plugins ask for the rights of a pod that they make.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path, sync::mpsc::Sender, time::Duration};

use naru_cluster::policies::Register;
use naru_core::ids::PodName;
use naru_node::{
    admission::{Answer, read_question},
    paths::Paths,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::oneshot,
    time::{interval, timeout},
};

/// Time that a caller may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(2);
/// Period in which the socket is made where it is missing: its directory comes with the first init.
const LOOK: Duration = Duration::from_secs(1);
/// Longest question.
const LONGEST: u64 = 4096;

/// A question under way.
pub struct Ask {
    /// The pod.
    pub pod: PodName,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// Answers for ever, from the time at which it is opened. Every question goes to `asks`, and the register's reader is
/// woken for it.
pub async fn serve(paths: Paths, register: Register, asks: Sender<Ask>, opened: oneshot::Receiver<()>) {
    if opened.await.is_err() {
        return;
    }
    let socket = paths.policy_socket();
    let mut look = interval(LOOK);
    let mut listener = None;
    let mut is_told = false;
    loop {
        if listener.is_none() || !socket.exists() {
            listener = match bind(&socket) {
                Ok(bound) => Some(bound),
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!("{}: {error}: new pods stay closed for a moment", socket.display());
                    }
                    None
                }
            };
        }
        tokio::select! {
            Some(caller) = accept(listener.as_ref()) => {
                tokio::spawn(answer(caller, register.clone(), asks.clone()));
            }
            _ = look.tick() => {}
        }
    }
}

async fn accept(listener: Option<&UnixListener>) -> Option<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(caller, _)| caller),
        None => std::future::pending().await,
    }
}

/// A socket for root alone.
fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(mut caller: UnixStream, register: Register, asks: Sender<Ask>) {
    let (from, mut to) = caller.split();
    let mut line = String::new();
    let mut from = BufReader::new(from).take(LONGEST);
    if !matches!(timeout(PATIENCE, from.read_line(&mut line)).await, Ok(Ok(_))) {
        return;
    }
    let Ok(pod) = read_question(&line) else { return };
    let (reply, replied) = oneshot::channel();
    if asks.send(Ask { pod, reply }).is_err() {
        return;
    }
    register.wake();
    let Ok(answer) = replied.await else { return };
    let Ok(mut text) = serde_json::to_vec(&answer) else { return };
    text.push(b'\n');
    let _ = timeout(PATIENCE, to.write_all(&text)).await;
}
