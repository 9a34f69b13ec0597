package realkafka;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Producing: many made-up records that depend on their number only, or a few given ones. */
final class Fill {
    private Fill() {}

    private static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, String> options) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("linger.ms", "20");
        // A loaded machine is slow, not broken.
        settings.put("delivery.timeout.ms", "600000");
        settings.put("max.block.ms", "600000");
        if (!options.containsKey("transactional.id")) {
            // Seen twice with 4.3.1 on a loaded machine: the idempotent producer offers a partition's first batch,
            // sequence 0, again and again, long after it was appended, until the delivery time-out.
            settings.put("enable.idempotence", "false");
        }
        for (Map.Entry<String, String> option : options.entrySet()) {
            if (option.getKey().indexOf('.') > 0 || option.getKey().equals("acks")) {
                settings.put(option.getKey(), option.getValue()); // the producer's own name
            }
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /**
     * records, first (number of the first), partitions (record n goes to n modulo that; 0: where the producer puts it), shape (plain, varied or
     * headerless), time (of record 0, in ms; the producer's own if it is not given), value-bytes (plain only), keys
     * (that many different ones, none null), per-transaction, abort-every and leave-open (with transactional.id).
     * Any producer setting with a dot in its name may be given too.
     */
    static void fill(String bootstrap, String topic, Map<String, String> options, Session session) throws Exception {
        long records = Long.parseLong(options.get("records"));
        long first = Long.parseLong(options.getOrDefault("first", "0"));
        int partitions = Integer.parseInt(options.getOrDefault("partitions", "1"));
        String shape = options.getOrDefault("shape", "plain");
        long time = Long.parseLong(options.getOrDefault("time", "-1"));
        int valueBytes = Integer.parseInt(options.getOrDefault("value-bytes", "100"));
        long keys = Long.parseLong(options.getOrDefault("keys", "0"));
        long perTransaction = Long.parseLong(options.getOrDefault("per-transaction", "0"));
        long abortEvery = Long.parseLong(options.getOrDefault("abort-every", "0"));
        boolean leaveOpen = Boolean.parseBoolean(options.getOrDefault("leave-open", "false"));
        AtomicReference<Exception> failed = new AtomicReference<>();
        KafkaProducer<byte[], byte[]> producer = producer(bootstrap, options);
        try {
            if (perTransaction > 0) {
                producer.initTransactions();
            }
            long transactions = 0;
            boolean open = false;
            for (long n = first; n < first + records; n++) {
                if (perTransaction > 0 && !open) {
                    producer.beginTransaction();
                    open = true;
                }
                Long timestamp = time < 0 ? null : Long.valueOf(time + n * 3 - (n % 13) * 1000);
                Integer partition = partitions == 0 ? null : Integer.valueOf((int) (n % partitions));
                producer.send(
                    new ProducerRecord<>(topic, partition, timestamp, key(n, shape, keys), value(n, shape, valueBytes), headers(n, shape)),
                    (metadata, error) -> {
                        if (error != null) {
                            failed.compareAndSet(null, error);
                        }
                    });
                if (perTransaction > 0 && ((n - first + 1) % perTransaction == 0 || n == first + records - 1)) {
                    transactions++;
                    producer.flush();
                    if (leaveOpen && n == first + records - 1) {
                        break;
                    }
                    if (abortEvery > 0 && transactions % abortEvery == 0) {
                        producer.abortTransaction();
                    } else {
                        producer.commitTransaction();
                    }
                    open = false;
                }
            }
            producer.flush();
        } finally {
            if (!leaveOpen) {
                producer.close(); // would abort an open transaction
            }
        }
        if (failed.get() != null) {
            throw failed.get();
        }
    }

    private static byte[] key(long n, String shape, long keys) {
        if (keys > 0) {
            return bytes("key-" + (n * 0x9E3779B97F4A7C15L >>> 40) % keys); // scattered, so that compaction leaves gaps
        }
        if (shape.equals("plain")) {
            return null;
        }
        switch ((int) (n % 7)) {
            case 0: return null;
            case 1: return new byte[0];
            default: return bytes("key-" + n % 1000);
        }
    }

    private static byte[] value(long n, String shape, int valueBytes) {
        if (shape.equals("plain")) {
            return text("value-" + n + "-", n, valueBytes);
        }
        switch ((int) (n % 11)) {
            case 0: return null;
            case 1: return new byte[0];
            default: return text("value-" + n + "-", n, 20 + (int) (n % 101));
        }
    }

    private static Headers headers(long n, String shape) {
        RecordHeaders headers = new RecordHeaders();
        if (!shape.equals("varied")) {
            return headers;
        }
        switch ((int) (n % 5)) {
            case 1:
                headers.add("trace", bytes("t-" + n));
                break;
            case 2:
                headers.add("again", bytes("1"));
                headers.add("again", null);
                headers.add("again", bytes("2"));
                break;
            case 3:
                headers.add("leer-\u00fc\u4e2d", new byte[0]);
                headers.add("", bytes("no name"));
                break;
            default:
        }
        return headers;
    }

    /** A text of that length (or the prefix alone) that compresses about two to one. */
    private static byte[] text(String prefix, long n, int length) {
        byte[] text = new byte[Math.max(length, prefix.length())];
        long state = n * 0x9E3779B97F4A7C15L + 1;
        for (int i = 0; i < text.length; i++) {
            if (i < prefix.length()) {
                text[i] = (byte) prefix.charAt(i);
                continue;
            }
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            text[i] = (byte) ('a' + (state >>> 32 & 15));
        }
        return text;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /**
     * Producer settings as key=value, then "records", then for each record: partition, timestamp, key, value (hex),
     * the number of headers, then each header's name and value (hex). Sent one after the other, each answered with
     * its offset; settings that batch (linger.ms, batch.size) still let them share a batch.
     */
    static void send(String bootstrap, String topic, List<String> words, Session session) throws Exception {
        int at = words.indexOf("records");
        java.util.List<java.util.concurrent.Future<org.apache.kafka.clients.producer.RecordMetadata>> sent = new java.util.ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Session.options(words.subList(0, at)))) {
            for (int i = at + 1; i < words.size();) {
                int partition = Integer.parseInt(words.get(i));
                Long timestamp = words.get(i + 1) == null ? null : Long.valueOf(words.get(i + 1));
                byte[] key = Session.unhex(words.get(i + 2));
                byte[] value = Session.unhex(words.get(i + 3));
                int count = Integer.parseInt(words.get(i + 4));
                i += 5;
                RecordHeaders headers = new RecordHeaders();
                for (int h = 0; h < count; h++, i += 2) {
                    headers.add(words.get(i), Session.unhex(words.get(i + 1)));
                }
                sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp, key, value, headers)));
            }
            producer.flush();
            for (java.util.concurrent.Future<org.apache.kafka.clients.producer.RecordMetadata> one : sent) {
                session.answer(one.get().offset());
            }
        }
    }
}
