use std::{
    io::{Read, Write},
    sync::mpsc,
    time::Duration,
};

use anyhow::Context;

use super::{Peer, Sample, Side, tcp};

/// Bytes of one write, and of one read at most.
const CHUNK: usize = 128 * 1024;

/// Reads until the end and counts.
pub fn swallow(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let listener = tcp::listen(side, ready)?;
    let mut stream = tcp::accept(side, &listener)?;
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        side.count(read as u64);
    }
    Ok(())
}

/// Writes without pause.
pub fn pour(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    let mut stream = tcp::connect(side, &peer)?;
    side.guard.stream(&stream)?;
    let buffer = vec![7; CHUNK];
    side.measure(&peer, time, || stream.write_all(&buffer).context("send"))
}
