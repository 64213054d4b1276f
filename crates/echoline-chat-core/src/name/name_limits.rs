//! The limits of a name. Pure.

/// Characters of a name, after normalisation.
pub(super) const NAME_CHARACTERS_MAX: usize = 32;

/// Combining marks on one letter of a name.
pub(super) const MARKS_MAX: u8 = 2;
