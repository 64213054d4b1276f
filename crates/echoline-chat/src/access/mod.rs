//! Passwords, and the limits of each source: who may enter, and how often they may try.

pub(crate) mod operator_password;
pub(crate) mod password_checks;
pub(crate) mod source_gates;
