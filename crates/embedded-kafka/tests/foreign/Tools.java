import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs Kafka's own tools one after the other in one JVM, for a start of each costs a second.
 *
 * A line of standard input is a job: the main class, its arguments and last its own standard input, separated by
 * tabs, with \n for a new line. For each job: what it printed, and a line "== " with its exit code. A tool's exit
 * is caught where Kafka itself lets tests catch it, and its shutdown hooks, which flush, run at once.
 */
public final class Tools {
    private static final class Exited extends RuntimeException {
        final int code;

        Exited(int code) {
            super(null, null, false, false);
            this.code = code;
        }
    }

    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static final Map<Thread, Integer> CODES = new ConcurrentHashMap<>();

    public static void main(String[] ignored) throws Exception {
        PrintStream out = System.out;
        catchExits();
        BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = jobs.readLine(); line != null; line = jobs.readLine()) {
            String[] words = line.split("\t", -1);
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(printed, true, "UTF-8");
            System.setOut(both);
            System.setErr(both);
            String input = words[words.length - 1].replace("\\n", "\n");
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            int code = run(words[0], Arrays.copyOfRange(words, 1, words.length - 1), both);
            both.flush();
            out.print(printed.toString("UTF-8"));
            out.println("\n== " + code);
            out.flush();
        }
        // Threads that a tool has left behind do not keep us.
        Runtime.getRuntime().halt(0);
    }

    private static int run(String main, String[] arguments, PrintStream errors) throws Exception {
        int code = 0;
        try {
            // Scala's Console remembers the streams of its start, unless each job loads it anew.
            setScalaStreams();
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException failed) {
            if (failed.getCause() instanceof Exited exited) {
                code = exited.code;
            } else {
                failed.getCause().printStackTrace(errors);
                code = 1;
            }
        }
        // A tool that exits in its own finally clause has said how by the thread's first code.
        Integer first = CODES.remove(Thread.currentThread());
        for (Runnable hook : HOOKS) {
            hook.run();
        }
        HOOKS.clear();
        return first == null ? code : first;
    }

    private static void catchExits() throws Exception {
        Class<?> exit = Class.forName("org.apache.kafka.common.utils.Exit");
        for (String kind : List.of("setExitProcedure", "setHaltProcedure")) {
            Class<?> procedure = Class.forName("org.apache.kafka.common.utils.Exit$Procedure");
            Object caught = Proxy.newProxyInstance(procedure.getClassLoader(), new Class<?>[] {procedure}, (p, m, a) -> {
                CODES.putIfAbsent(Thread.currentThread(), (Integer) a[0]);
                throw new Exited((Integer) a[0]);
            });
            exit.getMethod(kind, procedure).invoke(null, caught);
        }
        Class<?> adder = Class.forName("org.apache.kafka.common.utils.Exit$ShutdownHookAdder");
        Object caught = Proxy.newProxyInstance(adder.getClassLoader(), new Class<?>[] {adder}, (p, m, a) -> {
            HOOKS.add((Runnable) a[1]);
            return null;
        });
        exit.getMethod("setShutdownHookAdder", adder).invoke(null, caught);
    }

    private static void setScalaStreams() throws Exception {
        Class<?> console = Class.forName("scala.Console$");
        Object module = console.getField("MODULE$").get(null);
        console.getMethod("setOutDirect", PrintStream.class).invoke(module, System.out);
        console.getMethod("setErrDirect", PrintStream.class).invoke(module, System.err);
    }
}
