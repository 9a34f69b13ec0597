//! The Java helper as Rust calls: one JVM of one Kafka version that does many jobs.

use crate::{Distribution, Error, process};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// A helper JVM. One call at a time; it ends when dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

/// Many made-up records, each depending on its number only. Record `n` goes to partition `n` modulo the
/// number of partitions.
#[derive(Clone, Debug)]
pub struct Fill {
    options: Vec<(String, String)>,
}

/// What becomes of the records of [`Fill::transactions`].
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// Records in one transaction.
    pub records: u64,
    /// Every n-th transaction is aborted; 0: none is.
    pub abort_every: u64,
}

impl Fill {
    /// `records` records without key or header, of about 100 bytes. Record n goes to partition n modulo `partitions`; of 0,
    /// to where Kafka's producer puts it.
    #[must_use]
    pub fn plain(records: u64, partitions: u32) -> Fill {
        Fill::shaped("plain", records, partitions)
    }

    /// `records` records with null, empty and other keys and values, repeated, null and empty headers.
    #[must_use]
    pub fn varied(records: u64, partitions: u32) -> Fill {
        Fill::shaped("varied", records, partitions)
    }

    /// The same without headers, for formats that have none.
    #[must_use]
    pub fn headerless(records: u64, partitions: u32) -> Fill {
        Fill::shaped("headerless", records, partitions)
    }

    fn shaped(shape: &str, records: u64, partitions: u32) -> Fill {
        Fill { options: Vec::new() }
            .with("shape", shape)
            .with("records", &records.to_string())
            .with("partitions", &partitions.to_string())
    }

    /// Numbers the records from `first` on.
    #[must_use]
    pub fn first(self, first: u64) -> Fill {
        self.with("first", &first.to_string())
    }

    /// Gives record 0 this time and the others times around it, not all ascending; else the producer chooses.
    #[must_use]
    pub fn times_from(self, time_ms: i64) -> Fill {
        self.with("time", &time_ms.to_string())
    }

    /// Compresses with `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[must_use]
    pub fn codec(self, codec: &str) -> Fill {
        self.with("compression.type", codec)
    }

    /// Sends within transactions of `transactional_id`.
    #[must_use]
    pub fn transactions(self, transactional_id: &str, transaction: Transaction) -> Fill {
        self.with("transactional.id", transactional_id)
            .with("per-transaction", &transaction.records.to_string())
            .with("abort-every", &transaction.abort_every.to_string())
    }

    /// Sets a producer setting, or one of the helper's own: `value-bytes`, `keys`, `leave-open`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Fill {
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// One record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its partition.
    pub partition: u32,
    /// None lets the producer choose.
    pub timestamp: Option<i64>,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; None is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// One record as a consumer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its time in ms; -1 where the format has none.
    pub timestamp: i64,
    /// `CreateTime`, `LogAppendTime` or `NoTimestampType`.
    pub timestamp_type: String,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value, if it has one.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// All records of one partition, as a consumer sees them, in one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDigest {
    /// The partition.
    pub partition: u32,
    /// How many records.
    pub records: u64,
    /// The first record's offset.
    pub first_offset: i64,
    /// The last record's offset.
    pub last_offset: i64,
    /// SHA-256 over timestamp, key, value and headers of all records, in order.
    pub sha256: String,
}

/// What a topic is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas of the first partition.
    pub replicas: u32,
    /// Settings that were made for the topic itself.
    pub settings: BTreeMap<String, String>,
}

impl Distribution {
    /// Starts a helper JVM that uses this version's clients: talk with it to clusters of the same version.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], or what the JVM says if it does not come up.
    pub fn session(&self) -> Result<Session, Error> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!(
            "paralog-real-kafka-session-{}-{serial}-{}.log",
            std::process::id(),
            self.version()
        ));
        let out = fs::File::create(&log).map_err(Error::io("cannot create", &log))?;
        let mut command = process::bound_to_us(self.java("realkafka.Session", 512));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(out);
        let mut child = process::spawn(command).map_err(process::missing)?;
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut session = Session { child, stdin, stdout, log };
        session.call(&["ping"])?;
        Ok(session)
    }
}

