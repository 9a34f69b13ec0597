//! A worker's property files, as its tests write them.

use std::path::Path;

use embedded_kafka::Cluster;
use worker::Prepared;

/// A worker with the one connector `name`, which has `lines` beside those that every one has.
pub(crate) fn prepared(
    source: &Cluster,
    destination: &Cluster,
    offsets: &Path,
    name: &str,
    lines: &str,
) -> Prepared {
    let storage = format!("offset.storage.file.filename={}\n", offsets.display());
    prepared_with(source, destination, &storage, name, lines)
}

/// The same with other lines in the worker's file that say where progress is kept.
pub(crate) fn prepared_with(
    source: &Cluster,
    destination: &Cluster,
    storage: &str,
    name: &str,
    lines: &str,
) -> Prepared {
    load(&worker(destination, storage), &[connector(source, name, lines)])
}

/// A worker's file.
pub(crate) fn worker(destination: &Cluster, storage: &str) -> String {
    format!(
        "bootstrap.servers={}\n{storage}offset.flush.interval.ms=100\n\
         key.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\n",
        destination.bootstrap_servers(),
    )
}

/// A connector's file.
pub(crate) fn connector(source: &Cluster, name: &str, lines: &str) -> String {
    format!(
        "name={name}\nconnector.class=io.confluent.connect.replicator.ReplicatorSourceConnector\n\
         key.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
         value.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
         src.kafka.bootstrap.servers={}\n{lines}",
        source.bootstrap_servers()
    )
}

/// What the files make.
pub(crate) fn load(worker: &str, connectors: &[String]) -> Prepared {
    let parse = |file, text| {
        let (entries, problems) = properties::parse(file, text);
        assert!(problems.is_empty(), "{problems:?}");
        entries
    };
    let connectors: Vec<_> = connectors.iter().map(|text| parse("c.properties", text)).collect();
    let (settings, report) = properties::load(&parse("w.properties", worker), &connectors);
    let settings = settings.unwrap_or_else(|()| panic!("{report}"));
    worker::prepare(&settings, worker::Logins::default()).unwrap_or_else(|report| panic!("{report}"))
}
