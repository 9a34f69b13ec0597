//! Kafka's own stand-alone Connect worker.

use crate::{Distribution, Error, Process, ports};
use std::{fs, path::Path, time::Duration};

/// A running `ConnectStandalone`. Dropping it kills it; [`Connect::stop`] lets it flush its offsets.
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
        let mut worker =
            format!("bootstrap.servers={bootstrap}\noffset.storage.file.filename={}\n", offsets.display());
        worker += "offset.flush.interval.ms=1000\n";
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
        let port = ports::free(1)[0];
        if self.version().is_at_least(3, 0) {
            worker += &format!("listeners=http://127.0.0.1:{port}\n");
        } else {
            worker += &format!("rest.host.name=127.0.0.1\nrest.port={port}\n");
        }
        let worker_file = folder.join("connect-worker.properties");
        fs::write(&worker_file, worker).map_err(Error::io("cannot write", &worker_file))?;
        let connector_file = folder.join("connect-connector.properties");
        let text: String = connector.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&connector_file, text).map_err(Error::io("cannot write", &connector_file))?;

        let mut java = self.java("org.apache.kafka.connect.cli.ConnectStandalone", 256);
        java.arg(&worker_file).arg(&connector_file);
        Ok(Connect { process: Process::start("connect-standalone", java, folder.join("connect.log"))? })
    }
}

impl Connect {
    /// The worker's process, for its log and whether it still runs.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops the worker cleanly: its offsets are in its file afterwards.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stop(mut self) -> Result<(), Error> {
        self.process.stop(Duration::from_secs(60))
    }
}
