//! One Kafka version as a class path: resolved from Maven once, then served from the cache.

use crate::{Error, process};
use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    sync::Arc,
};

/// A Kafka version, for what differs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The 4 of 4.3.1.
    pub major: u32,
    /// The 3 of 4.3.1.
    pub minor: u32,
    /// The 1 of 4.3.1.
    pub patch: u32,
}

impl Version {
    /// True from `major.minor` on.
    #[must_use]
    pub fn is_at_least(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// True if its brokers need ZooKeeper beside them (we use KRaft wherever it is ready).
    #[must_use]
    pub fn needs_zookeeper(self) -> bool {
        !self.is_at_least(3, 5)
    }

    /// True if its clients and brokers know the codec zstd.
    #[must_use]
    pub fn knows_zstd(self) -> bool {
        self.is_at_least(2, 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Version, Error> {
        let unknown = || Error::UnknownVersion { version: text.to_owned() };
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.map_err(|_| unknown())?[..] {
            [major, minor, patch] => Ok(Version { major, minor, patch }),
            _ => Err(unknown()),
        }
    }
}

/// One Kafka version, ready to run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Distribution {
    version: Version,
    home: Arc<Path>,
    class_path: Arc<str>,
}

impl Distribution {
    /// Brings the version's jars from Maven into the user's cache, or finds them there.
    ///
    /// The cache is `$PARALOG_REAL_KAFKA`, or `paralog/real-kafka` in `$XDG_CACHE_HOME` or `~/.cache`. The
    /// first call for a version takes half a minute and 60 MB; a lock file makes other processes wait for it.
    ///
    /// # Errors
    /// [`Error::Missing`] without `mvn`, `java` or `javac`; [`Error::Failed`] with Maven's last words;
    /// [`Error::UnknownVersion`].
    pub fn resolve(version: &str) -> Result<Distribution, Error> {
        let version = Version::from_str(version)?;
        let artifacts = artifacts(version)?;
        require("java", "runs real Kafka (install a JDK, version 17 or later)")?;
        let home = cache().join(version.to_string());
        fs::create_dir_all(&home).map_err(Error::io("cannot create", &home))?;

        let _lock = lock(&home)?;
        let jars = home.join("jars");
        let pom = pom(&artifacts);
        let complete = home.join("complete.pom");
        if fs::read_to_string(&complete).ok().as_ref() != Some(&pom) {
            bring(&home, &jars, &pom)?;
            fs::write(&complete, &pom).map_err(Error::io("cannot write", &complete))?;
        }
        let mut class_path = list_jars(&jars)?;
        class_path.push(compile_helper(&home, &class_path)?);
        let class_path: Vec<String> = class_path.iter().map(|path| path.display().to_string()).collect();
        let distribution =
            Distribution { version, home: home.into(), class_path: class_path.join(":").into() };
        if !version.needs_zookeeper() {
            distribution.format_once()?;
        }
        Ok(distribution)
    }

    /// Lets Kafka's own tool format one disk and keeps the result: each broker's is a copy of it with other
    /// ids, which saves a JVM a broker.
    fn format_once(&self) -> Result<(), Error> {
        let folder = self.formatted();
        if folder.exists() {
            return Ok(());
        }
        let fresh = self.home.join("formatted-fresh");
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).map_err(Error::io("cannot create", &fresh))?;
        let settings = fresh.join("format.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=0\ncontroller.quorum.voters=0@127.0.0.1:9093\n\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n",
            fresh.display()
        );
        fs::write(&settings, text).map_err(Error::io("cannot write", &settings))?;
        let mut format = self.java("kafka.tools.StorageTool", 128);
        format.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&settings);
        run(format, "formats the brokers' disks")?;
        fs::rename(&fresh, &folder).map_err(Error::io("cannot create", &folder))
    }

    /// Holds what processes share of this version until it is dropped.
    pub(crate) fn lock(&self) -> Result<fs::File, Error> {
        lock(&self.home)
    }

    /// The folder with one formatted disk.
    pub(crate) fn formatted(&self) -> PathBuf {
        self.home.join("formatted")
    }

    /// Which version this is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its folder in the cache.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A JVM of this version about to run `main` with a heap of at most `heap_mb`. Add arguments and go.
    #[must_use]
    pub fn java(&self, main: &str, heap_mb: u32) -> Command {
        self.java_with(main, heap_mb, &[])
    }

