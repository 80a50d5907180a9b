import com.alipay.sofa.rpc.config.ApplicationConfig;
import com.alipay.sofa.rpc.config.ProviderConfig;
import com.alipay.sofa.rpc.config.ServerConfig;

/** SOFARPC's server: `PORT`. */
public class SofaServer {
    public static void main(String[] args) throws Exception {
        ServerConfig server = new ServerConfig().setProtocol("bolt").setHost("127.0.0.1").setBoundHost("127.0.0.1")
            .setPort(Integer.parseInt(args[0])).setDaemon(false);
        new ProviderConfig<Users>().setApplication(new ApplicationConfig().setAppName("server")).setInterfaceId(Users.class.getName())
            .setRef(new Users.Impl()).setServer(server).setRegister(false).export();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
