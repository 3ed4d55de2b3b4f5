//! `tacit`: the command line of partners, operators and regulators.

#![forbid(unsafe_code)]

mod calls;
mod cli;
mod commands;
mod demo;
mod home;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    tacit_protocol::keep_chunk_memory();
    let cli = cli::Cli::parse();
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

/// Logs go to standard error, at the level that `--log` or `TACIT_LOG` names; daemons begin at `info`.
fn logging(level: Option<&str>) {
    let filter = level.map_or_else(
        || tracing_subscriber::EnvFilter::try_from_env("TACIT_LOG").unwrap_or_else(|_| "error".into()),
        tracing_subscriber::EnvFilter::new,
    );
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}
