import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.GenericService;

/** Apache Dubbo's own provider, and a consumer that says for each call whether it went as it should: `server PORT`, `client PORT [SERIALIZATION]`. */
public class DubboPeer {
    static class DubboEcho extends Echo {
        @Override
        public String header(String name) {
            return String.valueOf(RpcContext.getServerAttachment().getObjectAttachment(name));
        }
    }

    static int failed;

    interface Call {
        Object run() throws Throwable;
    }

    static void check(String name, Object expect, Call call) {
        Object got;
        try {
            got = call.run();
        } catch (Throwable t) {
            if (!(t instanceof IllegalStateException)) System.out.println("     " + brief(t.getMessage()));
            got = t.getClass().getSimpleName() + (t instanceof RpcException e ? " " + e.getCode() : "");
        }
        boolean ok = expect.equals(got);
        failed += ok ? 0 : 1;
        System.out.println((ok ? "ok   " : "FAIL ") + name + (ok ? "" : ": wanted " + brief(expect) + ", got " + brief(got)));
    }

    static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() > 200 ? text.substring(0, 200) : text;
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
        reference.setTimeout(2000);
        reference.setRetries(0);
        reference.setCheck(false);
        return reference;
    }

    static void consume(int port, String serialization) {
        String url = "dubbo://127.0.0.1:" + port + "/EchoService?group=blue&version=1.0.0"
            + (serialization == null ? "" : "&prefer.serialization=" + serialization + "&serialization=" + serialization);
        EchoService echo = DubboPeer.<EchoService>reference(url, EchoService.class, null).get();
        check("echo", "hello", () -> echo.echo("hello"));
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
        check("timeout", "RpcException " + RpcException.TIMEOUT_EXCEPTION, () -> echo.slow(4000));
        check("after the timeout", "again", () -> echo.echo("again"));
        check("100 at once", 100, () -> {
            List<Integer> all = new ArrayList<>();
            for (int i = 0; i < 100; i++) all.add(i);
            return (int) all.parallelStream().filter(i -> ("call " + i).equals(echo.echo("call " + i))).count();
        });
        EchoService quiet = DubboPeer.<EchoService>oneWay(url).get();
        check("one-way calls", 20, () -> {
            for (int i = 0; i < 20; i++) quiet.note("x");
            for (int i = 0; i < 100 && echo.noted() < 20; i++) Thread.sleep(50);
            return echo.noted();
        });
        check("unknown method", "RpcException " + RpcException.NETWORK_EXCEPTION,
            () -> DubboPeer.<GenericService>generic(url).get().$invoke("missing", new String[0], new Object[0]));
        check("no route", "RpcException " + RpcException.NETWORK_EXCEPTION, () ->
            DubboPeer.<GenericService>reference(url.replace("/EchoService", "/org.nowhere.Echo"), null, "org.nowhere.Echo").get()
                .$invoke("echo", new String[] {"java.lang.String"}, new Object[] {"x"}));
        GenericService generic = DubboPeer.<GenericService>generic(url).get();
        check("generic", "hi", () -> generic.$invoke("echo", new String[] {"java.lang.String"}, new Object[] {"hi"}));
        check("upstream killed mid-call", "RpcException " + RpcException.NETWORK_EXCEPTION, () -> echo.die());
        check("after it came back", "back", () -> {
            for (int i = 0; ; i++) {
                try {
                    return echo.echo("back");
                } catch (RpcException e) {
                    if (i == 100) throw e;
                    Thread.sleep(200);
                }
            }
        });
    }

    static <T> ReferenceConfig<T> oneWay(String url) {
        ReferenceConfig<T> reference = reference(url, EchoService.class, null);
        org.apache.dubbo.config.MethodConfig note = new org.apache.dubbo.config.MethodConfig();
        note.setName("note");
        note.setReturn(false);
        note.setSent(true);
        reference.setMethods(new ArrayList<>(List.of(note)));
        return reference;
    }

    static <T> ReferenceConfig<T> generic(String url) {
        ReferenceConfig<T> reference = reference(url, null, EchoService.class.getName());
        reference.setGeneric("true");
        return reference;
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        ApplicationConfig application = new ApplicationConfig("peer");
        application.setQosEnable(false);
        org.apache.dubbo.config.bootstrap.DubboBootstrap bootstrap = org.apache.dubbo.config.bootstrap.DubboBootstrap.getInstance();
        bootstrap.application(application).registry(new RegistryConfig("N/A"));
        if (args[0].equals("server")) {
            ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
            protocol.setHost("127.0.0.1");
            ServiceConfig<EchoService> service = new ServiceConfig<>();
            service.setInterface(EchoService.class);
            service.setRef(new DubboEcho());
            service.setVersion("1.0.0");
            service.setGroup("blue");
            service.setRegister(false);
            bootstrap.protocol(protocol).service(service).start();
            System.out.println("ready");
            Thread.currentThread().join();
        }
        bootstrap.start();
        consume(port, args.length > 2 ? args[2] : null);
        System.exit(failed == 0 ? 0 : 1);
    }
}
