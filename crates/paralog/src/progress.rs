//! Shows how far the copy is: lines that change on a terminal, one log line now and then in a pipe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::info;
use worker::{FlowStatus, LifeCounts, TopicStatus, WorkerStatus};

use crate::screen::Screen;

const TERMINAL_INTERVAL: Duration = Duration::from_millis(500);
const PIPE_INTERVAL: Duration = Duration::from_secs(10);
/// A quiet worker says once in so many intervals that it is there.
const PIPE_QUIET_INTERVALS: u32 = 30;
const TOPICS_MAX: usize = 12;
const BAR_CELLS: usize = 30;

/// Shows `status` until it is dropped at the other end.
#[allow(clippy::disallowed_methods)] // Rates are shown by the clock.
pub(crate) async fn show(
    screen: Screen,
    mut status: watch::Receiver<Arc<WorkerStatus>>,
    until_caught_up: bool,
) {
    let interval = if screen.is_terminal() { TERMINAL_INTERVAL } else { PIPE_INTERVAL };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut view = View::new(until_caught_up);
    let mut quiet = 0;
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = status.changed() => if changed.is_err() { break } else { continue },
        }
        let now = Arc::clone(&status.borrow());
        view.update(&now, Instant::now());
        if screen.is_terminal() {
            screen.show(view.lines());
        } else if view.has_news() || quiet >= PIPE_QUIET_INTERVALS {
            view.log();
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    if screen.is_terminal() {
        view.update(&status.borrow(), Instant::now());
        screen.show(view.lines());
        screen.finish();
    }
}

/// Two moments of the worker's status, and so its rates.
struct View {
    until_caught_up: bool,
    status: WorkerStatus,
    at: Option<Instant>,
    /// Bytes a second by connector and topic, smoothed.
    rates: BTreeMap<(String, String), f64>,
    /// Something was copied, or waits, or changed its state, since the last look.
    news: bool,
}

impl View {
    fn new(until_caught_up: bool) -> View {
        View {
            until_caught_up,
            status: WorkerStatus::default(),
            at: None,
            rates: BTreeMap::new(),
            news: false,
        }
    }

    fn update(&mut self, status: &WorkerStatus, now: Instant) {
        let before: BTreeMap<(String, String), u64> =
            topics(&self.status).map(|(key, topic)| (key, topic.bytes)).collect();
        let seconds = self.at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        for (key, topic) in topics(status) {
            let copied = topic.bytes.saturating_sub(before.get(&key).copied().unwrap_or(0));
            let rate = if seconds > 0.0 { as_f64(copied) / seconds } else { 0.0 };
            // Half of what is shown is of the last moment: smooth enough to read, quick enough to believe.
            let smoothed = self.rates.entry(key).or_insert(rate);
            *smoothed = if copied == 0 && *smoothed < 1.0 { 0.0 } else { (*smoothed + rate) / 2.0 };
        }
        self.news = total(status, |topic| topic.records) != total(&self.status, |topic| topic.records)
            || total(status, |topic| topic.lag_records.unwrap_or(0)) > 0
            || stopped(status) != stopped(&self.status)
            || gone_topics(status) != gone_topics(&self.status)
            || life(status) != life(&self.status)
            || first_trouble(status) != first_trouble(&self.status);
        self.status = status.clone();
        self.at = Some(now);
    }

    fn has_news(&self) -> bool {
        self.news
    }

    fn log(&self) {
        let topics = topics(&self.status).count();
        let records = total(&self.status, |topic| topic.records);
        let lag_records = total(&self.status, |topic| topic.lag_records.unwrap_or(0));
        let stopped_partitions = stopped(&self.status);
        let mb_per_s = format_args!("{:.1}", self.rate() / 1e6).to_string();
        let trouble = first_trouble(&self.status);
        let gone_topics = Some(gone_topics(&self.status)).filter(|count| *count > 0);
        let life = Some(in_words(&life(&self.status))).filter(|words| !words.is_empty());
        if self.until_caught_up {
            let percent = percent(self.share());
            info!(%percent, records, %mb_per_s, lag_records, topics, stopped_partitions, gone_topics, life, trouble, "copying");
        } else {
            info!(records, %mb_per_s, lag_records, topics, stopped_partitions, gone_topics, life, trouble, "copying");
        }
    }

