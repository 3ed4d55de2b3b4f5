//! What the benches share: cases as JSON lines, medians, memory, and parties in one process whose
//! work is timed apart.
//!
//! Every figure is set against a limit that was timed in the same run on the same machine.

pub mod case;
pub mod lists;
pub mod mesh;
pub mod online;
pub mod world;
