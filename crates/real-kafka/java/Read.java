package realkafka;

import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reading whole topics as a consumer sees them. */
final class Read {
    private Read() {}

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String isolation) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", "false");
        settings.put("isolation.level", isolation);
        settings.put("auto.offset.reset", "earliest");
        settings.put("check.crcs", "true");
        settings.put("max.poll.records", "10000");
        settings.put("fetch.max.wait.ms", "50");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    @SuppressWarnings("unchecked")
    static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer) throws Exception {
        Method method;
        Object wait;
        try {
            method = KafkaConsumer.class.getMethod("poll", Duration.class); // 2.0 and later
            wait = Duration.ofMillis(100);
        } catch (NoSuchMethodException older) {
            method = KafkaConsumer.class.getMethod("poll", long.class);
            wait = 100L;
        }
        return (ConsumerRecords<byte[], byte[]>) method.invoke(consumer, wait);
    }

    static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return sorted(topic, consumer.partitionsFor(topic));
    }

    /** None of a topic that is not known. */
    private static List<TopicPartition> sorted(String topic, List<PartitionInfo> known) {
        List<TopicPartition> partitions = new ArrayList<>();
        if (known != null) {
            known.forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
        }
        partitions.sort((a, b) -> Integer.compare(a.partition(), b.partition()));
        return partitions;
    }

    static void ends(String bootstrap, String topic, Session session) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "read_uncommitted")) {
            List<TopicPartition> partitions = partitions(consumer, topic);
            Map<TopicPartition, Long> first = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> end = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                session.answer(partition.partition(), first.get(partition), end.get(partition));
            }
        }
    }

    /** Waits until the topic exists and its partitions hold that many offsets together; how many, at the end. */
    static void await(String bootstrap, String topic, long count, long within, Session session) throws Exception {
        long deadline = System.currentTimeMillis() + within;
        long held = -1;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "read_uncommitted")) {
            while (held < count && System.currentTimeMillis() < deadline) {
                // Asked anew each time: partitionsFor() answers from what it knows and would not see a topic grow.
                List<TopicPartition> partitions = sorted(topic, consumer.listTopics().get(topic));
                if (!partitions.isEmpty()) {
                    held = 0;
                    Map<TopicPartition, Long> first = consumer.beginningOffsets(partitions);
                    for (Map.Entry<TopicPartition, Long> end : consumer.endOffsets(partitions).entrySet()) {
                        held += end.getValue() - first.get(end.getKey());
                    }
                }
                if (held < count) {
                    Thread.sleep(20);
                }
            }
        }
        session.answer(held, System.currentTimeMillis());
    }

    static void all(String bootstrap, String topic, String isolation, Consumer<ConsumerRecord<byte[], byte[]>> each) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, isolation)) {
            List<TopicPartition> partitions = partitions(consumer, topic);
            if (partitions.isEmpty()) {
                throw new IllegalStateException("no topic " + topic);
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> end = consumer.endOffsets(partitions);
            long moved = System.currentTimeMillis();
            while (true) {
                boolean done = true;
                for (TopicPartition partition : partitions) {
                    done &= consumer.position(partition) >= end.get(partition);
                }
                if (done) {
                    return;
                }
                ConsumerRecords<byte[], byte[]> records = poll(consumer);
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    if (record.offset() < end.get(new TopicPartition(record.topic(), record.partition()))) {
                        each.accept(record);
                    }
                }
                if (!records.isEmpty()) {
                    moved = System.currentTimeMillis();
                } else if (System.currentTimeMillis() - moved > 60_000) {
                    throw new IllegalStateException("no record for 60 s before the end of " + topic);
                }
            }
        }
    }

    private static final class Digest {
        private final MessageDigest digest;
        private long count;
        private long first = -1;
        private long last = -1;

        Digest() {
            try {
                digest = MessageDigest.getInstance("SHA-256");
            } catch (java.security.NoSuchAlgorithmException impossible) {
                throw new IllegalStateException(impossible);
            }
        }

        private void add(byte[] bytes) {
            digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
            if (bytes != null) {
                digest.update(bytes);
            }
        }

        void add(ConsumerRecord<byte[], byte[]> record) {
            count++;
            first = first < 0 ? record.offset() : first;
            last = record.offset();
            digest.update(ByteBuffer.allocate(8).putLong(record.timestamp()).array());
            add(record.key());
            add(record.value());
            Header[] headers = record.headers().toArray();
            digest.update(ByteBuffer.allocate(4).putInt(headers.length).array());
            for (Header header : headers) {
                add(header.key().getBytes(StandardCharsets.UTF_8));
                add(header.value());
            }
        }
    }

    /** For each partition: number, records, first and last offset, SHA-256 over timestamp, key, value and headers in order. */
    static void digest(String bootstrap, String topic, String isolation, Session session) throws Exception {
        Map<Integer, Digest> digests = new TreeMap<>();
        all(bootstrap, topic, isolation, record -> digests.computeIfAbsent(record.partition(), p -> new Digest()).add(record));
        digests.forEach((partition, digest) ->
            session.answer(partition, digest.count, digest.first, digest.last, Session.hex(digest.digest.digest())));
    }

    /** For each record: partition, offset, timestamp, kind of timestamp, key, value, then each header's name and value. */
    static void dump(String bootstrap, String topic, String isolation, Session session) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        all(bootstrap, topic, isolation, records::add);
        records.sort((a, b) -> a.partition() != b.partition() ? Integer.compare(a.partition(), b.partition()) : Long.compare(a.offset(), b.offset()));
        for (ConsumerRecord<byte[], byte[]> record : records) {
            List<Object> words = new ArrayList<>();
            words.add(record.partition());
            words.add(record.offset());
            words.add(record.timestamp());
            words.add(record.timestampType().toString());
            words.add(Session.hex(record.key()));
            words.add(Session.hex(record.value()));
            for (Header header : record.headers()) {
                words.add(header.key());
                words.add(Session.hex(header.value()));
            }
            session.answer(words.toArray());
        }
    }
}