    /// The same with further options for the JVM in front of the main class.
    #[must_use]
    pub fn java_with(&self, main: &str, heap_mb: u32, jvm_options: &[String]) -> Command {
        let mut command = Command::new("java");
        // Many short-lived JVMs share two cores: the simple collector and the first compiler start fastest.
        command.args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-Djava.awt.headless=true",
        ]);
        command.arg(format!("-Xmx{heap_mb}m"));
        if !self.version.is_at_least(2, 8) {
            // Kafka 1.x reaches into classes that Java 17 keeps shut.
            for package in
                ["java.lang", "java.nio", "java.util", "java.util.concurrent", "java.net", "sun.nio.ch"]
            {
                command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
            }
        }
        if self.version.is_at_least(4, 0) {
            command.arg("-Dlog4j2.level=INFO");
        } else {
            command.args([
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            ]);
        }
        command.args(jvm_options);
        command.env("CLASSPATH", &*self.class_path).env_remove("KAFKA_OPTS").env_remove("JAVA_TOOL_OPTIONS");
        command.arg(main);
        command
    }
}

fn lock(home: &Path) -> Result<fs::File, Error> {
    let lock = home.join("lock");
    let file = fs::File::create(&lock).map_err(Error::io("cannot create", &lock))?;
    file.lock().map_err(Error::io("cannot lock", &lock))?;
    Ok(file)
}

fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("PARALOG_REAL_KAFKA").unwrap_or_else(|| {
        folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("paralog/real-kafka")
    })
}

/// `group:name:version` of all that is needed to run brokers, tools and Connect.
fn artifacts(version: Version) -> Result<Vec<String>, Error> {
    let kafka = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("org.apache.kafka:{name}:{version}")).collect()
    };
    let mut artifacts = if version.is_at_least(3, 5) {
        kafka(&["kafka_2.13", "kafka-tools", "connect-mirror", "connect-runtime", "connect-file"])
    } else if version.is_at_least(2, 4) {
        kafka(&["kafka_2.13", "connect-mirror", "connect-runtime", "connect-file"])
    } else if version.is_at_least(1, 1) {
        kafka(&["kafka_2.11", "connect-runtime", "connect-json", "connect-file"])
    } else {
        return Err(Error::UnknownVersion { version: version.to_string() });
    };
    if version.is_at_least(4, 0) {
        // The 4.x broker does not start without log4j 2 on its class path.
        artifacts.push("org.apache.logging.log4j:log4j-core:2.25.1".to_owned());
        artifacts.push("org.apache.logging.log4j:log4j-slf4j-impl:2.25.1".to_owned());
    } else {
        artifacts.push("org.slf4j:slf4j-simple:1.7.36".to_owned());
    }
    if !version.is_at_least(2, 4) {
        artifacts.push("log4j:log4j:1.2.17".to_owned()); // the broker's log4j controller; no artifact brings it
    }
    Ok(artifacts)
}

fn pom(artifacts: &[String]) -> String {
    let mut dependencies = String::new();
    for artifact in artifacts {
        let mut parts = artifact.split(':');
        let mut part = || parts.next().unwrap_or_default();
        dependencies += &format!(
            "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>\n",
            part(),
            part(),
            part()
        );
    }
    format!(
        "<project>\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>paralog</groupId>\n  \
         <artifactId>real-kafka</artifactId>\n  <version>1</version>\n  <packaging>pom</packaging>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

fn bring(home: &Path, jars: &Path, pom: &str) -> Result<(), Error> {
    match fs::remove_dir_all(jars) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io("cannot remove", jars)(error));
        }
        _ => {}
    }
    let pom_file = home.join("pom.xml");
    fs::write(&pom_file, pom).map_err(Error::io("cannot write", &pom_file))?;
    let mut mvn = Command::new("mvn");
    mvn.args(["--quiet", "--batch-mode", "-f"]).arg(&pom_file);
    mvn.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", jars.display()));
    run(mvn, "brings real Kafka from Maven Central (install Maven)")
}

