import java.io.Serializable;
import java.util.List;
import java.util.Map;

/** What the Java peers serve and call; `die` ends the server in the middle of the call. */
public interface EchoService extends Basics {
    /** A value with a class of its own, others within it, and one of itself. */
    class Person implements Serializable {
        public String name;
        public int age;
        public double weight = 71.5;
        public long born = 1L << 40;
        public Person friend;
        public List<String> names;
        public byte[] picture;
        public java.util.Date date = new java.util.Date(1700000000000L);
    }

    Map<String, Object> mixed(Map<String, Object> map, List<Person> list, Person[] array, String text);

    String header(String name);

    void note(String text);

    int noted();

    /** How often `echo` was called. */
    int echoed();

    /** Whom the server may call back. */
    interface Listener {
        String told(String text);
    }

    String subscribe(Listener listener);

    String die();
}
