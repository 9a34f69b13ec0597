//! Reading ahead is earned: what a crash makes the next process fetch again is a part of what this one has copied.
//!
//! Fetched again is what was read and not acknowledged ([`ahead_bytes_max`]), and what was acknowledged and not
//! stored ([`is_worth_storing`]). Both are shares of the progress of this process, so that one that is killed again
//! and again gets on all the same. A lane that acknowledges all it holds earns its share of that anew: by each round
//! trip it reads so much more, and no rule that keeps to the share could grow faster. Nearby a twentieth is plenty: a
//! hundred round trips are over in no time. Over a long way they take half a minute, so the share grows with the way, up
//! to all that was copied: then each trip doubles it.

use std::time::Duration;

/// What a lane that has copied nothing yet may hold: two batches of a producer with default settings.
const AHEAD_BYTES_MIN: usize = 32 << 10;
/// One byte ahead for so many that are copied, nearby.
const COPIED_PER_AHEAD: u64 = 20;
/// As many times this is longer than a trip: within seconds the whole way is filled, however long. It takes some six trips
/// there and back for each that is one byte ahead for.
const EARNED_WITHIN: Duration = Duration::from_millis(140);
/// One byte not stored for so many that are copied, while that is little: who is killed over and over comes no further.
const COPIED_PER_UNSTORED: u64 = 20;
/// And later. Each time is a file written and awaited: an eighth of the processor time of a gigabyte at the rate before.
const MUCH_BYTES: u64 = 256 << 20;
const MUCH_COPIED_PER_UNSTORED: u64 = 10;
/// Storing costs by the lane, so a lane must have something to show for it: a batch.
const UNSTORED_BYTES_MIN: u64 = 16 << 10;

/// How many bytes are to be copied for one to be held ahead of that, where an answer takes `trip`.
pub(crate) fn copied_per_ahead(trip: Duration) -> u64 {
    let times = EARNED_WITHIN.as_micros() / trip.as_micros().max(1);
    u64::try_from(times).unwrap_or(COPIED_PER_AHEAD).clamp(1, COPIED_PER_AHEAD)
}

/// How much a lane may hold, fetched and not acknowledged, that has copied `copied_bytes` in this process.
pub(crate) fn ahead_bytes_max(copied_bytes: u64, copied_per_ahead: u64) -> usize {
    usize::try_from(copied_bytes / copied_per_ahead.max(1)).unwrap_or(usize::MAX).max(AHEAD_BYTES_MIN)
}

/// Whether so much of what this process has copied, in so many lanes, is to be stored.
pub(crate) fn is_worth_storing(unstored_bytes: u64, copied_bytes: u64, lanes: usize) -> bool {
    unstored_bytes >= unstored_bytes_min(lanes).max(copied_bytes / copied_per_unstored(copied_bytes))
}

/// Whether so much has come since the store was given what it is still busy with that reading waits for it.
pub(crate) fn is_ahead_of_store(unstored_bytes: u64, copied_bytes: u64, lanes: usize) -> bool {
    unstored_bytes >= (4 * unstored_bytes_min(lanes)).max(copied_bytes / COPIED_PER_UNSTORED)
}

fn copied_per_unstored(copied_bytes: u64) -> u64 {
    if copied_bytes < MUCH_BYTES { COPIED_PER_UNSTORED } else { MUCH_COPIED_PER_UNSTORED }
}

fn unstored_bytes_min(lanes: usize) -> u64 {
    u64::try_from(lanes.max(1)).map_or(u64::MAX / 4, |lanes| lanes * UNSTORED_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trips of `millis` until a lane that has 8 MiB acknowledged by each may hold so much, and what it has copied.
    fn round_trips(millis: u64) -> (u32, u64) {
        let per_ahead = copied_per_ahead(Duration::from_millis(millis));
        let (mut trips, mut copied) = (0, 0);
        while ahead_bytes_max(copied, per_ahead) < 8 << 20 {
            copied += ahead_bytes_max(copied, per_ahead) as u64;
            trips += 1;
        }
        (trips, copied)
    }

    #[test]
    fn a_way_is_filled_within_seconds_however_long_it_is() {
        // Each trip is one to the source and back, and one to the destination and back.
        for millis in [0, 1, 7] {
            assert_eq!(round_trips(millis), (134, 170_629_797));
        }
        for (millis, trips) in [(20, 49), (50, 16), (100, 9), (200, 9)] {
            assert_eq!(round_trips(millis).0, trips);
        }
    }

    #[test]
    fn a_gigabyte_is_stored_a_hundred_times_and_in_many_lanes_less_often() {
        let stores = |lanes: usize, bytes: u64| {
            let (mut stores, mut copied, mut stored) = (0, 0_u64, 0);
            while copied < bytes {
                copied += 16 << 10;
                if is_worth_storing(copied - stored, copied, lanes) {
                    (stored, stores) = (copied, stores + 1);
                }
            }
            stores
        };
        assert_eq!(stores(8, 1_000_000_000), 121);
        assert_eq!(stores(1000, 1_000_000_000), 28);
    }
}
