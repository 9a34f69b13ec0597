//! Is a broker ready? Asked in the protocol itself: Metadata version 1, which every Kafka from 0.10 to
//! 4.x answers, written out by hand so that nothing of ours is under test here.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What one broker says of its cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) brokers: Vec<i32>,
    pub(crate) controller: i32,
}

/// None while the broker does not listen, answer, or know the answer.
pub(crate) fn ask(port: u16) -> Option<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    // Metadata (3), version 1, correlation id 7, no client id, an empty list of topics (null would mean all).
    let request = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];
    stream.write_all(&request).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let size = u32::from_be_bytes(size);
    if size > 100_000 {
        return None; // something else listens there
    }
    let mut reply = vec![0; size as usize];
    stream.read_exact(&mut reply).ok()?;
    read(&reply)
}

fn read(reply: &[u8]) -> Option<Answer> {
    let mut rest = reply.get(4..)?;
    let count = int(&mut rest)?;
    let mut brokers = Vec::new();
    for _ in 0..count {
        brokers.push(int(&mut rest)?);
        string(&mut rest)?; // host
        int(&mut rest)?; // port
        string(&mut rest)?; // rack
    }
    brokers.sort_unstable();
    Some(Answer { brokers, controller: int(&mut rest)? })
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(i32::from_be_bytes(*head))
}

fn string(rest: &mut &[u8]) -> Option<()> {
    let (head, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail.get(usize::try_from(i16::from_be_bytes(*head)).unwrap_or(0)..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_reply_names_the_brokers_and_the_controller() {
        let mut reply = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
        reply.extend([0, 1, b'h', 0, 0, 0x23, 0x82, 0xff, 0xff]); // host, port, null rack
        reply.extend([0, 0, 0, 2, 0, 0, 0, 0]); // controller, no topics
        assert_eq!(read(&reply), Some(Answer { brokers: vec![2], controller: 2 }));
        assert_eq!(read(&reply[..20]), None);
    }
}
