//! What the file store claims, on a disk that fails on purpose, and on a real one.

mod basics;
mod bytes;
mod crash;
mod damage;
mod disk;
mod full;
mod harness;
mod real;
mod reclaim;
mod sync;
