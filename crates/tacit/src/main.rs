//! `tacit`: the command line of partners, operators and regulators.

#![forbid(unsafe_code)]

mod calls;
mod cli;
mod commands;
mod demo;
#[cfg(test)]
mod documents;
mod home;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;
use tacit_types::{Code, Fault};

fn main() -> ExitCode {
    tacit_protocol::keep_chunk_memory();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let out = output::Out::new(&cli);
    logging(cli.log.as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tacit: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(&cli, &out)) {
        Ok(status) => ExitCode::from(status),
        Err(fault) => {
            out.fault(&fault);
            ExitCode::from(fault.code.exit_status())
        }
    }
}

/// Help for who asked for it. Otherwise what is wrong with the command line, with a code where a program reads it.
fn misused(error: &clap::Error) -> ExitCode {
    let asked = !error.use_stderr();
    let json = std::env::args_os().skip(1).take_while(|a| a != "--").any(|a| a == "--json");
    if asked || !json {
        // why: there is nobody to tell when the terminal is gone.
        let _ = error.print();
        return if asked { ExitCode::SUCCESS } else { ExitCode::from(Code::ArgsInvalid.exit_status()) };
    }
    let text = match error.kind() {
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => error.render().to_string(),
    };
    let what = text.split("\n\nUsage").next().unwrap_or_default().trim().trim_start_matches("error: ");
    output::Out::of_programs().fault(&Fault::new(Code::ArgsInvalid, what));
    ExitCode::from(Code::ArgsInvalid.exit_status())
}

/// Logs go to standard error, at the level that `--log` or `TACIT_LOG` names; daemons begin at `info`.
fn logging(level: Option<&str>) {
    let filter = level.map_or_else(
        || tracing_subscriber::EnvFilter::try_from_env("TACIT_LOG").unwrap_or_else(|_| "error".into()),
        tracing_subscriber::EnvFilter::new,
    );
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}
