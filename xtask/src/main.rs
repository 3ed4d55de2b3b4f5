//! The project's own tasks: `cargo xtask <task>`.

mod bench;
mod ci;
mod crash;
mod fuzz;
mod kill;
mod long;
mod mutate;
mod pages;
mod sim;

use std::path::Path;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Tasks of this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure a part against the limit of this machine, or check its exact counts.
    Bench(bench::Arguments),
    /// Fuzz every decoder for a while.
    Fuzz(fuzz::Arguments),
    /// Kill daemons under load and check that nothing is lost or done twice.
    Kill(kill::Arguments),
    /// Run the tests that take minutes or gigabytes.
    Long(long::Arguments),
    /// Meet every fault at every system call of the log's append, publication and start.
    Crash,
    /// Change the owner's decision in one place at a time and see that its tests notice.
    Mutate(mutate::Arguments),
    /// Run the simulator over many seeds.
    Sim(sim::Sim),
    /// Step through a recorded run of the simulator.
    Replay(sim::Replay),
    /// Write the pages of docs/ that come from the code.
    Codes,
    /// Run what the build server runs.
    Ci,
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Kill(arguments) => kill::run(&arguments),
        Task::Long(arguments) => long::run(&arguments),
        Task::Crash => crash::run(),
        Task::Mutate(arguments) => mutate::run(&arguments),
        Task::Sim(task) => sim::exit(task.run()),
        Task::Replay(task) => sim::exit(task.run()),
        Task::Codes => pages::run(),
        Task::Ci => ci::run(),
    }
}

/// The folder of the repository.
fn root() -> &'static Path {
    // why: the manifest of this package lies one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs this program, or the one that the path has.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program of the workspace, `kind` being `--bin` or `--example`, built with the features that all packages have
/// together: those that a build of the workspace has built already.
///
/// # Errors
///
/// Cargo cannot be run, or the program does not build.
fn built(kind: &str, name: &str) -> std::io::Result<Command> {
    let status = cargo().args(["build", "--quiet", "--workspace", "--locked", kind, name]).status()?;
    if !status.success() {
        return Err(std::io::Error::other(format!("{name} does not build")));
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("."));
    let folder = if kind == "--example" { folder.join("examples") } else { folder.to_owned() };
    Ok(Command::new(folder.join(name)))
}
