import java.io.IOException;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** Writes the golden files, each as Connect's FileOffsetBackingStore writes its own. */
public class Golden {
    public static void main(String[] args) throws IOException {
        Path folder = Path.of(args[0]);
        write(folder, "empty.bin", new HashMap<byte[], byte[]>());

        Map<byte[], byte[]> one = new HashMap<>();
        one.put(text("[\"replicator-source\",{\"topic\":\"test-topic\",\"partition\":0}]"), text("{\"offset\":9999}"));
        write(folder, "one.bin", one);

        Map<byte[], byte[]> thirteen = new HashMap<>();
        for (int i = 0; i < 13; i++) thirteen.put(text("key-" + i), text("value-" + i % 10));
        write(folder, "thirteen.bin", thirteen);

        Map<byte[], byte[]> nulls = new HashMap<>();
        nulls.put(null, text(""));
        nulls.put(text("reset"), null);
        write(folder, "nulls.bin", nulls);

        Map<byte[], byte[]> shared = new HashMap<>();
        byte[] both = text("both");
        shared.put(both, both);
        write(folder, "shared.bin", shared);

        Map<byte[], byte[]> large = new HashMap<>();
        byte[] value = new byte[70_000];
        Arrays.fill(value, (byte) 'x');
        large.put(text("long"), value);
        write(folder, "long.bin", large);

        write(folder, "tree_map.bin", new TreeMap<>(Map.of("a", "b")));
        write(folder, "strings.bin", new HashMap<>(Map.of("a", "b")));
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void write(Path folder, String name, Object object) throws IOException {
        try (ObjectOutputStream out = new ObjectOutputStream(Files.newOutputStream(folder.resolve(name)))) {
            out.writeObject(object);
        }
    }
}
