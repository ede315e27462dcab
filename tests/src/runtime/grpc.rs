//! gRPC calls over a unix socket. curl speaks HTTP/2 and prints the trailers; the framing is five bytes.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::protobuf::{Fields, Message};
use crate::tool;

/// Calls `method` (`package.Service/Method`) of the server behind `socket`.
///
/// # Errors
/// There is no connection, or the server reports an error.
pub fn call(socket: &Path, method: &str, request: &Message) -> anyhow::Result<Fields> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--http2-prior-knowledge",
        "--max-time",
        "60",
        "--unix-socket",
    ]);
    command.arg(socket);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "expect:"]);
    command.args(["--include", "--data-binary", "@-"]).arg(format!("http://localhost/{method}"));
    let output = exchange(&mut command, &frame(request.as_bytes())?).with_context(|| method.to_owned())?;
    answer(&output).with_context(|| method.to_owned())
}

fn exchange(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("run curl")?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, input).context("write to curl")?;
    }
    let output = child.wait_with_output().context("wait for curl")?;
    let stdout = output.stdout.clone();
    tool::text(Output { stdout: Vec::new(), ..output })?;
    Ok(stdout)
}

/// Not compressed, then the length.
fn frame(message: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
    framed.extend_from_slice(message);
    Ok(framed)
}

/// Reads curl's output: headers, an empty line, the framed message if all went well, trailers.
fn answer(printed: &[u8]) -> anyhow::Result<Fields> {
    let end = printed.windows(4).position(|window| window == b"\r\n\r\n").context("no end of the headers")?;
    let (headers, body) = (&printed[..end], &printed[end + 4..]);
    let (message, trailers) = match body {
        [0, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            rest.split_at_checked(length).context("the message is shorter than it says")?
        }
        other => (&[][..], other),
    };
    let said = [headers, trailers].map(String::from_utf8_lossy).join("\r\n");
    let header = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let status = header("grpc-status:").with_context(|| format!("no grpc-status in {said:?}"))?;
    ensure!(status == "0", "status {status}: {}", header("grpc-message:").unwrap_or_default());
    if message.is_empty() && !body.starts_with(&[0]) {
        bail!("status 0 without a message");
    }
    Fields::read(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_stands_between_headers_and_trailers() {
        let message = Message::new().text(1, "a\r\n\r\nb");
        let mut printed = b"HTTP/2 200 \r\ncontent-type: application/grpc\r\n\r\n".to_vec();
        printed.extend(frame(message.as_bytes()).unwrap());
        printed.extend(b"grpc-status: 0\r\ngrpc-message: \r\n\r\n");
        assert_eq!(answer(&printed).unwrap().text(1), "a\r\n\r\nb");
    }

    #[test]
    fn an_error_is_the_servers_message() {
        let printed = b"HTTP/2 200 \r\ngrpc-status: 5\r\ngrpc-message: not found\r\n\r\n";
        assert_eq!(answer(printed).unwrap_err().to_string(), "status 5: not found");
    }
}
