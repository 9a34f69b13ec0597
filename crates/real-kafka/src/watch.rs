//! Watching a topic that somebody copies into, with a consumer of either isolation: when it goes on, when it stands
//! still, what came twice.

use crate::{
    Error, Session,
    session::{Words, isolation},
};
use std::time::Duration;

/// How many records of [`crate::Fill::plain`] a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub records: u64,
    /// Those that differ by their number.
    pub distinct: u64,
}

impl Session {
    /// When the next record after all that is there now could be read, in ms since 1970; None if none came.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn wait_for_next(
        &mut self,
        bootstrap: &str,
        topic: &str,
        committed: bool,
        within: Duration,
    ) -> Result<Option<i64>, Error> {
        let command = ["next", bootstrap, topic, isolation(committed), &within.as_millis().to_string()];
        let lines = self.call(&command)?;
        let seen_ms: i64 = Words::new(&command, lines.first().map_or("", String::as_str)).number()?;
        Ok((seen_ms >= 0).then_some(seen_ms))
    }

    /// Waits until a topic holds at least `count` offsets and has not grown for `still`; how many it holds then, or when
    /// the time is up, and when it last grew, in ms since 1970.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn wait_until_still(
        &mut self,
        bootstrap: &str,
        topic: &str,
        committed: bool,
        count: u64,
        (still, within): (Duration, Duration),
    ) -> Result<(u64, i64), Error> {
        let words = [count.to_string(), still.as_millis().to_string(), within.as_millis().to_string()];
        let [count, still, within] = words.each_ref().map(String::as_str);
        let command = ["still", bootstrap, topic, isolation(committed), count, still, within];
        let lines = self.call(&command)?;
        let mut words = Words::new(&command, lines.first().map_or("", String::as_str));
        let (held, grew_ms) = (words.number::<i64>()?, words.number()?);
        Ok((u64::try_from(held).unwrap_or(0), grew_ms))
    }

    /// Counts the records of a topic that [`Session::fill`] filled, or of a copy, as a consumer of that isolation sees
    /// them.
    ///
    /// # Errors
    /// [`Error::Refused`], also of a record that it did not make.
    pub fn tally(&mut self, bootstrap: &str, topic: &str, committed: bool) -> Result<Tally, Error> {
        let command = ["tally", bootstrap, topic, isolation(committed)];
        let lines = self.call(&command)?;
        let mut words = Words::new(&command, lines.first().map_or("", String::as_str));
        Ok(Tally { records: words.number()?, distinct: words.number()? })
    }
}
