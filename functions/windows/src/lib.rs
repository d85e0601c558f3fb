//! `windows`: groups readings into time windows and emits each window as an event. See the README
//! beside this crate.

mod clocks;
mod closing;
pub mod config;
mod emission;
pub mod handler;
mod readings;
mod round;
mod updater;
