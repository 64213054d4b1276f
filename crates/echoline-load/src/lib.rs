//! A load tester for line protocols: many clients that send messages and check every reply.
//!
//! [`LoadSettings`] describe a run: the [`Targets`] that it connects to, the [`Plan`] of messages
//! that it sends, their times ([`Pacer`]) and the replies that it expects ([`Expect`]). [`run()`]
//! carries it out and returns a [`LoadReport`]. [`find_max`] repeats runs to find the highest rate
//! at which the server meets its [`Objectives`].
//!
//! ```
//! use std::num::NonZero;
//! use std::time::Duration;
//!
//! use echoline::{Closed, Connection, Eol, Server, Shutdown};
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
//!     Ok::<(), Closed>(())
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
//! These modules are pure: they decide and count, take the time as an argument, and use no sockets:
//!
//! * [`message`]: the messages, and the replies that are expected;
//! * [`schedule`]: the times at which messages are due;
//! * [`statistics`]: the ledger of messages, histograms of times, and their series;
//! * [`verdict`]: metrics, objectives, and warnings that figures are unreliable;
//! * [`report`]: the report as text, JSON, CSV and HTML, and how reports are merged and compared.
//!
//! The private module `exchange` runs the dialogues of the clients. [`run()`] starts a thread per
//! worker and merges their records.
//!
//! # One message
//!
//! 1. A worker's thread runs many clients. Each opens its connections and waits for the common
//!    start.
//! 2. The client's share of the schedule determines which message is due, and since when.
//! 3. The exchange sends the message, and records its intended time and the time at which it was
//!    sent.
//! 4. As bytes arrive, they are checked against the oldest message in flight.
//! 5. The result is added to the worker's record. The ledger counts the outcome. The histograms
//!    count the latency (from the intended time) and the service time (from the time of sending).
//! 6. At the end [`run()`] merges the records of all workers. [`LoadReport`] adds the settings and
//!    the warnings.

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
pub use settings::{BusyPoll, LoadSettings};
pub use statistics::{Percentile, RunRecord};
pub use target::Targets;
pub use verdict::{MeasurementWarning, Metric, Objectives};
