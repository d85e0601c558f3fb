//! Nothing to build: without a build script, cargo leaves the features of build dependencies alone.

fn main() {}
