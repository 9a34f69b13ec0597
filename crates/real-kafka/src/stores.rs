//! Stores of keys and certificates for secured clusters and those who connect to them, made by Java's own keytool.
//!
//! An authority signs the brokers' certificates (for 127.0.0.1 and localhost, and one for another host) and the
//! client's; another authority, which may be a stranger or the next one, signs a broker's and a client's, too. They are
//! made once and kept in the user's cache.

use crate::{Distribution, Error, distribution::run_with_input};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// The folder of all stores.
#[derive(Clone, Debug)]
pub struct Stores {
    folder: PathBuf,
}

impl Stores {
    /// What opens every store.
    pub const PASSWORD: &str = "store-secret";
    /// What opens the key in [`Stores::file`] `client.jks`; in all others the store's own does.
    pub const KEY_PASSWORD: &str = "key-secret";

    /// Makes them with the Java that runs Kafka, or finds them in the cache.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Failed`] with keytool's last words.
    pub fn make(kafka: &Distribution) -> Result<Stores, Error> {
        let mut hasher = DefaultHasher::new();
        (script(Path::new("")), include_str!("../java/Keytool.java")).hash(&mut hasher);
        let folder = kafka.home().join(format!("stores-{:016x}", hasher.finish()));
        let _lock = kafka.lock()?;
        if !folder.exists() {
            let fresh = kafka.home().join("stores-fresh");
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir_all(&fresh).map_err(Error::io("cannot create", &fresh))?;
            let export = "--add-exports=java.base/sun.security.tools.keytool=ALL-UNNAMED".to_owned();
            let keytool = kafka.java_with("realkafka.Keytool", 128, &[export]);
            run_with_input(
                keytool,
                &script(&fresh),
                "makes stores of keys (install a JDK, version 17 or later)",
            )?;
            fs::rename(&fresh, &folder).map_err(Error::io("cannot create", &folder))?;
        }
        Ok(Stores { folder })
    }

    /// One of them:
    ///
    /// - `trust.jks`, `trust.p12`, `trust-legacy.p12`, `trust.pem`: the authority; `stranger.p12`, `stranger.pem`: the
    ///   other one; `both.p12`: the two.
    /// - `client.jks`, `client.p12`, `client-legacy.p12`, `client.pem`, `client-key.pem`, `client-chain.pem`: `CN=ann`.
    /// - `broker.p12`, `elsewhere.p12`: brokers', the latter for the host `elsewhere.example`.
    /// - `next-broker.p12`, `next-client.p12`: a broker's and `CN=ann` by the other authority.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of one that is PEM.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pem(&self, name: &str) -> Result<String, Error> {
        let file = self.file(name);
        fs::read_to_string(&file).map_err(Error::io("cannot read", &file))
    }
}

/// What keytool is told, a line each.
fn script(folder: &Path) -> String {
    let mut script = Script { folder, text: String::new() };
    script.authority("ca", "CN=Test authority");
    script.authority("other", "CN=Another authority");
    let here = "SAN=dns:localhost,ip:127.0.0.1";
    script.signed("broker", "ca", "CN=broker", "RSA", here);
    script.signed("elsewhere", "ca", "CN=elsewhere", "EC", "SAN=dns:elsewhere.example");
    script.signed("client", "ca", "CN=ann", "RSA", "EKU=clientAuth");
    script.signed("next-broker", "other", "CN=broker", "EC", here);
    script.signed("next-client", "other", "CN=ann", "EC", "EKU=clientAuth");
    script.trust("trust.jks", "JKS", "ca");
    script.trust("trust.p12", "PKCS12", "ca");
    script.trust("stranger.p12", "PKCS12", "other");
    script.trust("both.p12", "PKCS12", "ca");
    script.trust("both.p12", "PKCS12", "other");
    let key = ["-srckeypass", Stores::PASSWORD, "-destkeypass", Stores::KEY_PASSWORD];
    script.copy("client.p12", "client.jks", "JKS", &key);
    script.line(&["legacy"]);
    script.trust("trust-legacy.p12", "PKCS12", "ca");
    script.copy("client.p12", "client-legacy.p12", "PKCS12", &[]);
    script.line(&["modern"]);
    let client = script.path("client.p12");
    script.line(&["pem", &client, Stores::PASSWORD]);
    script.text
}

