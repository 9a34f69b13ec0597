//! The physical floor: bytes through a process that only reads them from one socket and writes them to another.
//!
//! No copier of logs that works in user space can take less than this; the kernel's copies and wake-ups are all
//! there is. The feeder and the sink live in the race's own process, so that the relay's account is its own.

use crate::process::{Measured, Output, Usage};
use anyhow::{Context, ensure};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// One read or write moves at most this much.
const BUFFER_BYTES: usize = 1 << 20;

/// What the relay took for one log.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) usage: Usage,
    /// From the first byte fed to the last byte received.
    pub(crate) wall: Duration,
}

/// The relay process: says on standard output where it listens, takes one connection, copies it to `sink`.
pub(crate) fn serve(sink: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
    println!("{}", listener.local_addr().context("cannot tell the port")?);
    copy(&listener, sink)
}

fn copy(listener: &TcpListener, sink: SocketAddr) -> anyhow::Result<()> {
    let (mut from, _) = listener.accept().context("cannot accept")?;
    let mut to = TcpStream::connect(sink).with_context(|| format!("cannot connect to {sink}"))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).context("cannot read")? {
            0 => return Ok(()),
            bytes => to.write_all(&buffer[..bytes]).context("cannot write")?,
        }
    }
}

/// Sends the files' bytes through a relay process of their own.
pub(crate) fn measure(files: &[PathBuf]) -> anyhow::Result<Relayed> {
    let sink = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("relay").arg(sink.local_addr().context("cannot tell the port")?.to_string());
    let mut relay = Measured::start(command, &Output::Piped)?;
    let stdout = relay.stdout().context("the relay has no standard output")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address).context("cannot read where the relay listens")?;
    let address: SocketAddr = address.trim().parse().context("the relay did not say where it listens")?;

    let started = Instant::now();
    let (fed, received) = thread::scope(|scope| -> anyhow::Result<(u64, u64)> {
        let feeder = scope.spawn(|| feed(files, address));
        let (connection, _) = sink.accept().context("the relay did not connect")?;
        let received = drain(connection).context("cannot receive from the relay")?;
        let fed = feeder.join().expect("the feeder does not panic").context("cannot feed the relay")?;
        Ok((fed, received))
    })?;
    let wall = started.elapsed();
    ensure!(fed == received, "the relay was given {fed} bytes and passed on {received}");
    Ok(Relayed { usage: relay.wait(Duration::from_secs(10))?, wall })
}

fn feed(files: &[PathBuf], address: SocketAddr) -> io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    let mut fed = 0;
    for file in files {
        fed += io::copy(&mut File::open(file)?, &mut stream)?; // sendfile, as a broker sends its log
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(fed)
}

fn drain(mut from: TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(received),
            bytes => received += bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_read_is_written_and_the_end_is_passed_on() {
        let sink = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let sink_address = sink.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| copy(&listener, sink_address).unwrap());
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&vec![7; 3 * BUFFER_BYTES + 5]).unwrap();
            });
            assert_eq!(drain(sink.accept().unwrap().0).unwrap(), 3 * BUFFER_BYTES as u64 + 5);
        });
    }
}
