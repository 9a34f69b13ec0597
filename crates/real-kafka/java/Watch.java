package realkafka;

import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Watching a topic that somebody copies into: when it goes on, when it stands still, what came twice. */
final class Watch {
    private Watch() {}

    /** When the next record after all that is there now could be read, -1 if none came: in ms since 1970. */
    static void next(String bootstrap, String topic, String isolation, long within, Session session) throws Exception {
        long deadline = System.currentTimeMillis() + within;
        try (KafkaConsumer<byte[], byte[]> consumer = Read.consumer(bootstrap, isolation)) {
            List<TopicPartition> partitions = Read.partitions(consumer, topic);
            consumer.assign(partitions);
            for (Map.Entry<TopicPartition, Long> end : consumer.endOffsets(partitions).entrySet()) {
                consumer.seek(end.getKey(), end.getValue());
            }
            while (System.currentTimeMillis() < deadline) {
                if (!Read.poll(consumer).isEmpty()) {
                    session.answer(System.currentTimeMillis());
                    return;
                }
            }
        }
        session.answer(-1);
    }

    /**
     * Waits until the topic holds at least that many offsets and has not grown for a while; how many there are at the end, and
     * when it last grew, in ms since 1970.
     */
    static void still(String bootstrap, String topic, String isolation, long count, long still, long within, Session session) throws Exception {
        long now = System.currentTimeMillis();
        long deadline = now + within;
        long held = -1;
        long grew = now;
        try (KafkaConsumer<byte[], byte[]> consumer = Read.consumer(bootstrap, isolation)) {
            List<TopicPartition> partitions = Read.partitions(consumer, topic);
            if (partitions.isEmpty()) {
                throw new IllegalStateException("no topic " + topic);
            }
            while (now < deadline && (held < count || now - grew < still)) {
                long sum = 0;
                for (long end : consumer.endOffsets(partitions).values()) {
                    sum += end;
                }
                now = System.currentTimeMillis();
                if (sum != held) {
                    held = sum;
                    grew = now;
                }
                Thread.sleep(20);
            }
        }
        session.answer(held, grew);
    }

    /** How many records that fill() made there are, and how many different ones: told apart by the number in the value. */
    static void tally(String bootstrap, String topic, String isolation, Session session) throws Exception {
        BitSet seen = new BitSet();
        long[] records = new long[1];
        Read.all(bootstrap, topic, isolation, record -> {
            records[0]++;
            seen.set(number(record.value()));
        });
        session.answer(records[0], seen.cardinality());
    }

    /** 17 of "value-17-...". */
    private static int number(byte[] value) {
        int number = 0;
        int at = "value-".length();
        for (; at < value.length && value[at] >= '0' && value[at] <= '9'; at++) {
            number = Math.addExact(Math.multiplyExact(number, 10), value[at] - '0');
        }
        if (at == "value-".length() || at == value.length || value[at] != '-') {
            throw new IllegalStateException("not a value of fill(): " + new String(value, StandardCharsets.UTF_8));
        }
        return number;
    }
}
