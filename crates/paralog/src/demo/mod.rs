//! `paralog demo`: two Kafka clusters in this process, a topic, its copy, and the proof that both are equal.
//!
//! ```text
//! create ──▶ write ──▶ copy ──▶ verify ──▶ equal, exit code 0
//!                                  └─ with --keep-running: write slowly and copy until Ctrl-C, verify again
//! ```
//!
//! The copy is the one of `paralog run`: the same worker, over sockets. The records are placed at the source
//! and read for the proof without it, directly at the brokers.

#![allow(clippy::disallowed_methods, reason = "how long each step took is for people")]

mod clusters;
mod records;
mod steps;
mod verify;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use embedded_kafka::{AppendError, Cluster};
use properties::{RunOptions, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use worker::{Outcome, Prepared, WorkerStatus};

use crate::cli::{self, Logs};
use crate::failure::Failure;
use crate::limits;
use crate::logs;
use crate::progress::{first_trouble, grouped};
use crate::screen::Screen;
use clusters::{BROKERS, Clusters, KAFKA_VERSION};
use records::{BATCH_RECORDS, PARTITIONS, Records, VALUE_BYTES, numbers};
use steps::{Steps, megabytes, rate, seconds};
use verify::{Compared, compare};

/// As in the quick start of Confluent Replicator.
const TOPIC: &str = "test-topic";
const RENAME: &str = "${topic}.replica";
const REPLICA: &str = "test-topic.replica";
/// How often the destination is asked how far the copy is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// `--keep-running` writes a batch of so many records so often.
const SLOW_INTERVAL: Duration = Duration::from_millis(100);
const SLOW_RECORDS: u64 = 5;
/// A copy that stands for so long, and knows why, is given up: what the demo has itself made it run into stays.
const STANDS_MAX: Duration = Duration::from_secs(15);
/// After `--keep-running` the copy may take this long for what it has not copied yet.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What a record takes in the end, on both sides together, and what the demo takes without any (measured: 1.45 GB
/// for a million, 4.13 GB for three, 23 MB for one record).
const RECORD_BYTES: u64 = 1_450;
const MEMORY_BYTES: u64 = 32_000_000;

/// Runs the demo.
pub(crate) fn demo(demo: &cli::Demo) -> Result<(), Failure> {
    let screen = Screen::for_answers();
    logs::start(&Logs { verbose: demo.verbose.saturating_sub(1), quiet: demo.verbose == 0 }, &screen);
    let started = Instant::now();
    fits(demo.records)?;
    let (clusters, folder, runtime) = set_up().map_err(|error| Failure::start(&error))?;
    let started_in = started.elapsed();
    let result = runtime.block_on(async {
        let stop = signals(folder.path().to_owned()).map_err(|error| Failure::start(&error))?;
        let stage = Stage {
            source: clusters.source.clone(),
            destination: clusters.destination.clone(),
            offsets: folder.path().join("offsets"),
            stop,
        };
        let steps = Steps::new(screen);
        play(&steps, &stage, demo, started, started_in).await?;
        steps.told().map_err(|error| Failure::start(&error))
    });
    // Interrupted in the middle, a thread may still write or read: it is not waited for.
    runtime.shutdown_background();
    result
}

/// Whether that many records fit into memory, on both sides: better not begun than killed in the middle.
fn fits(records: u64) -> Result<(), Failure> {
    let Some(available) = limits::available_memory() else { return Ok(()) };
    let fit = available.saturating_sub(MEMORY_BYTES) / RECORD_BYTES;
    if records <= fit {
        return Ok(());
    }
    let needed = megabytes(records.saturating_mul(RECORD_BYTES).saturating_add(MEMORY_BYTES));
    Err(Failure::usage(
        &format!(
            "{} records take {} MB of memory, and {} MB are available",
            grouped(records),
            grouped(needed),
            grouped(megabytes(available))
        ),
        &format!("take fewer: `--records {}` would fit", fit.max(1)),
    ))
}

fn set_up() -> anyhow::Result<(Clusters, tempfile::TempDir, tokio::runtime::Runtime)> {
    let clusters = Clusters::start()?;
    let folder = tempfile::Builder::new().prefix("paralog-demo-").tempdir();
    let folder = folder.context("cannot create a temporary folder for the offsets file")?;
    // As for `paralog run`: everything of the copy on one thread but what blocks.
    let threads_max = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) + 2;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(threads_max).build();
    Ok((clusters, folder, runtime.context("cannot start the runtime")?))
}