impl Session {
    /// Creates a topic and waits until each partition has a leader.
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's word.
    pub fn create_topic(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partitions: u32,
        replicas: u16,
        settings: &[(&str, &str)],
    ) -> Result<(), Error> {
        let (partitions, replicas) = (partitions.to_string(), replicas.to_string());
        let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut words = vec!["create", bootstrap, topic, &partitions, &replicas];
        words.extend(settings.iter().map(String::as_str));
        self.call(&words).map(drop)
    }

    /// Creates topics of one replica, named `prefix` and a number from 0 on; waits for no leaders.
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's word.
    pub fn create_topics(
        &mut self,
        bootstrap: &str,
        prefix: &str,
        count: u32,
        partitions: u32,
    ) -> Result<(), Error> {
        self.call(&["create-many", bootstrap, prefix, &count.to_string(), &partitions.to_string()]).map(drop)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_topic(&mut self, bootstrap: &str, topic: &str) -> Result<(), Error> {
        self.delete_topics(bootstrap, &[topic])
    }

    /// Deletes topics, all with one request.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_topics(&mut self, bootstrap: &str, topics: &[&str]) -> Result<(), Error> {
        self.call(&[&["delete", bootstrap][..], topics].concat()).map(drop)
    }

    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn grow_topic(&mut self, bootstrap: &str, topic: &str, partitions: u32) -> Result<(), Error> {
        self.call(&["grow", bootstrap, topic, &partitions.to_string()]).map(drop)
    }

    /// Sets topic settings (`Some`) or unsets them (`None`).
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn alter_topic(
        &mut self,
        bootstrap: &str,
        topic: &str,
        settings: &[(&str, Option<&str>)],
    ) -> Result<(), Error> {
        let changes: Vec<String> = settings
            .iter()
            .map(|(key, value)| value.map_or_else(|| (*key).to_owned(), |value| format!("{key}={value}")))
            .collect();
        let mut words = vec!["alter", bootstrap, topic];
        words.extend(changes.iter().map(String::as_str));
        self.call(&words).map(drop)
    }

