//! Answers that came as datagrams otherwise than once, in time and in order. Pure.

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Right, after the time-out of its message, which stays timed out.
    Late,
    /// Right, once more.
    Duplicated,
    /// Right and in time, after the answer to a message that was sent later.
    Reordered,
    /// While nothing was waited for, and as none of these.
    Unasked,
}

/// How many came so. None of them settles a message: they stand beside the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// [`Stray::Late`].
    pub late: u64,
    /// [`Stray::Duplicated`].
    pub duplicated: u64,
    /// [`Stray::Reordered`].
    pub reordered: u64,
    /// [`Stray::Unasked`].
    pub unasked: u64,
}

impl Strays {
    /// One more.
    pub fn count(&mut self, stray: Stray) {
        *match stray {
            Stray::Late => &mut self.late,
            Stray::Duplicated => &mut self.duplicated,
            Stray::Reordered => &mut self.reordered,
            Stray::Unasked => &mut self.unasked,
        } += 1;
    }

    /// Takes in what others have counted.
    pub fn merge(&mut self, other: &Self) {
        self.late += other.late;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.unasked += other.unasked;
    }
}
