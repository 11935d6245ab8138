//! `alle serve`: the library's bridge, stopped by signals; or several of them and their parent.

use std::{env, io::ErrorKind, process};

use alle::{
    Bridge, BridgeConfig, BridgeError,
    internals::workers::{KeptFile, NoParent, Worker, Workers},
};

use super::{args::ServeOptions, command::CommandName, failure::Failure, logs::Logs};

/// Serves until a signal, as a worker where this process is one; `files` are those in which the options
/// stood.
pub(crate) fn run(
    options: ServeOptions,
    worker: Option<Result<Worker, NoParent>>,
    files: Vec<KeptFile>,
    logs: &Logs,
) -> Result<(), Failure> {
    let ServeOptions {
        config,
        workers,
        workers_fault,
    } = options;
    if let Some(fault) = workers_fault {
        return Err(Failure::usage(CommandName::Serve, fault));
    }
    let served = if let Some(worker) = worker {
        return serve_as_worker(worker, *config, files, logs);
    } else if workers > 1 {
        keep_workers(*config, workers, files)
    } else {
        Bridge::new(*config)
            .with_signals()
            .with_exit_on_second_signal()
            .with_log_lines_dropped(logs.dropped())
            .with_service_manager()
            .run()
            .wait()
    };
    served.map_err(|error| failure(&error, CommandName::Serve))
}

/// What is wrong is said once, and not by each worker.
fn keep_workers(
    config: BridgeConfig,
    count: usize,
    files: Vec<KeptFile>,
) -> Result<(), BridgeError> {
    if let Some(fault) = Bridge::new(config.clone()).check().into_iter().next() {
        return Err(fault);
    }
    Workers::new(&config, count, env::args_os().collect(), files)?.run()
}

fn serve_as_worker(
    worker: Result<Worker, NoParent>,
    config: BridgeConfig,
    files: Vec<KeptFile>,
    logs: &Logs,
) -> Result<(), Failure> {
    let worker = worker.map_err(|error| Failure::usage(CommandName::Serve, error.to_string()))?;
    let span = tracing::error_span!("worker", number = worker.number(), process = process::id());
    let _entered = span.enter();
    let served = worker.serve(config, files, logs.dropped());
    served.map_err(|error| failure(&error, CommandName::Serve))
}

/// Tells wrong usage from a failure at run time, with what to try.
pub(super) fn failure(error: &BridgeError, command: CommandName) -> Failure {
    let advice = advice(error);
    if error.is_usage() {
        Failure::usage(command, format!("{error}{advice}"))
    } else {
        Failure::Run(format!("{error}{advice}"))
    }
}

fn advice(error: &BridgeError) -> String {
    match error {
        BridgeError::Bind(address, error) => bind_advice(error.kind(), address.port()),
        BridgeError::Address(address, _) => {
            let rest = address
                .rsplit_once("://")
                .map_or(&**address, |(_, rest)| rest);
            let port = rest.trim_start_matches(':').trim_end_matches('/');
            let is_port = port.parse::<u16>().is_ok();
            let port = if is_port { port } else { "8080" };
            format!(
                ": as 127.0.0.1:{port} for this machine alone, or 0.0.0.0:{port} for whoever reaches \
                 it"
            )
        }
        BridgeError::PostgresUrl(_)
        | BridgeError::Channel(..)
        | BridgeError::TokenFile(_)
        | BridgeError::OneAddress(..)
        | BridgeError::Passed(_)
        | BridgeError::Io(_)
        | _ => String::new(),
    }
}

fn bind_advice(kind: ErrorKind, port: u16) -> String {
    if kind == ErrorKind::AddrInUse {
        format!(
            "; another program has port {port}, perhaps another alle: stop it, or name another \
             port (0 picks a free one)"
        )
    } else if kind == ErrorKind::PermissionDenied {
        format!("; port {port} is for root alone: name one from 1024 on, as 8080")
    } else if kind == ErrorKind::AddrNotAvailable {
        format!(
            "; it is no address of this machine: 127.0.0.1:{port} is for this machine alone, \
             0.0.0.0:{port} for whoever reaches it"
        )
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_is_explained_by_one_that_can() {
        for (typed, port) in [
            ("8080", 8080),
            (":9000", 9000),
            ("ws://9000/", 9000),
            ("nonsense", 8080),
        ] {
            let error = BridgeError::Address(typed.to_owned(), ErrorKind::InvalidInput.into());
            let Failure::Usage { reason, .. } = failure(&error, CommandName::Serve) else {
                panic!("{typed}");
            };
            let expected = format!(
                "address {typed:?} is not HOST:PORT: as 127.0.0.1:{port} for this machine alone, or \
                 0.0.0.0:{port} for whoever reaches it"
            );
            assert_eq!(reason, expected);
        }
    }

    #[test]
    fn an_address_that_is_taken_comes_with_what_to_try() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (kind, expected) in [
            (ErrorKind::AddrInUse, "another program has port 80"),
            (ErrorKind::PermissionDenied, "name one from 1024 on"),
            (ErrorKind::AddrNotAvailable, "0.0.0.0:80 for whoever"),
        ] {
            let error = BridgeError::Bind(address, kind.into());
            let Failure::Run(reason) = failure(&error, CommandName::Serve) else {
                panic!("{kind}");
            };
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
