//! Paralog killed in a tight loop while it drains a log: what is copied must be the same, and little of it may be
//! fetched twice.
//!
//! ```text
//! source ──▶ counter ──▶ paralog, kill -9 after 0.1 to 0.6 s, again and again ──▶ destination      then: compare
//! ```
//!
//! Lives are drawn by a seed, and stretched or shortened all alike as the copy is behind or ahead of an even spread
//! of the kills over the log. The log is of batches of 16 KiB, the producer's default.
//!
//! The source's broker sends the copier to the counter's port, which passes everything on and counts what the
//! broker gave out; that includes what was on its way when the copier died. An undisturbed copy through the same
//! counter comes first: it says what protocol and start cost.

use crate::{
    contender::{Contender, Task},
    process::{Measured, Output},
    race,
};
use anyhow::{Context, bail, ensure};
use real_kafka::{Cluster, Config, Distribution, Fill, PartitionDigest, Session};
use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What to go through.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often it is killed; fewer, if the copy is done before
    #[arg(long, default_value_t = 100)]
    kills: u32,

    /// How much is copied
    #[arg(long, value_name = "MEBIBYTES", default_value_t = 1024)]
    mebibytes: u64,

    /// What the time to live is drawn from; else a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,

    /// The shortest life
    #[arg(long, value_name = "MS", default_value_t = 100)]
    shortest: u64,

    /// The longest life
    #[arg(long, value_name = "MS", default_value_t = 600)]
    longest: u64,

    /// More than this share of the log fetched more than once fails the run
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    twice_max: f64,

    /// The version of both clusters
    #[arg(long, value_name = "VERSION", default_value = "4.3.1")]
    kafka: String,

    /// The program to try; else the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    paralog: Option<PathBuf>,
}

const TOPIC: &str = "drained";
const PARTITIONS: u32 = 8;
/// With its record's head, a batch of the producer's default size holds 15 such values.
const VALUE_BYTES: u64 = 1024;
/// How much longer than drawn a life may be, where a busy machine copies so little.
const PACE_MAX: f64 = 8.0;
/// An undisturbed copy, and the end of the other, take seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Both clusters, and the way between the source and the copier.
struct Stage {
    kafka: Distribution,
    paralog: PathBuf,
    source: Cluster,
    destination: Cluster,
    session: Session,
    counter: Counter,
}

/// What one copy took.
struct Copy {
    fetched_bytes: u64,
    cpu: Duration,
    kills: u32,
    digest: Vec<PartitionDigest>,
}

/// Runs both copies and compares them.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        0 < options.shortest && options.shortest <= options.longest,
        "no life is longer than 0 and between {} and {} ms",
        options.shortest,
        options.longest
    );
    let paralog = match &options.paralog {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot find this program")?.with_file_name("paralog"),
    };
    let paralog = fs::canonicalize(&paralog)
        .with_context(|| format!("no {}: build it with `cargo build --release`", paralog.display()))?;
    let seed = options.seed.unwrap_or_else(|| crate::process::now_ms() as u64 % 1_000_000);
    println!("seed {seed}: Kafka {}, {} MiB, {} kills", options.kafka, options.mebibytes, options.kills);
    let mut stage = Stage::set(&options.kafka, paralog)?;
    let (original, log_bytes) = stage.fill(options.mebibytes)?;
    println!("{log_bytes} bytes of log in {PARTITIONS} partitions");

    let whole = stage.undisturbed()?;
    println!(
        "undisturbed: {} bytes fetched ({:+.2} % of the log), {:.2} CPU-s/GB",
        whole.fetched_bytes,
        percent_more(whole.fetched_bytes, log_bytes),
        whole.cpu.as_secs_f64() / (log_bytes as f64 / 1e9)
    );
    ensure!(race::same(&original, &whole.digest), "the undisturbed copy differs from its original");

    let killed = stage.killed(options, seed, log_bytes)?;
    let twice = percent_more(killed.fetched_bytes, log_bytes);
    println!(
        "killed {} times: {} bytes fetched, {twice:+.2} % of the log more than once, {:.0} kB a kill",
        killed.kills,
        killed.fetched_bytes,
        killed.fetched_bytes.saturating_sub(log_bytes) as f64 / 1e3 / f64::from(killed.kills.max(1))
    );
    if !race::same(&original, &killed.digest) {
        bail!("THE COPY DIFFERS, seed {seed}\nsource {original:#?}\ncopy {:#?}", killed.digest);
    }
    println!("every partition of the copy is the same as its original, record by record");
    ensure!(twice <= options.twice_max, "{twice:.2} % were fetched twice, more than {} %", options.twice_max);
    Ok(())
}

