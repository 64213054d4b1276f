//! The TLVs (type, length, value) of a PROXY header of version 2. Pure.

/// The error for an invalid header. The text is the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid PROXY header: {0}")]
pub struct ProxyHeaderError(pub(super) &'static str);

/// One TLV of a PROXY header: its type and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTlv<'a> {
    /// The type: `PP2_TYPE_…` in section 2.2 of the specification. 0xE0 to 0xEF are free for
    /// applications.
    pub kind: u8,
    /// The value, of at most 8 KiB.
    pub value: &'a [u8],
}

/// Reads one TLV after the other.
#[derive(Clone, Debug)]
pub(super) struct TlvReader<'a>(&'a [u8]);

impl<'a> TlvReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes that are not read yet.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    fn read(&mut self) -> Result<ProxyTlv<'a>, ProxyHeaderError> {
        // After an error no more is read, because it is unknown where the next TLV begins.
        let bytes = std::mem::take(&mut self.0);
        let Some(([kind, high, low], rest)) = bytes.split_first_chunk() else {
            return Err(ProxyHeaderError("a TLV is cut off"));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Err(ProxyHeaderError("a TLV is longer than the part that contains it"));
        };
        self.0 = rest;
        Ok(ProxyTlv { kind: *kind, value })
    }
}

impl<'a> Iterator for TlvReader<'a> {
    type Item = Result<ProxyTlv<'a>, ProxyHeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.read())
    }
}
