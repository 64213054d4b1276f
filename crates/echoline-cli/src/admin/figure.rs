//! What a command tells of itself in metrics, besides connections.

use std::fmt;
use std::sync::Arc;

/// The kind of a metric without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FigureKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One metric without labels.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: FigureKind,
    pub(super) value: u64,
}

/// Where they are read, each time that somebody asks.
#[derive(Clone)]
pub(crate) struct Figures(Arc<dyn Fn() -> Vec<Figure> + Send + Sync>);

impl Figure {
    /// Something that goes up and down.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: FigureKind::Gauge, value }
    }

    /// Something that only grows.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: FigureKind::Counter, value }
    }
}

impl Figures {
    pub(crate) fn new(read: impl Fn() -> Vec<Figure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(super) fn read(&self) -> Vec<Figure> {
        (self.0)()
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}
