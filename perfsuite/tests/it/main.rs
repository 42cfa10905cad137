//! Tests through the door: the verdict on simulated machines, the measuring of real repositories.

mod load;
mod measure;
mod repository;
mod runner;
mod verdict;
