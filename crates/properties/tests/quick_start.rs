//! The files that people have, as they have them, load.

use std::time::Duration;

use properties::{
    Entry, OffsetStorage, Report, Settings, kind_of, load, parse, split_executable, table::FileKind,
};

fn read(name: &str) -> Vec<Entry> {
    let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a test file is there");
    let (entries, problems) = parse(name, &text);
    assert_eq!(problems, []);
    entries
}

fn loads(result: (Result<Settings, ()>, Report), expected_report: &str) -> Settings {
    let (settings, report) = result;
    assert_eq!(report.to_string(), expected_report);
    settings.expect("a report without errors comes with settings")
}

fn topics(settings: &Settings) -> Vec<&str> {
    settings.connectors[0].selection.whitelist.iter().map(model::TopicName::as_str).collect()
}

const OF_THE_WORKER: &str = "`internal.key.converter`, `internal.key.converter.schemas.enable`, \
    `internal.value.converter`, `internal.value.converter.schemas.enable` (it is internal to Kafka Connect)";

const OF_ITS_CONVERTERS: &str = "`key.converter.schemas.enable`, `value.converter.schemas.enable` (records pass as \
    bytes, with no converter to set up)";

#[test]
fn the_quick_start_with_zookeeper_loads_and_copies_to_where_the_worker_points() {
    let connector = read("quickstart-zookeeper.properties");
    let worker = read("connect-standalone.properties");
    assert_eq!((kind_of(&connector), kind_of(&worker)), (FileKind::Connector, FileKind::Worker));
    let expected = format!(
        "info: accepted, though without meaning here: `dest.zookeeper.connect`, `src.zookeeper.connect` (ZooKeeper is \
         not needed); {OF_ITS_CONVERTERS}; {OF_THE_WORKER}\n"
    );
    let settings = loads(load(&worker, &[connector]), &expected);
    assert_eq!(settings.worker.offset_storage, OffsetStorage::File("/tmp/connect.offsets".into()));
    assert_eq!(settings.worker.offset_flush_interval, Duration::from_secs(10));
    assert_eq!(topics(&settings), ["test-topic"]);
    let connector = &settings.connectors[0];
    assert_eq!(connector.name, "replicator-source");
    assert_eq!(connector.tasks_max, 4);
    assert_eq!(connector.source.bootstrap, ["localhost:9082"]);
    assert_eq!(connector.source.client_id, "replicator-source-0");
    assert_eq!(connector.destination.bootstrap, ["localhost:9092"]);
    assert_eq!(connector.rename_format, "${topic}.replica");
    assert_eq!(connector.topics.create_backoff, Duration::from_secs(10));
    assert_eq!(connector.topics.poll_interval, Duration::from_secs(120));
    assert_eq!(connector.topics.replication_factor, None);
    assert!(
        connector.topics.auto_create && connector.topics.preserve_partitions && connector.topics.config_sync
    );
    assert_eq!(connector.offsets.group, "replicator-source");
    assert!(!connector.reading.committed_only);
    assert_eq!(connector.place("topic.rename.format").to_string(), "quickstart-zookeeper.properties:16");
    assert_eq!(connector.place("topic.regex").to_string(), "quickstart-zookeeper.properties");
}

#[test]
fn the_quick_start_within_one_cluster_loads_because_it_renames() {
    let expected = format!(
        "info: accepted, though without meaning here: `dest.zookeeper.connect`, `src.zookeeper.connect` (ZooKeeper is \
         not needed); {OF_ITS_CONVERTERS}; {OF_THE_WORKER}\n"
    );
    let worker = read("connect-standalone.properties");
    let settings = loads(load(&worker, &[read("quickstart-unicluster.properties")]), &expected);
    assert_eq!(settings.connectors[0].source.bootstrap, settings.connectors[0].destination.bootstrap);
    assert_eq!(settings.connectors[0].tasks_max, 1);
}

#[test]
fn the_quick_start_without_zookeeper_loads() {
    let expected = format!(
        "info: accepted, though without meaning here: `confluent.topic.replication.factor` (no licence is needed); \
         {OF_ITS_CONVERTERS}; {OF_THE_WORKER}\n"
    );
    let worker = read("connect-standalone.properties");
    loads(load(&worker, &[read("quickstart.properties")]), &expected);
}

#[test]
fn the_executables_files_load_but_for_the_provenance_header() {
    let replication = read("executable-replication.properties");
    let consumer = read("executable-consumer.properties");
    let producer = read("executable-producer.properties");
    let (worker, connector) = split_executable(&consumer, &producer, &replication);
    let (settings, report) = load(&worker, &[connector]);
    assert!(settings.is_err());
    let errors: Vec<String> =
        report.to_string().lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect();
    assert_eq!(
        errors,
        ["error: executable-replication.properties:12: `provenance.header.enable` is `true`: not built yet \
          (provenance headers), and ignoring it would change what is copied"]
    );

    let without: Vec<Entry> =
        replication.into_iter().filter(|entry| entry.key != "provenance.header.enable").collect();
    let (worker, mut connector) = split_executable(&consumer, &producer, &without);
    connector.push(
        parse("--topics", "topic.regex=^(?!(_confluent|__confluent|__consumer))[a-zA-Z0-9_].+$").0.remove(0),
    );
    let settings = loads(
        load(&worker, &[connector]),
        "warning: executable-producer.properties:3: `producer.override.group.id` is no known property and is ignored\n\
         hint: did you mean `src.consumer.group.id`?\n\
         warning: recognised, but not built yet, so without effect: `listeners`, `rest.extension.classes` (the REST \
         interface); `config.storage.replication.factor`, `config.storage.topic`, `status.storage.replication.factor`, \
         `status.storage.topic` (sharing work among workers)\n\
         warning: executable-replication.properties:4: `offset.storage.topic` has no effect: progress is kept in \
         `offset.storage.file.filename`, as by a standalone worker\n\
         hint: to keep it in the topic, remove `offset.storage.file.filename`\n\
         info: accepted, though without meaning here: `confluent.topic.replication.factor` (no licence is needed)\n",
    );
    let connector = &settings.connectors[0];
    assert_eq!(connector.name, "replicator");
    assert_eq!(connector.source.bootstrap, ["broker-us:9092"]);
    assert_eq!(connector.source.client_id, "source-client-id-replicate-us-to-europe");
    assert_eq!(connector.offsets.group, "source-group-id-replicate-us-to-europe");
    assert_eq!(connector.destination.bootstrap, ["broker-europe:9092"]);
    assert_eq!(connector.destination.client_id, "dest-client-id-replicate-us-to-europe");
}

#[test]
fn the_executables_smallest_file_loads() {
    let (worker, connector) = split_executable(
        &read("executable-consumer.properties"),
        &parse("producer.properties", "bootstrap.servers=broker-europe:9092").0,
        &read("executable-smallest.properties"),
    );
    let settings = loads(
        load(&worker, &[connector]),
        "warning: executable-smallest.properties:3: `replication.factor` is ignored, as Replicator ignores it\n\
         hint: did you mean `dest.topic.replication.factor`?\n\
         warning: recognised, but not built yet, so without effect: `config.storage.replication.factor`, \
         `status.storage.replication.factor` (sharing work among workers)\n\
         info: accepted, though without meaning here: `confluent.topic.replication.factor` (no licence is needed)\n",
    );
    assert!(!settings.connectors[0].topics.auto_create);
    assert!(!settings.connectors[0].offsets.commit_at_source);
}
