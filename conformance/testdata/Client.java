import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Makes HTTPS requests, each on a connection of its own. The arguments are the name of the protocol and the file of the
 * root. For each URL on standard input it prints the answer, one line.
 */
public class Client {
    public static void main(String[] args) throws Exception {
        SSLContext context = SSLContext.getInstance(args[0]);
        context.init(null, trust(args[1]).getTrustManagers(), null);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String url; (url = input.readLine()) != null; ) {
            HttpsURLConnection connection = (HttpsURLConnection) URI.create(url).toURL().openConnection();
            connection.setSSLSocketFactory(context.getSocketFactory());
            connection.setRequestProperty("Accept", "application/json");
            connection.setRequestProperty("Connection", "close");
            System.out.println(new String(connection.getInputStream().readAllBytes()).trim());
        }
    }

    private static TrustManagerFactory trust(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream in = new FileInputStream(file)) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory;
    }
}
