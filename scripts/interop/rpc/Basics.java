import java.util.concurrent.atomic.AtomicInteger;

/** What all services of the Java peers have. */
public interface Basics {
    String echo(String text);

    int plus(int a, int b);

    byte[] bytes(byte[] bytes);

    String fail(String text);

    String slow(int millis);

    /** It itself. */
    class Impl implements Basics {
        static final AtomicInteger ECHOED = new AtomicInteger();

        public String echo(String text) {
            ECHOED.incrementAndGet();
            return text;
        }

        public int plus(int a, int b) {
            return a + b;
        }

        public byte[] bytes(byte[] bytes) {
            return bytes;
        }

        public String fail(String text) {
            throw new IllegalStateException(text);
        }

        public String slow(int millis) {
            try {
                Thread.sleep(millis);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            return "slept";
        }
    }
}
