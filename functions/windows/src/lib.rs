//! `windows`: readings in, windows kept and told. See the README beside this crate.

mod clocks;
mod closing;
pub mod config;
pub mod handler;
mod readings;
mod updater;
