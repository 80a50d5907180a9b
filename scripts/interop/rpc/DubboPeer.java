import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ArgumentConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.SslConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.Protocol;
import org.apache.dubbo.rpc.ProxyFactory;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.model.ApplicationModel;
import org.apache.dubbo.rpc.model.ModuleModel;
import org.apache.dubbo.rpc.service.GenericService;

/** Apache Dubbo's own provider, and a consumer that says for each call whether it went as it should: `server PORT`, `client PORT [SERIALIZATION]`, `push-client PORT`, `twin PORT`, of which `client` starts two, and `count PORT`, which asks how often it was called. */
public class DubboPeer extends Check {
    static class DubboEcho extends Echo {
        @Override
        public String header(String name) {
            return String.valueOf(RpcContext.getServerAttachment().getObjectAttachment(name));
        }
    }

    static class DubboUsers extends Users.Impl {
        @Override
        public String tenant() {
            return RpcContext.getServerAttachment().getAttachment("tenant");
        }
    }

    static <T> ServiceConfig<T> service(Class<T> type, T ref) {
        ServiceConfig<T> service = new ServiceConfig<>();
        service.setInterface(type);
        service.setRef(ref);
        service.setVersion("1.0.0");
        service.setGroup("blue");
        service.setRegister(false);
        return service;
    }

    /** Reads the certificate that both ends have, if there is to be TLS: the server with its key, the client to trust it. */
    static SslConfig secured() {
        String folder = System.getProperty("peer.tls");
        if (folder == null) return null;
        SslConfig ssl = new SslConfig();
        ssl.setServerKeyCertChainPath(folder + "/cert.pem");
        ssl.setServerPrivateKeyPath(folder + "/key.pem");
        ssl.setClientTrustCertCollectionPath(folder + "/cert.pem");
        // Without one of its own a client speaks no TLS at all, whatever it is to trust.
        ssl.setClientKeyCertChainPath(folder + "/cert.pem");
        ssl.setClientPrivateKeyPath(folder + "/key.pem");
        return ssl;
    }

    static EchoService.Person person() {
        EchoService.Person person = new EchoService.Person();
        person.name = "J\u00fcrgen \ud83d\ude00";
        person.age = 42;
        person.names = new ArrayList<>(Arrays.asList("a", "b", null));
        person.picture = new byte[5000];
        person.friend = person;
        return person;
    }

    static <T> ReferenceConfig<T> reference(String url, Class<?> type, String name) {
        ReferenceConfig<T> reference = new ReferenceConfig<>();
        reference.setInterface(type == null ? name : type.getName());
        reference.setVersion("1.0.0");
        reference.setGroup("blue");
        reference.setUrl(url);
        reference.setTimeout(20000);
        reference.setRetries(0);
        reference.setCheck(false);
        return reference;
    }

    static String url(int port) {
        return "dubbo://127.0.0.1:" + port + "/EchoService?group=blue&version=1.0.0";
    }

    /** Its ids begin at a random number: here at the same, and below zero. */
    static void twin(int port) throws Exception {
        java.lang.reflect.Field last = org.apache.dubbo.remoting.exchange.Request.class.getDeclaredField("INVOKE_ID");
        last.setAccessible(true);
        ((java.util.concurrent.atomic.AtomicLong) last.get(null)).set(-200);
        String url = url(port) + (secured() == null ? "" : "&ssl-enabled=true");
        live(ProcessHandle.current().pid() + "", DubboPeer.<EchoService>reference(url, EchoService.class, null).get()::echo);
    }

    static void consume(int port, String serialization) throws Exception {
        names = thrown -> thrown.getClass().getSimpleName() + (thrown instanceof RpcException e ? " " + e.getCode() : "");
        // Its own heartbeats too: three that go without an answer end a connection.
        String url = url(port) + "&heartbeat=700"
            + (secured() == null ? "" : "&ssl-enabled=true")
            + (serialization == null ? "" : "&prefer.serialization=" + serialization + "&serialization=" + serialization);
        EchoService echo = DubboPeer.<EchoService>reference(url, EchoService.class, null).get();
        EchoService other = DubboPeer.<EchoService>withMethods(url).get();
        // Its connection may not be there yet: the first handshake of a JVM takes some seconds on a busy machine.
        check("echo", "hello", () -> until(() -> echo.echo("hello")));
        check("plus", 5, () -> echo.plus(2, 3));
        String emoji = "\ud83d\ude00".repeat(20_000) + "\u00fc";
        check("long text with emoji", emoji, () -> echo.echo(emoji));
        byte[] big = new byte[3_000_000];
        Arrays.fill(big, (byte) 7);
        check("3 MB of bytes", true, () -> Arrays.equals(big, echo.bytes(big)));
        check("objects", 2, () -> {
            EchoService.Person person = person();
            Map<String, Object> map = new HashMap<>(Map.of("long", 1L << 40, "double", 1.25, "true", true));
            List<EchoService.Person> list = new ArrayList<>(Arrays.asList(person, person));
            Map<String, Object> all = echo.mixed(map, list, new EchoService.Person[] {person}, "x");
            return ((List<?>) all.get("list")).size();
        });
        check("attachment", "blue", () -> {
            RpcContext.getClientAttachment().setAttachment("tenant", "blue");
            return echo.header("tenant");
        });
        check("exception", "IllegalStateException", () -> echo.fail("boom"));
        check("timeout", "RpcException " + RpcException.TIMEOUT_EXCEPTION, () -> other.slow(4000));
        check("after the timeout", "again", () -> echo.echo("again"));
        check("100 at once", 100, () -> {
            List<Integer> all = new ArrayList<>();
            for (int i = 0; i < 100; i++) all.add(i);
            return (int) all.parallelStream().filter(i -> ("call " + i).equals(echo.echo("call " + i))).count();
        });
        twins(DubboPeer.class, port);
        check("one-way calls", 20, () -> {
            for (int i = 0; i < 20; i++) other.note("x");
            for (int i = 0; i < 400 && echo.noted() < 20; i++) Thread.sleep(50);
            return echo.noted();
        });
        GenericService generic = generic(url, EchoService.class.getName());
        check("generic", "hi", () -> echo(generic));
        String refused = "RpcException " + RpcException.NETWORK_EXCEPTION;
        check("unknown method", refused, () -> generic.$invoke("missing", new String[0], new Object[0]));
        check("unknown service", refused, () -> echo(generic(url, "com.test.Missing")));
        check("no route", refused, () -> echo(generic(url, "org.nowhere.Echo")));
        check("upstream killed mid-call", refused, () -> echo.die());
        check("after it came back", "back", () -> until(() -> echo.echo("back")));
        outlives(() -> echo.slow(1500), () -> echo.slow(4500), () -> echo.echo("again"));
    }

