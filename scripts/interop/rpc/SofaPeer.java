import com.alipay.remoting.BizContext;
import com.alipay.remoting.rpc.RpcClient;
import com.alipay.remoting.rpc.RpcServer;
import com.alipay.remoting.rpc.protocol.SyncUserProcessor;
import com.alipay.sofa.rpc.config.ApplicationConfig;
import com.alipay.sofa.rpc.config.ConsumerConfig;
import com.alipay.sofa.rpc.config.MethodConfig;
import com.alipay.sofa.rpc.config.ProviderConfig;
import com.alipay.sofa.rpc.config.ServerConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * SOFARPC's own server and client, and Bolt by itself under both its versions: `server PORT`, `client PORT`, `bolt-server PORT`,
 * `bolt-client PORT`, `push-client PORT`, which the server calls back, `twin PORT`, of which `client` starts two, and `count PORT`, which asks how often it was called. A client says for each call whether it went as it should.
 */
public class SofaPeer extends Check {
    static class Bolt extends SyncUserProcessor<String> {
        final RpcServer server;

        Bolt(RpcServer server) {
            this.server = server;
        }

        @Override
        public Object handleRequest(BizContext context, String text) throws Exception {
            if (text.startsWith("slow")) Thread.sleep(Long.parseLong(text.substring(4)));
            if (text.startsWith("fail")) throw new IllegalStateException("boom");
            if (text.startsWith("die")) Runtime.getRuntime().halt(0);
            // A call of the server's own, over the connection that it was called on.
            if (text.startsWith("push")) return "heard: " + server.invokeSync(context.getConnection(), "echo " + text, 20000);
            return text.startsWith("slow") ? "slept" : text;
        }

        @Override
        public String interest() {
            return String.class.getName();
        }
    }

    static ConsumerConfig<EchoService> consumer(int port) {
        return new ConsumerConfig<EchoService>().setApplication(new ApplicationConfig().setAppName("peer"))
            .setInterfaceId(EchoService.class.getName()).setProtocol("bolt").setDirectUrl("bolt://127.0.0.1:" + port)
            .setRegister(false).setSubscribe(false).setTimeout(20000).setRetries(0).setReconnectPeriod(500).setConnectTimeout(10000);
    }

    static void ask(int port) {
        EchoService echo = consumer(port).refer();
        check("echo", "hello", () -> echo.echo("hello"));
        check("plus", 5, () -> echo.plus(2, 3));
        String emoji = "\ud83d\ude00".repeat(20_000) + "\u00fc";
        check("long text with emoji", emoji, () -> echo.echo(emoji));
        byte[] big = new byte[3_000_000];
        Arrays.fill(big, (byte) 7);
        check("3 MB of bytes", true, () -> Arrays.equals(big, echo.bytes(big)));
        check("objects", 2, () -> {
            EchoService.Person person = new EchoService.Person();
            person.name = "J\u00fcrgen";
            person.friend = person;
            List<EchoService.Person> list = new ArrayList<>(Arrays.asList(person, person));
            Map<String, Object> all = echo.mixed(new HashMap<>(Map.of("long", 1L << 40)), list, new EchoService.Person[] {person}, "x");
            return ((List<?>) all.get("list")).size();
        });
        check("100 at once", 100, () -> {
            List<Integer> all = new ArrayList<>();
            for (int i = 0; i < 100; i++) all.add(i);
            return (int) all.parallelStream().filter(i -> ("call " + i).equals(echo.echo("call " + i))).count();
        });
        twins(SofaPeer.class, port);
        check("exception", "IllegalStateException", () -> echo.fail("boom"));
        MethodConfig slow = new MethodConfig().setName("slow").setTimeout(300);
        MethodConfig note = new MethodConfig().setName("note").setInvokeType("oneway");
        EchoService other = consumer(port).setMethods(new ArrayList<>(Arrays.asList(slow, note))).setRepeatedReferLimit(5).refer();
        check("timeout", "SofaTimeOutException", () -> other.slow(3000));
        check("after the timeout", "again", () -> echo.echo("again"));
        check("one-way calls", 20, () -> {
            for (int i = 0; i < 20; i++) other.note("x");
            for (int i = 0; i < 400 && echo.noted() < 20; i++) Thread.sleep(50);
            return echo.noted();
        });
        check("unknown service", "SofaRpcException", () -> consumer(port).setUniqueId("missing").refer().echo("x"));
        check("no route", "SofaRpcException", () -> consumer(port).setUniqueId("nowhere").refer().echo("x"));
        check("upstream killed mid-call", "SofaRpcException", () -> echo.die());
        check("after it came back", "back", () -> until(() -> echo.echo("back")));
        outlives(() -> echo.slow(1500), () -> echo.slow(4500), () -> echo.echo("again"));
    }

