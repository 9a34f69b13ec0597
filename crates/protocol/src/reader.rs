//! Reads the protocol's primitive types from bytes that a peer sent.
//!
//! Every length is checked against what is left before it is believed, so that nothing is allocated by
//! a length alone, and every read that goes past the end is an error. One flag says whether the message
//! is of a *flexible* version (KIP-482): compact lengths and tagged fields, or the classic forms.

use bytes::Bytes;

use crate::DecodeError;

/// A position in a message; slices it hands out share the message's memory.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    flexible: bool,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Reader {
        Reader { bytes, flexible }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `need` bytes, as a slice of the message.
    pub(crate) fn take(&mut self, need: usize) -> Result<Bytes, DecodeError> {
        let have = self.bytes.len();
        if need > have {
            return Err(DecodeError::Truncated { need_bytes: need, have_bytes: have });
        }
        Ok(self.bytes.split_to(need))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&taken);
        Ok(out)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    /// An unsigned varint of at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Length { what: "varint", length: i64::from(byte) });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Length { what: "varint", length: i64::from(value) })
    }

    /// The length of a string, array or byte field; `None` is null.
    fn length(&mut self, what: &'static str, wide: bool) -> Result<Option<usize>, DecodeError> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if wide {
            i64::from(self.i32()?)
        } else {
            i64::from(self.i16()?)
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::Length { what, length }),
        }
    }

    /// How many elements follow, null as none. An element takes at least `element_bytes_min`, so that a
    /// count the message has no room for is refused, and reserving by the count is safe.
    pub(crate) fn count(&mut self, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.length("array", true)?.unwrap_or(0);
        let need_bytes = count.saturating_mul(element_bytes_min.max(1));
        if need_bytes > self.remaining() {
            return Err(DecodeError::Truncated { need_bytes, have_bytes: self.remaining() });
        }
        Ok(count)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length("string", false)? else { return Ok(None) };
        let bytes = self.take(length)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(DecodeError::Utf8),
        }
    }

    /// Passes over a string or null.
    pub(crate) fn skip_text(&mut self) -> Result<(), DecodeError> {
        let length = self.length("string", false)?.unwrap_or(0);
        self.take(length).map(drop)
    }

    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        self.nullable_string()?.ok_or(DecodeError::Length { what: "string", length: -1 })
    }

    /// A byte field as a slice of the message, null as empty.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.length("bytes", true)?.unwrap_or(0);
        self.take(length)
    }

    /// Passes over the tagged fields that end a flexible structure. Nothing to do in a classic one.
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(()))
    }

    /// Hands each tagged field of a flexible structure to `field`, with a reader of only its bytes.
    pub(crate) fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()?;
        for _ in 0..count {
            let tag = self.varint()?;
            let length = self.varint()?;
            let length = usize::try_from(length)
                .map_err(|_| DecodeError::Length { what: "tagged field", length: i64::from(length) })?;
            let mut inner = Reader::new(self.take(length)?, true);
            field(tag, &mut inner)?;
        }
        Ok(())
    }

    /// The message must be used up: bytes left over mean it was of another shape than we took it for.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left_bytes => Err(DecodeError::LeftOver { left_bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8], flexible: bool) -> Reader {
        Reader::new(Bytes::from_static(bytes), flexible)
    }

    #[test]
    fn a_count_larger_than_the_message_is_refused_before_anything_is_reserved() {
        assert!(reader(&[0x7f, 0xff, 0xff, 0xff, 0], false).count(1).is_err());
        assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], true).count(1).is_err());
        assert_eq!(reader(&[0, 0, 0, 2, 9, 9], false).count(1).unwrap(), 2);
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff], false).count(1).unwrap(), 0);
    }

    #[test]
    fn a_varint_ends_after_five_bytes_and_32_bits() {
        assert_eq!(reader(&[0xac, 0x02], true).varint().unwrap(), 300);
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).varint().unwrap(), u32::MAX);
        assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f], true).varint().is_err());
        assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], true).varint().is_err());
        assert!(reader(&[0x80], true).varint().is_err());
    }

    #[test]
    fn strings_are_read_in_both_forms_and_null_is_not_empty() {
        assert_eq!(reader(&[0, 2, b'h', b'i'], false).string().unwrap(), "hi");
        assert_eq!(reader(&[3, b'h', b'i'], true).string().unwrap(), "hi");
        assert_eq!(reader(&[0xff, 0xff], false).nullable_string().unwrap(), None);
        assert_eq!(reader(&[0], true).nullable_string().unwrap(), None);
        assert!(reader(&[0], true).string().is_err());
        assert!(reader(&[0x80, 0x00], false).nullable_string().is_err());
        assert!(matches!(reader(&[2, 0xff], true).string(), Err(DecodeError::Utf8)));
    }

    #[test]
    fn tagged_fields_are_bounded_by_their_own_length() {
        let mut message = reader(&[1, 7, 2, 0, 5, 0, 42], true);
        let mut seen = None;
        message
            .tags(|tag, field| {
                seen = Some((tag, field.i16()?));
                field.end()
            })
            .unwrap();
        assert_eq!(seen, Some((7, 5)));
        assert_eq!(message.i16().unwrap(), 42);
    }
}