/// The jars in a fixed order, without the second logging bindings that older Kafkas bring.
fn list_jars(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    const UNWANTED: [&str; 3] = ["slf4j-reload4j", "slf4j-log4j12", "logback-"];
    let mut jars = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("cannot list", folder))? {
        let path = entry.map_err(Error::io("cannot list", folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".jar") && !UNWANTED.iter().any(|unwanted| name.starts_with(unwanted)) {
            jars.push(path);
        }
    }
    jars.sort();
    Ok(jars)
}

const HELPER: [(&str, &str); 9] = [
    ("Keytool.java", include_str!("../java/Keytool.java")),
    ("Session.java", include_str!("../java/Session.java")),
    ("Fill.java", include_str!("../java/Fill.java")),
    ("Read.java", include_str!("../java/Read.java")),
    ("Watch.java", include_str!("../java/Watch.java")),
    ("Admin.java", include_str!("../java/Admin.java")),
    ("OffsetProbe.java", include_str!("../java/OffsetProbe.java")),
    ("RefusePolicy.java", include_str!("../java/RefusePolicy.java")),
    ("TokenEndpoint.java", include_str!("../java/TokenEndpoint.java")),
];

/// Compiles our Java helper against this version, unless that was done before; its class folder.
fn compile_helper(home: &Path, jars: &[PathBuf]) -> Result<PathBuf, Error> {
    let mut hasher = DefaultHasher::new();
    HELPER.hash(&mut hasher);
    let classes = home.join(format!("helper-{:016x}", hasher.finish()));
    if classes.exists() {
        return Ok(classes);
    }
    // Into a folder beside it first: a compile that was broken off must not look complete.
    let fresh = home.join("helper-fresh");
    let _ = fs::remove_dir_all(&fresh);
    let package = fresh.join("realkafka");
    fs::create_dir_all(&package).map_err(Error::io("cannot create", &package))?;
    let class_path: Vec<String> = jars.iter().map(|path| path.display().to_string()).collect();
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-proc:none", "-cp", &class_path.join(":"), "-d"]).arg(&fresh);
    for (name, source) in HELPER {
        let file = package.join(name);
        fs::write(&file, source).map_err(Error::io("cannot write", &file))?;
        javac.arg(file);
    }
    let services = fresh.join("META-INF/services");
    fs::create_dir_all(&services).map_err(Error::io("cannot create", &services))?;
    let service = services.join("org.apache.kafka.connect.source.SourceConnector");
    fs::write(&service, "realkafka.OffsetProbe\n").map_err(Error::io("cannot write", &service))?;
    run(javac, "compiles the test helper (install a JDK, version 17 or later)")?;
    fs::rename(&fresh, &classes).map_err(Error::io("cannot create", &classes))?;
    Ok(classes)
}

/// Looks for the program before it is run under another, so that the message names the right one.
fn require(program: &str, needed_for: &'static str) -> Result<(), Error> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if found {
        return Ok(());
    }
    Err(Error::Missing { program: program.to_owned(), needed_for, source: ErrorKind::NotFound.into() })
}

pub(crate) fn run(command: Command, needed_for: &'static str) -> Result<(), Error> {
    run_with_input(command, "", needed_for)
}

/// `input` must be shorter than what a pipe holds while nobody reads it, 64 KB.
pub(crate) fn run_with_input(command: Command, input: &str, needed_for: &'static str) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let line = format!("{command:?}");
    let mut command = process::bound_to_us(command);
    require(&program, needed_for)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let missing = |source| Error::Missing { program: program.clone(), needed_for, source };
    let mut child = command.spawn().map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes()); // one that ended says so by its status
    }
    let output = child.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    Err(Error::Failed {
        command: line.chars().take(200).collect(),
        status: output.status.to_string(),
        output: lines[lines.len().saturating_sub(30)..].join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let version = Version::from_str("2.8.2").unwrap();
        assert!(version.needs_zookeeper() && version.knows_zstd() && !version.is_at_least(2, 9));
        assert_eq!(version.to_string(), "2.8.2");
        assert!(Version::from_str("4.3").is_err());
        assert!(Version::from_str("four").is_err());
    }

    #[test]
    fn a_version_too_old_has_no_artifacts() {
        assert!(artifacts(Version { major: 0, minor: 11, patch: 0 }).is_err());
        let old = artifacts(Version { major: 1, minor: 1, patch: 1 }).unwrap();
        assert!(old.contains(&"org.apache.kafka:kafka_2.11:1.1.1".to_owned()));
    }
}
