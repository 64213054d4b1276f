//! The load tester: many clients that send lines and check every reply.
//!
//! Pure parts decide and count, without a clock or a socket: [`Plan`] (what is sent), [`Pacer`]
//! (when), `turns` (by whom), `reply` (whether an answer is right), [`Record`] (what happened),
//! `trust` (whether to believe it). Around them is the shell: `exchange` holds the dialogue of
//! one connection, `client` the account of one client and its connections, `alarm` wakes at the
//! right times, and `run` starts a thread for each worker and adds their records up.
//!
//! ```
//! use std::num::NonZero;
//! use std::time::Duration;
//!
//! use echoline_load::{self, Pacer, Plan, Rate, Settings};
//! use echoline::{Connection, Eol, Server, Shutdown};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind("127.0.0.1:0").await?;
//! let plan = Plan::new(NonZero::new(2).unwrap(), NonZero::new(5), 64, Eol::Lf, 1)?;
//! let mut settings = Settings::new(server.local_addr()?.into(), plan);
//! settings.messages = Pacer::constant(Rate::new(100, Duration::from_secs(1)).unwrap());
//! // A server of our own to test, until the run has ended.
//! let (ended, end) = tokio::sync::oneshot::channel::<()>();
//! let echo = |mut client: Connection| async move {
//!     while let Some(bytes) = client.read(usize::MAX).await? {
//!         client.write(&bytes).await?;
//!     }
//!     Ok(())
//! };
//! let serving = tokio::spawn(server.serve_until(echo, async { drop(end.await) }));
//!
//! let report = load::run(&settings, &Shutdown::new(), |_progress| ()).await?;
//! assert_eq!(report.record.ledger.ok(), 10);
//! assert!(report.is_clean());
//! drop(ended);
//! serving.await??;
//! # Ok(())
//! # }
//! ```

mod answers;
mod client;
mod compare;
mod curve;
mod deadline;
mod dial;
mod exchange;
mod expect;
mod find;
mod foregone;
mod job;
mod ledger;
mod metric;
mod objective;
mod outage;
mod pacer;
mod plan;
mod processor;
mod rank;
mod record;
mod reply;
mod report;
mod retry;
mod run;
mod search;
mod series;
mod settings;
mod strays;
mod template;
mod times;
mod trust;
mod turns;
mod view;
mod walk;

pub use compare::{CompareError, Difference, Finding, RunComparison};
pub use dial::{Family, Resolve, SocketOptions, Targets};
pub use expect::{Expect, Pattern, Reply};
pub use find::{check_search, find_max};
pub use ledger::{End, Ledger, Outcome};
pub use metric::Metric;
pub use objective::{Breach, Comparison, Objective, ObjectiveError, Objectives};
pub use outage::Outage;
pub use pacer::{Pacer, Rate};
pub use plan::{Plan, PlanError};
pub use record::{Answer, Record};
pub use report::{FORMAT, ReadError};
pub use report::{MergeError, Mode, Report, Summary};
pub use run::run;
pub use series::{Series, Slot};
pub use settings::Settings;
pub use strays::{Stray, Strays};
pub use template::{Template, TemplateError};
pub use times::{Percentile, Times};
pub use trust::{Distrust, Processor};
pub use turns::WhenLate;
pub use view::View;
pub use walk::{Purpose, Step, Walk};
