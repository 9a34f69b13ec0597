package realkafka;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.interfaces.RSAPublicKey;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/**
 * An identity provider's token endpoint over TLS: gives tokens that its key has signed (RS256) to one client.
 *
 * Its arguments: a PKCS12 store with its certificate and key, the store's password, the file that it writes its public
 * key into (a JWKS), the client's id and secret, how many seconds a token lasts, and the port, 0 for any. It says its
 * port, and then a line for each request.
 */
public final class TokenEndpoint {
    private static final String KEY_ID = "k1";

    public static void main(String[] arguments) throws Exception {
        char[] password = arguments[1].toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream in = new FileInputStream(arguments[0])) {
            store.load(in, password);
        }
        PrivateKey key = (PrivateKey) store.getKey("me", password);
        RSAPublicKey shown = (RSAPublicKey) store.getCertificate("me").getPublicKey();
        String keys = String.format(
            "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"%s\",\"alg\":\"RS256\",\"use\":\"sig\",\"n\":\"%s\",\"e\":\"%s\"}]}",
            KEY_ID, number(shown.getModulus()), number(shown.getPublicExponent()));
        Files.write(Paths.get(arguments[2]), keys.getBytes(StandardCharsets.UTF_8));

        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, password);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(managers.getKeyManagers(), null, null);
        String client = arguments[3] + ":" + arguments[4];
        String known = "Basic " + Base64.getEncoder().encodeToString(client.getBytes(StandardCharsets.UTF_8));
        long lasts = Long.parseLong(arguments[5]);
        InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[6]));
        HttpsServer server = HttpsServer.create(address, 0);
        server.setHttpsConfigurator(new HttpsConfigurator(tls));
        server.createContext("/token", exchange -> answer(exchange, known, arguments[3], lasts, key));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
    }

    private static void answer(HttpExchange exchange, String known, String name, long lasts, PrivateKey key) {
        try {
            String asked = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            String scope = "";
            boolean granted = false;
            for (String part : asked.split("&")) {
                String[] pair = part.split("=", 2);
                String value = pair.length > 1 ? URLDecoder.decode(pair[1], StandardCharsets.UTF_8) : "";
                granted |= pair[0].equals("grant_type") && value.equals("client_credentials");
                scope = pair[0].equals("scope") ? value : scope;
            }
            if (!known.equals(exchange.getRequestHeaders().getFirst("Authorization"))) {
                say(exchange, 401, "{\"error\":\"invalid_client\",\"error_description\":\"no such client\"}");
                System.out.println("refused");
            } else if (!granted) {
                say(exchange, 400, "{\"error\":\"unsupported_grant_type\"}");
                System.out.println("not understood");
            } else {
                long now = System.currentTimeMillis() / 1000;
                String head = part("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"" + KEY_ID + "\"}");
                String claims = part(String.format(
                    "{\"sub\":\"%s\",\"scope\":\"%s\",\"iss\":\"test\",\"iat\":%d,\"exp\":%d}", name, scope, now, now + lasts));
                Signature signature = Signature.getInstance("SHA256withRSA");
                signature.initSign(key);
                signature.update((head + "." + claims).getBytes(StandardCharsets.US_ASCII));
                String token = head + "." + claims + "." + encoded(signature.sign());
                say(exchange, 200, "{\"access_token\":\"" + token + "\",\"token_type\":\"Bearer\",\"expires_in\":" + lasts + "}");
                System.out.println("issued for " + scope);
            }
        } catch (Exception error) {
            System.out.println("failed: " + error);
        } finally {
            exchange.close();
        }
    }

    private static void say(HttpExchange exchange, int status, String body) throws Exception {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
    }

    private static String part(String json) {
        return encoded(json.getBytes(StandardCharsets.UTF_8));
    }

    private static String number(BigInteger number) {
        byte[] bytes = number.toByteArray();
        int sign = bytes[0] == 0 ? 1 : 0;
        return encoded(java.util.Arrays.copyOfRange(bytes, sign, bytes.length));
    }

    private static String encoded(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }
}
