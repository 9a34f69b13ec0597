//! Kafka's own tools: the console producer and consumer, topics, configs, groups, access rules, transactions.
//!
//! All tools of a version run in one JVM (`Tools.java`), one after the other.

use std::path::Path;
use std::time::Duration;

use embedded_kafka::Profile;
use real_kafka::Distribution;

use crate::command::succeed;
use crate::served::Served;

const WITHIN: Duration = Duration::from_secs(90);

/// A tool's run: what it is given, and what its output must hold.
struct Job {
    main: &'static str,
    arguments: Vec<String>,
    input: String,
    code: i32,
    expected: Vec<String>,
}

impl Job {
    /// Words are separated by blanks; `SERVERS` stands for the cluster.
    fn new(main: &'static str, arguments: &str) -> Job {
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Job { main, arguments, input: String::new(), code: 0, expected: Vec::new() }
    }

    fn input(self, input: impl Into<String>) -> Job {
        Job { input: input.into(), ..self }
    }

    fn fails(self) -> Job {
        Job { code: 1, ..self }
    }

    fn says(mut self, expected: impl Into<String>) -> Job {
        self.expected.push(expected.into());
        self
    }

    fn line(&self, servers: &str) -> String {
        let words = self.arguments.iter().map(|word| word.replace("SERVERS", servers));
        let mut all = vec![self.main.to_owned()];
        all.extend(words);
        all.push(self.input.replace('\n', "\\n"));
        all.join("\t") + "\n"
    }
}

/// Runs the jobs in turn; each must end as it is told to and say what is expected.
fn check(kafka: &Distribution, served: &Served, jobs: &[Job]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/Tools.java");
    let quiet =
        [String::from("-Dlog4j2.level=OFF"), String::from("-Dorg.slf4j.simpleLogger.defaultLogLevel=off")];
    let command = kafka.java_with(&source.display().to_string(), 256, &quiet);
    let input: String = jobs.iter().map(|job| job.line(&served.bootstrap())).collect();
    let said = succeed(command, &input, WITHIN);
    let mut rest = said.as_str();
    for job in jobs {
        let line = job.line("SERVERS");
        let (printed, after) = rest.split_once("\n== ").unwrap_or_else(|| panic!("{line}no end:\n{rest}"));
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        assert_eq!(code.trim().parse(), Ok(job.code), "{line}{printed}");
        for expected in &job.expected {
            assert!(printed.contains(expected.as_str()), "{line}no `{expected}` in:\n{printed}");
        }
        rest = after;
    }
}

fn numbered(name: &str, count: usize) -> String {
    (0..count).map(|number| format!("{name}-{number}\n")).collect()
}

fn distribution(version: &str) -> Distribution {
    Distribution::resolve(version).unwrap_or_else(|error| panic!("cannot bring Kafka {version}: {error}"))
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";

fn console_producer(kafka: &Distribution) -> &'static str {
    if kafka.version().is_at_least(4, 0) {
        "org.apache.kafka.tools.ConsoleProducer"
    } else {
        "kafka.tools.ConsoleProducer"
    }
}

fn access(kafka: &Distribution) -> &'static str {
    if kafka.version().is_at_least(4, 0) {
        "org.apache.kafka.tools.AclCommand"
    } else {
        "kafka.admin.AclCommand"
    }
}