    static <T> void export(Class<T> type, T service, ServerConfig server) {
        new ProviderConfig<T>().setApplication(new ApplicationConfig().setAppName("peer")).setInterfaceId(type.getName())
            .setRef(service).setServer(server).setRegister(false).export();
    }

    static void serve(int port) {
        ServerConfig server = new ServerConfig().setProtocol("bolt").setHost("127.0.0.1").setBoundHost("127.0.0.1").setPort(port).setDaemon(false);
        export(EchoService.class, new Echo(), server);
        export(Users.class, new Users.Impl(), server);
    }

    static void askBolt(int port) throws Exception {
        RpcClient client = new RpcClient();
        client.startup();
        for (String version : new String[] {"_PROTOCOL=1", "_PROTOCOL=2&_VERSION=1", "_PROTOCOL=2&_VERSION=2"}) {
            // Its connections are kept by address alone, whatever the version is.
            client.closeConnection("127.0.0.1:" + port);
            String address = "127.0.0.1:" + port + "?" + version;
            check(version + ": echo", "hello", () -> client.invokeSync(address, "hello", 20000));
            String big = "0123456789".repeat(300_000);
            check(version + ": 3 MB", true, () -> big.equals(client.invokeSync(address, big, 20000)));
            check(version + ": 100 at once", 100, () -> {
                List<Integer> all = new ArrayList<>();
                for (int i = 0; i < 100; i++) all.add(i);
                return (int) all.parallelStream().filter(i -> {
                    try {
                        return ("call " + i).equals(client.invokeSync(address, "call " + i, 20000));
                    } catch (Exception e) {
                        return false;
                    }
                }).count();
            });
            check(version + ": exception", "InvokeServerException", () -> client.invokeSync(address, "fail", 20000));
            check(version + ": timeout", "InvokeTimeoutException", () -> client.invokeSync(address, "slow2000", 300));
            check(version + ": one-way, then a call", "after", () -> {
                for (int i = 0; i < 20; i++) client.oneway(address, "fire");
                return client.invokeSync(address, "after", 20000);
            });
        }
        String address = "127.0.0.1:" + port;
        check("upstream killed mid-call", "ConnectionClosedException", () -> client.invokeSync(address, "die", 20000));
        check("after it came back", "back", () -> until(() -> client.invokeSync(address, "back", 20000)));
        outlives(() -> client.invokeSync(address, "slow1500", 20000), () -> client.invokeSync(address, "slow4500", 20000),
            () -> client.invokeSync(address, "again", 20000));
    }

    /** A server's calls reach the client on whose connection they are made, and no other. */
    static void hearBolt(int port) throws Exception {
        RpcClient[] clients = new RpcClient[2];
        for (int i = 0; i < 2; i++) {
            clients[i] = new RpcClient();
            String name = " at " + i;
            clients[i].registerUserProcessor(new SyncUserProcessor<String>() {
                @Override
                public Object handleRequest(BizContext context, String text) {
                    return text + name;
                }

                @Override
                public String interest() {
                    return String.class.getName();
                }
            });
            clients[i].startup();
        }
        String address = "127.0.0.1:" + port;
        for (int i = 0; i < 2; i++) {
            RpcClient client = clients[i];
            check("the server calls client " + i, "heard: echo push at " + i, () -> client.invokeSync(address, "push", 20000));
            check("echo", "hello", () -> client.invokeSync(address, "hello", 20000));
        }
        check("upstream killed mid-call", "ConnectionClosedException", () -> clients[0].invokeSync(address, "die", 20000));
        check("after it came back", "heard: echo push at 0", () -> until(() -> clients[0].invokeSync(address, "push", 20000)));
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        switch (args[0]) {
            case "server" -> {
                serve(port);
                System.out.println("ready");
                Thread.currentThread().join();
            }
            case "bolt-server" -> {
                RpcServer server = new RpcServer("127.0.0.1", port);
                server.registerUserProcessor(new Bolt(server));
                server.startup();
                System.out.println("ready");
                Thread.currentThread().join();
            }
            case "client" -> ask(port);
            case "twin" -> live(ProcessHandle.current().pid() + "", consumer(port).refer()::echo);
            case "count" -> System.out.println("echoed " + consumer(port).refer().echoed());
            case "bolt-client" -> askBolt(port);
            case "push-client" -> hearBolt(port);
            default -> throw new IllegalArgumentException(args[0]);
        }
        end();
    }
}