/// The first signal is told; the second ends the process, without leaving the folder behind.
fn signals(folder: PathBuf) -> anyhow::Result<watch::Receiver<bool>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        for exits in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if exits {
                let _ = std::fs::remove_dir_all(&folder);
                std::process::exit(Failure::INCOMPLETE.into());
            }
            told.send_replace(true);
        }
    });
    Ok(stop)
}

/// What the demo plays on.
struct Stage {
    source: Cluster,
    destination: Cluster,
    offsets: PathBuf,
    stop: watch::Receiver<bool>,
}

impl Stage {
    async fn stopped(&self) {
        // That nobody can tell any more does not happen while the runtime runs.
        let _ = self.stop.clone().wait_for(|stopped| *stopped).await;
    }

    /// Gives `work` up when told to stop.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.stopped() => Err(interrupted()),
        }
    }
}

fn interrupted() -> Failure {
    Failure::incomplete(&anyhow!("interrupted before the copy was proven equal"))
}

/// Every task's result.
async fn all<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> Result<Vec<T>, Failure> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(result) => results.push(result.map_err(|error| Failure::incomplete(&error))?),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    Ok(results)
}

/// Records in a topic, which nothing was ever deleted from; 0 where there is none yet.
fn end_offsets(cluster: &Cluster, topic: &str) -> u64 {
    let ends = (0..cluster.partitions(topic)).map(|partition| cluster.high_watermark(topic, partition));
    ends.flatten().map(|end| u64::try_from(end).unwrap_or_default()).sum()
}

fn log_bytes(cluster: &Cluster, topic: &str) -> u64 {
    let sizes = (0..cluster.partitions(topic)).map(|partition| cluster.log_bytes(topic, partition));
    sizes.flatten().map(|size| size as u64).sum()
}

/// Writes a batch at the source, without being its client.
fn place(source: &Cluster, partition: i32, batch: Bytes) -> anyhow::Result<()> {
    match source.place(TOPIC, partition, batch) {
        Ok(_) => Ok(()),
        // Whoever looks at the clusters may do more than look.
        Err(AppendError::NoPartition(_)) => {
            Err(anyhow!("topic `{TOPIC}` was deleted while it was written to"))
        }
        Err(error) => Err(error).context("cannot write at the source"),
    }
}

async fn play(
    steps: &Steps,
    stage: &Stage,
    demo: &cli::Demo,
    started: Instant,
    started_in: Duration,
) -> Result<(), Failure> {
    introduce(steps, stage, demo.keep_running, started_in);
    create(steps, stage);
    stage.unless_stopped(write(steps, stage, demo.records)).await?;
    copy(steps, stage, demo.records).await?;
    stage.unless_stopped(verify(steps, stage, demo.records)).await?;
    steps.say(&format!("done in {}", seconds(started.elapsed())));
    if demo.keep_running {
        let records = keep_running(steps, stage, demo.records).await?;
        verify(steps, stage, records).await?;
    }
    Ok(())
}

fn introduce(steps: &Steps, stage: &Stage, keep_running: bool, started_in: Duration) {
    let first = stage.source.bootstrap().into_iter().next().unwrap_or_default();
    let stay = if keep_running { "they run until Ctrl-C" } else { "they stay with --keep-running" };
    steps.say(&format!(
        "two Kafka clusters in this process, on loopback and in memory only: {BROKERS} brokers each, \
         as Kafka {KAFKA_VERSION}, up in {} ms",
        started_in.as_millis()
    ));
    steps.say(&format!("  source       {}", stage.source.bootstrap_servers()));
    steps.say(&format!("  destination  {}", stage.destination.bootstrap_servers()));
    steps.say(&format!("  any client can look, such as  kcat -b {first} -L  ({stay})"));
    steps.say("");
}

fn create(steps: &Steps, stage: &Stage) {
    stage.source.create_topic(TOPIC, PARTITIONS, &[]);
    steps.done("create", &format!("{TOPIC} at the source, {PARTITIONS} partitions"));
}