struct Script<'a> {
    folder: &'a Path,
    text: String,
}

impl Script<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn line(&mut self, words: &[&str]) {
        self.text += &words.join("\t");
        self.text.push('\n');
    }

    /// A command about one store.
    fn on(&mut self, command: &str, store: &str, kind: &str, more: &[&str]) {
        let store = self.path(store);
        let fixed =
            [command, "-keystore", &store, "-storetype", kind, "-storepass", Stores::PASSWORD, "-noprompt"];
        // Not every command takes it.
        let fixed = if command == "-importcert" { &fixed[..] } else { &fixed[..7] };
        self.line(&[fixed, more].concat());
    }

    fn pair(&mut self, store: &str, alias: &str, name: &str, algorithm: &str, more: &[&str]) {
        let size = if algorithm == "RSA" { ["-keysize", "2048"] } else { ["-groupname", "secp256r1"] };
        let fixed = ["-alias", alias, "-dname", name, "-keyalg", algorithm, "-validity", "3650"];
        self.on("-genkeypair", store, "PKCS12", &[&fixed, &size[..], more].concat());
    }

    fn authority(&mut self, name: &str, subject: &str) {
        let (store, file) = (format!("{name}.p12"), self.path(&trust_file(name)));
        self.pair(&store, name, subject, "EC", &["-ext", "bc:c", "-ext", "KU=keyCertSign,cRLSign"]);
        self.on("-exportcert", &store, "PKCS12", &["-alias", name, "-rfc", "-file", &file]);
    }

    /// A key, and a certificate for it that `authority` signed.
    fn signed(&mut self, name: &str, authority: &str, subject: &str, algorithm: &str, extension: &str) {
        let store = format!("{name}.p12");
        let (request, certificate) = (self.path(&format!("{name}.csr")), self.path(&format!("{name}.crt")));
        let trusted = self.path(&trust_file(authority));
        self.pair(&store, "me", subject, algorithm, &[]);
        self.on("-certreq", &store, "PKCS12", &["-alias", "me", "-file", &request]);
        let sign = ["-alias", authority, "-infile", &request, "-outfile", &certificate, "-rfc"];
        self.on(
            "-gencert",
            &format!("{authority}.p12"),
            "PKCS12",
            &[&sign[..], &["-ext", extension, "-validity", "3650"]].concat(),
        );
        self.on("-importcert", &store, "PKCS12", &["-alias", authority, "-file", &trusted]);
        self.on("-importcert", &store, "PKCS12", &["-alias", "me", "-file", &certificate]);
    }

    fn trust(&mut self, store: &str, kind: &str, authority: &str) {
        let file = self.path(&trust_file(authority));
        self.on("-importcert", store, kind, &["-alias", authority, "-file", &file]);
    }

    /// The pair `me` of a PKCS12 store in another one.
    fn copy(&mut self, from: &str, to: &str, kind: &str, more: &[&str]) {
        let (from, to) = (self.path(from), self.path(to));
        let source = ["-importkeystore", "-noprompt", "-srckeystore", &from, "-srcstoretype", "PKCS12"];
        let password = Stores::PASSWORD;
        let rest =
            ["-srcstorepass", password, "-srcalias", "me", "-destkeystore", &to, "-deststoretype", kind];
        self.line(&[&source[..], &rest, &["-deststorepass", password, "-destalias", "me"], more].concat());
    }
}

/// The file with an authority's certificate.
fn trust_file(authority: &str) -> String {
    format!("{}.pem", if authority == "ca" { "trust" } else { "stranger" })
}
