//! Any text is a fault plan or gets an error of one sentence. The printed plan parses to the same
//! plan. A plan never makes a datagram longer.
#![no_main]

use echoline::faults::{Direction, FaultPlan, Faults};
use echoline::internals::DatagramFaults;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &str)| {
    let (seed, text) = input;
    let plan = match text.parse::<FaultPlan>() {
        Ok(plan) => plan,
        Err(error) => return assert!(!error.to_string().contains('\n')),
    };
    assert_eq!(plan.to_string().parse::<FaultPlan>().as_ref(), Ok(&plan));
    let mut faults = DatagramFaults::new(&Faults::new(plan, seed));
    for length in 0..9 {
        let fate = faults.fate(Direction::Out, &mut vec![b'x'; length]);
        assert!(fate.length <= length && fate.copies <= 2);
    }
});
