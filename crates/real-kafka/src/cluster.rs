//! A cluster of one to three brokers on this machine.

use crate::secured::Secured;
use crate::{Distribution, Error, Kdc, Listener, Process, Stores, ports, ready, secured, wait_until};
use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct Config {
    brokers: u16,
    overrides: Vec<(String, String)>,
    heap_mb: u32,
    jvm_options: Vec<String>,
    secured: Option<Secured>,
}

impl Config {
    /// That many brokers, 1 to 3, each with 384 MB of heap; topics are not created by asking for them.
    #[must_use]
    pub fn brokers(brokers: u16) -> Config {
        assert!((1..=3).contains(&brokers), "1 to 3 brokers, not {brokers}");
        Config { brokers, overrides: Vec::new(), heap_mb: 384, jvm_options: Vec::new(), secured: None }
    }

    /// Adds every [`Listener`] beside the plaintext one, which stays the brokers' own and that of
    /// [`Cluster::bootstrap`]. PLAIN knows the user `ann` with the password `ann-secret`, SCRAM whom
    /// [`crate::Session::add_scram_user`] adds, OAUTHBEARER whoever an unsecured token names; each login lasts for three
    /// seconds.
    #[must_use]
    pub fn secured(mut self, stores: &Stores) -> Config {
        self.secured = Some(Secured { stores: stores.clone(), keytab: None });
        self
    }

    /// The same, and the listeners by Kerberos, whose brokers are reached as `localhost` and are `kafka/localhost` in the
    /// realm of `kdc`, which this adds.
    ///
    /// # Errors
    /// As [`Kdc::add`].
    pub fn kerberos(mut self, stores: &Stores, kdc: &Kdc) -> Result<Config, Error> {
        let keytab = kdc.add(secured::SERVICE, Duration::from_secs(86_400))?;
        self.secured = Some(Secured { stores: stores.clone(), keytab: Some(keytab) });
        Ok(self.jvm_option(format!("-Djava.security.krb5.conf={}", kdc.config().display())))
    }

    /// Sets a broker property; in the value, `{id}` stands for the broker's id and `{default}` for what the property
    /// would be without this.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Config {
        self.overrides.push((key.into(), value.into()));
        self
    }

    /// Sets each broker's largest heap.
    #[must_use]
    pub fn heap_mb(mut self, heap_mb: u32) -> Config {
        self.heap_mb = heap_mb;
        self
    }

    /// Adds an option for each broker's JVM, such as `-XX:TieredStopAtLevel=4` for measurements.
    #[must_use]
    pub fn jvm_option(mut self, option: impl Into<String>) -> Config {
        self.jvm_options.push(option.into());
        self
    }
}

/// A running cluster; broker ids count from 0. Dropping it kills the processes and removes the disks. The
/// logs stay, and their place is printed, if the thread is panicking then.
#[derive(Debug)]
pub struct Cluster {
    kafka: Distribution,
    config: Config,
    folder: PathBuf,
    brokers: Vec<Broker>,
    zookeeper: Option<Process>,
    keep_logs: bool,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    /// Those of the listeners of a secured cluster, in the order of [`Secured::more`].
    more_ports: Vec<u16>,
    settings: PathBuf,
    process: Option<Process>,
}

const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(30);
const TRIES: usize = 5;

impl Cluster {
    /// Starts a cluster and waits until every broker knows all brokers and the controller.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of the log of a broker that did not come up, [`Error::TimedOut`].
    pub fn start(kafka: &Distribution, config: &Config) -> Result<Cluster, Error> {
        let mut tries = 1;
        loop {
            let mut cluster = Cluster::lay_out(kafka, config)?;
            match cluster.come_up() {
                Ok(()) => return Ok(cluster),
                // Another process was faster with a port.
                Err(Error::Ended { tail, .. })
                    if tries < TRIES
                        && (tail.contains("already in use") || tail.contains("BindException")) =>
                {
                    tries += 1;
                }
                Err(error) => {
                    cluster.keep_logs = true;
                    return Err(error);
                }
            }
        }
    }

