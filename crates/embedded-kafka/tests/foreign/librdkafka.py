"""librdkafka's say on the cluster, through confluent-kafka: `librdkafka.py SCENARIO BOOTSTRAP VERSION`.

Each scenario ends with exit code 0 or an exception. Nothing is waited for by sleeping: clients are polled until
what must come has come, or a deadline has passed.
"""

import sys
import threading
import time

import confluent_kafka as ck
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import admin as ca

SCENARIO, BOOTSTRAP, VERSION = sys.argv[1:4]
KAFKA = tuple(int(part) for part in VERSION.split("."))
DEADLINE_S = 20


def settings(**more):
    return {"bootstrap.servers": BOOTSTRAP} | {key.replace("_", "."): value for key, value in more.items()}


ADMIN = None


def admin():
    global ADMIN
    ADMIN = ADMIN or ca.AdminClient(settings())
    return ADMIN


def results(futures):
    return {what: future.result(DEADLINE_S) for what, future in futures.items()}


def create(topic, partitions):
    results(admin().create_topics([ca.NewTopic(topic, num_partitions=partitions, replication_factor=1)]))


def producer(**more):
    return Producer(settings(linger_ms=0, **more))


def write(client, topic, values, partition=0):
    def done(error, message):
        assert error is None, f"{topic}: {error}"

    for value in values:
        client.produce(topic, value=value, key=b"key", partition=partition, on_delivery=done, headers=[("h", b"1")])
    assert client.flush(DEADLINE_S) == 0, "not everything was acknowledged"


def read(topic, count, **more):
    """The values of the first `count` records of partition 0, and that there are no more."""
    client = Consumer(settings(group_id="reader", enable_partition_eof=True, fetch_wait_max_ms=10, **more))
    client.assign([TopicPartition(topic, 0, ck.OFFSET_BEGINNING)])
    values, ended, deadline = [], False, time.monotonic() + DEADLINE_S
    while not (ended and len(values) >= count):
        assert time.monotonic() < deadline, f"{topic}: {len(values)} of {count} records came"
        message = client.poll(0.1)
        if message is None:
            continue
        if message.error() and message.error().code() == ck.KafkaError._PARTITION_EOF:
            ended = True
            continue
        assert message.error() is None, message.error()
        values.append(message.value())
    client.close()
    assert len(values) == count, f"{topic}: {len(values)} records, expected {count}"
    return values


def codecs():
    for codec in ["none", "gzip", "snappy", "lz4"] + (["zstd"] if KAFKA >= (2, 1) else []):
        topic = f"codec-{codec}"
        create(topic, 1)
        values = [f"{codec} {number} ".encode() * 20 for number in range(1000)]
        write(producer(enable_idempotence=True, compression_type=codec), topic, values)
        assert read(topic, 1000) == values, codec
    # Without idempotence, and without an acknowledgement.
    create("acks-0", 1)
    write(producer(acks=0), "acks-0", [b"a"] * 10)
    write(producer(acks=1), "acks-0", [b"b"] * 10)
    assert sorted(read("acks-0", 20)) == [b"a"] * 10 + [b"b"] * 10


def groups():
    client = producer()
    for protocol in ["classic"] + (["consumer"] if KAFKA >= (4, 0) else []):
        create(f"shared-{protocol}", 4)
        for partition in range(4):
            write(client, f"shared-{protocol}", [b"%d" % partition] * 25, partition)
        members_share(protocol)


class Member:
    def __init__(self, group, protocol):
        more = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 100} if protocol == "classic" else {}
        self.client = Consumer(
            settings(
                group_id=group,
                group_protocol=protocol,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_wait_max_ms=10,
            )
            | more
        )
        self.seen = 0
        self.client.subscribe([f"shared-{protocol}"])

    def partitions(self):
        return {at.partition for at in self.client.assignment()}

    def poll(self):
        message = self.client.poll(0.05)
        if message is not None:
            assert message.error() is None, message.error()
            self.seen += 1


