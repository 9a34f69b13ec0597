//! kcat, as Debian has it: what people look with.

use std::process::Command;
use std::time::Duration;

use crate::command::{run, succeed};
use crate::served::{PROFILES, Served};

const WITHIN: Duration = Duration::from_secs(30);

/// kcat about to talk to the cluster.
fn kcat(served: &Served, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", &served.bootstrap()]).args(arguments);
    command
}

/// # Panics
/// Without kcat: this is no reason to leave a test out.
fn require() {
    let found = Command::new("kcat").arg("-V").output();
    assert!(found.is_ok_and(|said| said.status.success()), "there is no kcat: apt-get install kcat");
}

fn lines(name: &str, count: usize) -> String {
    (0..count).map(|number| format!("{name}-{number}\n")).collect()
}

#[test]
fn lists_what_there_is() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        served.cluster.create_topic("orders", 3, &[]);
        let said = succeed(kcat(&served, &["-L"]), "", WITHIN);
        for expected in
            ["3 brokers:", "1 topics:", "topic \"orders\" with 3 partitions:", "partition 2, leader "]
        {
            assert!(said.contains(expected), "{version}: no `{expected}` in\n{said}");
        }
    }
}

#[test]
fn produces_with_each_codec_and_consumes_the_same() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            if codec == "zstd" && version == "1.1" {
                continue; // KIP-110: brokers know it from 2.1 on.
            }
            served.cluster.create_topic(codec, 1, &[]);
            let given = lines(codec, 500);
            let settings = ["-X", "enable.idempotence=true", "-X", "linger.ms=5"];
            let produce =
                kcat(&served, &[&["-P", "-t", codec, "-p", "0", "-z", codec], &settings[..]].concat());
            succeed(produce, &given, WITHIN);
            let consume =
                ["-C", "-t", codec, "-p", "0", "-o", "beginning", "-e", "-q", "-X", "check.crcs=true"];
            let taken = succeed(kcat(&served, &consume), "", WITHIN);
            assert_eq!(taken, given, "{version}: {codec}");
        }
    }
}

#[test]
fn keys_headers_offsets_and_tombstones_come_back() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        served.cluster.create_topic("t", 1, &[]);
        let produce = ["-P", "-t", "t", "-p", "0", "-K", ":", "-Z", "-H", "colour=blue"];
        succeed(kcat(&served, &produce), "a:1\nb:\nc:3\n", WITHIN);
        let consume = ["-C", "-t", "t", "-o", "1", "-e", "-q", "-f", "%o %k %S %h\\n"];
        let taken = succeed(kcat(&served, &consume), "", WITHIN);
        assert_eq!(taken, "1 b -1 colour=blue\n2 c 1 colour=blue\n", "{version}");
    }
}

#[test]
fn asks_for_offsets_by_time() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        served.cluster.create_topic("t", 1, &[]);
        succeed(kcat(&served, &["-P", "-t", "t", "-p", "0"]), &lines("t", 7), WITHIN);
        let end = succeed(kcat(&served, &["-Q", "-t", "t:0:-1"]), "", WITHIN);
        let first = succeed(kcat(&served, &["-Q", "-t", "t:0:1000"]), "", WITHIN);
        assert_eq!((end.trim(), first.trim()), ("t [0] offset 7", "t [0] offset 0"), "{version}");
    }
}

#[test]
fn commits_a_transaction_and_reads_committed_only() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        served.cluster.create_topic("t", 1, &[]);
        let produce = ["-P", "-t", "t", "-p", "0", "-X", "transactional.id=kcat"];
        succeed(kcat(&served, &produce), &lines("t", 20), WITHIN);
        let consume =
            ["-C", "-t", "t", "-e", "-q", "-o", "beginning", "-X", "isolation.level=read_committed"];
        let taken = succeed(kcat(&served, &consume), "", WITHIN);
        assert_eq!(taken, lines("t", 20), "{version}");
    }
}

#[test]
fn joins_a_group_and_goes_on_from_what_it_has_committed() {
    require();
    for (profile, version) in PROFILES {
        let served = Served::start(profile);
        served.cluster.create_topic("t", 1, &[]);
        let consume = |count: &str| {
            let settings = ["-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=100"];
            let arguments = [&["-G", "g", "-c", count, "-q"], &settings[..], &["t"]].concat();
            succeed(kcat(&served, &arguments), "", WITHIN)
        };
        succeed(kcat(&served, &["-P", "-t", "t", "-p", "0"]), &lines("old", 10), WITHIN);
        assert_eq!(consume("10"), lines("old", 10), "{version}");
        assert_eq!(served.cluster.committed_offset("g", "t", 0), Some(10), "{version}");
        succeed(kcat(&served, &["-P", "-t", "t", "-p", "0"]), &lines("new", 5), WITHIN);
        assert_eq!(consume("5"), lines("new", 5), "{version}");
        assert_eq!(served.cluster.committed_offset("g", "t", 0), Some(15), "{version}");
    }
}

#[test]
fn is_told_what_is_wrong() {
    require();
    let served = Served::start(PROFILES[3].0);
    let said = run(kcat(&served, &["-C", "-t", "missing", "-e"]), "", WITHIN);
    assert!(!said.success && said.errors.contains("Unknown topic or partition"), "{}", said.errors);
}
