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
use tokio::sync::watch;
use tokio::task::JoinSet;
use worker::{Outcome, Prepared, WorkerStatus};

use self::records::{BATCH_RECORDS, PARTITIONS, Records, VALUE_BYTES, numbers};
use crate::cli::{self, Logs};
use crate::failure::Failure;
use crate::limits;
use crate::logs;
use crate::progress::{first_trouble, grouped, records};
use crate::screen::Screen;
use crate::signals::Signals;
use clusters::{BROKERS, Clusters, KAFKA_VERSION};
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
    let (clusters, folder, runtime) =
        set_up(demo.source_port, demo.destination_port).map_err(|error| Failure::start(&error))?;
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

fn set_up(
    source_port: Option<u16>,
    destination_port: Option<u16>,
) -> anyhow::Result<(Clusters, tempfile::TempDir, tokio::runtime::Runtime)> {
    let clusters = Clusters::start(source_port, destination_port)?;
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
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        for exits in [false, true] {
            signals.next().await;
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

/// Where each partition of a topic ends for consumers now. Other clients may write to it, add partitions, delete
/// records or all of it, as they are invited to look; the last two leave nothing to compare.
fn whole(cluster: &Cluster, topic: &str) -> Result<Vec<i64>, Failure> {
    let partitions = cluster.partitions(topic);
    if partitions == 0 {
        return Err(Failure::incomplete(&anyhow!("topic `{topic}` was deleted: nothing is left to compare")));
    }
    let end = |partition| {
        let start = cluster.start_offset(topic, partition)?;
        if start > 0 {
            let deleted = format!("records of {topic}-{partition} before offset {start} were deleted");
            return Err(anyhow!("{deleted}: what is left cannot show that both sides are equal"));
        }
        Ok(cluster.high_watermark(topic, partition)?)
    };
    (0..partitions).map(end).collect::<anyhow::Result<_>>().map_err(|error| Failure::incomplete(&error))
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
    let written = demo.records;
    stage.unless_stopped(write(steps, stage, written)).await?;
    let until = whole(&stage.source, TOPIC)?;
    copy(steps, stage, written).await?;
    stage.unless_stopped(verify(steps, stage, &until, written)).await?;
    steps.say(&format!("done in {}", seconds(started.elapsed())));
    if demo.keep_running {
        let (until, written) = keep_running(steps, stage, written).await?;
        verify(steps, stage, &until, written).await?;
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
    if keep_running {
        steps.say(&format!(
            "  what is written to {TOPIC} at the source is copied and compared too; topics are not created by use"
        ));
    }
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
            "{}, {} MB in {}: values of {VALUE_BYTES} bytes, batches of {BATCH_RECORDS} records, no compression",
            records(total),
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
        "from the worker's start ({} to the first record) to the last; the copy has one thread, and all brokers \
         share another",
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

/// Proves both sides equal as far as the source's partitions went at `until`, and that what the demo has `written`
/// is among it.
async fn verify(steps: &Steps, stage: &Stage, until: &[i64], written: u64) -> Result<(), Failure> {
    let started = Instant::now();
    whole(&stage.source, TOPIC)?;
    let there = whole(&stage.destination, REPLICA)?.len();
    // Some may have been added to the source since, and be at the destination already or not.
    let partitions = usize::try_from(stage.source.partitions(TOPIC)).unwrap_or_default();
    if !(until.len()..=partitions).contains(&there) {
        return Err(Failure::incomplete(&anyhow!(
            "{TOPIC} has {partitions} partitions and {REPLICA} has {there}: both sides are not equal"
        )));
    }
    let mut comparing = JoinSet::new();
    let read = Arc::new(AtomicU64::new(0));
    for (partition, end) in (0..).zip(until.iter().copied()) {
        let (source, destination) = (stage.source.clone(), stage.destination.clone());
        let read = Arc::clone(&read);
        comparing.spawn_blocking(move || {
            let count = |records| {
                read.fetch_add(records, Ordering::Relaxed);
            };
            compare((&source, TOPIC), (&destination, REPLICA), partition, end, count)
        });
    }
    let total = until.iter().map(|end| u64::try_from(*end).unwrap_or_default()).sum::<u64>();
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
    let found = judge(&all, written).map_err(|error| Failure::incomplete(&error))?;
    let others = match found - written {
        0 => String::new(),
        others => format!(", {} of another client among them", grouped(others)),
    };
    let took = seconds(started.elapsed());
    steps.done("result", &format!("equal: {} on both sides{others}, compared in {took}", records(found)));
    Ok(())
}

fn row(both: &Compared) -> String {
    let Compared { partition, source, destination, difference } = both;
    let verdict = match difference {
        None => String::from("equal"),
        Some(difference) => format!("NOT EQUAL: {difference}"),
    };
    format!(
        "partition {partition}  {:>10} {}   source {:016x}  destination {:016x}   {verdict}",
        grouped(source.records),
        if source.records == 1 { "record " } else { "records" },
        source.checksum,
        destination.checksum
    )
}

/// How many records both sides have.
fn judge(all: &[Compared], written: u64) -> anyhow::Result<u64> {
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
    if found < written {
        return Err(anyhow!("{} were written, both sides have {}", records(written), grouped(found)));
    }
    Ok(found)
}

/// Writes slowly, and copies, until told to stop; then copies what there is by then. Where the source's partitions
/// ended then, and how many records the demo has written.
async fn keep_running(steps: &Steps, stage: &Stage, total: u64) -> Result<(Vec<i64>, u64), Failure> {
    steps.say("");
    steps.say(&format!(
        "the worker starts again where it stopped; {} records are written each second, and copied, until Ctrl-C",
        SLOW_RECORDS * 1000 / u64::try_from(SLOW_INTERVAL.as_millis()).unwrap_or(1).max(1)
    ));
    let ids = topic_ids(stage);
    let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let copying = worker::run(prepared(stage)?, false, async { drop(finished.await) }, sender);
    let writing = async {
        let written = write_slowly(stage, total).await?;
        drop(finish);
        anyhow::Ok(written)
    };
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
    let progress = || far(stage, &status.borrow());
    let written = steps.watched("run", progress, || first_trouble(&status.borrow()), both).await?;
    for (name, (before, now)) in [TOPIC, REPLICA].into_iter().zip(ids.into_iter().zip(topic_ids(stage))) {
        if before != now {
            let deleted = format!("topic `{name}` was deleted meanwhile");
            return Err(Failure::incomplete(&anyhow!("{deleted}: nothing is left to compare")));
        }
    }
    let until = whole(&stage.source, TOPIC)?;
    catch_up(steps, stage).await?;
    Ok((until, written))
}

/// Another one says that the topic is another one.
fn topic_ids(stage: &Stage) -> [Option<impl PartialEq + use<>>; 2] {
    [stage.source.topic_id(TOPIC), stage.destination.topic_id(REPLICA)]
}

/// Writes a few records at a time until told to stop; `total` are there before. How many are then.
async fn write_slowly(stage: &Stage, total: u64) -> anyhow::Result<u64> {
    let source = Records::new();
    let mut written = total;
    let mut ticks = tokio::time::interval(SLOW_INTERVAL);
    let stopped = stage.stopped();
    tokio::pin!(stopped);
    for partition in (0..PARTITIONS).cycle() {
        tokio::select! {
            () = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        let now_ms = stage.source.now_ms();
        let batch = source.batch(written..written + SLOW_RECORDS, |_| now_ms);
        place(&stage.source, partition, batch)?;
        written += SLOW_RECORDS;
    }
    Ok(written)
}

/// Copies what is not copied yet.
async fn catch_up(steps: &Steps, stage: &Stage) -> Result<(), Failure> {
    let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
    let copying = worker::run(prepared(stage)?, true, std::future::pending(), sender);
    let progress = || far(stage, &status.borrow());
    let trouble = || first_trouble(&status.borrow());
    let in_time = tokio::time::timeout(CATCH_UP_MAX, copying);
    let Ok(outcome) = steps.watched("run", progress, trouble, in_time).await else {
        let why = trouble().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        let waited = seconds(CATCH_UP_MAX);
        return Err(Failure::incomplete(&anyhow!("not all was copied {waited} after the last record{why}")));
    };
    // What could be done about it needs clusters that stay.
    let failed = |error| Failure::incomplete(&anyhow!("not all could be copied: {}", worker::chain(&error)));
    outcome.map(|_| ()).map_err(failed)
}

/// Records at the destination, and how many there are to be by what the worker has seen.
fn far(stage: &Stage, status: &WorkerStatus) -> (u64, u64) {
    let copied = end_offsets(&stage.destination, REPLICA);
    let topics = status.flows.iter().flat_map(|flow| &flow.topics);
    (copied, copied + topics.filter_map(|topic| topic.lag_records).sum::<u64>())
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
    worker::prepare(&settings, worker::Logins::default()).map_err(|report| Failure::settings(&report))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A demo that has copied 160 records and is kept running until `meddle` has done what other clients may do; how
    /// its last proof ended.
    fn kept_running(meddle: impl AsyncFnOnce(&Stage)) -> Result<(), String> {
        let (clusters, folder, runtime) = set_up(None, None).unwrap();
        let (stop, stopped) = watch::channel(false);
        let (source, destination) = (clusters.source.clone(), clusters.destination.clone());
        let stage = Stage { source, destination, offsets: folder.path().join("offsets"), stop: stopped };
        let steps = Steps::new(Screen::for_answers());
        let played = async {
            create(&steps, &stage);
            write(&steps, &stage, 160).await?;
            copy(&steps, &stage, 160).await?;
            let (until, written) = keep_running(&steps, &stage, 160).await?;
            verify(&steps, &stage, &until, written).await
        };
        let meddled = async {
            // By then it is kept running.
            while end_offsets(&stage.destination, REPLICA) <= 160 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            meddle(&stage).await;
            stop.send_replace(true);
        };
        let (played, ()) = runtime.block_on(async { tokio::join!(played, meddled) });
        played.map_err(|failure| failure.to_string())
    }

    fn batch() -> Bytes {
        Records::new().batch(0..7, |_| 1_700_000_000_000)
    }

    #[test]
    fn what_other_clients_write_at_the_source_is_copied_and_compared_too() {
        let played = kept_running(async |stage| {
            stage.source.place(TOPIC, 3, batch()).unwrap();
            stage.source.add_partitions(TOPIC, PARTITIONS + 1);
            stage.source.place(TOPIC, PARTITIONS, batch()).unwrap();
        });
        assert_eq!(played, Ok(()));
    }

    #[test]
    fn what_other_clients_delete_or_write_at_the_copy_is_told_as_that() {
        let deleted = kept_running(async |stage| stage.source.delete_records(TOPIC, 2, 5));
        let error = deleted.unwrap_err();
        assert!(error.starts_with("error: records of test-topic-2 before offset 5 were deleted"), "{error}");

        let gone = kept_running(async |stage| stage.source.delete_topic(TOPIC));
        let error = gone.unwrap_err();
        assert!(error.starts_with("error: topic `test-topic` was deleted"), "{error}");

        let written = kept_running(async |stage| {
            stage.destination.place(REPLICA, 4, batch()).unwrap();
        });
        let error = written.unwrap_err();
        assert!(error.starts_with("error: "), "{error}");
        assert!(error.contains("test-topic.replica-4"), "{error}");

        let grown = kept_running(async |stage| stage.destination.add_partitions(REPLICA, PARTITIONS + 1));
        let error = grown.unwrap_err();
        assert!(
            error.starts_with("error: test-topic has 8 partitions and test-topic.replica has 9"),
            "{error}"
        );

        let gone = kept_running(async |stage| stage.destination.delete_topic(REPLICA));
        let error = gone.unwrap_err();
        assert!(error.starts_with("error: topic `test-topic.replica` was deleted meanwhile"), "{error}");
    }
}