    /** `subscribe` takes somebody to call back, over the connection that it came by. */
    static MethodConfig subscribe() {
        ArgumentConfig listener = new ArgumentConfig();
        listener.setIndex(0);
        listener.setCallback(true);
        MethodConfig subscribe = new MethodConfig();
        subscribe.setName("subscribe");
        subscribe.setArguments(new ArrayList<>(List.of(listener)));
        return subscribe;
    }

    static void hear(int port) {
        ModuleModel module = ApplicationModel.defaultModel().getDefaultModule();
        for (int i = 0; i < 2; i++) {
            // By hand: of a reference's own address it forgets what is said of single methods. And a connection for each.
            URL url = URL.valueOf("dubbo://127.0.0.1:" + port + "/EchoService?interface=EchoService&group=blue&version=1.0.0&timeout=20000"
                + "&connections=1&codec=dubbo&methods=echo,subscribe&subscribe.0.callback=true&side=consumer").setScopeModel(module);
            Protocol protocol = module.getExtensionLoader(Protocol.class).getExtension("dubbo");
            EchoService echo = module.getExtensionLoader(ProxyFactory.class).getAdaptiveExtension().getProxy(protocol.refer(EchoService.class, url));
            String name = " at " + i;
            check("the provider calls back consumer " + i, "heard: news" + name, () -> echo.subscribe(text -> text + name));
            check("echo", "hello", () -> echo.echo("hello"));
        }
    }

    /** With little time for `slow`, and `note` one-way. */
    static <T> ReferenceConfig<T> withMethods(String url) {
        ReferenceConfig<T> reference = reference(url, EchoService.class, null);
        MethodConfig slow = new MethodConfig();
        slow.setName("slow");
        slow.setTimeout(1500);
        MethodConfig note = new MethodConfig();
        note.setName("note");
        note.setReturn(false);
        note.setSent(true);
        reference.setMethods(new ArrayList<>(List.of(slow, note)));
        return reference;
    }

    static GenericService generic(String url, String name) {
        ReferenceConfig<GenericService> reference = reference(url.replace("/EchoService", "/" + name), null, name);
        reference.setGeneric("true");
        return reference.get();
    }

    static Object echo(GenericService generic) {
        return generic.$invoke("echo", new String[] {"java.lang.String"}, new Object[] {"hi"});
    }

    /** Loopback stays loopback: its consumer takes it for the machine's own address, where nobody here listens. */
    static void stayOnLoopback() throws Exception {
        java.lang.reflect.Field address = org.apache.dubbo.common.utils.NetUtils.class.getDeclaredField("HOST_ADDRESS");
        address.setAccessible(true);
        address.set(null, "127.0.0.1");
    }

    static DubboBootstrap prepared() {
        ApplicationConfig application = new ApplicationConfig("peer");
        application.setQosEnable(false);
        DubboBootstrap bootstrap = DubboBootstrap.getInstance();
        bootstrap.application(application).registry(new RegistryConfig("N/A"));
        SslConfig ssl = secured();
        if (ssl != null) bootstrap.ssl(ssl);
        return bootstrap;
    }

    static void start() {
        prepared().start();
    }

    public static void main(String[] args) throws Exception {
        stayOnLoopback();
        int port = Integer.parseInt(args[1]);
        if (args[0].equals("server")) {
            SslConfig ssl = secured();
            ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
            protocol.setHost("127.0.0.1");
            protocol.setSslEnabled(ssl != null);
            ServiceConfig<EchoService> echo = service(EchoService.class, new DubboEcho());
            echo.setMethods(new ArrayList<>(List.of(subscribe())));
            prepared().protocol(protocol).service(echo).service(service(Users.class, new DubboUsers())).start();
            System.out.println("ready");
            Thread.currentThread().join();
        }
        start();
        if (args[0].equals("push-client")) hear(port);
        else if (args[0].equals("twin")) twin(port);
        else if (args[0].equals("count")) System.out.println("echoed " + DubboPeer.<EchoService>reference(url(port), EchoService.class, null).get().echoed());
        else consume(port, args.length > 2 ? args[2] : null);
        end();
    }
}
