//! The messages that clients send, and the replies that they expect.

mod expect;
mod header;
mod plan;
mod template;

pub use expect::{Expect, ExpectedReply, LinePattern};
pub(crate) use header::MessageHeader;
pub use plan::{Plan, PlanError};
pub use template::{Template, TemplateError};
