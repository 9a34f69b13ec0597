import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What chaos needs of Kafka's own clients, in one JVM: a writer that numbers the records of each partition, leaders
 * moved, and both sides compared record by record.
 *
 * A command a line on standard input, words with spaces between them; the answer is lines that begin with "= ", then a
 * line "ok" or "error" with its text. Compiles against Kafka 2.8 to 4.x.
 */
public final class Chaos {
    private static final PrintStream OUT = System.out;
    private static final Map<String, AdminClient> ADMINS = new HashMap<>();
    private static Writer writer;

    public static void main(String[] arguments) throws Exception {
        System.setOut(System.err); // libraries that print must not disturb the answers
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                carryOut(line.split(" "));
                OUT.println("ok");
            } catch (Throwable error) {
                Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                error.printStackTrace();
                OUT.println("error " + cause.toString().replace('\n', ' '));
            }
            OUT.flush();
        }
        System.exit(0);
    }

    private static void carryOut(String[] words) throws Exception {
        switch (words[0]) {
            case "ping": break;
            case "write": writer = new Writer(words); break;
            case "written": OUT.println("= " + writer.written.get() + " " + writer.refused.get()); break;
            case "stop": writer.stop(); break;
            case "lead": lead(words); break;
            case "elect": elect(words); break;
            case "compare": compare(words[1], words[2], words[3], words[4]); break;
            default: throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static Map<String, Object> settings(String bootstrap) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private static AdminClient admin(String bootstrap) {
        return ADMINS.computeIfAbsent(bootstrap, servers -> {
            Map<String, Object> settings = settings(servers);
            settings.put("request.timeout.ms", "5000");
            settings.put("default.api.timeout.ms", "15000");
            return AdminClient.create(settings);
        });
    }

    /** write BOOTSTRAP RATE TOPIC:PARTITIONS:CODEC:AGE_MS... */
    private static final class Writer {
        private final String bootstrap;
        private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
        private final List<Lane> lanes = new ArrayList<>();
        private final AtomicLong written = new AtomicLong();
        private final AtomicLong refused = new AtomicLong();
        private final Thread thread;
        private volatile boolean stopped;

        private static final class Lane {
            TopicPartition partition;
            String codec;
            long ageMs;
            long number;
        }

        Writer(String[] words) {
            bootstrap = words[1];
            double rate = Double.parseDouble(words[2]);
            for (String word : Arrays.asList(words).subList(3, words.length)) {
                String[] parts = word.split(":");
                for (int p = 0; p < Integer.parseInt(parts[1]); p++) {
                    Lane lane = new Lane();
                    lane.partition = new TopicPartition(parts[0], p);
                    lane.codec = parts[2];
                    lane.ageMs = Long.parseLong(parts[3]);
                    lanes.add(lane);
                }
            }
            thread = new Thread(() -> run(rate), "writer");
            thread.start();
        }

        private KafkaProducer<byte[], byte[]> producer(String codec) {
            return producers.computeIfAbsent(codec, c -> {
                Map<String, Object> settings = settings(bootstrap);
                settings.put("acks", "all");
                settings.put("enable.idempotence", "true");
                settings.put("linger.ms", "20");
                settings.put("compression.type", c);
                settings.put("metadata.max.age.ms", "5000");
                return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            });
        }

        private void run(double rate) {
            long started = System.nanoTime();
            for (long n = 0; !stopped; n++) {
                long due = started + (long) (n * 1e9 / rate);
                for (long now = System.nanoTime(); now < due; now = System.nanoTime()) {
                    LockSupport.parkNanos(due - now);
                }
                Lane lane = lanes.get((int) (n % lanes.size()));
                try {
                    long time = System.currentTimeMillis() - lane.ageMs;
                    producer(lane.codec).send(
                        new ProducerRecord<>(lane.partition.topic(), lane.partition.partition(), time, key(lane.number), value(lane.number)),
                        (metadata, error) -> (error == null ? written : refused).incrementAndGet());
                    lane.number++;
                } catch (RuntimeException error) {
                    // A producer that has failed for good is replaced; what it did not write is not in the source.
                    error.printStackTrace();
                    refused.incrementAndGet();
                    KafkaProducer<byte[], byte[]> failed = producers.remove(lane.codec);
                    if (failed != null) {
                        failed.close(Duration.ofSeconds(1));
                    }
                }
            }
        }

        void stop() throws Exception {
            stopped = true;
            thread.join();
            for (KafkaProducer<byte[], byte[]> producer : producers.values()) {
                producer.close(Duration.ofSeconds(60));
            }
            OUT.println("= " + written.get() + " " + refused.get());
        }

        private static byte[] key(long number) {
            return number % 3 == 0 ? null : ("key-" + number % 1000).getBytes(StandardCharsets.UTF_8);
        }

        /** The number, then 40 to 239 bytes that depend on it. */
        private static byte[] value(long number) {
            byte[] value = new byte[48 + (int) (number % 200)];
            ByteBuffer.wrap(value).putLong(number);
            long state = number * 0x9E3779B97F4A7C15L + 1;
            for (int i = 8; i < value.length; i++) {
                state ^= state << 13;
                state ^= state >>> 7;
                state ^= state << 17;
                value[i] = (byte) ('a' + (state >>> 32 & 15));
            }
            return value;
        }
    }

    /** lead BOOTSTRAP TOPIC/PARTITION/FIRST,SECOND,THIRD...: puts the replicas in this order and lets the first one lead. */
    private static void lead(String[] words) throws Exception {
        Map<TopicPartition, Optional<NewPartitionReassignment>> orders = new HashMap<>();
        for (String word : Arrays.asList(words).subList(2, words.length)) {
            String[] parts = word.split("/");
            List<Integer> replicas = new ArrayList<>();
            for (String replica : parts[2].split(",")) {
                replicas.add(Integer.valueOf(replica));
            }
            orders.put(new TopicPartition(parts[0], Integer.parseInt(parts[1])), Optional.of(new NewPartitionReassignment(replicas)));
        }
        AdminClient admin = admin(words[1]);
        admin.alterPartitionReassignments(orders).all().get(20, TimeUnit.SECONDS);
        long giveUp = System.currentTimeMillis() + 10_000;
        while (!admin.listPartitionReassignments(orders.keySet()).reassignments().get(20, TimeUnit.SECONDS).isEmpty()
                && System.currentTimeMillis() < giveUp) {
            Thread.sleep(20);
        }
        answerElections(admin, ElectionType.PREFERRED, orders.keySet());
    }

    /** elect BOOTSTRAP TOPIC/PARTITION...: an unclean election where a partition has no leader. */
    private static void elect(String[] words) throws Exception {
        Set<TopicPartition> partitions = new HashSet<>();
        for (String word : Arrays.asList(words).subList(2, words.length)) {
            String[] parts = word.split("/");
            partitions.add(new TopicPartition(parts[0], Integer.parseInt(parts[1])));
        }
        answerElections(admin(words[1]), ElectionType.UNCLEAN, partitions);
    }

    /** How many elections there were, and how many were not needed or not possible. */
    private static void answerElections(AdminClient admin, ElectionType kind, Set<TopicPartition> partitions) throws Exception {
        int elected = 0;
        int not = 0;
        for (Optional<Throwable> error : admin.electLeaders(kind, partitions).partitions().get(20, TimeUnit.SECONDS).values()) {
            if (error.isPresent()) {
                not++;
            } else {
                elected++;
            }
        }
        OUT.println("= " + elected + " " + not);
    }

    private static final class Records {
        long[] numbers = new long[1 << 16];
        long[] hashes = new long[1 << 16];
        long[] offsets = new long[1 << 16];
        int count;

        void add(ConsumerRecord<byte[], byte[]> record) {
            if (count == numbers.length) {
                numbers = Arrays.copyOf(numbers, 2 * count);
                hashes = Arrays.copyOf(hashes, 2 * count);
                offsets = Arrays.copyOf(offsets, 2 * count);
            }
            numbers[count] = record.value() != null && record.value().length >= 8 ? ByteBuffer.wrap(record.value()).getLong() : -1;
            long hash = mix(0xcbf29ce484222325L, ByteBuffer.allocate(8).putLong(record.timestamp()).array());
            hash = mix(mix(hash, record.key()), record.value());
            for (Header header : record.headers()) {
                hash = mix(mix(hash, header.key().getBytes(StandardCharsets.UTF_8)), header.value());
            }
            hashes[count] = hash;
            offsets[count++] = record.offset();
        }

        /** FNV-1a over the length and the bytes. */
        private static long mix(long hash, byte[] bytes) {
            int length = bytes == null ? -1 : bytes.length;
            hash = (hash ^ length) * 0x100000001b3L;
            for (int i = 0; i < length; i++) {
                hash = (hash ^ (bytes[i] & 0xff)) * 0x100000001b3L;
            }
            return hash;
        }
    }

    private static Records read(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        Records all = new Records();
        consumer.assign(Collections.singletonList(partition));
        consumer.seekToBeginning(consumer.assignment());
        long end = consumer.endOffsets(consumer.assignment()).get(partition);
        long moved = System.currentTimeMillis();
        while (consumer.position(partition) < end) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
            for (ConsumerRecord<byte[], byte[]> record : records) {
                if (record.offset() < end) {
                    all.add(record);
                }
            }
            if (!records.isEmpty()) {
                moved = System.currentTimeMillis();
            } else if (System.currentTimeMillis() - moved > 60_000) {
                throw new IllegalStateException("no record for 60 s before the end of " + partition);
            }
        }
        return all;
    }

    /**
     * For each partition: number, records here, records there, lost, doubled, out of order, changed, foreign (there but
     * not here), then the first few offences as words without spaces.
     *
     * The source's log is the truth: a number that the writer got in twice is two records, and both are to be copied.
     */
    private static void compare(String source, String topic, String destination, String copy) {
        Map<String, Object> fromSource = settings(source);
        Map<String, Object> fromCopy = settings(destination);
        for (Map<String, Object> settings : Arrays.asList(fromSource, fromCopy)) {
            settings.put("isolation.level", "read_uncommitted");
            settings.put("enable.auto.commit", "false");
            settings.put("auto.offset.reset", "earliest");
            settings.put("max.poll.records", "10000");
            settings.put("allow.auto.create.topics", "false");
        }
        try (KafkaConsumer<byte[], byte[]> here = new KafkaConsumer<>(fromSource, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                KafkaConsumer<byte[], byte[]> there = new KafkaConsumer<>(fromCopy, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            int partitions = here.partitionsFor(topic).size();
            for (int p = 0; p < partitions; p++) {
                Records original = read(here, new TopicPartition(topic, p));
                Records copied = read(there, new TopicPartition(copy, p));
                OUT.println("= " + p + " " + original.count + " " + copied.count + " " + differences(original, copied));
            }
        }
    }

    private static String differences(Records original, Records copied) {
        Map<Long, ArrayDeque<Integer>> at = new HashMap<>();
        for (int i = 0; i < original.count; i++) {
            at.computeIfAbsent(original.numbers[i], n -> new ArrayDeque<>(1)).add(i);
        }
        Set<Long> known = new HashSet<>(at.keySet());
        boolean[] arrived = new boolean[original.count];
        long doubled = 0;
        long reordered = 0;
        long changed = 0;
        long foreign = 0;
        int latest = -1;
        List<String> examples = new ArrayList<>();
        for (int i = 0; i < copied.count; i++) {
            ArrayDeque<Integer> places = at.get(copied.numbers[i]);
            String what = null;
            if (!known.contains(copied.numbers[i])) {
                foreign++;
                what = "foreign";
            } else if (places.isEmpty()) {
                doubled++;
                what = "doubled";
            } else {
                int place = places.poll();
                arrived[place] = true;
                if (original.hashes[place] != copied.hashes[i]) {
                    changed++;
                    what = "changed";
                }
                if (place < latest) {
                    reordered++;
                    what = "out-of-order";
                }
                latest = Math.max(latest, place);
            }
            if (what != null && examples.size() < 12) {
                examples.add(what + ":number=" + copied.numbers[i] + ",copy-offset=" + copied.offsets[i]);
            }
        }
        long lost = 0;
        for (int i = 0; i < original.count; i++) {
            if (!arrived[i]) {
                if (lost++ < 4) {
                    examples.add("lost:number=" + original.numbers[i] + ",source-offset=" + original.offsets[i]
                        + (i > latest ? ",behind-the-copy's-end" : ""));
                }
            }
        }
        // What lies behind the last copied record has not been reached: the tail of a lane that stopped.
        long tail = original.count - 1 - latest;
        return lost + " " + Math.min(tail, lost) + " " + doubled + " " + reordered + " " + changed + " " + foreign
            + (examples.isEmpty() ? "" : " " + String.join(" ", examples));
    }
}