    /// Lets a user do `operation` (`READ`) on the resource of this type (`TOPIC`) and name, and waits until the
    /// brokers heed it. From 2.0 on.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn allow(
        &mut self,
        bootstrap: &str,
        user: &str,
        operation: &str,
        (resource_type, name): (&str, &str),
    ) -> Result<(), Error> {
        self.call(&["allow", bootstrap, user, operation, resource_type, name]).map(drop)
    }

    /// Creates an ACL and waits until the brokers heed it: resource type, pattern type, name, principal, host, operation
    /// and permission, in Kafka's words (`TOPIC`, `PREFIXED`). From 2.0 on.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn create_acl(&mut self, bootstrap: &str, acl: [&str; 7]) -> Result<(), Error> {
        self.call(&[&["create-acl", bootstrap][..], &acl].concat()).map(drop)
    }

    /// Deletes an ACL, in the words that it was created with, and waits until the brokers heed that. From 2.0 on.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_acl(&mut self, bootstrap: &str, acl: [&str; 7]) -> Result<(), Error> {
        self.call(&[&["delete-acl", bootstrap][..], &acl].concat()).map(drop)
    }

    /// All ACLs, each as the words that it would be created with, a blank between two. From 2.0 on.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn acls(&mut self, bootstrap: &str) -> Result<BTreeSet<String>, Error> {
        let command = ["acls", bootstrap];
        let mut acls = BTreeSet::new();
        for line in &self.call(&command)? {
            let mut words = Words::new(&command, line);
            let words: Result<Vec<String>, Error> = (0..7).map(|_| words.text()).collect();
            acls.insert(words?.join(" "));
        }
        Ok(acls)
    }

    /// What a topic is like, None if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn describe_topic(
        &mut self,
        bootstrap: &str,
        topic: &str,
    ) -> Result<Option<TopicDescription>, Error> {
        let command = ["describe", bootstrap, topic];
        let mut description = TopicDescription { partitions: 0, replicas: 0, settings: BTreeMap::new() };
        let lines = self.call(&command)?;
        for line in &lines {
            let mut words = Words::new(&command, line);
            match words.text()?.as_str() {
                "partitions" => description.partitions = words.number()?,
                "replicas" => description.replicas = words.number()?,
                _ => {
                    let key = words.text()?;
                    description.settings.insert(key, words.text()?);
                }
            }
        }
        Ok((!lines.is_empty()).then_some(description))
    }

    /// The names of all topics except Kafka's internal ones.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn topics(&mut self, bootstrap: &str) -> Result<Vec<String>, Error> {
        let command = ["topics", bootstrap];
        self.call(&command)?.iter().map(|line| Words::new(&command, line).text()).collect()
    }

    /// Deletes a partition's records before an offset.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_records(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partition: u32,
        before: i64,
    ) -> Result<(), Error> {
        self.call(&["delete-records", bootstrap, topic, &partition.to_string(), &before.to_string()])
            .map(drop)
    }

    /// Adds a user, or gives one another password, for both mechanisms of SCRAM. Needs Kafka 2.7 or later.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn add_scram_user(&mut self, bootstrap: &str, user: &str, password: &str) -> Result<(), Error> {
        self.call(&["scram-user", bootstrap, user, password]).map(drop)
    }

    /// The first and the end offset of each partition; empty if there is no such topic.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn ends(&mut self, bootstrap: &str, topic: &str) -> Result<BTreeMap<u32, (i64, i64)>, Error> {
        let command = ["ends", bootstrap, topic];
        let mut ends = BTreeMap::new();
        for line in self.call(&command)? {
            let mut words = Words::new(&command, &line);
            ends.insert(words.number()?, (words.number()?, words.number()?));
        }
        Ok(ends)
    }

    /// Waits until the topic exists and holds that many offsets, and says when that was seen, in ms since 1970.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with what it held, [`Error::Refused`].
    pub fn wait_for_records(
        &mut self,
        bootstrap: &str,
        topic: &str,
        count: u64,
        within: Duration,
    ) -> Result<i64, Error> {
        let command = ["await", bootstrap, topic, &count.to_string(), &within.as_millis().to_string()];
        let lines = self.call(&command)?;
        let mut words = Words::new(&command, lines.first().map_or("", String::as_str));
        let (held, seen_at): (i64, i64) = (words.number()?, words.number()?);
        if held < count as i64 {
            let what = format!("{count} records in {topic} at {bootstrap}, {held} came");
            return Err(Error::TimedOut { what, seconds: within.as_secs() });
        }
        Ok(seen_at)
    }

    /// Produces many made-up records.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first failed record's cause.
    pub fn fill(&mut self, bootstrap: &str, topic: &str, fill: &Fill) -> Result<(), Error> {
        let options: Vec<String> = fill.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut words = vec!["fill", bootstrap, topic];
        words.extend(options.iter().map(String::as_str));
        self.call(&words).map(drop)
    }

    /// Produces these records, in order, with these producer settings; gives their offsets.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn send(
        &mut self,
        bootstrap: &str,
        topic: &str,
        settings: &[(&str, &str)],
        records: &[SourceRecord],
    ) -> Result<Vec<i64>, Error> {
        let mut words: Vec<Option<String>> =
            vec![Some("send".into()), Some(bootstrap.into()), Some(topic.into())];
        words.extend(settings.iter().map(|(key, value)| Some(format!("{key}={value}"))));
        words.push(Some("records".into()));
        for record in records {
            words.push(Some(record.partition.to_string()));
            words.push(record.timestamp.map(|time| time.to_string()));
            words.push(record.key.as_deref().map(hex));
            words.push(record.value.as_deref().map(hex));
            words.push(Some(record.headers.len().to_string()));
            for (name, value) in &record.headers {
                words.push(Some(name.clone()));
                words.push(value.as_deref().map(hex));
            }
        }
        let command = ["send", bootstrap, topic];
        let line: Vec<String> =
            words.iter().map(|word| word.as_deref().map_or_else(|| "~".to_owned(), encode)).collect();
        self.call_line(&command, &line.join("\t"))?
            .iter()
            .map(|line| Words::new(&command, line).number())
            .collect()
    }

    /// One digest a partition that holds records, of all that a consumer of that isolation sees up to now.
    ///
    /// # Errors
    /// [`Error::Refused`], also if no record comes for a minute before the end.
    pub fn digest(
        &mut self,
        bootstrap: &str,
        topic: &str,
        committed: bool,
    ) -> Result<Vec<PartitionDigest>, Error> {
        let command = ["digest", bootstrap, topic, isolation(committed)];
        let mut digests = Vec::new();
        for line in self.call(&command)? {
            let mut words = Words::new(&command, &line);
            digests.push(PartitionDigest {
                partition: words.number()?,
                records: words.number()?,
                first_offset: words.number()?,
                last_offset: words.number()?,
                sha256: words.text()?,
            });
        }
        Ok(digests)
    }

    /// All records that a consumer of that isolation sees up to now, by partition and offset.
    ///
    /// # Errors
    /// As [`Session::digest`].
    pub fn dump(
        &mut self,
        bootstrap: &str,
        topic: &str,
        committed: bool,
    ) -> Result<Vec<StoredRecord>, Error> {
        let command = ["dump", bootstrap, topic, isolation(committed)];
        let mut records = Vec::new();
        for line in self.call(&command)? {
            let mut words = Words::new(&command, &line);
            let mut record = StoredRecord {
                partition: words.number()?,
                offset: words.number()?,
                timestamp: words.number()?,
                timestamp_type: words.text()?,
                key: words.bytes()?,
                value: words.bytes()?,
                headers: Vec::new(),
            };
            while !words.rest.is_empty() {
                let name = words.text()?;
                record.headers.push((name, words.bytes()?));
            }
            records.push(record);
        }
        Ok(records)
    }

    pub(crate) fn call(&mut self, words: &[&str]) -> Result<Vec<String>, Error> {
        let line: Vec<String> = words.iter().map(|word| encode(word)).collect();
        self.call_line(&words[..words.len().min(4)], &line.join("\t"))
    }

    /// Sends one line and collects the answer's lines, still encoded, without their mark.
    fn call_line(&mut self, command: &[&str], line: &str) -> Result<Vec<String>, Error> {
        let refused = |message: String| Error::Refused { command: command.join(" "), message };
        let gone = |log: &PathBuf| refused(format!("the helper ended\n{}", process::tail(log)));
        if self.stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.stdin.flush()).is_err() {
            return Err(gone(&self.log));
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if !matches!(self.stdout.read_line(&mut line), Ok(1..)) {
                return Err(gone(&self.log));
            }
            let line = line.trim_end_matches('\n');
            if let Some(data) = line.strip_prefix("=\t") {
                lines.push(data.to_owned());
            } else if line == "ok" {
                return Ok(lines);
            } else if let Some(message) = line.strip_prefix("error\t") {
                return Err(refused(decode(message).unwrap_or_default()));
            } else {
                return Err(Error::Answer { command: command.join(" "), line: line.to_owned() });
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be gone already
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_file(&self.log);
        }
    }
}

