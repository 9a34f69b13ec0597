//! The program from outside: what it prints and how it ends, without any Kafka.

// What is run is another process, against the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nobody listens on port 1 of this machine.
const NOBODY: &str = "127.0.0.1:1";

const WORKER: &str = "\
bootstrap.servers=127.0.0.1:1
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename=connect.offsets
offset.flush.interval.ms=10000
";

const CONNECTOR: &str = "\
name=replicator-source
connector.class=io.confluent.connect.replicator.ReplicatorSourceConnector
tasks.max=4
key.converter=io.confluent.connect.replicator.util.ByteArrayConverter
value.converter=io.confluent.connect.replicator.util.ByteArrayConverter
src.kafka.bootstrap.servers=127.0.0.1:1
topic.whitelist=test-topic
topic.rename.format=${topic}.replica
";

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    after: Duration,
}

fn paralog(folder: &Path, arguments: &[&str]) -> Ended {
    let started = Instant::now();
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_paralog"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PARALOG_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        after: started.elapsed(),
    }
}

/// A folder with a worker's and a connector's file.
fn folder(worker: &str, connector: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.properties"), worker).unwrap();
    std::fs::write(folder.path().join("c.properties"), connector).unwrap();
    folder
}

/// Serves one answer to every connection until the test ends, and gives its address.
fn server(answer: &'static [u8], close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 64];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            if !close {
                open.push(stream);
            }
        }
    });
    address
}

fn direct<'a>(source: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", "--source", source, "--destination", NOBODY, "--topics", "t"];
    arguments.extend(more);
    arguments
}

