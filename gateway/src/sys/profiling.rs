//! What profiles need that the language has no words for.
//!
//! | | |
//! |---|---|
//! | `sampling` | timers for threads, and the signal that copies the stack it interrupts |
//! | `slots` | where the copies wait |
//! | `backtrace` | the walk up one's own stack |
//! | `allocator` | the system's, which tells somebody what it does |

pub mod allocator;
pub mod backtrace;
pub mod sampling;
pub mod slots;
