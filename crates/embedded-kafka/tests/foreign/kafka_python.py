"""kafka-python's say on the cluster: `kafka_python.py SCENARIO BOOTSTRAP VERSION`.

Each scenario ends with exit code 0 or an exception; nothing is waited for by sleeping.
"""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka import errors
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

SCENARIO, BOOTSTRAP, VERSION = sys.argv[1:4]
KAFKA = tuple(int(part) for part in VERSION.split("."))
SERVERS = {"bootstrap_servers": BOOTSTRAP.split(",")}
DEADLINE_S = 20


def create(admin, topic, partitions):
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True)


def write(producer, topic, values, partition=0):
    sent = [producer.send(topic, value, key=b"key", partition=partition, headers=[("h", b"1")]) for value in values]
    producer.flush(DEADLINE_S)
    return [future.get(DEADLINE_S).offset for future in sent]


def read(topic, count, **more):
    """The values of the records of partition 0, which has `count` of them."""
    consumer = KafkaConsumer(**SERVERS, enable_auto_commit=False, fetch_max_wait_ms=10, **more)
    at = TopicPartition(topic, 0)
    consumer.assign([at])
    consumer.seek_to_beginning(at)
    values, deadline = [], time.monotonic() + DEADLINE_S
    while len(values) < count:
        assert time.monotonic() < deadline, f"{topic}: {len(values)} of {count} records came"
        for records in consumer.poll(100).values():
            values += [record.value for record in records]
    consumer.close()
    assert len(values) == count, f"{topic}: {len(values)} records, expected {count}"
    return values


def codecs():
    admin = KafkaAdminClient(**SERVERS)
    for codec in [None, "gzip", "snappy", "lz4"] + (["zstd"] if KAFKA >= (2, 1) else []):
        topic = f"codec-{codec}"
        create(admin, topic, 1)
        values = [f"{codec} {number} ".encode() * 20 for number in range(500)]
        producer = KafkaProducer(**SERVERS, acks="all", enable_idempotence=True, compression_type=codec, linger_ms=5)
        assert write(producer, topic, values) == list(range(500))
        producer.close()
        assert read(topic, 500) == values, codec


def groups():
    admin = KafkaAdminClient(**SERVERS)
    create(admin, "shared", 4)
    producer = KafkaProducer(**SERVERS)
    for partition in range(4):
        write(producer, "shared", [b"old"] * 25, partition)

    def member():
        consumer = KafkaConsumer(
            **SERVERS,
            group_id="group",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=50,
            session_timeout_ms=6000,
            fetch_max_wait_ms=10,
        )
        # As leader 3.0.12 may assign before it has heard of the topic, and does not look again.
        assert consumer.partitions_for_topic("shared") == {0, 1, 2, 3}
        consumer.subscribe(["shared"])
        return consumer

    seen = {}

    def until(members, reached, what):
        deadline = time.monotonic() + DEADLINE_S
        while not reached():
            assert time.monotonic() < deadline, f"{what}: {[one.assignment() for one in members]}, {seen}"
            for one in members:
                # A short poll that ends while a member joins leaves 3.0.12 waiting for good.
                for records in one.poll(500).values():
                    for record in records:
                        seen[record.value] = seen.get(record.value, 0) + 1

    first = member()
    until([first], lambda: len(first.assignment()) == 4 and seen.get(b"old") == 100, "one member has all")
    first.commit()
    second = member()
    both = [first, second]
    until(both, lambda: [len(one.assignment()) for one in both] == [2, 2], "two members share")
    assert not first.assignment() & second.assignment()
    first.close()
    until([second], lambda: len(second.assignment()) == 4, "the one that stays has all again")
    write(producer, "shared", [b"new"] * 5)
    until([second], lambda: seen.get(b"new") == 5, "what is new comes")
    assert seen == {b"old": 100, b"new": 5}, seen
    second.commit()
    committed = sum(second.committed(TopicPartition("shared", partition)) for partition in range(4))
    assert committed == 105, committed
    second.close()
    described = admin.describe_groups(["group"])["group"]
    assert described["group_state"] == "Empty", described


