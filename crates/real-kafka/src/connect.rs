//! Kafka's own Connect workers, stand-alone and distributed.

use crate::{Distribution, Error, Process, ports, wait_until};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// How long a distributed worker may take to form its group and take a connector.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running `ConnectStandalone` or `ConnectDistributed`. Dropping it kills it; [`Connect::stop`] lets it flush its offsets.
#[derive(Debug)]
pub struct Connect {
    process: Process,
}

impl Distribution {
    /// Starts a stand-alone Connect worker on one connector, with its files in `folder`.
    ///
    /// `offsets` is its `offset.storage.file.filename`. String converters; the offset flush interval is a second.
    /// Besides Connect's own file connectors there is `realkafka.OffsetProbe`, which tells what the offset store
    /// holds (see its source).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Missing`].
    pub fn connect_standalone(
        &self,
        folder: &Path,
        bootstrap: &str,
        offsets: &Path,
        connector: &[(&str, &str)],
    ) -> Result<Connect, Error> {
        let mut worker = self.connect_worker(bootstrap, ports::free(1)[0]);
        writeln!(worker, "offset.storage.file.filename={}", offsets.display())
            .expect("a string takes whatever is written");
        let worker_file = folder.join("connect-worker.properties");
        fs::write(&worker_file, worker).map_err(Error::io("cannot write", &worker_file))?;
        let connector_file = folder.join("connect-connector.properties");
        let text: String = connector.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&connector_file, text).map_err(Error::io("cannot write", &connector_file))?;

        let mut java = self.java("org.apache.kafka.connect.cli.ConnectStandalone", 256);
        java.arg(&worker_file).arg(&connector_file);
        Ok(Connect { process: Process::start("connect-standalone", java, folder.join("connect.log"))? })
    }

    /// Starts a distributed Connect worker that keeps its offsets in the topic `offsets`, and gives it one connector,
    /// whose first setting is its name. Otherwise as [`Distribution::connect_standalone`].
    ///
    /// `group` names the worker's group and its two other topics: the connectors of another group are not its own.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Missing`], [`Error::Ended`], [`Error::TimedOut`].
    pub fn connect_distributed(
        &self,
        folder: &Path,
        bootstrap: &str,
        (group, offsets): (&str, &str),
        connector: &[(&str, &str)],
    ) -> Result<Connect, Error> {
        let port = ports::free(1)[0];
        let mut worker = self.connect_worker(bootstrap, port);
        write!(
            worker,
            "group.id={group}\noffset.storage.topic={offsets}\noffset.storage.partitions=5\n\
             config.storage.topic={group}-configs\nstatus.storage.topic={group}-status\n"
        )
        .expect("a string takes whatever is written");
        for kind in ["offset", "config", "status"] {
            worker += &format!("{kind}.storage.replication.factor=1\n");
        }
        let worker_file = folder.join("connect-worker.properties");
        fs::write(&worker_file, worker).map_err(Error::io("cannot write", &worker_file))?;
        let mut java = self.java("org.apache.kafka.connect.cli.ConnectDistributed", 256);
        java.arg(&worker_file);
        let log = folder.join("connect.log");
        let mut connect = Connect { process: Process::start("connect-distributed", java, log)? };
        let name = connector.first().map_or("", |(_, name)| *name);
        let settings: Vec<String> =
            connector.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
        let body = format!("{{{}}}", settings.join(","));
        wait_until("the distributed worker to take its connector", READY_WITHIN, || {
            connect.process.check_alive()?;
            // Nobody listens yet, or the group is not formed (409).
            let status = put(port, &format!("/connectors/{name}/config"), &body).unwrap_or_default();
            Ok((status == 200 || status == 201).then_some(()))
        })?;
        Ok(connect)
    }

    /// The properties of both kinds of worker.
    fn connect_worker(&self, bootstrap: &str, port: u16) -> String {
        let mut worker = format!("bootstrap.servers={bootstrap}\noffset.flush.interval.ms=1000\n");
        for kind in ["key", "value"] {
            worker += &format!("{kind}.converter=org.apache.kafka.connect.storage.StringConverter\n");
            if !self.version().is_at_least(2, 0) {
                worker += &format!("internal.{kind}.converter=org.apache.kafka.connect.json.JsonConverter\n");
                worker += &format!("internal.{kind}.converter.schemas.enable=false\n");
            }
        }
        if self.version().is_at_least(3, 6) {
            worker += "plugin.discovery=service_load\n"; // does not open every class of every jar
        }
        if self.version().is_at_least(3, 0) {
            worker += &format!("listeners=http://127.0.0.1:{port}\n");
        } else {
            worker += &format!("rest.host.name=127.0.0.1\nrest.port={port}\n");
        }
        worker
    }
}

/// `PUT` of a JSON document to the worker's REST interface; gives the status.
fn put(port: u16, path: &str, body: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A JSON text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Connect {
    /// The worker's process, for its log and whether it still runs.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops the worker cleanly: its offsets are in its file, or topic, afterwards.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stop(mut self) -> Result<(), Error> {
        self.process.stop(Duration::from_secs(60))
    }
}
