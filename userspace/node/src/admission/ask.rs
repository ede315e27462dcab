//! The question to the agent: a line of JSON each way over a socket of the node's.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use naru_core::ids::PodName;
use serde::{Deserialize, Serialize};

/// Time for which the agent waits for the source to say a pod's labels, and some more.
const PATIENCE: Duration = Duration::from_secs(3);

/// A pod that is being made.
#[derive(Serialize, Deserialize)]
struct Question {
    namespace: String,
    name: String,
    uid: String,
}

/// The agent's answer, when the pod's rights are in the maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// True if the pod has the rights that the policies give it; otherwise it is closed as it was.
    pub is_known: bool,
}

/// Asks the agent behind `socket` to give the pod its rights. Its address must be in the maps already.
///
/// # Errors
/// No agent runs, or it does not answer.
pub fn ask(socket: &Path, pod: &PodName) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let PodName { namespace, name, uid } = pod.clone();
    let mut line = serde_json::to_vec(&Question { namespace, name, uid })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The pod of a question.
///
/// # Errors
/// The line is none.
pub fn read_question(line: &str) -> io::Result<PodName> {
    let Question { namespace, name, uid } = serde_json::from_str(line)?;
    Ok(PodName { namespace, name, uid })
}
