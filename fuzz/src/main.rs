//! `tributary-fuzz`: lists the targets, writes the seeds, checks files and, linked with libFuzzer,
//! fuzzes.

use std::process::ExitCode;

use tributary_fuzz::{TARGETS, Target, corpus, target};

const USAGE: &str = "usage: tributary-fuzz list | seeds | check <target> <file>... | run <target>";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["list"] => {
            list();
            Ok(())
        }
        ["seeds"] => TARGETS.iter().try_for_each(corpus::write_seeds),
        ["check", name, ref files @ ..] => with(name, |target| check(target, files)),
        ["run", name] => with(name, fuzz),
        _ => Err(std::io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the list is what was asked for")]
fn list() {
    for target in TARGETS {
        println!("{}", target.name);
    }
}

#[expect(clippy::print_stderr, reason = "a command says what is wrong")]
fn report(message: &str) {
    eprintln!("{message}");
}

fn with(name: &str, run: impl FnOnce(&Target) -> std::io::Result<()>) -> std::io::Result<()> {
    let unknown = || std::io::Error::other(format!("{name:?} is no target"));
    run(target(name).ok_or_else(unknown)?)
}

/// Checks each file as one input; the first that breaks a property ends the process.
fn check(target: &Target, files: &[&str]) -> std::io::Result<()> {
    for file in files {
        (target.check)(&std::fs::read(file)?);
        report(&format!("{file}: holds"));
    }
    Ok(())
}

/// Passes control to libFuzzer with the arguments in `BOLERO_LIBFUZZER_ARGS`; it ends the process.
#[cfg(fuzzing_libfuzzer)]
fn fuzz(target: &Target) -> std::io::Result<()> {
    fn run(name: &str, check: fn(&[u8])) {
        bolero::check!(name = name)
            .with_shrink_time(std::time::Duration::from_secs(10))
            .for_each(move |input: &[u8]| check(input));
    }
    run(target.name, target.check);
    Ok(())
}

#[cfg(not(fuzzing_libfuzzer))]
fn fuzz(_: &Target) -> std::io::Result<()> {
    Err(std::io::Error::other("not linked with libFuzzer: make fuzz does that"))
}