def until(members, reached, what):
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline, f"{what}: {[(m.partitions(), m.seen) for m in members]}"
        for member in members:
            member.poll()


def members_share(protocol):
    group = f"group-{protocol}"
    first = Member(group, protocol)
    until([first], lambda: first.partitions() == {0, 1, 2, 3} and first.seen == 100, "one member has all")
    first.client.commit(asynchronous=False)
    second = Member(group, protocol)
    both = [first, second]
    until(both, lambda: len(first.partitions()) == 2 and len(second.partitions()) == 2, "two members share")
    assert first.partitions() | second.partitions() == {0, 1, 2, 3}
    first.client.close()
    until([second], lambda: len(second.partitions()) == 4, "the one that stays has all again")
    # Committed offsets are gone on from: only what is new comes.
    write(producer(), f"shared-{protocol}", [b"new"] * 5)
    until([second], lambda: second.seen >= 5, "what is new comes")
    second.client.commit(asynchronous=False)
    at = [TopicPartition(f"shared-{protocol}", partition) for partition in range(4)]
    committed = sum(offset.offset for offset in second.client.committed(at, timeout=DEADLINE_S))
    expected = sum(second.client.get_watermark_offsets(one, timeout=DEADLINE_S)[1] for one in at)
    assert (committed, second.seen) == (expected, 5), f"{committed} committed of {expected}, {second.seen} seen"
    second.client.close()
    described = admin().describe_consumer_groups([group])[group].result(DEADLINE_S)
    assert described.state == ck.ConsumerGroupState.EMPTY, described.state


def transactions():
    create("in", 1)
    create("out", 1)
    write(producer(), "in", [b"one", b"two"])
    client = producer(transactional_id="tx", compression_type="lz4")
    client.init_transactions(DEADLINE_S)
    client.begin_transaction()
    write(client, "out", [b"aborted"] * 10)
    client.abort_transaction(DEADLINE_S)
    # With offsets of a group in it.
    member = Consumer(settings(group_id="tx-group", auto_offset_reset="earliest", enable_auto_commit=False))
    member.assign([TopicPartition("in", 0, 0)])
    client.begin_transaction()
    write(client, "out", [b"committed"] * 10)
    offsets = [TopicPartition("in", 0, 2)]
    client.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), DEADLINE_S)
    client.commit_transaction(DEADLINE_S)
    committed = member.committed([TopicPartition("in", 0)], timeout=DEADLINE_S)
    assert committed[0].offset == 2, committed
    client.begin_transaction()
    write(client, "out", [b"open"] * 5)
    assert read("out", 10, isolation_level="read_committed") == [b"committed"] * 10
    assert len(read("out", 25, isolation_level="read_uncommitted")) == 25
    # A second producer of the same name fences the first, and its open transaction is aborted.
    other = producer(transactional_id="tx")
    other.init_transactions(DEADLINE_S)
    try:
        client.commit_transaction(DEADLINE_S)
        raise AssertionError("the first producer was not fenced")
    except ck.KafkaException as fenced:
        assert fenced.args[0].code() in (ck.KafkaError._FENCED, ck.KafkaError.INVALID_PRODUCER_EPOCH), fenced
    assert read("out", 10, isolation_level="read_committed") == [b"committed"] * 10
    member.close()