fn percent_more(fetched: u64, log: u64) -> f64 {
    100.0 * (fetched as f64 / log as f64 - 1.0)
}

impl Stage {
    fn set(version: &str, paralog: PathBuf) -> anyhow::Result<Stage> {
        let kafka = Distribution::resolve(version)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let port = listener.local_addr().context("cannot tell the port")?.port();
        // Free a moment ago: the broker says so if it is taken by then.
        let behind = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
            listener.local_addr().context("cannot tell the port")?.port()
        };
        let controller = if kafka.version().needs_zookeeper() { "" } else { "CONTROLLER:PLAINTEXT," };
        let counted = Config::brokers(1)
            .with("listeners", format!("{{default}},COUNTED://127.0.0.1:{behind}"))
            .with("advertised.listeners", format!("{{default}},COUNTED://127.0.0.1:{port}"))
            .with(
                "listener.security.protocol.map",
                format!("{controller}PLAINTEXT:PLAINTEXT,COUNTED:PLAINTEXT"),
            );
        Ok(Stage {
            source: Cluster::start(&kafka, &counted)?,
            destination: Cluster::start(&kafka, &Config::brokers(1))?,
            session: kafka.session()?,
            counter: Counter::start(listener, behind),
            kafka,
            paralog,
        })
    }

    /// Fills the source's topic with batches of 16 KiB; what is in it, and the bytes of its log.
    fn fill(&mut self, mebibytes: u64) -> anyhow::Result<(Vec<PartitionDigest>, u64)> {
        let source = self.source.bootstrap();
        self.session.create_topic(&source, TOPIC, PARTITIONS, 1, &[])?;
        let fill = Fill::plain(mebibytes * (1 << 20) / VALUE_BYTES, PARTITIONS)
            .with("value-bytes", &VALUE_BYTES.to_string())
            .with("batch.size", "16384")
            .with("linger.ms", "2000");
        self.session.fill(&source, TOPIC, &fill)?;
        let mut bytes = 0;
        for partition in 0..PARTITIONS {
            bytes += self.source.stored_log(0, TOPIC, partition)?.len() as u64;
        }
        Ok((self.session.digest(&source, TOPIC, false)?, bytes))
    }

    /// A copy named by its serial, with a folder of its own, ending when caught up.
    fn with_task<T>(
        &mut self,
        serial: u32,
        make: impl FnOnce(&mut Stage, &Task<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let (kafka, paralog) = (self.kafka.clone(), self.paralog.clone());
        let source = format!("127.0.0.1:{}", self.counter.port);
        let destination = self.destination.bootstrap();
        let task = Task {
            kafka: &kafka,
            paralog: &paralog,
            source: &source,
            destination: &destination,
            secured: None,
            topic: TOPIC,
            codec: "none",
            serial,
            folder: folder.path(),
            until_caught_up: true,
            brokers: 1,
        };
        make(self, &task)
    }

    fn undisturbed(&mut self) -> anyhow::Result<Copy> {
        self.with_task(1, |stage, task| {
            let before = stage.counter.given_bytes();
            let cpu = to_its_end(task)?;
            let fetched_bytes = stage.counter.given_bytes() - before;
            let copied = task.destination_topic();
            let digest = stage.session.digest(task.destination, &copied, false)?;
            stage.session.delete_topic(task.destination, &copied)?;
            Ok(Copy { fetched_bytes, cpu, kills: 0, digest })
        })
    }

    fn killed(&mut self, options: &Options, seed: u64, log_bytes: u64) -> anyhow::Result<Copy> {
        self.with_task(2, |stage, task| {
            let copied = task.destination_topic();
            let records = options.mebibytes * (1 << 20) / VALUE_BYTES;
            // Records are all of one size.
            let total = records.max(1) as f64;
            let megabytes = |records: u64| log_bytes as f64 / 1e6 * (records as f64 / total);
            let before = stage.counter.given_bytes();
            let mut cpu = Duration::ZERO;
            let (mut random, mut pace) = (Random(seed), 1.0_f64);
            let (mut kills, mut there) = (0, 0);
            while kills < options.kills {
                let given = stage.counter.given_bytes();
                let drawn = random.between(options.shortest, options.longest);
                let life = Duration::from_secs_f64(drawn as f64 / 1e3 * pace);
                let log = task.folder.join(format!("run-{kills}.log"));
                let began = Instant::now();
                let mut process =
                    Measured::start(task.command(Contender::Paralog)?, &Output::File(log.clone()))?;
                thread::sleep(life.saturating_sub(began.elapsed()));
                let ended = process.ended()?;
                cpu += process.kill()?.cpu;
                if let Some(usage) = ended {
                    ensure!(usage.success, "paralog failed by itself\n{}", tail(&log));
                    println!("done before kill {}", kills + 1);
                    break;
                }
                kills += 1;
                let ends = stage.session.ends(task.destination, &copied)?;
                let now = ends.values().map(|(_, end)| u64::try_from(*end).unwrap_or(0)).sum::<u64>();
                println!(
                    "kill {kills:3} after {:3} ms: {:6.2} MB fetched, {:6.2} MB copied, {:5.1} % done",
                    life.as_millis(),
                    (stage.counter.given_bytes() - given) as f64 / 1e6,
                    megabytes(now - there),
                    100.0 * now as f64 / total
                );
                there = now;
                // So that the kills are spread over the whole log, whatever this machine copies in a life: longer lives
                // where it is slow, shorter ones where it is fast.
                let ahead = now as f64 / total > f64::from(kills) / f64::from(options.kills);
                pace = if ahead { pace * 0.85 } else { (pace * 1.15).min(PACE_MAX) };
            }
            cpu += to_its_end(task)?;
            let fetched_bytes = stage.counter.given_bytes() - before;
            let digest = stage.session.digest(task.destination, &copied, false)?;
            Ok(Copy { fetched_bytes, cpu, kills, digest })
        })
    }
}

