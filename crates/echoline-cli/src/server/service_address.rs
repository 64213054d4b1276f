//! A configured address of a service, with the form that the user wrote.

use std::fmt;

use echoline::Address;

/// The flag of most addresses, which error messages do not repeat.
const LISTEN: &str = "--listen";

/// A configured address of a service.
#[derive(Clone, Debug)]
pub(crate) struct ServiceAddress {
    pub(crate) address: Address,
    flag: &'static str,
    /// The address as the user wrote it, which may be a link (`https://HOST:PORT`).
    typed: String,
}

impl ServiceAddress {
    /// Returns the address of a `flag` other than --listen, or one with a form of its own.
    pub(crate) fn typed(flag: &'static str, typed: impl Into<String>, address: Address) -> Self {
        Self { address, flag, typed: typed.into() }
    }

    /// Returns an error message about this address, with the form that the user wrote, and with the
    /// flag if it is not --listen.
    pub(crate) fn name_in(&self, sentence: &str) -> String {
        let sentence = sentence.replacen(&self.address.to_string(), &self.typed, 1);
        match self.flag {
            LISTEN => sentence,
            flag => format!("{flag}: {sentence}"),
        }
    }
}

impl From<Address> for ServiceAddress {
    fn from(address: Address) -> Self {
        Self { typed: address.to_string(), flag: LISTEN, address }
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}
