import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** What the Java peers share: checks that say for each call whether it went as it should. */
class Check {
    static int failed;

    interface Call {
        Object run() throws Throwable;
    }

    /** Names what was thrown: its class, and a number where it has one. */
    interface Names {
        String of(Throwable thrown);
    }

    static Names names = thrown -> thrown.getClass().getSimpleName();

    /** `expect`: the value, or the name of what is thrown. */
    static void check(String name, Object expect, Call call) {
        Object got;
        Throwable thrown = null;
        try {
            got = call.run();
        } catch (Throwable t) {
            thrown = t;
            got = names.of(t);
        }
        boolean ok = expect.equals(got);
        failed += ok ? 0 : 1;
        System.out.println((ok ? "ok   " : "FAIL ") + name + (ok ? "" : ": wanted " + brief(expect) + ", got " + brief(got)));
        for (Throwable cause = ok ? null : thrown; cause != null; cause = cause.getCause()) System.out.println("     " + brief(cause));
    }

    static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() > 300 ? text.substring(0, 300) : text;
    }

    /** Asks until it goes well: for a server that is starting again, which takes a JVM on a busy machine its time. */
    static Object until(Call call) throws Throwable {
        for (int i = 0; ; i++) {
            try {
                return call.run();
            } catch (Exception e) {
                if (i == 300) throw e;
                Thread.sleep(200);
            }
        }
    }

    static void hook(String name) throws Exception {
        int code = new ProcessBuilder("sh", "-c", System.getenv(name)).inheritIO().start().waitFor();
        if (code != 0) throw new IllegalStateException(name + " ended with " + code);
    }

    static CompletableFuture<Object> begin(Call call) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return call.run();
            } catch (Throwable t) {
                throw new CompletionException(t);
            }
        });
    }

    /** A call in flight outlives a configuration that gives its cluster new connections, and the proxy's own end; the longer one, many heartbeats. */
    static void outlives(Call shorter, Call longer, Call echo) {
        check("a reload mid-call", "slept again", () -> {
            CompletableFuture<Object> inFlight = begin(shorter);
            Thread.sleep(300);
            hook("RINGWAY_RELOAD");
            return inFlight.get() + " " + echo.run();
        });
        check("a drain mid-call", "slept", () -> {
            CompletableFuture<Object> inFlight = begin(longer);
            Thread.sleep(300);
            hook("RINGWAY_DRAIN");
            return inFlight.get();
        });
    }

    /** Two clients with equal ids, whose calls are in flight together: each in a process of its own, for libraries count ids for all of one. */
    static void twins(Class<?> peer, int port) {
        check("two clients with equal ids", "400 400", () -> {
            List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java"));
            command.addAll(java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments());
            command.addAll(List.of("-cp", System.getProperty("java.class.path"), peer.getName(), "twin", String.valueOf(port)));
            Process[] both = new Process[2];
            for (int i = 0; i < 2; i++) both[i] = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            for (Process one : both) told(one, "ready");
            for (Process one : both) {
                one.getOutputStream().write('\n');
                one.getOutputStream().flush();
            }
            return told(both[0], "good ") + " " + told(both[1], "good ");
        });
    }

    /** What stands behind these words in what a process says. */
    static String told(Process process, String words) throws Exception {
        java.io.BufferedReader said = process.inputReader();
        for (String line = said.readLine(); line != null; line = said.readLine()) {
            if (line.startsWith(words)) return line.substring(words.length());
        }
        throw new IllegalStateException("it ended without " + words);
    }

    /** The other end of that: its first calls, all at the same time as its twin's. */
    static void live(String name, Echoes echo) throws Exception {
        System.out.println("ready");
        System.in.read();
        System.out.println("good " + echoes(name, echo));
    }

    interface Echoes {
        Object of(String text) throws Exception;
    }

    /** How many of 400 calls, of eight threads, gave their own text back. */
    static int echoes(String name, Echoes echo) throws Exception {
        java.util.concurrent.atomic.AtomicInteger good = new java.util.concurrent.atomic.AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 8; t++) {
            int first = t * 50;
            threads.add(new Thread(() -> {
                for (int i = first; i < first + 50; i++) {
                    String text = name + " " + i;
                    try {
                        if (text.equals(echo.of(text))) good.incrementAndGet();
                    } catch (Exception e) {
                        System.out.println("     " + text + ": " + brief(e));
                    }
                }
            }));
        }
        for (Thread thread : threads) thread.start();
        for (Thread thread : threads) thread.join();
        return good.get();
    }

    static void end() {
        System.exit(failed == 0 ? 0 : 1);
    }
}
