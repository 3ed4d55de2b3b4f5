//! Tasks of the repository: `cargo xtask TASK`.

mod sim;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the repository")]
enum Task {
    /// Runs the simulator over many seeds.
    Sim(sim::Sim),
    /// Steps through a recorded run of the simulator.
    Replay(sim::Replay),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Sim(task) => task.run(),
        Task::Replay(task) => task.run(),
    }
}
