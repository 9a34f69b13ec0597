import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends records at a steady rate to a source topic and says after how long they arrive at a plain consumer there and
 * at one of the copy. One JVM, one clock. Counted are the records sent in a window that opens when the copy keeps up
 * and has been warm for a while.
 *
 * Arguments: source, topic, destination, topic there, records a second, seconds to warm up, seconds to count.
 * Answers: lines of name=number.
 */
public final class Latency {
    private static volatile long from = Long.MAX_VALUE; // nanoTime; the window's bounds, once they are known
    private static volatile long to = Long.MAX_VALUE;
    private static volatile long sentInWindow = -1; // once all are sent
    private static volatile boolean destinationKeepsUp;
    private static volatile Throwable failed;

    public static void main(String[] arguments) throws Exception {
        String source = arguments[0];
        String topic = arguments[1];
        double rate = Double.parseDouble(arguments[4]);
        long warm = Long.parseLong(arguments[5]) * 1_000_000_000L;
        long count = Long.parseLong(arguments[6]) * 1_000_000_000L;
        Arrival atSource = new Arrival(source, topic, false);
        Arrival atDestination = new Arrival(arguments[2], arguments[3], true);
        Thread[] threads = {new Thread(atSource, "source"), new Thread(atDestination, "destination")};
        for (Thread thread : threads) {
            thread.start();
        }
        produce(source, topic, rate, warm, count);
        for (Thread thread : threads) {
            thread.join();
        }
        if (failed != null) {
            throw new IllegalStateException(failed);
        }
        System.out.println("sent=" + sentInWindow);
        atSource.tell("source");
        atDestination.tell("destination");
        System.exit(0);
    }

    private static void produce(String bootstrap, String topic, double rate, long warm, long count) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("linger.ms", "0");
        long giveUp = System.nanoTime() + 180_000_000_000L;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            int partitions = producer.partitionsFor(topic).size();
            long started = System.nanoTime();
            long inWindow = 0;
            for (long n = 0; failed == null; n++) {
                long due = started + (long) (n * 1e9 / rate);
                for (long now = System.nanoTime(); now < due; now = System.nanoTime()) {
                    LockSupport.parkNanos(due - now);
                }
                long now = System.nanoTime();
                if (destinationKeepsUp && from == Long.MAX_VALUE) {
                    to = now + warm + count;
                    from = now + warm;
                }
                if (now >= to) {
                    break;
                }
                if (from == Long.MAX_VALUE && now > giveUp) {
                    throw new IllegalStateException("the copy did not keep up within 180 s");
                }
                byte[] value = new byte[1024];
                ByteBuffer.wrap(value).putLong(now);
                producer.send(new ProducerRecord<>(topic, (int) (n % partitions), null, value), (metadata, error) -> {
                    if (error != null) {
                        failed = error;
                    }
                });
                inWindow += now >= from ? 1 : 0;
            }
            producer.flush();
            sentInWindow = inWindow;
        } catch (Throwable error) {
            failed = error;
        }
    }

    private static final class Arrival implements Runnable {
        private final String bootstrap;
        private final String topic;
        private final boolean tellsKeepingUp;
        private long[] nanos = new long[1 << 16];
        private int arrived;

        Arrival(String bootstrap, String topic, boolean tellsKeepingUp) {
            this.bootstrap = bootstrap;
            this.topic = topic;
            this.tellsKeepingUp = tellsKeepingUp;
        }

        @Override
        public void run() {
            Map<String, Object> settings = new HashMap<>();
            settings.put("bootstrap.servers", bootstrap);
            settings.put("enable.auto.commit", "false");
            settings.put("allow.auto.create.topics", "false");
            settings.put("max.poll.records", "100000");
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                List<TopicPartition> partitions = new ArrayList<>();
                while (partitions.isEmpty() && failed == null) {
                    if (consumer.listTopics().containsKey(topic)) {
                        consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
                    } else {
                        Thread.sleep(50);
                    }
                }
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                while (failed == null && arrived != sentInWindow) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                        take(ByteBuffer.wrap(record.value()).getLong(), System.nanoTime());
                    }
                    if (sentInWindow >= 0 && System.nanoTime() > to + 60_000_000_000L) {
                        throw new IllegalStateException(topic + ": " + arrived + " of " + sentInWindow + " records arrived");
                    }
                }
            } catch (Throwable error) {
                failed = error;
            }
        }

        private void take(long sent, long now) {
            if (sent >= from && sent < to) {
                if (arrived == nanos.length) {
                    nanos = Arrays.copyOf(nanos, 2 * nanos.length);
                }
                nanos[arrived++] = now - sent;
            } else if (tellsKeepingUp && now - sent < 500_000_000L) {
                destinationKeepsUp = true;
            }
        }

        void tell(String where) {
            long[] sorted = Arrays.copyOf(nanos, arrived);
            Arrays.sort(sorted);
            for (String percentile : new String[] {"50", "99", "99.9"}) {
                int rank = (int) Math.ceil(Double.parseDouble(percentile) / 100 * arrived);
                System.out.println(where + "_p" + percentile + "_ms=" + sorted[Math.max(rank, 1) - 1] / 1e6);
            }
        }
    }
}
