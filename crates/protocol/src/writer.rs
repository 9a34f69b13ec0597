//! Writes the protocol's primitive types, in the classic or the flexible form (KIP-482).

use bytes::{BufMut, BytesMut};

/// A message being written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) out: BytesMut,
    flexible: bool,
}

impl Writer {
    pub(crate) fn new(flexible: bool) -> Writer {
        Writer { out: BytesMut::with_capacity(256), flexible }
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(crate) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    /// An array's length. More than `i32::MAX` elements cannot be in memory here.
    pub(crate) fn count(&mut self, count: usize) {
        let count = i32::try_from(count).expect("arrays of requests are far below 2^31 elements");
        if self.flexible {
            self.varint(count.unsigned_abs() + 1);
        } else {
            self.i32(count);
        }
    }

    /// The length of a byte field, written before its bytes.
    pub(crate) fn bytes_length(&mut self, length: usize) {
        self.count(length);
    }

    /// A string. Names longer than the protocol's 32767 bytes are cut, which no broker has.
    pub(crate) fn string(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(i16::MAX as usize)];
        if self.flexible {
            self.varint(bytes.len() as u32 + 1);
        } else {
            self.i16(bytes.len() as i16);
        }
        self.out.put_slice(bytes);
    }

    pub(crate) fn null_string(&mut self) {
        if self.flexible {
            self.varint(0);
        } else {
            self.i16(-1);
        }
    }

    pub(crate) fn uuid(&mut self, id: [u8; 16]) {
        self.out.put_slice(&id);
    }

    /// Ends a structure that has no tagged field.
    pub(crate) fn no_tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// A request header: version 2 where the message is flexible, else 1.
    pub(crate) fn request_header(&mut self, api: i16, version: i16, correlation_id: i32, client_id: &str) {
        self.i16(api);
        self.i16(version);
        self.i32(correlation_id);
        // The client id keeps its classic length in header version 2.
        let bytes = &client_id.as_bytes()[..client_id.len().min(i16::MAX as usize)];
        self.i16(bytes.len() as i16);
        self.out.put_slice(bytes);
        self.no_tags();
    }
}
