//! How far reading and sending run ahead of what is acknowledged: as far as the way to the brokers is long.
//!
//! A way that moves `rate` bytes a second, and on which the first answer comes after `trip`, is full with `rate × trip`
//! bytes. Twice that is asked for, so that the rate can grow where something else does not bound it; more would only wait
//! in memory, and no longer be in the processor's cache when it is its turn (BBR reasons alike). Nearby that is next to
//! nothing, and constants rule.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::BrokerId;

use crate::options::Options;

/// A rate is measured over so much time, or over this many trips.
const MEASURED_OVER: Duration = Duration::from_millis(200);
const MEASURED_TRIPS: u32 = 4;

/// A fetch reply nearby. Measured: replies of this size cost half the CPU per byte of 50 MB ones, because their buffers are
/// written again while they are still in the cache; smaller ones cost more wake-ups than they save.
const FETCH_BYTES: usize = 4 << 20;
/// Of which one partition may be so much.
const PARTITION_FETCH_BYTES: usize = 1 << 20;
/// The largest reply ever asked for, well within what a connection takes.
const FAR_FETCH_BYTES: usize = 64 << 20;
/// What one lane may hold nearby.
const LANE_BYTES: usize = 8 << 20;
/// What all may hold nearby, but for the replies that are under way or being passed on.
const HELD_BYTES: usize = 8 << 20;
/// Requests that may be under way to a broker, however near. While they are, what comes gathers for the next: batches of
/// many lanes in one request.
const REQUESTS_MIN: usize = 5;

/// A broker that answers sooner is near: what constants allow moves 200 MB a second of one partition even so, and 800 MB of
/// several. More would wait in memory, and no longer be in the processor's cache when it is its turn (a tenth more
/// processor time for a gigabyte, between two races).
const NEAR: Duration = Duration::from_millis(5);

/// What is known of the way to one broker.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// The shortest time from a request to its answer: queues make it longer.
    trip: Duration,
    /// Bytes a second, as measured last, and what is being measured.
    rate: u64,
    since: Option<Instant>,
    bytes: u64,
}

impl Way {
    fn moved(&mut self, asked_at: Instant, now: Instant, bytes: usize) {
        let trip = now.saturating_duration_since(asked_at);
        self.trip = if self.since.is_none() { trip } else { self.trip.min(trip) };
        let since = *self.since.get_or_insert(asked_at);
        self.bytes += bytes as u64;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= MEASURED_OVER.max(self.trip * MEASURED_TRIPS) {
            self.rate = per_second(self.bytes, elapsed);
            (self.since, self.bytes) = (Some(now), 0);
        }
    }

    /// What is moved within so many trips.
    fn within(&self, trips: u32) -> usize {
        let bytes = u128::from(self.rate) * (self.trip * trips).as_micros() / 1_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// What is sent within two trips.
    fn two_trips(&self) -> usize {
        self.within(2)
    }

    /// 0 of a near broker.
    fn if_far(&self, bytes: usize) -> usize {
        if self.trip < NEAR { 0 } else { bytes }
    }

    fn two_far_trips(&self) -> usize {
        self.if_far(self.two_trips())
    }

    /// What to fetch at a time. One fetch follows the other: each takes a trip besides the time that its bytes take, so
    /// that two trips' worth would fill half of the way, and four trips' three quarters.
    fn four_far_trips(&self) -> usize {
        self.if_far(self.within(4).min(FAR_FETCH_BYTES))
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / elapsed.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The ways to all brokers of both sides.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    source: BTreeMap<BrokerId, Way>,
    destination: BTreeMap<BrokerId, Way>,
}

/// What one source broker is asked for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchBytes {
    pub(crate) reply_max: usize,
    pub(crate) partition_max: usize,
}

impl Ways {
    /// A fetch was answered with so many bytes.
    pub(crate) fn fetched(&mut self, broker: BrokerId, asked_at: Instant, now: Instant, bytes: usize) {
        if bytes > 0 {
            self.source.entry(broker).or_default().moved(asked_at, now, bytes);
        }
    }

