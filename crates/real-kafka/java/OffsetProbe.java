package realkafka;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/**
 * A connector whose source partitions are topic and partition, as Replicator's are: writes what the worker's offset
 * store holds for them into a file, and makes the worker store offsets of its own.
 *
 * probe.topic, probe.partitions: which source partitions. probe.found: the file. probe.out: a topic of the worker's
 * cluster; if given, one record a partition goes there with the source offset probe.offset.
 */
public final class OffsetProbe extends SourceConnector {
    private Map<String, String> settings;

    @Override public String version() {
        return "1";
    }

    @Override public void start(Map<String, String> given) {
        settings = given;
    }

    @Override public Class<? extends Task> taskClass() {
        return ProbeTask.class;
    }

    @Override public List<Map<String, String>> taskConfigs(int most) {
        return Collections.singletonList(settings);
    }

    @Override public void stop() {}

    @Override public ConfigDef config() {
        return new ConfigDef();
    }

    /** The task that looks and writes. */
    public static final class ProbeTask extends SourceTask {
        private final List<SourceRecord> due = new ArrayList<>();

        @Override public String version() {
            return "1";
        }

        @Override public void start(Map<String, String> settings) {
            StringBuilder found = new StringBuilder();
            for (int partition = 0; partition < Integer.parseInt(settings.get("probe.partitions")); partition++) {
                Map<String, Object> source = new LinkedHashMap<>();
                source.put("topic", settings.get("probe.topic"));
                source.put("partition", partition);
                Map<String, Object> offset = context.offsetStorageReader().offset(source);
                found.append(partition).append('\t').append(offset == null ? "none" : new TreeMap<>(offset)).append('\n');
                if (settings.get("probe.out") != null) {
                    Map<String, Long> next = Collections.singletonMap("offset", Long.valueOf(settings.get("probe.offset")));
                    due.add(new SourceRecord(source, next, settings.get("probe.out"), 0, Schema.STRING_SCHEMA, "probe", Schema.STRING_SCHEMA, "probe"));
                }
            }
            try {
                java.nio.file.Path file = Paths.get(settings.get("probe.found"));
                java.nio.file.Path fresh = Paths.get(settings.get("probe.found") + ".fresh");
                Files.write(fresh, found.toString().getBytes(StandardCharsets.UTF_8));
                Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE);
            } catch (java.io.IOException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override public List<SourceRecord> poll() throws InterruptedException {
            if (due.isEmpty()) {
                Thread.sleep(50);
                return null;
            }
            List<SourceRecord> records = new ArrayList<>(due);
            due.clear();
            return records;
        }

        @Override public void stop() {}
    }
}