/// Runs the copier until it has caught up; its processor time.
fn to_its_end(task: &Task<'_>) -> anyhow::Result<Duration> {
    let mut process = Measured::start(task.command(Contender::Paralog)?, &Output::File(task.log()))?;
    let usage = process.wait(PATIENCE).with_context(|| tail(&task.log()))?;
    ensure!(usage.success, "paralog failed\n{}", tail(&task.log()));
    Ok(usage.cpu)
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Passes connections on to a broker, and counts what the broker gives.
struct Counter {
    port: u16,
    given_bytes: Arc<AtomicU64>,
}

impl Counter {
    fn start(listener: TcpListener, broker_port: u16) -> Counter {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let given_bytes = Arc::new(AtomicU64::new(0));
        let given = Arc::clone(&given_bytes);
        thread::spawn(move || {
            for copier in listener.incoming().flatten() {
                let given = Arc::clone(&given);
                // A connection that fails is closed, which the copier sees.
                thread::spawn(move || drop(relay(copier, broker_port, &given)));
            }
        });
        Counter { port, given_bytes }
    }

    /// Since the start, over all connections.
    fn given_bytes(&self) -> u64 {
        self.given_bytes.load(Ordering::Relaxed)
    }
}

fn relay(copier: TcpStream, broker_port: u16, given: &AtomicU64) -> io::Result<()> {
    let broker = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], broker_port)))?;
    copier.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (requests, to_broker) = (copier.try_clone()?, broker.try_clone()?);
    thread::spawn(move || pass(requests, to_broker, &AtomicU64::new(0)));
    pass(broker, copier, given);
    Ok(())
}

/// Passes one direction on, and its end in both.
fn pass(mut from: TcpStream, mut to: TcpStream, passed: &AtomicU64) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        passed.fetch_add(bytes as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    // One of them is closed already, or both are.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Numbers from a seed: splitmix64.
struct Random(u64);

impl Random {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_gives_is_counted_and_passed_on() {
        let broker = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let broker_port = broker.local_addr().unwrap().port();
        let counter = Counter::start(TcpListener::bind(("127.0.0.1", 0)).unwrap(), broker_port);
        let mut copier = TcpStream::connect(("127.0.0.1", counter.port)).unwrap();
        let (mut served, _) = broker.accept().unwrap();
        copier.write_all(b"ask").unwrap();
        let mut asked = [0; 3];
        served.read_exact(&mut asked).unwrap();
        served.write_all(&[7; 100_000]).unwrap();
        drop(served);
        let mut answer = Vec::new();
        copier.read_to_end(&mut answer).unwrap();
        assert_eq!((asked, answer.len()), (*b"ask", 100_000));
        assert_eq!(counter.given_bytes(), 100_000);
    }

    #[test]
    fn lives_are_within_their_bounds_and_differ() {
        let mut random = Random(7);
        let lives: Vec<u64> = (0..1000).map(|_| random.between(100, 600)).collect();
        assert!(lives.iter().all(|life| (100..=600).contains(life)));
        assert!(lives.iter().min() < Some(&110) && lives.iter().max() > Some(&590));
    }
}