pub(crate) fn isolation(committed: bool) -> &'static str {
    if committed { "read_committed" } else { "read_uncommitted" }
}

/// The words of one line of an answer.
pub(crate) struct Words<'a> {
    command: &'a [&'a str],
    line: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(command: &'a [&'a str], line: &'a str) -> Words<'a> {
        let mut rest: Vec<&str> = line.split('\t').collect();
        rest.reverse();
        Words { command, line, rest }
    }

    fn unexpected(&self) -> Error {
        Error::Answer { command: self.command.join(" "), line: self.line.to_owned() }
    }

    fn nullable(&mut self) -> Result<Option<String>, Error> {
        self.rest.pop().map(decode).ok_or_else(|| self.unexpected())
    }

    fn text(&mut self) -> Result<String, Error> {
        self.nullable()?.ok_or_else(|| self.unexpected())
    }

    pub(crate) fn number<T: std::str::FromStr>(&mut self) -> Result<T, Error> {
        self.text()?.parse().map_err(|_| self.unexpected())
    }

    fn bytes(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.nullable()?.map(|text| unhex(&text).ok_or_else(|| self.unexpected())).transpose()
    }
}

fn encode(word: &str) -> String {
    let mut encoded = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:/,=".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02x}");
        }
    }
    encoded
}

/// None for the null word.
fn decode(word: &str) -> Option<String> {
    if word == "~" {
        return None;
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match tail.split_first_chunk::<2>() {
            Some((digits, after)) if byte == b'%' => {
                let digits = std::str::from_utf8(digits).unwrap_or("");
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way_to_the_helper_and_back() {
        for word in ["", "plain-1.2:3/4,k=v", "a\tb\nc~%", "ü中"] {
            assert_eq!(decode(&encode(word)).as_deref(), Some(word));
        }
        assert_eq!(decode("~"), None);
        assert_eq!(unhex(&hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0"), None);
    }
}
