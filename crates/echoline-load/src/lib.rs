//! A load tester for line protocols: many clients that send messages and check every reply.
//!
//! [`LoadSettings`] say what a run does: which [`Targets`] it connects to, which [`Plan`] of
//! messages it sends, at which times ([`Pacer`]) and which replies it expects ([`Expect`]).
//! [`run()`] carries them out and returns a [`LoadReport`]. [`find_max`] repeats runs to find the
//! highest rate at which the server meets its [`Objectives`].
//!
//! ```
//! use std::num::NonZero;
//! use std::time::Duration;
//!
//! use echoline::{Connection, Eol, Server, Shutdown};
//! use echoline_load::{LoadSettings, Pacer, Plan, Rate};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The server under test.
//! let server = Server::bind("127.0.0.1:0").await?;
//! let address = server.local_addr()?.into();
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let echo = |mut client: Connection| async move {
//!     while let Some(bytes) = client.read(usize::MAX).await? {
//!         client.write(&bytes).await?;
//!     }
//!     Ok(())
//! };
//! let serving = tokio::spawn(server.serve_until(echo, async { drop(stopped.await) }));
//!
//! // Two clients that send five messages each, 100 per second together.
//! let plan = Plan::new(NonZero::new(2).unwrap(), NonZero::new(5), 64, Eol::Lf, 1)?;
//! let mut settings = LoadSettings::new(address, plan);
//! settings.messages = Pacer::constant(Rate::new(100, Duration::from_secs(1)).unwrap());
//! let report = echoline_load::run(&settings, &Shutdown::new(), |_progress| ()).await?;
//! assert_eq!(report.record.ledger.ok(), 10);
//! assert!(report.is_clean());
//! println!("{report}");
//!
//! drop(stop);
//! serving.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # Structure
//!
//! Pure modules decide and count. They take the time as an argument and know no socket:
//! [`message`], [`schedule`], [`statistics`], [`verdict`] and [`report`]. The private module
//! `exchange` runs the dialogues of the clients, [`run()`] starts a thread per worker and merges
//! their records.

mod exchange;
pub mod message;
pub mod report;
mod run;
pub mod schedule;
pub mod search;
mod settings;
pub mod statistics;
pub mod target;
pub mod verdict;

pub use message::{Expect, ExpectedReply, Plan, Template};
pub use report::{LoadReport, RunComparison};
pub use run::{RunProgress, run};
pub use schedule::{Pacer, Rate};
pub use search::find_max;
pub use settings::LoadSettings;
pub use statistics::{Percentile, RunRecord};
pub use target::Targets;
pub use verdict::{MeasurementWarning, Metric, Objectives};
