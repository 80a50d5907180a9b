import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/** The service of the Java peers. */
public class Echo implements EchoService {
    public String echo(String text) {
        return text;
    }

    public int plus(int a, int b) {
        return a + b;
    }

    public byte[] bytes(byte[] bytes) {
        return bytes;
    }

    public Map<String, Object> mixed(Map<String, Object> map, List<Person> list, Person[] array, String text) {
        Map<String, Object> all = new HashMap<>(map);
        all.put("list", list);
        all.put("array", array);
        all.put("text", text);
        return all;
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

    public String header(String name) {
        return "";
    }

    static final AtomicInteger NOTED = new AtomicInteger();

    public void note(String text) {
        NOTED.incrementAndGet();
    }

    public int noted() {
        return NOTED.get();
    }

    public String subscribe(Listener listener) {
        return "heard: " + listener.told("news");
    }

    public String die() {
        Runtime.getRuntime().halt(0);
        return "";
    }
}
