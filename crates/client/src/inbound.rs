//! Cuts what a broker sends into frames.
//!
//! Bytes arrive in a small staging buffer, so that a short answer costs one read. When a frame turns out
//! to be larger, what is staged of it moves to a buffer of the frame's size, and the rest is read straight
//! into that: large reads, and nothing past the frame's end.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::LENGTH_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout_at;

use crate::buffers::{BufferPool, Loan};
use crate::error::CloseCause;
use crate::low_water::LowWater;

/// How much one read takes while the length of the next frame is not known.
const STAGED_BYTES: usize = 8 << 10;

/// The reading half of a connection's state.
#[derive(Debug)]
pub(crate) struct Inbound {
    staged: BytesMut,
    /// A large frame being read, and its whole length.
    large: Option<(Loan, usize)>,
    pool: BufferPool,
    frame_bytes_max: usize,
}

impl Inbound {
    pub(crate) fn new(pool: BufferPool, frame_bytes_max: usize) -> Inbound {
        Inbound { staged: BytesMut::new(), large: None, pool, frame_bytes_max }
    }

    /// Reads once. Then ask [`Inbound::next_frame`] until it has none. Loses nothing when dropped half-way.
    /// `low_water`: the reader's, if it has one.
    pub(crate) async fn read(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        low_water: Option<&mut LowWater>,
    ) -> Result<(), CloseCause> {
        let Some(low_water) = low_water else { return self.read_some(reader).await };
        let missing = self.large.as_ref().map_or(1, |(loan, length)| length - loan.len());
        let Some(until) = low_water.wait_for(missing) else { return self.read_some(reader).await };
        if let Ok(read) = timeout_at(until, self.read_some(reader)).await {
            low_water.came();
            return read;
        }
        low_water.give_up();
        self.read_some(reader).await
    }

    async fn read_some(&mut self, reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<(), CloseCause> {
        let read = match &mut self.large {
            Some((loan, length)) => {
                let left = *length - loan.len();
                let read = reader.read(&mut loan.rest()[..left]).await;
                loan.filled(*read.as_ref().unwrap_or(&0));
                read
            }
            None => {
                self.staged.reserve(STAGED_BYTES);
                reader.read_buf(&mut (&mut self.staged).limit(STAGED_BYTES)).await
            }
        };
        match read {
            Ok(0) if self.large.is_some() || !self.staged.is_empty() => Err(CloseCause::MidFrame),
            Ok(0) => Err(CloseCause::ByPeer),
            Ok(_) => Ok(()),
            Err(error) if is_reset(&error) => Err(CloseCause::ByPeer),
            Err(error) => Err(CloseCause::Io(error.into())),
        }
    }

    /// The next whole frame, without its length prefix.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, CloseCause> {
        if let Some((loan, length)) = self.large.take() {
            if loan.len() < length {
                self.large = Some((loan, length));
                return Ok(None);
            }
            return Ok(Some(loan.into_bytes()));
        }
        let Some(prefix) = self.staged.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let bytes_max = self.frame_bytes_max;
        let refused = CloseCause::FrameLength { length, bytes_max };
        let length = usize::try_from(length).ok().filter(|&length| length <= bytes_max).ok_or(refused)?;
        if self.staged.len() - LENGTH_BYTES >= length {
            self.staged.advance(LENGTH_BYTES);
            let frame = Bytes::copy_from_slice(&self.staged[..length]);
            self.staged.advance(length);
            self.pool.age();
            return Ok(Some(frame));
        }
        if LENGTH_BYTES + length > STAGED_BYTES {
            self.staged.advance(LENGTH_BYTES);
            let mut loan = self.pool.take(length);
            loan.extend_from_slice(&self.staged);
            self.staged.clear();
            self.large = Some((loan, length));
        }
        Ok(None)
    }

    /// What came and makes no frame yet: the first bytes of a peer that is not Kafka.
    pub(crate) fn staged(&self) -> &[u8] {
        &self.staged
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes().to_vec();
        bytes.extend((0..length).map(|index| (index % 251) as u8));
        bytes
    }