#[test]
fn wrong_arguments_end_with_1() {
    let folder = folder(WORKER, CONNECTOR);
    for arguments in [
        &[][..],
        &["run"],
        &["rum"],
        &["run", "w.properties"],
        &["run", "--source", "a:1"],
        &["plan"],
        &["plan", "w.properties"],
        &["plan", "w.properties", "c.properties", "-o", "yaml"],
    ] {
        let ended = paralog(folder.path(), arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.err);
        assert!(!ended.err.is_empty() && ended.out.is_empty(), "{arguments:?}");
    }
    let help = paralog(folder.path(), &["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("Examples:") && help.out.contains("Exit codes:"), "{}", help.out);
}

#[test]
fn wrong_settings_end_with_2_and_all_of_them_are_told() {
    let connector = CONNECTOR
        .replace("tasks.max=4", "tasks.max=four")
        .replace("topic.whitelist=test-topic", "topic.regex=(");
    let worker = WORKER.replace("10000", "soon");
    let folder = folder(&worker, &connector);
    for command in ["run", "plan", "check"] {
        let ended = paralog(folder.path(), &[command, "w.properties", "c.properties"]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        for expected in ["w.properties:5: ", "c.properties:3: ", "tasks.max"] {
            assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
        }
    }
}

#[test]
fn what_only_the_topic_settings_can_judge_is_told_with_its_place() {
    for (wrong, expected) in
        [("topic.regex=(", "c.properties:7: "), ("topic.whitelist=a,b", "c.properties:8: ")]
    {
        let connector =
            CONNECTOR.replace("topic.whitelist=test-topic", wrong).replace("${topic}.replica", "one");
        let folder = folder(WORKER, &connector);
        for command in ["run", "plan", "check"] {
            let ended = paralog(folder.path(), &[command, "w.properties", "c.properties"]);
            assert_eq!(ended.code, Some(2), "{}", ended.err);
            assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
        }
    }
}

#[test]
fn a_login_by_kerberos_that_cannot_be_is_told_before_anything_is_connected_to() {
    let connector = format!(
        "{CONNECTOR}src.kafka.security.protocol=SASL_PLAINTEXT\nsrc.kafka.sasl.kerberos.service.name=kafka\n\
         src.kafka.sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true \
         keyTab=\"none.keytab\" principal=\"ann@EXAMPLE.COM\";\n"
    );
    let expected = if cfg!(feature = "gssapi") {
        "GSSAPI: the keytab none.keytab cannot be read"
    } else {
        "GSSAPI: this build has no Kerberos; build one that has it (cargo build --release --features gssapi)"
    };
    let folder = folder(WORKER, &connector);
    for command in ["run", "plan", "check"] {
        let ended = paralog(folder.path(), &[command, "w.properties", "c.properties"]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        let at = "error: c.properties:11: `src.kafka.sasl.jaas.config`: the source cannot be reached so: ";
        assert!(ended.err.contains(&format!("{at}{expected}")), "{}", ended.err);
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder(WORKER, CONNECTOR);
    for command in ["run", "check"] {
        let ended = paralog(folder.path(), &[command, "w.properties", "none.properties"]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(
            ended.err.contains("error: none.properties: cannot read the file: No such file"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn good_files_are_good_without_any_cluster() {
    let folder = folder(WORKER, CONNECTOR);
    let ended = paralog(folder.path(), &["check", "w.properties", "c.properties"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.out.contains("ok: connector `replicator-source` copies from 127.0.0.1:1 to 127.0.0.1:1"),
        "{}",
        ended.out
    );
    for expected in [
        "    needs READ on topics `test-topic` at the source  (records are read)\n",
        "    needs CREATE on topics `test-topic.replica` at the destination  (copies that are missing are created; before Kafka 2.0 on the cluster)\n",
    ] {
        assert!(ended.out.contains(expected), "{}", ended.out);
    }
    // Their order does not matter here.
    assert_eq!(paralog(folder.path(), &["check", "c.properties", "w.properties"]).code, Some(0));
}

#[test]
fn an_address_where_nobody_listens_ends_with_3_within_seconds() {
    let folder = folder(WORKER, CONNECTOR);
    let ended = paralog(folder.path(), &["run", "w.properties", "c.properties"]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    let expected = "cluster of connector `replicator-source` at 127.0.0.1:1: ";
    assert!(ended.err.contains(expected) && ended.err.contains("Connection refused"), "{}", ended.err);
    assert!(ended.err.contains("hint: check that the broker runs"), "{}", ended.err);
    assert!(ended.after < Duration::from_secs(20), "{:?}", ended.after);
}

#[test]
fn a_plan_without_its_clusters_ends_with_3_and_is_a_document_all_the_same() {
    let folder = folder(WORKER, CONNECTOR);
    let ended = paralog(folder.path(), &["plan", "w.properties", "c.properties", "-o", "json"]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["paralog"], &document["pending"]), (&1.into(), &false.into()));
    let told = document["connectors"][0]["error"].as_str().unwrap();
    let expected = "cluster of connector `replicator-source` at 127.0.0.1:1: ";
    assert!(
        told.contains(expected) && ended.err.contains(&format!("error: {told}")),
        "{told}: {}",
        ended.err
    );
    assert!(ended.err.contains("hint: check that the broker runs"), "{}", ended.err);
    assert_eq!(document["connectors"][0]["rights"][0]["operation"], "READ");
    assert!(!folder.path().join("connect.offsets").exists());
}

#[test]
fn topics_of_the_whitelist_that_are_never_copied_are_told_and_forbid_no_start() {
    let connector = CONNECTOR.replace("=test-topic", "=test-topic,__consumer_offsets,a b");
    let folder = folder(WORKER, &connector);
    let ended = paralog(folder.path(), &["check", "w.properties", "c.properties"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for expected in [
        "warning: c.properties:7: `topic.whitelist` names `__consumer_offsets`, which is internal to Kafka and never copied",
        "warning: c.properties:7: `topic.whitelist` names `a b`, which no topic can be called",
    ] {
        assert!(ended.out.contains(expected), "{expected}: {}", ended.out);
    }
    // As far as the clusters, where nobody listens.
    let ended = paralog(folder.path(), &["run", "w.properties", "c.properties"]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
}

#[test]
fn what_is_no_kafka_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let huge = &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0][..];
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], "HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (huge, "does not answer as a Kafka broker"),
    ] {
        let address = server(answer, false);
        let ended = paralog(folder.path(), &direct(&address, &[]));
        assert_eq!(ended.code, Some(3), "{}", ended.err);
        assert!(ended.err.contains(expected) && ended.err.contains(&address), "{expected}: {}", ended.err);
        assert!(ended.err.contains("hint: "), "{}", ended.err);
    }
}

#[test]
fn silence_ends_within_the_time_for_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let address = server(b"", false);
    let ended = paralog(
        folder.path(),
        &direct(
            &address,
            &[
                "--set",
                "src.kafka.socket.connection.setup.timeout.ms=500",
                "--set",
                "src.kafka.request.timeout.ms=1000",
            ],
        ),
    );
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(ended.after < Duration::from_secs(20), "{:?}", ended.after);
}

#[test]
fn an_offsets_file_that_is_none_ends_with_3_and_stays() {
    let folder = folder(WORKER, CONNECTOR);
    let path = folder.path().join("connect.offsets");
    std::fs::write(&path, "something else").unwrap();
    let ended = paralog(folder.path(), &["run", "w.properties", "c.properties"]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(
        ended.err.contains("connect.offsets`: not a Java serialization stream; restore it"),
        "{}",
        ended.err
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
}

#[test]
fn progress_is_moved_as_a_document() {
    const DOCUMENT: &str = "{\"paralog\":1,\"connector\":\"replicator-source\",\"offsets\":[\n  \
        {\"partition\":{\"paralog\":\"producer\"},\"offset\":{\"paralog\":1,\"producer_id\":4001,\"producer_epoch\":0,\
        \"stopped_cleanly\":false}},\n  {\"partition\":{\"topic\":\"orders\",\"partition\":3},\"offset\":{\"offset\":41}}\n]}\n";
    let folder = folder(WORKER, CONNECTOR);
    let offsets = |command: &str, more: &[&str]| {
        paralog(folder.path(), &[&["offsets", command, "w.properties", "c.properties"], more].concat())
    };
    let check = |ended: Ended, code: i32, out: &str, err: &[&str]| {
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), out), "{}", ended.err);
        assert!(err.iter().all(|text| ended.err.contains(text)), "{}", ended.err);
    };
    check(
        offsets("export", &[]),
        4,
        "",
        &["error: nothing is stored of connector `replicator-source` in offsets file `", "hint: "],
    );
    let file = folder.path().join("progress.json");
    std::fs::write(&file, &DOCUMENT[..100]).unwrap();
    let from = ["--from", "progress.json"];
    check(offsets("import", &from), 4, "", &["error: cannot import it: it is not a whole export"]);
    check(offsets("import", &["--from", "none.json"]), 3, "", &["error: cannot read `none.json`: "]);
    std::fs::write(&file, DOCUMENT).unwrap();
    let stored = "connector `replicator-source`: producer id 4001, positions of 1 partitions\n";
    check(offsets("import", &from), 0, stored, &[]);
    check(offsets("export", &[]), 0, DOCUMENT, &[]);
    check(offsets("export", &["--output", "copy.json"]), 0, "", &[]);
    assert_eq!(std::fs::read_to_string(folder.path().join("copy.json")).unwrap(), DOCUMENT);
    check(offsets("reset", &["--topic", "orders:0,3"]), 0, "orders-3: forgotten (was 42)\n", &[]);
    check(
        offsets("import", &from),
        4,
        "",
        &["has progress already: producer id 4001", "hint: ", "--replace"],
    );
    check(offsets("import", &["--from", "progress.json", "--replace"]), 0, stored, &[]);
    check(
        offsets("alter", &["--topic", "orders", "--to-latest"]),
        3,
        "",
        &["cannot reach the source cluster"],
    );
}

#[cfg(unix)]
#[test]
fn another_name_takes_the_arguments_of_that_program() {
    let folder = folder(WORKER, CONNECTOR);
    let name = folder.path().join("connect-standalone");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_paralog"), &name).unwrap();
    let output = Command::new(&name)
        .args(["w.properties", "none.properties"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.properties"));
}
