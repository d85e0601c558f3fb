//! `make bench-rules`: cost of each shipped condition as a predicate, beside CEL.

use tributary_benches::conditions::{compare, table};

#[expect(clippy::print_stdout, reason = "the command's result")]
fn main() {
    println!("{}", table(&compare()));
}
