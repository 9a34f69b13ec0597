package realkafka;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.Base64;

/**
 * Java's own keytool, many times in one JVM: a line of standard input is its arguments with tabs between them.
 *
 * What it cannot do itself: "legacy" makes the PKCS12 stores that follow as Java before 16 made them, "modern" as it
 * makes them now; "pem", a store and its password, writes what is in it beside it, as PEM.
 */
public final class Keytool {
    public static void main(String[] arguments) throws Exception {
        Method keytool = Class.forName("sun.security.tools.keytool.Main").getMethod("main", String[].class);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t");
            switch (words[0]) {
                case "legacy": System.setProperty("keystore.pkcs12.legacy", ""); break;
                case "modern": System.clearProperty("keystore.pkcs12.legacy"); break;
                case "pem": pem(words[1], words[2].toCharArray()); break;
                default: keytool.invoke(null, (Object) words); // ends the JVM where it fails
            }
        }
    }

    private static void pem(String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance(Paths.get(file).toFile(), password);
        Base64.Encoder encoder = Base64.getMimeEncoder(64, new byte[] {'\n'});
        StringBuilder key = new StringBuilder();
        StringBuilder chain = new StringBuilder();
        block(key, "PRIVATE KEY", encoder.encodeToString(store.getKey("me", password).getEncoded()));
        for (Certificate certificate : store.getCertificateChain("me")) {
            block(chain, "CERTIFICATE", encoder.encodeToString(certificate.getEncoded()));
        }
        String beside = file.substring(0, file.lastIndexOf('.'));
        write(beside + ".pem", key.toString() + chain);
        write(beside + "-key.pem", key.toString());
        write(beside + "-chain.pem", chain.toString());
    }

    private static void write(String file, String text) throws Exception {
        Path path = Paths.get(file);
        Files.write(path, text.getBytes(StandardCharsets.US_ASCII));
    }

    private static void block(StringBuilder to, String name, String text) {
        to.append("-----BEGIN ").append(name).append("-----\n").append(text).append("\n-----END ").append(name).append("-----\n");
    }
}