def transactions():
    admin = KafkaAdminClient(**SERVERS)
    create(admin, "in", 1)
    create(admin, "out", 1)
    producer = KafkaProducer(**SERVERS, transactional_id="tx", acks="all")
    producer.init_transactions()
    producer.begin_transaction()
    write(producer, "out", [b"aborted"] * 5)
    producer.abort_transaction()
    member = KafkaConsumer(**SERVERS, group_id="tx-group", enable_auto_commit=False)
    producer.begin_transaction()
    write(producer, "out", [b"committed"] * 5)
    producer.send_offsets_to_transaction({TopicPartition("in", 0): OffsetAndMetadata(2, "", -1)}, "tx-group")
    producer.commit_transaction()
    assert member.committed(TopicPartition("in", 0)) == 2
    assert read("out", 5, isolation_level="read_committed") == [b"committed"] * 5
    assert len(read("out", 10)) == 10
    member.close()


def administer():
    admin = KafkaAdminClient(**SERVERS)
    topic = {"num_partitions": 2, "replication_factor": 3, "configs": {"retention.ms": "1234567"}}
    admin.create_topics({"adm": topic}, wait_for_metadata=True)
    try:
        admin.create_topics({"adm": topic})
        raise AssertionError("created twice")
    except errors.TopicAlreadyExistsError:
        pass
    admin.create_partitions({"adm": 5})
    described = admin.describe_topics(["adm"])[0]
    assert len(described["partitions"]) == 5, described
    assert all(len(partition["replica_nodes"]) == 3 for partition in described["partitions"]), described

    def settings():
        return admin.describe_configs([ConfigResource("TOPIC", "adm")], config_filter="all")["topic"]["adm"]

    assert settings()["retention.ms"]["value"] == "1234567", settings()
    admin.alter_configs([ConfigResource("TOPIC", "adm", {"max.message.bytes": "2000000"})])
    assert settings()["max.message.bytes"]["value"] == "2000000", settings()
    assert settings()["retention.ms"]["value"] == "1234567", settings()
    producer = KafkaProducer(**SERVERS)
    write(producer, "adm", [b"v"] * 10)
    admin.delete_records({TopicPartition("adm", 0): 4})
    consumer = KafkaConsumer(**SERVERS)
    at = TopicPartition("adm", 0)
    assert (consumer.beginning_offsets([at])[at], consumer.end_offsets([at])[at]) == (4, 10)
    # kafka-python 3.0.12 looks for a field in DescribeCluster's first version that only the second has.
    if KAFKA < (2, 8) or KAFKA >= (3, 7):
        assert len(admin.describe_cluster()["brokers"]) == len(SERVERS["bootstrap_servers"])
    admin.delete_topics(["adm"])
    assert "adm" not in admin.list_topics()


def administer_groups():
    admin = KafkaAdminClient(**SERVERS)
    create(admin, "g", 1)
    at = TopicPartition("g", 0)
    member = KafkaConsumer(**SERVERS, group_id="adm-group", enable_auto_commit=False)
    member.commit({at: OffsetAndMetadata(7, "", -1)})
    member.close()
    assert "adm-group" in [group["group_id"] for group in admin.list_groups()]
    assert admin.list_group_offsets({"adm-group": [at]})["adm-group"][at].offset == 7
    admin.alter_group_offsets("adm-group", {at: OffsetAndMetadata(3, "", -1)})
    assert admin.list_group_offsets({"adm-group": [at]})["adm-group"][at].offset == 3
    admin.delete_groups(["adm-group"])
    assert "adm-group" not in [group["group_id"] for group in admin.list_groups()]


def access():
    admin = KafkaAdminClient(**SERVERS)
    pattern = ResourcePattern(ResourceType.TOPIC, "t")
    rule = ACL("User:someone", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, pattern)
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    every = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
    admin.create_acls([rule])
    assert admin.describe_acls(every)[0] == [rule], admin.describe_acls(every)
    admin.delete_acls([every])
    assert admin.describe_acls(every)[0] == [], admin.describe_acls(every)


globals()[SCENARIO]()
