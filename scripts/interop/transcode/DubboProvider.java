import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;

/** Apache Dubbo's provider: `PORT`. */
public class DubboProvider {
    public static void main(String[] args) throws Exception {
        ApplicationConfig application = new ApplicationConfig("provider");
        application.setQosEnable(false);
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(args[0]));
        protocol.setHost("127.0.0.1");
        ServiceConfig<Users> service = new ServiceConfig<>();
        service.setApplication(application);
        service.setRegistry(new RegistryConfig("N/A"));
        service.setProtocol(protocol);
        service.setInterface(Users.class);
        service.setVersion("1.0.0");
        service.setGroup("blue");
        service.setRef(new Users.Impl() {
            @Override
            public String tenant() {
                return RpcContext.getServerAttachment().getAttachment("tenant");
            }
        });
        service.export();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