/// Writes the records at the source, a thread for each partition.
async fn write(steps: &Steps, stage: &Stage, total: u64) -> Result<(), Failure> {
    let started = Instant::now();
    let written = Arc::new(AtomicU64::new(0));
    let mut writing = JoinSet::new();
    let source = Arc::new(Records::new());
    // Of the recent past, a thousand a second.
    let timestamp_of = {
        let begin = stage.source.now_ms().saturating_sub(i64::try_from(total).unwrap_or(i64::MAX));
        move |number| begin.saturating_add(i64::try_from(number).unwrap_or(i64::MAX))
    };
    for partition in 0..PARTITIONS {
        let (cluster, source, written) = (stage.source.clone(), Arc::clone(&source), Arc::clone(&written));
        writing.spawn_blocking(move || {
            let all: Vec<u64> = numbers(partition, total).collect();
            for chunk in all.chunks(usize::try_from(BATCH_RECORDS).unwrap_or(1)) {
                let batch = source.batch(chunk.iter().copied(), timestamp_of);
                place(&cluster, partition, batch)?;
                written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    let progress = || (written.load(Ordering::Relaxed), total);
    steps.watched("write", progress, || None, all(writing)).await?;
    let (took, bytes) = (started.elapsed(), log_bytes(&stage.source, TOPIC));
    steps.done(
        "write",
        &format!(
            "{} records, {} MB in {}: values of {VALUE_BYTES} bytes, batches of {BATCH_RECORDS} records, no compression",
            grouped(total),
            grouped(megabytes(bytes)),
            seconds(took)
        ),
    );
    Ok(())
}

/// Copies them as `paralog run --until-caught-up` does.
async fn copy(steps: &Steps, stage: &Stage, total: u64) -> Result<(), Failure> {
    let prepared = prepared(stage)?;
    let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
    let started = Instant::now();
    let arrival = arrival(&stage.destination, total);
    tokio::pin!(arrival);
    let copying = worker::run(prepared, true, stage.stopped(), sender);
    let stands = stands(&stage.destination, &status);
    let whole = async {
        tokio::pin!(copying, stands);
        let mut arrived = None;
        loop {
            tokio::select! {
                outcome = &mut copying => {
                    return outcome.map(|outcome| (arrived, outcome)).map_err(|error| Failure::run(&error));
                }
                trouble = &mut stands => {
                    let stood = seconds(STANDS_MAX);
                    return Err(Failure::incomplete(&anyhow!("nothing was copied for {stood}: {trouble}")));
                }
                times = &mut arrival, if arrived.is_none() => arrived = Some(times),
            }
        }
    };
    let progress = || (end_offsets(&stage.destination, REPLICA), total);
    let trouble = || first_trouble(&status.borrow());
    let (arrived, outcome) = steps.watched("copy", progress, trouble, whole).await?;
    if outcome == Outcome::Stopped {
        return Err(interrupted());
    }
    let bytes = log_bytes(&stage.destination, REPLICA);
    let (first, last) = arrived.unwrap_or_else(|| (started, Instant::now()));
    let (took, flowing) = (last.duration_since(started), last.duration_since(first));
    steps.done(
        "copy",
        &format!(
            "{TOPIC} -> {REPLICA}: {} MB in {}, {} MB/s, {} records/s",
            grouped(megabytes(bytes)),
            seconds(took),
            grouped(rate(megabytes(bytes), took)),
            grouped(rate(total, took)),
        ),
    );
    steps.more(&format!(
        "from the worker's start ({} to the first record) to the last; one thread copies, one is all brokers",
        seconds(took.saturating_sub(flowing)),
    ));
    Ok(())
}

/// When the first record was at the destination, and when all were.
async fn arrival(destination: &Cluster, total: u64) -> (Instant, Instant) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let mut first = None;
    loop {
        looks.tick().await;
        let (count, now) = (end_offsets(destination, REPLICA), Instant::now());
        if count > 0 {
            let first = *first.get_or_insert(now);
            if count >= total {
                return (first, now);
            }
        }
    }
}

/// Why the copy stands, once it has for [`STANDS_MAX`].
async fn stands(destination: &Cluster, status: &watch::Receiver<Arc<WorkerStatus>>) -> String {
    let mut looks = tokio::time::interval(LOOK_INTERVAL * 10);
    let (mut copied, mut since) = (0, Instant::now());
    loop {
        looks.tick().await;
        let (present, trouble) = (end_offsets(destination, REPLICA), first_trouble(&status.borrow()));
        match trouble {
            Some(trouble) if present == copied && since.elapsed() >= STANDS_MAX => return trouble,
            Some(_) if present == copied => {}
            _ => (copied, since) = (present, Instant::now()),
        }
    }
}

/// Proves both sides equal, and to have as many records as were written.
async fn verify(steps: &Steps, stage: &Stage, total: u64) -> Result<(), Failure> {
    let started = Instant::now();
    let mut comparing = JoinSet::new();
    let read = Arc::new(AtomicU64::new(0));
    for partition in 0..PARTITIONS {
        let (source, destination) = (stage.source.clone(), stage.destination.clone());
        let read = Arc::clone(&read);
        comparing.spawn_blocking(move || {
            let count = |records| {
                read.fetch_add(records, Ordering::Relaxed);
            };
            compare((&source, TOPIC), (&destination, REPLICA), partition, count)
        });
    }
    let progress = || (read.load(Ordering::Relaxed), total.saturating_mul(2));
    let mut all = steps.watched("verify", progress, || None, all(comparing)).await?;
    all.sort_by_key(|both| both.partition);
    steps.done(
        "verify",
        "both sides read at the brokers; checksums of key, value, headers, timestamp, in order",
    );
    for both in &all {
        steps.more(&row(both));
    }
    judge(&all, total).map_err(|error| Failure::incomplete(&error))?;
    steps.done(
        "result",
        &format!(
            "equal: {} records on both sides, compared in {}",
            grouped(total),
            seconds(started.elapsed())
        ),
    );
    Ok(())
}

fn row(both: &Compared) -> String {
    let Compared { partition, source, destination, difference } = both;
    let verdict = match difference {
        None => String::from("equal"),
        Some(difference) => format!("NOT EQUAL: {difference}"),
    };
    format!(
        "partition {partition}  {:>10} records   source {:016x}  replica {:016x}   {verdict}",
        grouped(source.records),
        source.checksum,
        destination.checksum
    )
}

fn judge(all: &[Compared], total: u64) -> anyhow::Result<()> {
    for both in all {
        if let Some(difference) = &both.difference {
            let partition = both.partition;
            return Err(anyhow!("{TOPIC}-{partition} and {REPLICA}-{partition} are not equal: {difference}"));
        }
        if both.source != both.destination {
            return Err(anyhow!("partition {} has two checksums and no difference", both.partition));
        }
    }
    let found: u64 = all.iter().map(|both| both.source.records).sum();
    if found != total {
        return Err(anyhow!("{total} records were written, both sides have {found}"));
    }
    Ok(())
}

/// Writes slowly, and copies, until told to stop; then until all of it is copied. How many records there are
/// at the end.
async fn keep_running(steps: &Steps, stage: &Stage, total: u64) -> Result<u64, Failure> {
    steps.say("");
    steps.say(&format!(
        "the worker starts again where it stopped; {} records are written each second, and copied, until Ctrl-C",
        SLOW_RECORDS * 1000 / u64::try_from(SLOW_INTERVAL.as_millis()).unwrap_or(1).max(1)
    ));
    let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let copying = worker::run(prepared(stage)?, false, async { drop(finished.await) }, sender);
    let written = AtomicU64::new(total);
    let writing = async {
        let source = Records::new();
        let mut ticks = tokio::time::interval(SLOW_INTERVAL);
        let stopped = stage.stopped();
        tokio::pin!(stopped);
        for partition in (0..PARTITIONS).cycle() {
            tokio::select! {
                () = &mut stopped => break,
                _ = ticks.tick() => {}
            }
            let first = written.load(Ordering::Relaxed);
            let now_ms = stage.source.now_ms();
            let batch = source.batch(first..first + SLOW_RECORDS, |_| now_ms);
            place(&stage.source, partition, batch)?;
            written.fetch_add(SLOW_RECORDS, Ordering::Relaxed);
        }
        let all = written.load(Ordering::Relaxed);
        if tokio::time::timeout(CATCH_UP_MAX, arrival(&stage.destination, all)).await.is_err() {
            let copied = end_offsets(&stage.destination, REPLICA);
            return Err(anyhow!(
                "{copied} of {all} records were copied {} after the last",
                seconds(CATCH_UP_MAX)
            ));
        }
        drop(finish);
        anyhow::Ok(all)
    };
    let progress = || (end_offsets(&stage.destination, REPLICA), written.load(Ordering::Relaxed));
    let both = async {
        tokio::pin!(copying);
        tokio::select! {
            outcome = &mut copying => Err(match outcome {
                Err(error) => Failure::run(&error),
                Ok(_) => Failure::incomplete(&anyhow!("the worker ended on its own")),
            }),
            written = writing => {
                let written = written.map_err(|error| Failure::incomplete(&error))?;
                copying.await.map_err(|error| Failure::run(&error))?;
                Ok(written)
            }
        }
    };
    steps.watched("run", progress, || first_trouble(&status.borrow()), both).await
}

/// What `paralog run --source … --destination … --topics … --rename …` would prepare.
fn prepared(stage: &Stage) -> Result<Prepared, Failure> {
    let (settings, report) = Settings::from_options(&RunOptions {
        source: stage.source.bootstrap_servers(),
        destination: stage.destination.bootstrap_servers(),
        topics: TOPIC.to_owned(),
        rename: Some(RENAME.to_owned()),
        sets: vec![
            String::from("name=demo"),
            format!("offset.storage.file.filename={}", stage.offsets.display()),
        ],
    });
    let settings = settings.map_err(|()| Failure::settings(&report))?;
    worker::prepare(&settings).map_err(|report| Failure::settings(&report))
}
