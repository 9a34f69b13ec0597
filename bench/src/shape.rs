//! What is copied: the size of a record, the codec, and how full the batches are.

use anyhow::{Context, bail, ensure};
use real_kafka::Fill;
use std::{fmt, str::FromStr};

/// Partitions of a source topic, unless said otherwise.
pub(crate) const PARTITIONS: u32 = 8;

/// One kind of source topic, written `1KiB/lz4/full`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) record_bytes: u64,
    pub(crate) codec: String,
    pub(crate) batch: Batch,
}

/// How full a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Batch {
    /// A megabyte, the most that brokers take by default.
    Full,
    /// The Java producer's default.
    Bytes16Ki,
    /// One record.
    One,
}

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

impl Shape {
    /// How many records make up `bytes` of values before compression. Of one-record batches half is taken: to fill
    /// a topic with them takes that much longer.
    pub(crate) fn records(&self, bytes: u64) -> u64 {
        let bytes = if self.batch == Batch::One { bytes / 2 } else { bytes };
        (bytes / self.record_bytes).max(u64::from(PARTITIONS))
    }

    /// How the source topic is filled with so many records.
    pub(crate) fn fill(&self, records: u64, partitions: u32) -> Fill {
        let fill = Fill::plain(records, partitions)
            .with("value-bytes", &self.record_bytes.to_string())
            .codec(&self.codec);
        match self.batch {
            Batch::Full => fill
                .with("batch.size", "1000000")
                .with("linger.ms", "2000")
                .with("buffer.memory", "134217728"),
            Batch::Bytes16Ki => fill.with("batch.size", "16384").with("linger.ms", "2000"),
            Batch::One => fill.with("batch.size", "0").with("linger.ms", "0"),
        }
    }

    /// The name of a topic of that many partitions for it.
    pub(crate) fn topic(&self, partitions: u32) -> String {
        format!("race-{}-{partitions}", self.to_string().replace('/', "-"))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = match self.batch {
            Batch::Full => "full",
            Batch::Bytes16Ki => "16KiB",
            Batch::One => "one",
        };
        write!(f, "{}/{}/{batch}", Bytes(self.record_bytes), self.codec)
    }
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Shape> {
        let parts: Vec<&str> = text.split('/').collect();
        let [record, codec, batch] = parts[..] else {
            bail!("a shape is RECORD/CODEC/BATCH, such as 1KiB/lz4/full, not {text}");
        };
        let Bytes(record_bytes) = record.parse()?;
        ensure!((32..=512 * 1024).contains(&record_bytes), "records of 32 bytes to 512 KiB, not {record}");
        ensure!(CODECS.contains(&codec), "codecs are {}, not {codec}", CODECS.join(", "));
        let batch = match batch {
            "full" => Batch::Full,
            "16KiB" => Batch::Bytes16Ki,
            "one" => Batch::One,
            _ => bail!("batches are full, 16KiB or one, not {batch}"),
        };
        Ok(Shape { record_bytes, codec: codec.to_owned(), batch })
    }
}

/// A number of bytes, written `100B`, `1KiB`, `64MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, shift): &&(&str, u32)| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        let (unit, shift) = UNITS.iter().find(fits).unwrap_or(&("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl FromStr for Bytes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Bytes> {
        let wanted = || format!("a size is such as 100B, 1KiB, 64MiB or 1GiB, not {text}");
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .with_context(wanted)?;
        let number: u64 = digits.parse().with_context(wanted)?;
        ensure!(number > 0 && number <= u64::MAX >> shift, "{}", wanted());
        Ok(Bytes(number << shift))
    }
}

/// Reads a size, or 0.
pub(crate) fn bytes_or_none(text: &str) -> anyhow::Result<Bytes> {
    if text == "0" { Ok(Bytes(0)) } else { text.parse() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_sizes_are_read_as_they_are_written() {
        for text in ["1KiB/none/full", "100B/lz4/16KiB", "10KiB/zstd/one"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        assert_eq!("1GiB".parse::<Bytes>().unwrap(), Bytes(1 << 30));
        assert_eq!(bytes_or_none("0").unwrap(), Bytes(0));
        for wrong in ["1KiB/none", "1KiB/brotli/full", "1KiB/none/half", "1B/none/full", "x/none/full"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
        for wrong in ["", "0B", "1", "-1KiB", "99999999999GiB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_record_batches_take_half_of_the_bytes() {
        let full: Shape = "1KiB/none/full".parse().unwrap();
        let one: Shape = "1KiB/none/one".parse().unwrap();
        assert_eq!(full.records(1 << 30), 1 << 20);
        assert_eq!(one.records(1 << 30), 1 << 19);
    }
}
