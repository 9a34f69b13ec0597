package realkafka;

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;

/**
 * One JVM for many jobs: reads a command a line from standard input, answers on standard output.
 *
 * A line is words with tabs between them; a word is percent-encoded, "~" is null. An answer is lines that begin
 * with "=" and a tab, then one line "ok" or "error" with its text. Compiles against Kafka 1.1 to 4.x: what
 * changed between them is called by reflection.
 */
public final class Session {
    private final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws IOException {
        System.setOut(System.err); // libraries that print must not disturb the answers
        new Session().serve();
    }

    private void serve() throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                List<String> words = new ArrayList<>();
                for (String word : line.split("\t", -1)) {
                    words.add(decode(word));
                }
                carryOut(words);
                out.println("ok");
            } catch (Throwable error) {
                Throwable cause = error;
                while ((cause instanceof ExecutionException || cause instanceof java.lang.reflect.InvocationTargetException)
                        && cause.getCause() != null) {
                    cause = cause.getCause();
                }
                error.printStackTrace();
                out.println("error\t" + encode(cause.toString()));
            }
            out.flush();
        }
    }

    private void carryOut(List<String> words) throws Exception {
        String bootstrap = words.size() > 1 ? words.get(1) : null;
        List<String> rest = words.size() > 2 ? words.subList(2, words.size()) : List.of();
        switch (words.get(0)) {
            case "ping": break;
            case "create": Admin.of(bootstrap).create(rest); break;
            case "create-many": Admin.of(bootstrap).createMany(rest.get(0), Integer.parseInt(rest.get(1)), Integer.parseInt(rest.get(2))); break;
            case "delete": Admin.of(bootstrap).delete(rest); break;
            case "grow": Admin.of(bootstrap).grow(rest.get(0), Integer.parseInt(rest.get(1))); break;
            case "alter": Admin.of(bootstrap).alter(rest); break;
            case "describe": Admin.of(bootstrap).describe(rest.get(0), this); break;
            case "topics": Admin.of(bootstrap).topics(this); break;
            case "delete-records":
                Admin.of(bootstrap).deleteRecords(rest.get(0), Integer.parseInt(rest.get(1)), Long.parseLong(rest.get(2)));
                break;
            case "scram-user": Admin.of(bootstrap).scramUser(rest.get(0), rest.get(1)); break;
            case "allow": Admin.of(bootstrap).allow(rest.get(0), rest.get(1), rest.get(2), rest.get(3)); break;
            case "create-acl": Admin.of(bootstrap).createAcl(rest); break;
            case "delete-acl": Admin.of(bootstrap).deleteAcl(rest); break;
            case "acls": Admin.of(bootstrap).acls(this); break;
            case "ends": Read.ends(bootstrap, rest.get(0), this); break;
            case "await": Read.await(bootstrap, rest.get(0), Long.parseLong(rest.get(1)), Long.parseLong(rest.get(2)), this); break;
            case "next": Watch.next(bootstrap, rest.get(0), rest.get(1), Long.parseLong(rest.get(2)), this); break;
            case "still":
                Watch.still(bootstrap, rest.get(0), rest.get(1), Long.parseLong(rest.get(2)), Long.parseLong(rest.get(3)), Long.parseLong(rest.get(4)), this);
                break;
            case "tally": Watch.tally(bootstrap, rest.get(0), rest.get(1), this); break;
            case "digest": Read.digest(bootstrap, rest.get(0), rest.get(1), this); break;
            case "dump": Read.dump(bootstrap, rest.get(0), rest.get(1), this); break;
            case "fill": Fill.fill(bootstrap, rest.get(0), options(rest.subList(1, rest.size())), this); break;
            case "send": Fill.send(bootstrap, rest.get(0), rest.subList(1, rest.size()), this); break;
            default: throw new IllegalArgumentException("unknown command " + words.get(0));
        }
    }

    /** One line of an answer. */
    void answer(Object... words) {
        StringBuilder line = new StringBuilder("=");
        for (Object word : words) {
            line.append('\t').append(word == null ? "~" : encode(word.toString()));
        }
        out.println(line);
    }

    static Map<String, String> options(List<String> words) {
        Map<String, String> options = new HashMap<>();
        for (String word : words) {
            int at = word.indexOf('=');
            options.put(word.substring(0, at), word.substring(at + 1));
        }
        return options;
    }

    static String encode(String text) {
        StringBuilder encoded = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            boolean plain = b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || "-_.:/,=".indexOf(b) >= 0;
            if (plain) {
                encoded.append((char) b);
            } else {
                encoded.append(String.format("%%%02x", b));
            }
        }
        return encoded.toString();
    }

    static String decode(String word) {
        if (word.equals("~")) {
            return null;
        }
        byte[] bytes = new byte[word.length()];
        int length = 0;
        for (int i = 0; i < word.length(); i++) {
            if (word.charAt(i) == '%') {
                bytes[length++] = (byte) Integer.parseInt(word.substring(i + 1, i + 3), 16);
                i += 2;
            } else {
                bytes[length++] = (byte) word.charAt(i);
            }
        }
        return new String(bytes, 0, length, StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        StringBuilder text = new StringBuilder();
        for (byte b : bytes) {
            text.append(Character.forDigit((b >> 4) & 15, 16)).append(Character.forDigit(b & 15, 16));
        }
        return text.toString();
    }

    static byte[] unhex(String text) {
        if (text == null) {
            return null;
        }
        byte[] bytes = new byte[text.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }
}
