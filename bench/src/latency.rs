//! Latency at a steady rate, measured by a Java client of Kafka's own: see `java/Latency.java`.

use crate::{
    contender::Task,
    process::{Measured, Output},
};
use anyhow::{Context, ensure};
use std::{collections::BTreeMap, fs, io::Read, time::Duration};

/// How long a copy must have kept up before it counts: JVMs, the measuring one too, compile for a while.
const WARM_SECONDS: u32 = 30;

/// Sends and receives while a contender copies; percentiles in ms at the source and at the destination, by name.
pub(crate) fn measure(task: &Task<'_>, rate: u32, seconds: u32) -> anyhow::Result<BTreeMap<String, f64>> {
    let program = task.folder.join("Latency.java");
    fs::write(&program, include_str!("../java/Latency.java"))
        .with_context(|| format!("cannot write {}", program.display()))?;
    // Java runs a lone source file as it is.
    let mut java = task.kafka.java_with(
        &program.display().to_string(),
        512,
        &["-XX:TieredStopAtLevel=4".to_owned(), "-Dlog4j2.level=OFF".to_owned()],
    );
    java.args([task.source, task.topic, task.destination, &task.destination_topic()]);
    java.args([rate, WARM_SECONDS, seconds].map(|number| number.to_string()));
    let mut client = Measured::start(java, &Output::Piped)?;
    let mut told = String::new();
    let mut stdout = client.stdout().context("the client has no standard output")?;
    stdout.read_to_string(&mut told).context("cannot read what the client says")?;
    let usage = client.wait(Duration::from_secs(10))?;
    ensure!(usage.success, "the client that measures latency failed; it said {told:?}");
    read(&told)
}

fn read(told: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut numbers = BTreeMap::new();
    for line in told.lines() {
        let (name, value) = line.split_once('=').with_context(|| format!("the client said {line:?}"))?;
        numbers.insert(name.to_owned(), value.parse().with_context(|| format!("the client said {line:?}"))?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_client_says_is_read_by_name() {
        let numbers = super::read("sent=40000\nsource_p50_ms=1.25\n").unwrap();
        assert_eq!((numbers["sent"], numbers["source_p50_ms"]), (40000.0, 1.25));
        assert!(super::read("Exception in thread").is_err());
    }
}
