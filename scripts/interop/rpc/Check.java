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

    static void end() {
        System.exit(failed == 0 ? 0 : 1);
    }
}
