//! What it costs to keep an eye on ten thousand topics: a measurement, `cargo xtask bench topics`.
//!
//! The clusters have a thread of their own in this process, and real sockets; what is counted is the time of the
//! threads of the control plane alone, by the kernel's account of each.

// It reads clocks and the kernel's accounts, and prints.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "embedded/grants.rs"]
mod grants;

use std::fs;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use client::{Address, Opener, Stream};
use control::{Control, Options};
use embedded_kafka::{ApiKey, Cluster, Config, Profile};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use topology::{Naming, Pattern, Selection};

/// The name of the threads that are measured.
const WATCHER: &str = "watcher";
const POLL: Duration = Duration::from_secs(1);
const POLLS: u32 = 20;

/// Bytes that went over the connections to one cluster, both ways.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

#[derive(Debug)]
struct Counting(Arc<Counted>);

impl Opener for Counting {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let counted = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            let reader = CountedReader(reader, Arc::clone(&counted));
            Ok(Stream::new(reader, CountedWriter(writer, counted)))
        })
    }
}

struct CountedReader(OwnedReadHalf, Arc<Counted>);

impl AsyncRead for CountedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        self.1.0.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

struct CountedWriter(OwnedWriteHalf, Arc<Counted>);

impl CountedWriter {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.1.0.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncWrite for CountedWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write_vectored(context, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Processor time so far of all threads that are measured.
fn cpu() -> Duration {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let told = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        if name.trim() == WATCHER {
            let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            sum += Duration::from_nanos(nanos);
        }
    }
    sum
}

fn print(what: &str, figure: &str) {
    println!("measured: {what} | {figure}");
}

/// One cluster, and what is counted of it.
struct Side {
    cluster: Cluster,
    counted: Arc<Counted>,
}

/// What one stretch took.
struct Stretch {
    cpu: Duration,
    wall: Duration,
    /// Requests and bytes of both sides.
    requests: [u64; 2],
    bytes: [u64; 2],
}

struct Watch {
    sides: [Side; 2],
    options: Options,
}

impl Watch {
    fn start(&self) -> Control {
        let [source, destination] = [0, 1].map(|side: usize| {
            let Side { cluster, counted } = &self.sides[side];
            let options = client::Options::new(["source", "destination"][side], cluster.bootstrap());
            client::Cluster::with_opener(options, Box::new(Counting(Arc::clone(counted))))
        });
        Control::start(source, destination, self.options.clone(), Box::new(grants::NoGrants))
    }

    /// What `work` takes.
    async fn measure(&self, work: impl Future<Output = ()>) -> Stretch {
        let count = || {
            let apis = [ApiKey::Metadata, ApiKey::DescribeConfigs, ApiKey::CreateTopics, ApiKey::ApiVersions];
            let requests = [0, 1].map(|side: usize| {
                apis.iter().map(|api| self.sides[side].cluster.requests(*api)).sum::<u64>()
            });
            let bytes = [0, 1].map(|side: usize| self.sides[side].counted.0.load(Ordering::Relaxed));
            (requests, bytes)
        };
        let (cpu_before, (requests, bytes), start) = (cpu(), count(), Instant::now());
        work.await;
        let (wall, cpu, (requests_after, bytes_after)) = (start.elapsed(), cpu() - cpu_before, count());
        let difference = |after: [u64; 2], before: [u64; 2]| [after[0] - before[0], after[1] - before[1]];
        Stretch {
            cpu,
            wall,
            requests: difference(requests_after, requests),
            bytes: difference(bytes_after, bytes),
        }
    }