/// Topics are created, grown, altered, described and deleted; records of each codec and of transactions go
/// through.
fn records_and_topics(kafka: &Distribution, served: &Served) {
    let mut jobs = vec![
        Job::new(
            TOPICS,
            "--bootstrap-server SERVERS --create --topic t --partitions 2 --replication-factor 3",
        )
        .says("Created topic t."),
        Job::new(
            TOPICS,
            "--bootstrap-server SERVERS --create --topic t --partitions 2 --replication-factor 3",
        )
        .fails()
        .says("already exists"),
        Job::new(TOPICS, "--bootstrap-server SERVERS --alter --topic t --partitions 5"),
        Job::new(TOPICS, "--bootstrap-server SERVERS --describe --topic t")
            .says("PartitionCount: 5")
            .says("ReplicationFactor: 3")
            .says("Partition: 4"),
        Job::new(TOPICS, "--bootstrap-server SERVERS --list").says("t"),
    ];
    let codecs = if served.cluster.profile() == Profile::V1_1 { &CODECS[..4] } else { &CODECS[..] };
    for codec in codecs {
        let given = numbered(codec, 50);
        let create = format!(
            "--bootstrap-server SERVERS --create --topic {codec} --partitions 1 --replication-factor 1"
        );
        jobs.push(Job::new(TOPICS, &create));
        let produce = format!(
            "--bootstrap-server SERVERS --topic {codec} --compression-codec {codec} --producer-property \
             enable.idempotence=true"
        );
        jobs.push(Job::new(console_producer(kafka), &produce).input(given.clone()));
        let consume = format!(
            "--bootstrap-server SERVERS --topic {codec} --partition 0 --offset earliest --max-messages 50 --timeout-ms 20000"
        );
        jobs.push(Job::new(CONSUMER, &consume).says(given).says("Processed a total of 50 messages"));
    }
    let transactions = "--topic lz4 --num-records 200 --record-size 20 --throughput -1 --transactional-id perf \
                        --transaction-duration-ms 10 --producer-props bootstrap.servers=SERVERS";
    jobs.push(Job::new(PERFORMANCE, transactions).says("200 records sent"));
    let committed = "--bootstrap-server SERVERS --topic lz4 --partition 0 --offset earliest --max-messages 250 \
                     --timeout-ms 20000 --isolation-level read_committed";
    jobs.push(Job::new(CONSUMER, committed).says("Processed a total of 250 messages"));
    jobs.push(Job::new(TOPICS, "--bootstrap-server SERVERS --delete --topic t"));
    check(kafka, served, &jobs);
    assert!(served.cluster.topics().iter().all(|topic| topic.as_str() != "t"));
}

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn configs(kafka: &Distribution, served: &Served) {
    served.cluster.create_topic("t", 1, &[]);
    let jobs = [
        Job::new(CONFIGS, "--bootstrap-server SERVERS --alter --topic t --add-config retention.ms=1234567"),
        Job::new(
            CONFIGS,
            "--bootstrap-server SERVERS --alter --topic t --add-config cleanup.policy=[compact,delete]",
        ),
        Job::new(CONFIGS, "--bootstrap-server SERVERS --describe --topic t")
            .says("retention.ms=1234567")
            .says("cleanup.policy=compact,delete"),
        Job::new(CONFIGS, "--bootstrap-server SERVERS --describe --topic t --all")
            .says("segment.bytes=1073741824")
            .says("synonyms={DEFAULT_CONFIG:log.segment.bytes=1073741824}"),
        Job::new(CONFIGS, "--bootstrap-server SERVERS --alter --topic t --delete-config cleanup.policy"),
        Job::new(CONFIGS, "--bootstrap-server SERVERS --alter --topic t --add-config retention.ms=soon")
            .fails(),
    ];
    check(kafka, served, &jobs);
    let settings = served.cluster.topic_configs("t");
    assert_eq!(settings.into_iter().collect::<Vec<_>>(), [("retention.ms".to_owned(), "1234567".to_owned())]);
}

#[test]
fn tools_of_4_3_write_read_and_administer_4_3() {
    records_and_topics(&distribution("4.3.1"), &Served::start(Profile::V4_3));
}

#[test]
fn tools_of_4_3_write_read_and_administer_2_8() {
    records_and_topics(&distribution("4.3.1"), &Served::start(Profile::V2_8));
}

#[test]
fn tools_of_3_9_write_read_and_administer_3_9() {
    records_and_topics(&distribution("3.9.2"), &Served::start(Profile::V3_9));
}

#[test]
fn tools_of_3_9_write_read_and_administer_1_1() {
    records_and_topics(&distribution("3.9.2"), &Served::start(Profile::V1_1));
}

#[test]
fn tools_change_settings_one_by_one() {
    configs(&distribution("4.3.1"), &Served::start(Profile::V4_3));
    configs(&distribution("3.9.2"), &Served::start(Profile::V2_8));
}