    /// One line for each topic, those that lag most if there are many; above them the whole.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.until_caught_up {
            lines.push(self.bar());
        }
        for flow in &self.status.flows {
            if let Some(trouble) = &flow.trouble {
                lines.push(format!("{}: {trouble}", flow.name));
            }
            lines.extend(gone(flow));
        }
        let mut shown: Vec<((String, String), &TopicStatus)> = topics(&self.status).collect();
        let all = shown.len();
        if all > TOPICS_MAX {
            shown.sort_by_key(|(_, topic)| std::cmp::Reverse((topic.stopped_partitions, topic.lag_records)));
            shown.truncate(TOPICS_MAX);
        }
        let several = self.status.flows.len() > 1;
        let rows: Vec<(String, &TopicStatus, f64)> = shown
            .into_iter()
            .map(|(key, topic)| {
                (name(&key.0, topic, several), topic, self.rates.get(&key).copied().unwrap_or(0.0))
            })
            .collect();
        let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).min(60);
        lines.extend(rows.iter().map(|(name, topic, rate)| row(name, width, topic, *rate)));
        if all > TOPICS_MAX {
            lines.push(format!("and {} more topics", all - TOPICS_MAX));
        }
        lines
    }

    fn bar(&self) -> String {
        let Some((copied, to_copy)) = self.share() else {
            return String::from("finding out what there is to copy");
        };
        let rate = self.rate();
        format!(
            "{}   {} of {} offsets   {:.1} MB/s",
            bar(copied, to_copy),
            grouped(copied),
            grouped(to_copy),
            rate / 1e6,
        )
    }

    fn rate(&self) -> f64 {
        self.rates.values().sum()
    }

    /// Offsets copied since the start, and those there were to copy, once every flow knows.
    fn share(&self) -> Option<(u64, u64)> {
        let shares = topics(&self.status)
            .map(|(_, topic)| topic.to_copy.map(|to_copy| (topic.copied.min(to_copy), to_copy)));
        let sums = shares.into_iter().try_fold((0u64, 0u64), |sums, share| {
            share.map(|share| (sums.0.saturating_add(share.0), sums.1.saturating_add(share.1)))
        });
        sums.filter(|_| self.status.flows.iter().all(|flow| flow.is_settled) && !self.status.flows.is_empty())
    }
}

/// The topics that vanished from the source, a few by name.
fn gone(flow: &FlowStatus) -> Option<String> {
    const NAMED_MAX: usize = 3;
    let named: Vec<String> = flow.gone.iter().take(NAMED_MAX).map(|topic| format!("`{topic}`")).collect();
    let more = match flow.gone.len().checked_sub(NAMED_MAX) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    let named = named.join(", ");
    let (name, is_any) = (&flow.name, !flow.gone.is_empty());
    is_any.then(|| format!("{name}: not at the source any more, though copied: {named}{more}"))
}

fn topics(status: &WorkerStatus) -> impl Iterator<Item = ((String, String), &TopicStatus)> {
    let of = |flow: &FlowStatus, topic: &TopicStatus| (flow.name.clone(), topic.source.to_string());
    status.flows.iter().flat_map(move |flow| flow.topics.iter().map(move |topic| (of(flow, topic), topic)))
}

fn total(status: &WorkerStatus, of: impl Fn(&TopicStatus) -> u64) -> u64 {
    topics(status).map(|(_, topic)| of(topic)).fold(0, u64::saturating_add)
}

fn stopped(status: &WorkerStatus) -> usize {
    topics(status).map(|(_, topic)| topic.stopped_partitions).sum()
}

fn gone_topics(status: &WorkerStatus) -> usize {
    status.flows.iter().map(|flow| flow.gone.len()).sum()
}

/// What was done about what happened to topics.
fn life(status: &WorkerStatus) -> LifeCounts {
    let mut sum = LifeCounts::default();
    topics(status).for_each(|(_, topic)| sum += topic.life);
    sum
}