    /// The brokers' addresses, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect();
        addresses.join(",")
    }

    /// The brokers' addresses by a listener of a secured cluster.
    ///
    /// # Panics
    /// If there is no such listener.
    #[must_use]
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        let more = self.config.secured.as_ref().map_or(&[][..], Secured::more);
        let Some(place) = more.iter().position(|(more, _)| *more == listener) else {
            assert_eq!(listener, Listener::Plaintext, "the cluster has no such listener");
            return self.bootstrap();
        };
        let address = |broker: &Broker| format!("{}:{}", listener.host(), broker.more_ports[place]);
        let addresses: Vec<String> = self.brokers.iter().map(address).collect();
        addresses.join(",")
    }

    /// One broker's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self, broker: usize) -> u16 {
        self.brokers[broker].port
    }

    /// The version it runs.
    #[must_use]
    pub fn kafka(&self) -> &Distribution {
        &self.kafka
    }

    /// The folder with the cluster's settings, logs and disks.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id of a running broker.
    #[must_use]
    pub fn process_id(&self, broker: usize) -> Option<u32> {
        self.brokers[broker].process.as_ref().map(Process::id)
    }

    /// Kills a broker (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn kill(&mut self, broker: usize) -> Result<(), Error> {
        self.brokers[broker].process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Stops a broker as an operator would (SIGTERM), and kills it if it has not ended after 30 s.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stop(&mut self, broker: usize) -> Result<(), Error> {
        self.brokers[broker].process.take().map_or(Ok(()), |mut process| process.stop(STOP))
    }

    /// Starts a stopped or killed broker again, on the same port and disk, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_again(&mut self, broker: usize) -> Result<(), Error> {
        self.launch(broker)?;
        self.wait_for(broker)
    }

    /// Changes a broker's own settings for its next start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn change_settings(&mut self, broker: usize, changes: &[(&str, &str)]) -> Result<(), Error> {
        let file = &self.brokers[broker].settings;
        let mut text = fs::read_to_string(file).map_err(Error::io("cannot read", file))?;
        for (key, value) in changes {
            text += &format!("{key}={value}\n"); // the last one counts
        }
        fs::write(file, text).map_err(Error::io("cannot write", file))
    }

    /// Freezes a broker (SIGSTOP): its sockets stay open and silent.
    pub fn pause(&self, broker: usize) {
        if let Some(process) = &self.brokers[broker].process {
            process.signal("STOP");
        }
    }

    /// Lets a frozen broker go on.
    pub fn resume(&self, broker: usize) {
        if let Some(process) = &self.brokers[broker].process {
            process.signal("CONT");
        }
    }

    /// All bytes of a partition's log segments on a broker's disk, in order: the batches as stored, which
    /// is how a fetch gives them out. Empty if the broker has no such partition.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stored_log(&self, broker: usize, topic: &str, partition: u32) -> Result<Vec<u8>, Error> {
        let folder = self.disk(broker).join(format!("{topic}-{partition}"));
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let mut segments: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        segments.sort(); // named by their base offset, with leading zeros
        let mut bytes = Vec::new();
        for segment in segments {
            bytes.extend(fs::read(&segment).map_err(Error::io("cannot read", &segment))?);
        }
        Ok(bytes)
    }

    /// Has a partition of one segment, on a stopped broker, begin again with `log`: bytes that [`Cluster::stored_log`]
    /// gave earlier. So is a disk that lost what was written last.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn replace_log(&self, broker: usize, topic: &str, partition: u32, log: &[u8]) -> Result<(), Error> {
        let folder = self.disk(broker).join(format!("{topic}-{partition}"));
        for entry in fs::read_dir(&folder).map_err(Error::io("cannot list", &folder))?.flatten() {
            let path = entry.path();
            let is_derived = |name: &std::ffi::OsStr| name != "log" && name != "metadata";
            match path.extension() {
                Some(extension) if is_derived(extension) => {
                    fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
                }
                Some(extension) if extension == "log" => {
                    fs::write(&path, log).map_err(Error::io("cannot write", &path))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps the logs when the cluster is dropped, although nothing panics.
    pub fn keep_logs(&mut self) {
        self.keep_logs = true;
    }

    fn disk(&self, broker: usize) -> PathBuf {
        self.folder.join(format!("disk-{broker}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Makes the folder, picks ports, writes all settings. Starts nothing.
    fn lay_out(kafka: &Distribution, config: &Config) -> Result<Cluster, Error> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let runs = std::env::temp_dir().join("paralog-real-kafka");
        remove_left_over_disks(&runs);
        let folder = runs.join(format!("{}-{serial}-{}", std::process::id(), kafka.version()));
        let _ = fs::remove_dir_all(&folder); // of an earlier process with our id
        fs::create_dir_all(&folder).map_err(Error::io("cannot create", &folder))?;

        let mut cluster = Cluster {
            kafka: kafka.clone(),
            config: config.clone(),
            folder,
            brokers: Vec::new(),
            zookeeper: None,
            keep_logs: false,
        };
        let count = usize::from(config.brokers);
        let ports = ports::free(2 * count);
        let (ports, extra_ports) = ports.split_at(count);
        let cluster_id = random_id();
        for (id, &port) in ports.iter().enumerate() {
            let disk = cluster.disk(id);
            fs::create_dir_all(&disk).map_err(Error::io("cannot create", &disk))?;
            if !kafka.version().needs_zookeeper() {
                copy_formatted(&kafka.formatted(), &disk, id, &cluster_id)?;
            }
            let settings = cluster.folder.join(format!("broker-{id}.properties"));
            let mut text = String::new();
            let more_ports =
                config.secured.as_ref().map(|secured| ports::free(secured.more().len())).unwrap_or_default();
            for (key, value) in cluster.settings(id, port, extra_ports, &more_ports) {
                text += &format!("{key}={value}\n");
            }
            fs::write(&settings, text).map_err(Error::io("cannot write", &settings))?;
            cluster.brokers.push(Broker { port, more_ports, settings, process: None });
        }
        if kafka.version().needs_zookeeper() {
            let settings = cluster.folder.join("zookeeper.properties");
            let text = format!(
                "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\ntickTime=1000\nmaxClientCnxns=0\n\
                 admin.enableServer=false\n",
                cluster.folder.join("disk-zookeeper").display(),
                extra_ports[0]
            );
            fs::write(&settings, text).map_err(Error::io("cannot write", &settings))?;
        }
        Ok(cluster)
    }

    fn settings(
        &self,
        id: usize,
        port: u16,
        extra_ports: &[u16],
        more_ports: &[u16],
    ) -> BTreeMap<String, String> {
        let brokers = usize::from(self.config.brokers);
        let version = self.kafka.version();
        let mut settings = BTreeMap::new();
        let mut set = |key: &str, value: String| settings.insert(key.to_owned(), value);
        if version.needs_zookeeper() {
            set("broker.id", id.to_string());
            set("listeners", format!("PLAINTEXT://127.0.0.1:{port}"));
            set("zookeeper.connect", format!("127.0.0.1:{}", extra_ports[0]));
            // A killed broker may come back only when its session is over.
            set("zookeeper.session.timeout.ms", "4000".to_owned());
            set("zookeeper.connection.timeout.ms", "60000".to_owned());
        } else {
            let voters: Vec<String> = extra_ports[..brokers]
                .iter()
                .enumerate()
                .map(|(id, port)| format!("{id}@127.0.0.1:{port}"))
                .collect();
            set("process.roles", "broker,controller".to_owned());
            set("node.id", id.to_string());
            set("controller.quorum.voters", voters.join(","));
            set("controller.listener.names", "CONTROLLER".to_owned());
            set(
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}", extra_ports[id]),
            );
            set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned());
        }
        set("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}"));
        set("log.dirs", self.disk(id).display().to_string());
        set("auto.create.topics.enable", "false".to_owned());
        set("num.network.threads", "2".to_owned());
        set("num.io.threads", "4".to_owned());
        // The default of 128 MB would be a third of the heap.
        set("log.cleaner.dedupe.buffer.size", "8388608".to_owned());
        set("log.segment.delete.delay.ms", "1000".to_owned()); // a deleted topic's disk is wanted back
        set("group.initial.rebalance.delay.ms", "0".to_owned());
        let replicas = brokers.to_string();
        set("offsets.topic.replication.factor", replicas.clone());
        set("offsets.topic.num.partitions", "4".to_owned());
        set("transaction.state.log.replication.factor", replicas.clone());
        set("transaction.state.log.min.isr", "1".to_owned());
        set("transaction.state.log.num.partitions", "4".to_owned());
        if version.is_at_least(4, 0) {
            set("share.coordinator.state.topic.replication.factor", replicas);
            set("share.coordinator.state.topic.min.isr", "1".to_owned());
            set("share.coordinator.state.topic.num.partitions", "4".to_owned());
        }
        if let Some(secured) = &self.config.secured {
            let present = |key: &str| settings.get(key).cloned().unwrap_or_default();
            let (listeners, advertised) = (present("listeners"), present("advertised.listeners"));
            let map = present("listener.security.protocol.map");
            settings.extend(secured::settings(secured, more_ports, &listeners, &advertised, &map));
        }
        for (key, value) in &self.config.overrides {
            let default = settings.get(key).cloned().unwrap_or_default();
            let value = value.replace("{id}", &id.to_string()).replace("{default}", &default);
            settings.insert(key.clone(), value);
        }
        settings
    }

    fn come_up(&mut self) -> Result<(), Error> {
        if self.kafka.version().needs_zookeeper() {
            let mut java = self.kafka.java("org.apache.zookeeper.server.quorum.QuorumPeerMain", 128);
            java.arg(self.folder.join("zookeeper.properties"));
            self.zookeeper = Some(Process::start("zookeeper", java, self.log("zookeeper"))?);
        }
        for id in 0..self.brokers.len() {
            self.launch(id)?;
        }
        for id in 0..self.brokers.len() {
            self.wait_for(id)?;
        }
        Ok(())
    }

    fn launch(&mut self, id: usize) -> Result<(), Error> {
        let mut java = self.kafka.java_with("kafka.Kafka", self.config.heap_mb, &self.config.jvm_options);
        java.arg(&self.brokers[id].settings);
        let name = format!("broker-{id}");
        let log = self.log(&name);
        self.brokers[id].process = Some(Process::start(name, java, log)?);
        Ok(())
    }

    /// Waits until the broker says that it knows a controller and all brokers that should be running.
    fn wait_for(&mut self, id: usize) -> Result<(), Error> {
        let port = self.brokers[id].port;
        let running: Vec<i32> = (0..self.brokers.len())
            .filter(|&id| self.brokers[id].process.is_some())
            .map(|id| i32::try_from(id).expect("at most 3 brokers"))
            .collect();
        wait_until(&format!("broker {id} to be ready"), START, || {
            if let Some(zookeeper) = &mut self.zookeeper {
                zookeeper.check_alive()?;
            }
            let broker = self.brokers[id].process.as_mut().expect("it was launched");
            if broker.ended()?.is_some() && broker.log_says("NodeExists") {
                // Its ZooKeeper session from before it was killed is not over yet; Kafka 1.1 and 2.8 give up.
                thread::sleep(Duration::from_millis(500));
                self.launch(id)?;
                return Ok(None);
            }
            broker.check_alive()?;
            let answer = ready::ask(port);
            Ok(answer.filter(|answer| {
                answer.brokers.contains(&answer.controller)
                    && running.iter().all(|broker| answer.brokers.contains(broker))
            }))
        })?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for broker in &mut self.brokers {
            broker.process = None; // kills it
        }
        self.zookeeper = None;
        if self.keep_logs || thread::panicking() {
            remove_disks(&self.folder);
            // The one place where this library speaks: whoever looks into a failure needs the path.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("the logs of Kafka {} stay in {}", self.kafka.version(), self.folder.display());
            }
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// One disk as Kafka's own tool formatted it, with the ids of this broker.
fn copy_formatted(formatted: &Path, disk: &Path, id: usize, cluster_id: &str) -> Result<(), Error> {
    for entry in fs::read_dir(formatted).map_err(Error::io("cannot list", formatted))? {
        let from = entry.map_err(Error::io("cannot list", formatted))?.path();
        let Some(name) = from.file_name() else { continue };
        let to = disk.join(name);
        if name != "meta.properties" {
            fs::copy(&from, &to).map_err(Error::io("cannot write", &to))?;
            continue;
        }
        let text = fs::read_to_string(&from).map_err(Error::io("cannot read", &from))?;
        let mut changed = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let key = line.split('=').next().unwrap_or_default();
            changed += &match key {
                "cluster.id" => format!("cluster.id={cluster_id}\n"),
                "node.id" => format!("node.id={id}\n"),
                "directory.id" => format!("directory.id={}\n", random_id()),
                _ => format!("{line}\n"),
            };
        }
        fs::write(&to, changed).map_err(Error::io("cannot write", &to))?;
    }
    Ok(())
}

/// 16 random bytes as Kafka writes them: base64 for URLs, 22 characters.
fn random_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = || RandomState::new().build_hasher().finish();
    let mut id = String::from("P"); // not "-": it would look like an option
    for _ in 0..20 {
        id.push(char::from(DIGITS[(random() % 64) as usize]));
    }
    id.push('A'); // the last of 22 carries two bits only
    id
}

/// Removes what clusters of processes that are no more left behind, except their logs. Once a process.
fn remove_left_over_disks(runs: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(entries) = fs::read_dir(runs) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.split('-').next().unwrap_or_default();
            if Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists() {
                remove_disks(&entry.path());
            }
        }
    });
}

fn remove_disks(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("disk-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
