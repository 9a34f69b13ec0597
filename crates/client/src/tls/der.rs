//! Reads DER, as far as certificates, keys and PKCS12 stores need it.
//!
//! Nothing is copied, and every length is checked against what is left before it is believed.

/// The universal tags met here.
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTETS: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[number]` around something.
    pub(crate) const fn explicit(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[number]` in the place of a primitive's own tag.
    pub(crate) const fn implicit(number: u8) -> u8 {
        0x80 | number
    }
}

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotDer;

/// What is left of some DER.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    /// Tag and length included.
    pub(super) whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Der<'a> {
        Der(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Result<Element<'a>, NotDer> {
        let (&tag, rest) = self.0.split_first().ok_or(NotDer)?;
        let (&first, rest) = rest.split_first().ok_or(NotDer)?;
        // Tags of several bytes occur in nothing that is read here.
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(NotDer)?;
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            // Of unknown length (BER), or absurd.
            _ => return Err(NotDer),
        };
        let (contents, left) = rest.split_at_checked(length).ok_or(NotDer)?;
        let whole = &self.0[..self.0.len() - left.len()];
        self.0 = left;
        Ok(Element { tag, contents, whole })
    }

    /// The contents of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        let element = self.any()?;
        if element.tag == tag { Ok(element.contents) } else { Err(NotDer) }
    }

    /// The contents of the next element if it has this tag; else nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, NotDer> {
        if self.0.first() == Some(&tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    pub(super) fn sequence(&mut self) -> Result<Der<'a>, NotDer> {
        self.expect(tag::SEQUENCE).map(Der)
    }

    /// The next element inside `[number]`.
    pub(super) fn explicit(&mut self, number: u8) -> Result<Der<'a>, NotDer> {
        self.expect(tag::explicit(number)).map(Der)
    }

    /// A whole number that is not negative and fits.
    pub(super) fn number(&mut self) -> Result<u32, NotDer> {
        let bytes = self.expect(tag::INTEGER)?;
        let bytes = match bytes {
            [] | [0x80..=0xff, ..] => return Err(NotDer),
            [0, rest @ ..] => rest,
            all => all,
        };
        if bytes.len() > 4 {
            return Err(NotDer);
        }
        Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }
}

/// An object identifier in dots, as people look for it.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let mut der = Der::new(&[0x30, 3, 2, 1, 5, 4, 0x81, 1, 7]);
        let mut inner = der.sequence().unwrap();
        assert_eq!((inner.number(), inner.is_empty()), (Ok(5), true));
        assert_eq!(der.optional(tag::OID), Ok(None));
        assert_eq!(der.any().unwrap().whole, [4, 0x81, 1, 7]);
        assert!(der.is_empty() && der.any().is_err());
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for bytes in
            [&[0x30][..], &[0x30, 0x80, 0, 0], &[4, 5, 1], &[4, 0x85, 0, 0, 0, 0, 1, 7], &[0x1f, 1, 1]]
        {
            assert_eq!(Der::new(bytes).any().err(), Some(NotDer), "{bytes:?}");
        }
        for number in [&[2, 0][..], &[2, 1, 0xff], &[2, 5, 1, 0, 0, 0, 0]] {
            assert_eq!(Der::new(number).number(), Err(NotDer), "{number:?}");
        }
        assert_eq!(Der::new(&[2, 5, 0, 0xff, 0xff, 0xff, 0xff]).number(), Ok(u32::MAX));
    }

    #[test]
    fn identifiers_are_told_in_dots() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d]), "1.2.840.113549.1.5.13");
        assert_eq!(dotted(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]), "2.16.840.1.101.3.4.2.1");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes: Vec<u8>) {
            let mut der = Der::new(&bytes);
            while der.any().is_ok() {}
            let _ = Der::new(&bytes).number();
            let _ = dotted(&bytes);
        }
    }
}
