//! Passwords, and the limits of each source on expensive work.

pub(crate) mod operator_password;
pub(crate) mod password_checks;
pub(crate) mod source_gates;
