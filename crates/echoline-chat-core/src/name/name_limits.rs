//! The limits of a name. Pure.

/// The maximum characters of a name, after normalisation.
pub(super) const NAME_CHARACTERS_MAX: usize = 32;

/// The maximum combining marks on one letter of a name.
pub(super) const MARKS_MAX: u8 = 2;
