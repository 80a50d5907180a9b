import java.io.Serializable;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What clients of HTTP call: values of all kinds, exceptions of all kinds. */
public interface Users extends Basics {
    enum Colour { RED, BLUE }

    class User implements Serializable {
        public long id;
        public String name;
        public Colour colour;
        public Date born;
        public BigDecimal balance;
        public byte[] picture;
        public List<String> tags;
        public Map<String, Integer> scores;
        public User friend;

        public long getId() { return id; }
        public void setId(long id) { this.id = id; }
        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public Colour getColour() { return colour; }
        public void setColour(Colour colour) { this.colour = colour; }
        public Date getBorn() { return born; }
        public void setBorn(Date born) { this.born = born; }
        public BigDecimal getBalance() { return balance; }
        public void setBalance(BigDecimal balance) { this.balance = balance; }
        public byte[] getPicture() { return picture; }
        public void setPicture(byte[] picture) { this.picture = picture; }
        public List<String> getTags() { return tags; }
        public void setTags(List<String> tags) { this.tags = tags; }
        public Map<String, Integer> getScores() { return scores; }
        public void setScores(Map<String, Integer> scores) { this.scores = scores; }
        public User getFriend() { return friend; }
        public void setFriend(User friend) { this.friend = friend; }
    }

    class Refused extends Exception {
        public Refused(String message) { super(message); }
    }

    User find(long id, String fields);
    User save(User user);
    List<User> all(int count);
    Map<String, Object> mixed();
    User loop();
    void nothing();
    String refuse(String text) throws Refused;
    String tenant();

    /** The service itself. */
    class Impl extends Basics.Impl implements Users {
        static User user(long id, String name) {
            User user = new User();
            user.id = id;
            user.name = name;
            return user;
        }

        public User find(long id, String fields) {
            User user = user(id, fields);
            user.colour = Colour.BLUE;
            user.born = new Date(1700000000000L);
            user.balance = new BigDecimal("12345678901234567890.10");
            user.picture = new byte[] {1, 2};
            user.tags = new ArrayList<>(List.of("a", "J\u00fcrgen \ud83d\ude00"));
            user.scores = new LinkedHashMap<>(Map.of("x", 1));
            user.friend = user(1, "friend");
            return user;
        }

        public User save(User user) {
            if (user.friend != null) user.friend.name = user.friend.name + "!";
            return user;
        }

        public List<User> all(int count) {
            List<User> all = new ArrayList<>();
            User one = user(7, "one");
            for (int i = 0; i < count; i++) all.add(one);
            return all;
        }

        public Map<String, Object> mixed() {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("long", 9007199254740993L);
            all.put("double", 1.5);
            all.put("null", null);
            all.put("list", new ArrayList<>(List.of(1, "a", true)));
            all.put("ints", new int[] {1, 2, 3});
            return all;
        }

        public User loop() {
            User user = user(1, "loop");
            user.friend = user;
            return user;
        }

        public void nothing() { }

        public String refuse(String text) throws Refused { throw new Refused(text); }

        public String tenant() { return ""; }
    }
}
