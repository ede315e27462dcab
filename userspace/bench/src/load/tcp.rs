use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{PATIENCE, Peer, Sample, Side};

/// Listens in the server's namespace.
pub fn listen(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(side.listening()).context("listen")?;
    side.guard.listener(&listener)?;
    side.announce(ready, listener.local_addr()?.port());
    Ok(listener)
}

/// The one connection of a cell.
pub fn accept(side: &Side<'_>, listener: &TcpListener) -> anyhow::Result<TcpStream> {
    let (stream, _) = listener.accept().context("accept")?;
    stream.set_nodelay(true)?;
    side.guard.stream(&stream)?;
    Ok(stream)
}

/// Connects; a path that was made just now may need a moment.
pub fn connect(side: &Side<'_>, peer: &Peer) -> anyhow::Result<TcpStream> {
    let to = side.destination(peer);
    let end = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect_timeout(&to, Duration::from_millis(500)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => {
                return Err(error).with_context(|| format!("connect to {to}"));
            }
            Err(_) => {}
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends every byte back.
pub fn answer(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let listener = listen(side, ready)?;
    let mut stream = accept(side, &listener)?;
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        // The client ends with an answer on its way.
        if stream.write_all(&byte).is_err() {
            break;
        }
    }
    Ok(())
}

/// Asks for byte after byte.
pub fn ask(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    let mut stream = connect(side, &peer)?;
    side.guard.stream(&stream)?;
    side.measure(&peer, time, || exchange(&mut stream).map(|()| side.count(1)))
}

/// Accepts and sends a byte back, until the cell ends the listener. The client closes first, so that the side which
/// chooses ports is the one which knows those that are still in use.
pub fn answer_each(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let listener = listen(side, ready)?;
    while let Ok((mut stream, _)) = listener.accept() {
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read > 0) && stream.write_all(&byte).is_ok() {}
    }
    Ok(())
}

/// Makes a connection for each byte.
pub fn ask_each(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    drop(connect(side, &peer)?);
    let to = side.destination(&peer);
    side.measure(&peer, time, || {
        let mut stream = TcpStream::connect(to).context("connect")?;
        exchange(&mut stream)?;
        side.count(1);
        Ok(())
    })
}

fn exchange(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut byte = [1];
    stream.write_all(&byte).context("send")?;
    match stream.read(&mut byte).context("receive")? {
        0 => bail!("the server ended the connection, or nothing came for long"),
        _ => Ok(()),
    }
}
