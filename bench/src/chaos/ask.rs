//! Three requests of Kafka's protocol, written out by hand so that nothing of the product is under test here.
//!
//! Metadata version 1, ListOffsets version 4 and Produce version 3 are what every broker from 2.1 to 4.x answers.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection for one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    correlation: i32,
}

/// One partition as metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// The partitions to ask about: topic and number of partitions, in order.
pub(crate) type Topics = [(String, u32)];

/// By topic and partition.
pub(crate) type Answers<T> = BTreeMap<(String, u32), T>;

/// What one broker says of one partition's end: its offset and the leader epoch, or an error code.
pub(crate) type End = Result<(i64, i32), i16>;

/// Whose view of the log's end is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A consumer's: the high watermark, told by the leader only.
    Consumer,
    /// A debugger's: the end of the log, told by any replica.
    Log,
}

/// The answer to [`Connection::try_append`] of a leader that would have appended a sound batch.
const CORRUPT_MESSAGE: i16 = 2;

const REPLY_BYTES_MAX: u32 = 1 << 20;

impl Connection {
    /// Connects to a broker of this machine; every later call gives up after `patience`.
    pub(crate) fn open(port: u16, patience: Duration) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, correlation: 0 })
    }

    /// Where each partition lies.
    pub(crate) fn placements(&mut self, topics: &Topics) -> io::Result<Answers<Placement>> {
        let mut body = Vec::new();
        put_count(&mut body, topics.len());
        for (topic, _) in topics {
            put_text(&mut body, topic);
        }
        let reply = self.call(3, 1, &body)?;
        placements(&mut &reply[..]).ok_or_else(malformed)
    }

    /// The ends of the partitions' logs.
    pub(crate) fn ends(&mut self, topics: &Topics, view: View) -> io::Result<Answers<End>> {
        let mut body = Vec::new();
        let replica: i32 = if view == View::Consumer { -1 } else { -2 };
        body.extend(replica.to_be_bytes());
        body.push(0); // read_uncommitted
        put_each(&mut body, topics, |body| {
            body.extend((-1_i32).to_be_bytes()); // any epoch
            body.extend((-1_i64).to_be_bytes()); // the latest
        });
        let reply = self.call(2, 4, &body)?;
        ends(&mut &reply[..]).ok_or_else(malformed)
    }

    /// Whether each partition's leader is here and would append a batch that asks for all replicas.
    ///
    /// The batch offered has a wrong checksum. A leader first looks whether enough replicas are in sync, then at
    /// the checksum: its refusal says that all but the batch is well, and leaves no trace in the log.
    pub(crate) fn try_append(&mut self, topics: &Topics) -> io::Result<Answers<bool>> {
        let mut body = Vec::new();
        body.extend((-1_i16).to_be_bytes()); // no transactional id
        body.extend((-1_i16).to_be_bytes()); // all replicas
        body.extend(1000_i32.to_be_bytes());
        let batch = damaged_batch();
        put_each(&mut body, topics, |body| {
            put_count(body, batch.len());
            body.extend(&batch);
        });
        let reply = self.call(0, 3, &body)?;
        appends(&mut &reply[..]).ok_or_else(malformed)
    }

    fn call(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut request = vec![0; 4];
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(self.correlation.to_be_bytes());
        put_text(&mut request, "chaos");
        request.extend(body);
        let length = i32::try_from(request.len() - 4).map_err(io::Error::other)?;
        request[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&request)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if !(4..=REPLY_BYTES_MAX).contains(&length) {
            return Err(malformed());
        }
        let mut reply = vec![0; length as usize];
        self.stream.read_exact(&mut reply)?;
        if reply[..4] != self.correlation.to_be_bytes() {
            return Err(malformed());
        }
        reply.drain(..4);
        Ok(reply)
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "this is no broker's answer")
}

fn put_count(body: &mut Vec<u8>, count: usize) {
    body.extend(i32::try_from(count).expect("a request is small").to_be_bytes());
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(i16::try_from(text.len()).expect("a topic's name is short").to_be_bytes());
    body.extend(text.as_bytes());
}