    /// Waits for so many observations more.
    async fn observations(control: &Control, more: u32) {
        let mut status = control.status();
        let until = status.borrow().observations + u64::from(more);
        status.wait_for(|status| status.observations >= until).await.unwrap();
    }
}

fn per(total: u64, count: u32) -> f64 {
    total as f64 / f64::from(count)
}

fn told(stretch: &Stretch, polls: u32) -> String {
    let [source, destination] = [0, 1].map(|side: usize| {
        let (requests, bytes) = (per(stretch.requests[side], polls), per(stretch.bytes[side], polls));
        format!("{requests:.1} requests and {:.0} kB", bytes / 1e3)
    });
    let cpu_ms = stretch.cpu.as_secs_f64() * 1e3 / f64::from(polls);
    format!("source {source}, destination {destination}, {cpu_ms:.1} ms of CPU")
}

async fn watch(mut watch: Watch, topics: usize) {
    let control = watch.start();
    let mut status = control.status();
    let first = async {
        status.wait_for(|status| status.is_first_observation_complete()).await.unwrap();
    };
    let stretch = watch.measure(first).await;
    assert_eq!(control.status().borrow().topics, topics);
    let (wall, cpu) = (stretch.wall.as_secs_f64(), stretch.cpu.as_secs_f64());
    print(
        &format!("the first time: {topics} topics found, their copies planned and created"),
        &format!("{wall:.1} s, of it {cpu:.2} s of CPU"),
    );

    Watch::observations(&control, 1).await;
    let stretch = watch.measure(Watch::observations(&control, POLLS)).await;
    print("a poll when nothing has changed", &told(&stretch, POLLS));

    // How late a task of the same thread is at most: what records would wait for.
    let late = tokio::spawn(async {
        let mut most = Duration::ZERO;
        let end = Instant::now() + POLL * 5;
        while Instant::now() < end {
            let start = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            most = most.max(start.elapsed());
        }
        most
    });
    let most = late.await.unwrap();
    print(
        "the longest that another task of the thread waited for its turn, in five polls",
        &format!("{:.1} ms, of which up to 2 ms are the timer's", most.as_secs_f64() * 1e3),
    );

    let mut took = Vec::new();
    let mut routes = control.routes();
    for number in 0..10u32 {
        // Not always at the same moment between two polls.
        tokio::time::sleep(POLL * number / 10).await;
        let name = format!("shop.later-{number}");
        let start = Instant::now();
        watch.sides[0].cluster.create_topic(&name, 1, &[]);
        let is_there = |routes: &Arc<model::Routes>| {
            routes.routes.iter().any(|route| route.source.topic.as_str() == name)
        };
        routes.wait_for(is_there).await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    print(
        "from a topic's creation until its copy is there and copying begins",
        &format!(
            "median {:.2} s, at most {:.2} s, at an interval of {} s",
            took[took.len() / 2].as_secs_f64(),
            took[took.len() - 1].as_secs_f64(),
            POLL.as_secs()
        ),
    );
    control.stop().await;

    // The settings of all topics in each round, to see what those cost.
    watch.options.config_sync_interval = Duration::ZERO;
    let control = watch.start();
    Watch::observations(&control, 1).await;
    let stretch = watch.measure(Watch::observations(&control, 3)).await;
    print("a poll at which all settings are due", &told(&stretch, 3));
    control.stop().await;
}

/// Runs `work` on a thread of that name, whose blocking threads are called so too.
fn on_thread<F: Future<Output = ()>>(
    name: &'static str,
    work: impl FnOnce() -> F + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(name)
            // The time of a thread that has ended is not told any more.
            .thread_keep_alive(Duration::from_secs(3600))
            .build()
            .unwrap();
        runtime.block_on(work());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap()
}

#[test]
#[ignore = "a measurement: cargo xtask bench topics"]
fn what_watching_costs() {
    let topics: usize = std::env::var("PARALOG_BENCH_TOPICS").map_or(10_000, |count| count.parse().unwrap());
    let (sender, clusters) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let kafka = on_thread("kafka", move || async move {
        for id in ["source", "destination"] {
            let config = Config { cluster_id: id.to_owned(), ..Config::new(1, Profile::V4_3) };
            sender.send(Cluster::start(config).await.unwrap()).unwrap();
        }
        drop(stopped.await);
    });
    let side = || Side { cluster: clusters.recv().unwrap(), counted: Arc::default() };
    let sides = [side(), side()];
    for number in 0..topics {
        sides[0].cluster.create_topic(
            &format!("shop.orders-{number:06}"),
            1,
            &[("retention.ms", "864000000")],
        );
    }
    let options = Options {
        selection: Selection {
            regex: Some(Pattern::new("shop\\.(?!test).*").unwrap()),
            ..Selection::default()
        },
        naming: Naming::new("${topic}.replica").unwrap(),
        poll_interval: POLL,
        config_sync_interval: Duration::from_secs(3600),
        ..Options::default()
    };
    let watcher = on_thread(WATCHER, move || watch(Watch { sides, options }, topics));
    watcher.join().unwrap();
    drop(stop);
    kafka.join().unwrap();
}
