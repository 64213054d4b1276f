//! The load tester: many clients that send lines and check every reply.
//!
//! Pure parts decide and count, without a clock or a socket: [`Plan`] (what is sent), [`Pacer`]
//! (when), `reply` (whether an answer is right), [`Record`] (what happened). `worker` and `run`
//! are the shell around them.
//!
//! ```
//! use std::num::NonZero;
//! use std::time::Duration;
//!
//! use echoline::load::{self, Pacer, Plan, Settings};
//! use echoline::{Connection, Eol, Server, Shutdown};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind("127.0.0.1:0").await?;
//! let settings = Settings {
//!     address: server.local_addr()?.into(),
//!     plan: Plan::new(NonZero::new(2).unwrap(), NonZero::new(5).unwrap(), 64, Eol::Lf, 1)?,
//!     connects: Pacer::closed_loop(),
//!     messages: Pacer::closed_loop(),
//!     timeout: Duration::from_secs(5),
//! };
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

mod compare;
mod deadline;
mod ledger;
mod metric;
mod objective;
mod pacer;
mod plan;
mod rank;
mod record;
mod reply;
mod report;
mod run;
mod series;
mod times;
mod trust;
mod units;
mod walk;
mod worker;

pub use compare::{CompareError, Difference, Finding, RunComparison};
pub use ledger::{End, Ledger, Outcome};
pub use metric::Metric;
pub use objective::{Breach, Comparison, Objective, ObjectiveError, Objectives};
pub use pacer::{Pacer, Rate};
pub use plan::{Plan, PlanError};
pub use record::{Answer, Record};
#[cfg(feature = "report")]
pub use report::{FORMAT, ReadError};
pub use report::{MergeError, Mode, Report, Summary};
pub use run::{Settings, run};
pub use series::{Series, Slot};
pub use times::{Percentile, Times};
pub use trust::{Distrust, Processor};
pub use walk::{Purpose, Step, Walk};