/// Those of the counts that are not zero.
fn in_words(life: &LifeCounts) -> String {
    let counts = [
        (life.begun_anew, "partitions of topics created anew"),
        (life.offsets_skipped, "source offsets skipped"),
        (life.source_offsets_gone, "copied offsets that the source lost"),
        (life.destination_offsets_gone, "destination offsets gone with their topic"),
        (life.records_resent, "records sent again"),
    ];
    let told = counts.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("{} {what}", grouped(count))).collect::<Vec<_>>().join(", ")
}

/// What keeps the copy, or the first part of it that stands, from going on: a topic's own reason says more than
/// that of its whole cluster.
pub(crate) fn first_trouble(status: &WorkerStatus) -> Option<String> {
    let of_topic = topics(status)
        .find_map(|(_, topic)| topic.trouble.as_ref().map(|trouble| format!("{}: {trouble}", topic.source)));
    let of_flow = || status.flows.iter().find_map(|flow| flow.trouble.clone());
    of_topic.or_else(of_flow)
}

fn name(flow: &str, topic: &TopicStatus, several: bool) -> String {
    let mut name = if several { format!("{flow}: ") } else { String::new() };
    name.push_str(topic.source.as_str());
    if topic.source != topic.destination {
        name.push_str(" -> ");
        name.push_str(topic.destination.as_str());
    }
    name
}

fn row(name: &str, width: usize, topic: &TopicStatus, rate: f64) -> String {
    let lag = topic.lag_records.map_or_else(|| String::from("?"), grouped);
    let mut row = format!(
        "{name:<width$}   {:>14} records   {:>7.1} MB/s   lag {lag}",
        grouped(topic.records),
        rate / 1e6
    );
    if topic.stopped_partitions > 0 {
        row.push_str(&format!("   {} of {} partitions stopped", topic.stopped_partitions, topic.partitions));
    }
    if let Some(trouble) = &topic.trouble {
        row.push_str(": ");
        row.push_str(trouble);
    }
    let life = in_words(&topic.life);
    if !life.is_empty() {
        row.push_str(&format!("   ({life})"));
    }
    row
}

/// `[###-------]  33%`; full only at the end.
pub(crate) fn bar(done: u64, of: u64) -> String {
    let full = usize::try_from(done.saturating_mul(BAR_CELLS as u64) / of.max(1)).unwrap_or(BAR_CELLS);
    let full = if of == 0 { BAR_CELLS } else { full.min(BAR_CELLS) };
    let percent = percent(Some((done, of)));
    format!("[{}{}] {percent:>4}", "#".repeat(full), "-".repeat(BAR_CELLS - full))
}

/// Rounded down, so that 100 % is the end.
fn percent(share: Option<(u64, u64)>) -> String {
    match share {
        None => String::from("?"),
        Some((_, 0)) => String::from("100%"),
        Some((copied, to_copy)) => format!("{}%", u128::from(copied) * 100 / u128::from(to_copy)),
    }
}

