//! The numbers at the front of the messages of one client, counted up as text. Pure.

/// The longest header: two numbers of ten digits, each with a colon after it.
pub(super) const BYTES_MAX: usize = 22;

/// The numbers of a client and of its last message, `17:004:`, with fixed widths.
///
/// The next message usually has the next number: then one digit changes. Formatting the whole
/// number costs more than the rest of a short message.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageHeader {
    text: [u8; BYTES_MAX],
    last: Option<(u32, u32)>,
}

impl MessageHeader {
    /// Returns the text for message `number` of `client`: its first `widths.0 + widths.1 + 2` bytes
    /// count. `widths` are the digits of both numbers, ten at most, and always the same.
    #[inline]
    pub(super) fn text(
        &mut self,
        client: u32,
        number: u32,
        widths: (usize, usize),
    ) -> &[u8; BYTES_MAX] {
        let colon = widths.0;
        let end = colon + 1 + widths.1;
        if number > 0 && self.last == Some((client, number - 1)) {
            count_up(&mut self.text[colon + 1..end]);
        } else {
            write_number(client, &mut self.text[..colon]);
            write_number(number, &mut self.text[colon + 1..end]);
            (self.text[colon], self.text[end]) = (b':', b':');
        }
        self.last = Some((client, number));
        &self.text
    }
}

/// Adds one to a decimal number that has room for it.
#[inline]
fn count_up(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

/// Writes `number` with leading zeros. Hand-written, because `write!` costs more than the rest of a
/// short message.
pub(super) fn write_number(mut number: u32, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whether a number is the next one or another, the text is the same.
        #[test]
        fn the_text_does_not_depend_on_earlier_messages(
            messages in prop::collection::vec((0u32..3, 0u32..2, 0u32..1200), 1..60),
        ) {
            let mut header = MessageHeader::default();
            let (mut client, mut number) = (0, 0);
            for (jump, other_client, other_number) in messages {
                (client, number) = match jump {
                    0 => (other_client, other_number),
                    _ => (client, number + 1),
                };
                let wanted = format!("{client:02}:{number:04}:");
                prop_assert_eq!(&header.text(client, number, (2, 4))[..8], wanted.as_bytes());
            }
        }

        #[test]
        fn numbers_are_written_as_decimal(number: u32, width in 1usize..=10) {
            let number = number % 10u32.checked_pow(width as u32).unwrap_or(u32::MAX);
            let mut digits = vec![b'x'; width];
            write_number(number, &mut digits);
            prop_assert_eq!(digits, format!("{number:0width$}").into_bytes());
        }
    }
}