/// A member reads as far as it is told, and the next one goes on from there; the group is described, moved and deleted.
fn groups(kafka: &Distribution, served: &Served, protocols: &[&str]) {
    for protocol in protocols {
        let topic = format!("of-{protocol}");
        served.cluster.create_topic(&topic, 1, &[]);
        let produce = format!("--bootstrap-server SERVERS --topic {topic}");
        let consume = |count: usize| {
            // Versions before 4.0 do not know the property, and there is one protocol then.
            let chosen = if kafka.version().is_at_least(4, 0) {
                format!("--consumer-property group.protocol={protocol}")
            } else {
                String::new()
            };
            let arguments = format!(
                "--bootstrap-server SERVERS --topic {topic} --group {protocol} --from-beginning --max-messages {count} \
                 --timeout-ms 20000 --consumer-property enable.auto.commit=true {chosen}"
            );
            Job::new(CONSUMER, &arguments).says(format!("Processed a total of {count} messages"))
        };
        let about = |what: &str| {
            Job::new(
                GROUPS,
                &format!("--bootstrap-server SERVERS {what}")
                    .replace("GROUP", &format!("--group {protocol}")),
            )
        };
        let jobs = [
            Job::new(console_producer(kafka), &produce).input(numbered("record", 10)),
            consume(4).says("record-0\nrecord-1\nrecord-2\nrecord-3\n"),
            // Another member, which goes on from the commit.
            consume(6).says("record-4\nrecord-5\nrecord-6\nrecord-7\nrecord-8\nrecord-9\n"),
            about("--list").says(*protocol),
            about("--describe GROUP --state").says("Empty"),
            about("--describe GROUP").says(topic.clone()).says("10              10              0"),
            about(&format!("--reset-offsets GROUP --topic {topic} --to-offset 7 --execute")).says("7"),
            consume(3).says("record-7\nrecord-8\nrecord-9\n"),
            about("--delete GROUP").says("was successful"),
        ];
        check(kafka, served, &jobs);
        assert_eq!(served.cluster.committed_offset(protocol, &topic, 0), None);
    }
}

#[test]
fn tools_join_groups_go_on_from_what_was_committed_and_administer_them() {
    groups(&distribution("4.3.1"), &Served::start(Profile::V4_3), &["classic", "consumer"]);
    groups(&distribution("4.3.1"), &Served::start(Profile::V2_8), &["classic"]);
    groups(&distribution("3.9.2"), &Served::start(Profile::V3_9), &["classic"]);
    groups(&distribution("3.9.2"), &Served::start(Profile::V1_1), &["classic"]);
}

#[test]
fn tools_create_list_and_delete_access_rules() {
    for (version, profile) in [("4.3.1", Profile::V4_3), ("4.3.1", Profile::V2_8), ("3.9.2", Profile::V3_9)] {
        let kafka = distribution(version);
        let job = |what: &str| Job::new(access(&kafka), &format!("--bootstrap-server SERVERS {what}"));
        let jobs = [
            job("--add --allow-principal User:ann --producer --topic t").says("Adding ACLs for resource"),
            job(
                "--add --deny-principal User:bob --operation Read --topic p --resource-pattern-type prefixed",
            ),
            job("--list").says("principal=User:ann").says("operation=WRITE").says("permissionType=DENY"),
            job("--list --topic t").says("operation=CREATE"),
            job("--remove --topic t --force"),
            job("--list").says("principal=User:bob"),
            job("--remove --topic p --resource-pattern-type prefixed --force"),
        ];
        let served = Served::start(profile);
        check(&kafka, &served, &jobs);
    }
}

#[test]
fn tools_list_transactions_and_who_writes() {
    let served = Served::start(Profile::V4_3);
    served.cluster.create_topic("t", 1, &[]);
    let perform = "--topic t --num-records 20 --record-size 20 --throughput -1 --transactional-id perf \
                   --transaction-duration-ms 10 --producer-props bootstrap.servers=SERVERS";
    let jobs = [
        Job::new(PERFORMANCE, perform).says("20 records sent"),
        Job::new(TRANSACTIONS, "--bootstrap-server SERVERS describe-producers --topic t --partition 0")
            .says("ProducerId")
            .says("None"),
    ];
    check(&distribution("4.3.1"), &served, &jobs);
}
