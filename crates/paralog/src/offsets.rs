//! `paralog offsets`: how far a connector is, kept, read and changed by hand.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use worker::progress::{self, ProgressError, To};

use crate::answer::answer;
use crate::cli::{Alter, Connectors, Export, Import, Offsets};
use crate::failure::Failure;
use crate::run;

/// Does what is asked, and prints what was done.
pub(crate) fn offsets(asked: &Offsets) -> Result<(), Failure> {
    match asked {
        Offsets::Export(asked) => export(asked),
        Offsets::Import(asked) => import(asked),
        Offsets::Alter(asked) => alter(asked),
        Offsets::Reset(asked) => {
            let prepared = prepared(&asked.connectors)?;
            print(&prepared, run_to_end(progress::reset(&prepared, &asked.chosen))?)
        }
    }
}

fn export(asked: &Export) -> Result<(), Failure> {
    let document = run_to_end(progress::export(&prepared(&asked.connectors)?))?;
    let written = match &asked.output {
        Some(path) => {
            std::fs::write(path, document).with_context(|| format!("cannot write `{}`", path.display()))
        }
        None => answer(&document).context("cannot write the export"),
    };
    written.map_err(|error| Failure::start(&error))
}

fn import(asked: &Import) -> Result<(), Failure> {
    let prepared = prepared(&asked.connectors)?;
    let mut document = Vec::new();
    let read = match asked.from == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut document),
        false => std::fs::File::open(&asked.from).and_then(|mut file| file.read_to_end(&mut document)),
    };
    read.with_context(|| format!("cannot read `{}`", asked.from.display()))
        .map_err(|error| Failure::start(&error))?;
    let done = run_to_end(progress::import(&prepared, &document, asked.replace))?;
    print(&prepared, vec![done])
}

fn alter(asked: &Alter) -> Result<(), Failure> {
    let prepared = prepared(&asked.connectors)?;
    let to = match (asked.to_offset, asked.to_latest) {
        (Some(offset), _) => To::Offset(offset),
        (None, true) => To::Latest,
        (None, false) => To::Earliest,
    };
    let done = run_to_end(async {
        match asked.producer_id {
            Some(id) => {
                progress::set_producer(&prepared, (id, asked.producer_epoch)).await.map(|done| vec![done])
            }
            None => progress::alter(&prepared, &asked.chosen, to).await,
        }
    });
    print(&prepared, done?)
}

fn run_to_end<T>(work: impl Future<Output = Result<T, ProgressError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime").map_err(|error| Failure::start(&error))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done.map_err(|error| Failure::progress(&error))
}

fn prepared(connectors: &Connectors) -> Result<worker::Prepared, Failure> {
    run::prepared(connectors).map(|(prepared, _)| prepared)
}

fn print(prepared: &worker::Prepared, mut lines: Vec<String>) -> Result<(), Failure> {
    lines.extend(progress::afterword(prepared));
    let mut text = lines.join("\n");
    text.push('\n');
    answer(&text).context("done, and cannot be told").map_err(|error| Failure::start(&error))
}