/// `1 record`, `2,500 records`.
pub(crate) fn records(count: u64) -> String {
    format!("{} record{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[allow(clippy::cast_precision_loss)] // for people to read
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, records: u64, lag: u64) -> TopicStatus {
        TopicStatus {
            source: name.into(),
            destination: format!("{name}.replica").into(),
            partitions: 8,
            stopped_partitions: 0,
            trouble: None,
            records,
            bytes: records * 1000,
            lag_records: Some(lag),
            copied: records,
            to_copy: Some(records + lag),
            life: LifeCounts::default(),
        }
    }

    fn status(topics: Vec<TopicStatus>) -> WorkerStatus {
        let flow = FlowStatus {
            name: "f".into(),
            topics,
            trouble: None,
            not_copied: Vec::new(),
            gone: Vec::new(),
            warnings: Vec::new(),
            is_settled: true,
        };
        WorkerStatus { flows: vec![flow] }
    }

    #[allow(clippy::disallowed_methods)]
    fn view(until_caught_up: bool, moments: &[WorkerStatus]) -> View {
        let start = Instant::now();
        let mut view = View::new(until_caught_up);
        for (second, status) in (0..).zip(moments) {
            view.update(status, start + Duration::from_secs(second));
        }
        view
    }

    #[test]
    fn a_topic_is_a_line_with_its_rate_and_lag() {
        let moments = [
            status(vec![topic("orders", 0, 3_000_000)]),
            status(vec![topic("orders", 2_000_000, 1_000_000), topic("b", 1, 0)]),
        ];
        let lines = view(false, &moments).lines();
        assert_eq!(
            lines,
            [
                "orders -> orders.replica        2,000,000 records    1000.0 MB/s   lag 1,000,000",
                "b -> b.replica                          1 records       0.0 MB/s   lag 0",
            ]
        );
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        let bar = |copied, lag| view(true, &[status(vec![topic("orders", copied, lag)])]).lines().remove(0);
        assert_eq!(bar(1, 2), "[##########--------------------]  33%   1 of 3 offsets   0.0 MB/s");
        assert!(bar(9_999, 1).contains(" 99% "));
        assert!(bar(10_000, 0).starts_with("[##############################] 100%   10,000 of 10,000"));
        assert!(bar(0, 0).contains("100%"));
        let unsettled = WorkerStatus {
            flows: vec![FlowStatus {
                is_settled: false,
                ..status(vec![topic("orders", 1, 2)]).flows.remove(0)
            }],
        };
        assert_eq!(view(true, &[unsettled]).lines()[0], "finding out what there is to copy");
    }

    #[test]
    fn many_topics_show_those_that_need_a_look() {
        let mut topics: Vec<TopicStatus> = (0..20).map(|n| topic(&format!("t{n}"), 0, n)).collect();
        topics[3].stopped_partitions = 2;
        topics[3].trouble = Some("the source partition has no leader".into());
        let lines = view(false, &[status(topics)]).lines();
        assert_eq!(lines.len(), 13);
        assert!(
            lines[0].ends_with("lag 3   2 of 8 partitions stopped: the source partition has no leader"),
            "{}",
            lines[0]
        );
        assert!(lines[1].starts_with("t19"));
        assert_eq!(lines[12], "and 8 more topics");
    }

    #[test]
    fn topics_that_vanished_are_named_and_news() {
        let still = status(vec![topic("orders", 5, 0)]);
        let mut vanished = still.clone();
        vanished.flows[0].gone = ["a", "b", "c", "d"].map(Into::into).into();
        let view = view(false, &[still, vanished]);
        assert!(view.has_news());
        assert_eq!(view.lines()[0], "f: not at the source any more, though copied: `a`, `b`, `c` and 1 more");
    }

    #[test]
    fn what_was_done_about_a_topic_is_told_as_long_as_the_process_lives() {
        let still = status(vec![topic("orders", 5, 0)]);
        let mut anew = still.clone();
        anew.flows[0].topics[0].life =
            LifeCounts { begun_anew: 2, offsets_skipped: 1_000, ..LifeCounts::default() };
        let view = view(false, &[still, anew]);
        assert!(view.has_news());
        let told = "   (2 partitions of topics created anew, 1,000 source offsets skipped)";
        assert!(view.lines()[0].ends_with(told), "{:?}", view.lines());
    }

    #[test]
    fn a_quiet_worker_has_no_news() {
        let still = status(vec![topic("orders", 5, 0)]);
        assert!(view(false, std::slice::from_ref(&still)).has_news());
        assert!(!view(false, &[still.clone(), still.clone()]).has_news());
        let lagging = status(vec![topic("orders", 5, 1)]);
        assert!(view(false, &[lagging.clone(), lagging]).has_news());

        // Why nothing comes is news even where nothing is known to be missing.
        let mut unreachable = still.clone();
        unreachable.flows[0].trouble = Some("the source is away".into());
        assert_eq!(first_trouble(&unreachable).as_deref(), Some("the source is away"));
        assert!(view(false, &[still, unreachable.clone()]).has_news());
        assert!(!view(false, &[unreachable.clone(), unreachable.clone()]).has_news());
        unreachable.flows[0].topics[0].trouble = Some("no leader".into());
        assert_eq!(first_trouble(&unreachable).as_deref(), Some("orders: no leader"));
    }

    #[test]
    fn large_numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
