//! The messages that clients send, and the replies that they expect.

mod expect;
mod plan;
mod template;

pub use expect::{Expect, ExpectedReply, LinePattern};
pub use plan::{Plan, PlanError};
pub use template::{Template, TemplateError};