    /// A produce request of so many bytes was answered.
    pub(crate) fn produced(&mut self, broker: BrokerId, sent_at: Instant, now: Instant, bytes: usize) {
        self.destination.entry(broker).or_default().moved(sent_at, now, bytes);
    }

    /// The connection to a source broker broke: the next may take another way.
    pub(crate) fn source_lost(&mut self, broker: BrokerId) {
        self.source.remove(&broker);
    }

    /// The same at the destination.
    pub(crate) fn destination_lost(&mut self, broker: BrokerId) {
        self.destination.remove(&broker);
    }

    /// What to ask a source broker for, of which `lanes` lanes have something to read.
    pub(crate) fn fetch_bytes(&self, broker: BrokerId, lanes: usize, options: &Options) -> FetchBytes {
        let far = self.source.get(&broker).map_or(0, Way::four_far_trips);
        let reply_max = options.fetch_bytes_max.unwrap_or(FETCH_BYTES.max(far));
        let share = far / lanes.max(1);
        let partition_max = options.partition_fetch_bytes_max.unwrap_or(PARTITION_FETCH_BYTES.max(share));
        FetchBytes { reply_max, partition_max }
    }

    /// How many bytes all lanes may hold, of which fetches of `brokers` source brokers are a part.
    pub(crate) fn held_bytes_max(&self, brokers: usize, options: &Options) -> usize {
        let fetches: usize = self.source.values().map(Way::four_far_trips).sum();
        let sent: usize = self.destination.values().map(Way::two_far_trips).sum();
        let far = fetches.saturating_add(sent);
        let reply = options.fetch_bytes_max.unwrap_or(FETCH_BYTES);
        let held = HELD_BYTES.max(options.lane_bytes_max.unwrap_or(0));
        let near = held.saturating_add(reply.saturating_mul(brokers.max(1)));
        near.saturating_add(far).min(options.buffer_bytes_max)
    }

    /// How long an answer takes on the longer one of a lane's two ways.
    pub(crate) fn trip(&self, source: Option<BrokerId>, destination: Option<BrokerId>) -> Duration {
        let trip = |ways: &BTreeMap<BrokerId, Way>, broker: Option<BrokerId>| Some(ways.get(&broker?)?.trip);
        trip(&self.source, source).max(trip(&self.destination, destination)).unwrap_or_default()
    }

    /// How many bytes one lane may hold before it is read no further.
    pub(crate) fn lane_bytes_max(&self, options: &Options) -> usize {
        let far = self.destination.values().map(Way::two_far_trips).max().unwrap_or(0);
        options.lane_bytes_max.unwrap_or(LANE_BYTES.max(far))
    }