    /// Reads all of `sent`, which arrives in pieces of `piece` bytes, and says the lengths of its frames.
    async fn read_in_pieces(sent: Vec<u8>, piece: usize) -> Vec<usize> {
        let (mut near, mut far) = tokio::io::duplex(piece);
        let writer = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut far, &sent).await });
        let mut inbound = Inbound::new(BufferPool::default(), 1 << 20);
        let mut lengths = Vec::new();
        loop {
            match inbound.read(&mut near, None).await {
                Ok(()) => {}
                Err(CloseCause::ByPeer) => break,
                Err(cause) => panic!("{cause}"),
            }
            while let Some(frame) = inbound.next_frame().unwrap() {
                assert!(frame.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
                lengths.push(frame.len());
            }
        }
        writer.await.unwrap().unwrap();
        lengths
    }

    #[tokio::test]
    async fn frames_are_cut_however_their_bytes_arrive() {
        let lengths = [0, 4, 100, 8187, 8188, 8189, 8192, 70_000, 1, 1 << 20, 12];
        let sent: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
        for piece in [37, 1000, 8192, 1 << 22] {
            assert_eq!(read_in_pieces(sent.clone(), piece).await, lengths, "pieces of {piece}");
        }
        let lengths = [0, 4, 8188, 8189, 9000, 1];
        let sent: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
        assert_eq!(read_in_pieces(sent, 1).await, lengths, "byte by byte");
    }

    /// The kernel is told to wait for more, and the peer stops before: whatever is there is taken all the same.
    #[tokio::test]
    async fn a_peer_that_stops_within_a_large_frame_is_read_as_far_as_it_went() {
        const SENT: usize = 300_000;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut low_water = LowWater::of(&near).unwrap();
        let (mut reader, _writer) = near.into_split();
        let mut inbound = Inbound::new(BufferPool::default(), 1 << 20);
        let sent = frame(1 << 20);
        tokio::io::AsyncWriteExt::write_all(&mut far, &sent[..SENT]).await.unwrap();
        while inbound.large.as_ref().is_none_or(|(loan, _)| loan.len() < SENT - LENGTH_BYTES) {
            inbound.read(&mut reader, Some(&mut low_water)).await.unwrap();
            assert!(inbound.next_frame().unwrap().is_none());
        }
        let rest = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, &sent[SENT..]).await.unwrap();
            far
        });
        let frame = loop {
            inbound.read(&mut reader, Some(&mut low_water)).await.unwrap();
            if let Some(frame) = inbound.next_frame().unwrap() {
                break frame;
            }
        };
        assert!(frame.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
        drop(rest.await.unwrap());
    }

    #[tokio::test]
    async fn a_length_out_of_bounds_is_refused_before_its_memory_is_asked_for() {
        for length in [(1 << 20) + 1, i32::MAX, -1, i32::MIN] {
            let sent = length.to_be_bytes();
            let mut reader = &sent[..];
            let mut inbound = Inbound::new(BufferPool::default(), 1 << 20);
            inbound.read(&mut reader, None).await.unwrap();
            let refused = inbound.next_frame();
            assert!(matches!(refused, Err(CloseCause::FrameLength { length: said, .. }) if said == length));
        }
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_told_from_an_end_between_frames() {
        for (bytes, within) in [(0, false), (2, true), (50, true), (104, false)] {
            let sent = frame(100);
            let mut reader = &sent[..bytes];
            let mut inbound = Inbound::new(BufferPool::default(), 1 << 20);
            let cause = loop {
                match inbound.read(&mut reader, None).await {
                    Ok(()) => while inbound.next_frame().unwrap().is_some() {},
                    Err(cause) => break cause,
                }
            };
            assert_eq!(matches!(cause, CloseCause::MidFrame), within, "{bytes} bytes: {cause}");
        }
    }
}