def administer():
    client = admin()
    topic = ca.NewTopic("adm", num_partitions=2, replication_factor=1, config={"retention.ms": "1234567"})
    results(client.create_topics([topic]))
    try:
        results(client.create_topics([topic]))
        raise AssertionError("created twice")
    except ck.KafkaException as error:
        assert error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS, error
    results(client.create_partitions([ca.NewPartitions("adm", 5)]))
    metadata = client.list_topics("adm", timeout=DEADLINE_S)
    assert len(metadata.topics["adm"].partitions) == 5
    assert all(one.error is None and one.leader >= 0 for one in metadata.topics["adm"].partitions.values())
    write(producer(), "adm", [b"v"] * 10)
    at = TopicPartition("adm", 0)
    latest = results(client.list_offsets({at: ca.OffsetSpec.latest()}))[at]
    assert latest.offset == 10, latest.offset
    results(client.delete_records([TopicPartition("adm", 0, 4)]))
    earliest = results(client.list_offsets({at: ca.OffsetSpec.earliest()}))[at]
    assert earliest.offset == 4, earliest.offset
    resource = ca.ConfigResource(ca.ResourceType.TOPIC, "adm")

    def setting(name):
        return results(client.describe_configs([resource]))[resource][name]

    assert setting("retention.ms").value == "1234567"
    assert setting("cleanup.policy").value == "delete"
    if KAFKA >= (2, 3):
        entry = ca.ConfigEntry(
            "cleanup.policy", "compact", incremental_operation=ca.AlterConfigOpType.APPEND
        )
        change = ca.ConfigResource(ca.ResourceType.TOPIC, "adm", incremental_configs=[entry])
        results(client.incremental_alter_configs([change]))
        assert setting("cleanup.policy").value == "delete,compact"
    else:
        change = ca.ConfigResource(ca.ResourceType.TOPIC, "adm", set_config={"cleanup.policy": "compact"})
        results(client.alter_configs([change]))
        assert setting("cleanup.policy").value == "compact"
        assert setting("retention.ms").value == "604800000"
    cluster = client.describe_cluster().result(DEADLINE_S)
    assert len(cluster.nodes) == len(BOOTSTRAP.split(",")), cluster.nodes
    results(client.delete_topics(["adm"]))
    deadline = time.monotonic() + DEADLINE_S
    while "adm" in client.list_topics(timeout=DEADLINE_S).topics:
        assert time.monotonic() < deadline, "the topic is still there"


def administer_groups():
    create("g", 1)
    write(producer(), "g", [b"v"] * 10)
    client = admin()
    member = Consumer(settings(group_id="adm-group", enable_auto_commit=False))
    member.commit(offsets=[TopicPartition("g", 0, 7)], asynchronous=False)
    member.close()
    listed = client.list_consumer_groups().result(DEADLINE_S).valid
    assert "adm-group" in [one.group_id for one in listed], listed
    described = results(client.describe_consumer_groups(["adm-group"]))["adm-group"]
    assert described.members == [], described.members

    def offset():
        asked = ca._ConsumerGroupTopicPartitions("adm-group", [TopicPartition("g", 0)])
        return results(client.list_consumer_group_offsets([asked]))["adm-group"].topic_partitions[0].offset

    assert offset() == 7
    moved = ca._ConsumerGroupTopicPartitions("adm-group", [TopicPartition("g", 0, 3)])
    results(client.alter_consumer_group_offsets([moved]))
    assert offset() == 3
    results(client.delete_consumer_groups(["adm-group"]))
    listed = client.list_consumer_groups().result(DEADLINE_S).valid
    assert "adm-group" not in [one.group_id for one in listed], listed


def access():
    client = admin()
    rule = ca.AclBinding(
        ca.ResourceType.TOPIC,
        "t",
        ca.ResourcePatternType.LITERAL,
        "User:someone",
        "*",
        ca.AclOperation.WRITE,
        ca.AclPermissionType.ALLOW,
    )
    every = ca.AclBindingFilter(
        ca.ResourceType.ANY, None, ca.ResourcePatternType.ANY, None, None, ca.AclOperation.ANY, ca.AclPermissionType.ANY
    )
    results(client.create_acls([rule]))
    assert client.describe_acls(every).result(DEADLINE_S) == [rule]
    assert results(client.delete_acls([every]))[every] == [rule]
    assert client.describe_acls(every).result(DEADLINE_S) == []


globals()[SCENARIO]()