    /// Whether another produce request may be sent to a broker, with so many requests and bytes of them under way.
    pub(crate) fn may_send(
        &self,
        broker: BrokerId,
        (requests, bytes): (usize, usize),
        options: &Options,
    ) -> bool {
        if let Some(requests_max) = options.produce_requests_max {
            return requests < requests_max;
        }
        requests < REQUESTS_MIN || self.destination.get(&broker).is_some_and(|way| bytes < way.two_trips())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: BrokerId = BrokerId(1);
    const FAR: BrokerId = BrokerId(2);

    fn an_instant() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    /// Ways on which each answer of `bytes` came `trip` after its request, one after the other, for two seconds.
    fn after_two_seconds(broker: BrokerId, trip: Duration, bytes: usize) -> Ways {
        let mut ways = Ways::default();
        let mut at = an_instant();
        for _ in 0..2000 / trip.as_millis() {
            ways.fetched(broker, at, at + trip, bytes);
            ways.produced(broker, at, at + trip, bytes);
            at += trip;
        }
        ways
    }

    #[test]
    fn nearby_constants_rule() {
        let options = Options::new("flow");
        for ways in [Ways::default(), after_two_seconds(HERE, Duration::from_millis(1), 200_000)] {
            let asked = ways.fetch_bytes(HERE, 1, &options);
            assert_eq!(asked, FetchBytes { reply_max: FETCH_BYTES, partition_max: PARTITION_FETCH_BYTES });
            let held = ways.held_bytes_max(1, &options);
            assert_eq!(held, 12 << 20);
            assert_eq!(ways.lane_bytes_max(&options), LANE_BYTES);
        }
    }

    #[test]
    fn far_away_what_is_asked_for_grows_with_what_comes() {
        let options = Options::new("flow");
        let ways = after_two_seconds(FAR, Duration::from_millis(100), 5_000_000);
        let asked = ways.fetch_bytes(FAR, 1, &options);
        assert_eq!(asked, FetchBytes { reply_max: 20_000_000, partition_max: 20_000_000 });
        assert_eq!(ways.fetch_bytes(FAR, 4, &options).partition_max, 5_000_000);
        assert_eq!(ways.fetch_bytes(HERE, 1, &options).reply_max, FETCH_BYTES, "each broker has its own");
        assert_eq!(ways.held_bytes_max(1, &options), options.buffer_bytes_max);
        let plenty = Options { buffer_bytes_max: 1 << 30, ..options.clone() };
        assert_eq!(ways.held_bytes_max(1, &plenty), (12 << 20) + 30_000_000);
        assert_eq!(ways.lane_bytes_max(&options), 10_000_000);
        // One partition that comes by a megabyte a trip asks for four the next time, and so on.
        let ways = after_two_seconds(FAR, Duration::from_millis(100), 1 << 20);
        assert_eq!(ways.fetch_bytes(FAR, 1, &options).partition_max, 4 << 20);
    }

    #[test]
    fn what_an_operator_sets_is_kept_to() {
        let mut options = Options::new("flow");
        options.fetch_bytes_max = Some(1 << 20);
        options.partition_fetch_bytes_max = Some(100_000);
        options.lane_bytes_max = Some(200_000);
        options.produce_requests_max = Some(2);
        options.buffer_bytes_max = 16 << 20;
        let ways = after_two_seconds(FAR, Duration::from_millis(100), 5_000_000);
        let asked = ways.fetch_bytes(FAR, 1, &options);
        assert_eq!(asked, FetchBytes { reply_max: 1 << 20, partition_max: 100_000 });
        assert_eq!(ways.held_bytes_max(1, &options), 16 << 20);
        assert_eq!(ways.lane_bytes_max(&options), 200_000);
        assert!(ways.may_send(FAR, (1, 0), &options) && !ways.may_send(FAR, (2, 0), &options));
    }

    #[test]
    fn as_much_is_under_way_as_the_way_is_long() {
        let options = Options::new("flow");
        let near = after_two_seconds(FAR, Duration::from_millis(1), 80_000);
        for ways in [Ways::default(), near] {
            assert!(ways.may_send(FAR, (4, 20 << 20), &options));
            assert!(!ways.may_send(FAR, (5, 5 * 80_000), &options));
        }
        // Small batches of one partition, nearby: a request each.
        let ways = after_two_seconds(FAR, Duration::from_millis(4), 5 * 16_384);
        assert!(ways.may_send(FAR, (5, 5 * 16_384), &options));
        // 50 MB a second, 100 ms away.
        let ways = after_two_seconds(FAR, Duration::from_millis(100), 5_000_000);
        assert!(ways.may_send(FAR, (600, 9_990_000), &options));
        assert!(!ways.may_send(FAR, (600, 10_000_000), &options));
    }

    #[test]
    fn a_trip_is_the_shortest_there_was_and_a_rate_the_last_one() {
        let (mut way, at) = (Way::default(), an_instant());
        let millis = Duration::from_millis;
        way.moved(at, at + millis(10), 1000);
        way.moved(at, at + millis(200), 199_000);
        assert_eq!((way.trip, way.rate), (millis(10), 1_000_000));
        way.moved(at + millis(190), at + millis(400), 20_000);
        assert_eq!((way.trip, way.rate), (millis(10), 100_000));
        assert_eq!(way.two_trips(), 2000);
    }
}
