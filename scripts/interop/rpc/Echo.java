import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/** The service of the Java peers. */
public class Echo extends Basics.Impl implements EchoService {
    public Map<String, Object> mixed(Map<String, Object> map, List<Person> list, Person[] array, String text) {
        Map<String, Object> all = new HashMap<>(map);
        all.put("list", list);
        all.put("array", array);
        all.put("text", text);
        return all;
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

    public int echoed() {
        return ECHOED.get();
    }

    public String subscribe(Listener listener) {
        return "heard: " + listener.told("news");
    }

    public String die() {
        Runtime.getRuntime().halt(0);
        return "";
    }
}