/// An array of topics, each with an array of partitions; `rest` follows each partition's number.
fn put_each(body: &mut Vec<u8>, topics: &Topics, rest: impl Fn(&mut Vec<u8>)) {
    put_count(body, topics.len());
    for (topic, partitions) in topics {
        put_text(body, topic);
        put_count(body, *partitions as usize);
        for partition in 0..*partitions {
            body.extend(partition.to_be_bytes());
            rest(body);
        }
    }
}

/// A batch of one empty record that is well but for its checksum, which is that of nothing.
fn damaged_batch() -> Vec<u8> {
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes()); // base offset
    batch.extend(56_i32.to_be_bytes()); // what follows
    batch.extend((-1_i32).to_be_bytes()); // leader epoch
    batch.push(2); // magic
    batch.extend(0_i32.to_be_bytes()); // the checksum
    batch.extend(0_i16.to_be_bytes()); // attributes
    batch.extend(0_i32.to_be_bytes()); // last offset delta
    batch.extend([0; 16]); // both timestamps
    batch.extend([0xff; 14]); // no producer: id, epoch and sequence
    batch.extend(1_i32.to_be_bytes()); // one record
    batch.extend([12, 0, 0, 0, 1, 1, 0]); // of 6 bytes: no key, no value, no header
    batch
}

fn placements(rest: &mut &[u8]) -> Option<Answers<Placement>> {
    for _ in 0..int(rest)? {
        int(rest)?;
        text(rest)?; // host
        int(rest)?;
        text(rest)?; // rack
    }
    int(rest)?; // controller
    let mut answers = BTreeMap::new();
    for _ in 0..int(rest)? {
        short(rest)?;
        let topic = text(rest)?;
        take::<1>(rest)?;
        for _ in 0..int(rest)? {
            short(rest)?;
            let partition = u32::try_from(int(rest)?).ok()?;
            let leader = int(rest)?;
            let placement = Placement { leader, replicas: ints(rest)?, in_sync: ints(rest)? };
            answers.insert((topic.clone(), partition), placement);
        }
    }
    Some(answers)
}

fn ends(rest: &mut &[u8]) -> Option<Answers<End>> {
    int(rest)?; // throttled for
    each(rest, |rest| {
        let error = short(rest)?;
        long(rest)?; // its timestamp
        let (offset, epoch) = (long(rest)?, int(rest)?);
        Some(if error == 0 { Ok((offset, epoch)) } else { Err(error) })
    })
}

fn appends(rest: &mut &[u8]) -> Option<Answers<bool>> {
    each(rest, |rest| {
        let error = short(rest)?;
        long(rest)?;
        long(rest)?;
        Some(error == CORRUPT_MESSAGE)
    })
}

fn each<T>(rest: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Answers<T>> {
    let mut answers = BTreeMap::new();
    for _ in 0..int(rest)? {
        let topic = text(rest)?;
        for _ in 0..int(rest)? {
            let partition = u32::try_from(int(rest)?).ok()?;
            answers.insert((topic.clone(), partition), read(rest)?);
        }
    }
    Some(answers)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn short(rest: &mut &[u8]) -> Option<i16> {
    take(rest).map(i16::from_be_bytes)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

fn long(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(i64::from_be_bytes)
}

/// A null one reads as an empty one.
fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(short(rest)?).unwrap_or(0);
    let text = String::from_utf8_lossy(rest.get(..length)?).into_owned();
    *rest = &rest[length..];
    Some(text)
}

fn ints(rest: &mut &[u8]) -> Option<Vec<i32>> {
    (0..int(rest)?).map(|_| int(rest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_damaged_batch_has_the_length_that_it_says() {
        let batch = damaged_batch();
        assert_eq!(batch.len(), 12 + 56);
    }

    #[test]
    fn an_answer_is_read_or_refused_but_never_panics() {
        let mut reply = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 3];
        reply.extend([0, 0]);
        reply.extend((-1_i64).to_be_bytes());
        reply.extend(42_i64.to_be_bytes());
        reply.extend(7_i32.to_be_bytes());
        let answers = ends(&mut &reply[..]).unwrap();
        assert_eq!(answers[&("t".to_owned(), 3)], Ok((42, 7)));
        for end in 0..reply.len() {
            assert_eq!(ends(&mut &reply[..end]), None);
        }
        assert_eq!(placements(&mut &[0x7f; 40][..]), None);
    }
}
